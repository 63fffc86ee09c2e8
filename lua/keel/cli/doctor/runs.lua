--- What can be wrong with what is in flight: owners that are gone or stuck, times that have passed, work nobody takes.
local Handlers = require "keel.cli.doctor.handlers"
local Waits = require "keel.cli.doctor.waits"
local due_since = require "keel.due_since"
local kernel = require "keel.kernel"
local lock = require "keel.cli.doctor.lock"
local output = require "keel.cli.output"
local policies = require "keel.policy"

local LONG_CLAIM = 600 -- seconds that work may lie there for anybody to claim
local LONG_STOP = 60   -- seconds that a run that was asked to stop may go on
local SHOWN = 3        -- runs that are named

-- Sessions by id, with whether their process is stopped.
local function sessions_of(store)
  local sessions, err = store:sessions()
  if not sessions then return nil, err end
  local by_id = {}
  for _, session in ipairs(sessions) do
    -- A pid of another name space is nobody's here, or somebody else's.
    session.stopped = session.alive and not session.foreign and lock.is_stopped(session.pid)
    by_id[session.session_id] = session
  end
  return by_id
end

local function has_passed(time, now)
  return time ~= nil and time < now -- both are texts that sort
end

-- The reconciler that is to decide over a run and is not built in: only a program that was told of it can recover it.
local function unknown_reconciler(run, stored)
  local wanted = run.reconciler or stored
  return wanted and not policies.find("reconcilers", wanted) and wanted or nil
end

local function older(time, seconds, now)
  return time ~= nil and output.between(time, now) > seconds
end

-- What is wrong with a run in flight: the name of a kind, or nil.
local function kind_of(store, run, sessions, now, stored)
  local owner = sessions[run.session_id or 0]
  if run.claimable then
    if has_passed(run.deadline, now) then return "overdue" end
    if not older(due_since(run), LONG_CLAIM, now) then return nil end
    local gate = store:gate(run.run_id)
    return gate and gate.gate == "open" and "unclaimed" or nil
  end
  if not owner or not owner.alive then return unknown_reconciler(run, stored) and "unknown_reconciler" or "orphans" end
  if owner.undecided then return "undecided" end
  if has_passed(run.deadline, now) then return "overdue" end
  if has_passed(run.lease_expires_at, now) then return "expired" end
  if owner.stopped then return "stopped" end
  if older(run.cancel_requested_at, LONG_STOP, now) then return "not_stopping" end
end

local kinds = {
  { "orphans", "%s in flight, but the process is gone",
    "'keel reconcile' recovers them; a newcomer on their thread does so, too" },
  { "unknown_reconciler", "%s in flight, but the process is gone, and keel does not know the reconciler that decides "
    .. "over such runs", "a program that knows it recovers them when it ticks; 'keel reconcile --reconciler NAME|FILE' "
    .. "decides in its place" },
  { "undecided", "%s whose process may be gone, which cannot be told here", "the session was made in another "
    .. "container or boot: if its process is gone, 'keel reconcile --session N' ends it; its number is 'session_id' "
    .. "in what 'keel runs show RUN' shows" },
  { "overdue", "%s past the deadline", "'keel reconcile' ends them as timeout" },
  { "expired", "%s with a lease that was not renewed in time",
    "the process does not get to it: a program that ticks takes such runs over when it has watched them for as long as "
    .. "the lease; or end the process, then run 'keel reconcile'" },
  { "stopped", "%s of a process that is stopped (as by Ctrl-Z)",
    "let it go on with 'fg' or 'kill -CONT', or end it and run 'keel reconcile'" },
  { "not_stopping", "%s asked to stop more than a minute ago and still going on",
    "the process does not listen: end it, then run 'keel reconcile'" },
  { "unclaimed", "%s ready for more than ten minutes, which nobody claims",
    "start the program that claims such work, or stop them with 'keel runs cancel'" },
}

-- Reads what is in flight, page by page. Returns lists of runs by kind, and how many are pending on each thread.
local function collect(store, sessions, now, handlers, waits)
  local stored, err = store:reconciler()
  if err then return nil, err end
  local found, pending, after = {}, {}, nil
  repeat
    local rows, more = store:list_inflight { limit = 1000, after = after, brief = true }
    if not rows then return nil, more end
    for _, run in ipairs(rows) do
      local kind = kind_of(store, run, sessions, now, stored)
      handlers:note(run, now)
      waits:note(run, now)
      if kind then
        found[kind] = found[kind] or {}
        table.insert(found[kind], run)
      elseif run.status == "pending" then
        pending[run.thread_id] = (pending[run.thread_id] or 0) + 1
      end
    end
    after = (#rows == 1000 or more) and rows[#rows].run_id or nil
  until not after
  return found, pending, stored
end

-- What else a finding says: the reconcilers that nobody here knows.
local function reconcilers_of(kind, runs, stored)
  if kind ~= "unknown_reconciler" then return nil end
  local names, seen = {}, {}
  for _, run in ipairs(runs) do
    local name = unknown_reconciler(run, stored)
    if not seen[name] then names[#names + 1] = name end
    seen[name] = true
  end
  return names
end

-- What is good about the pending runs of these runs' threads, but has to wait.
local function behind(runs, pending)
  local count, seen = 0, {}
  for _, run in ipairs(runs) do
    if not seen[run.thread_id] then count = count + (pending[run.thread_id] or 0) end
    seen[run.thread_id] = true
  end
  return count
end

local function owners_of(runs, sessions)
  local pids, seen = {}, {}
  for _, run in ipairs(runs) do
    local session = sessions[run.session_id or 0]
    if session and session.alive and not seen[session.pid] then
      seen[session.pid] = true
      pids[#pids + 1] = session.foreign and ("%d of another name space"):format(session.pid) or session.pid
    end
  end
  return pids
end

local function describe(sentence, runs, pids, waiting, reconcilers)
  local ids = {}
  for i = 1, math.min(#runs, SHOWN) do ids[i] = runs[i].run_id end
  local text = sentence:format(output.count(#runs, "run")) .. ": " .. table.concat(ids, ", ")
  if #runs > SHOWN then text = text .. ", …" end
  if #pids > 0 then text = ("%s (process %s)"):format(text, table.concat(pids, ", ", 1, math.min(#pids, SHOWN))) end
  if reconcilers then text = ("%s (reconciler %s)"):format(text, table.concat(reconcilers, ", ")) end
  if waiting > 0 then text = ("%s; %s on the same thread"):format(text, output.count(waiting, "more run")) end
  return text
end

-- The runs without those that were told of already.
local function without(runs, reported)
  local rest = {}
  for _, run in ipairs(runs or {}) do
    if not reported[run.run_id] then rest[#rest + 1] = run end
  end
  return rest[1] and rest
end

-- What kinds of findings come to for who waits for such a run.
local stuck_by = {
  orphans = "is left by a process that is gone",
  unknown_reconciler = "is left by a process that is gone",
  undecided = "may be left by a process that is gone",
  stopped = "is of a process that is stopped",
  not_stopping = "was asked to stop, and goes on",
  unclaimed = "nobody claims",
}

-- Of runs that do not get on, why.
local function why_stuck(found, reported)
  local stuck = {}
  for kind, words in pairs(stuck_by) do
    for _, run in ipairs(found[kind] or {}) do stuck[run.run_id] = words end
  end
  for run_id in pairs(reported) do stuck[run_id] = stuck_by.unclaimed end
  return stuck
end

---@param store keel.Store
---@param findings table
return function(store, findings)
  local now = store:now()
  local sessions, err = sessions_of(store)
  local handlers, waits = Handlers.new(), Waits.new()
  local found, pending, stored, reported
  if sessions then found, pending, stored = collect(store, sessions, now, handlers, waits) end
  if found then
    reported, err = handlers:report(store, findings, now)
    found.unclaimed = without(found.unclaimed, reported)
  end
  if not found or err then
    err = err or pending
    return findings:add("error", err.code, "what is in flight cannot be read: " .. err.message,
      require("keel.cli.doctor.file").advice(err.code))
  end
  for _, kind in ipairs(kinds) do
    local runs = found[kind[1]]
    if runs then
      local ids = {}
      for i, run in ipairs(runs) do ids[i] = run.run_id end
      local reconcilers = reconcilers_of(kind[1], runs, stored)
      findings:add("warning", kind[1],
        describe(kind[2], runs, owners_of(runs, sessions), behind(runs, pending), reconcilers), kind[3],
        { count = #runs, run_ids = kernel.array(ids), reconcilers = reconcilers and kernel.array(reconcilers) })
    end
  end
  waits:report(store, findings, now, why_stuck(found, reported))
end
