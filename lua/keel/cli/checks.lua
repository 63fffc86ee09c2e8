--- What keel doctor looks at. A check adds findings: { severity, code, message, advice, and whom it is about }.
local host = require "keel.host"
local output = require "keel.cli.output"

local checks = {}

local LOW_SPACE = 64 << 20  -- bytes
local BIG_LOG = 256 << 20   -- bytes of a -wal: it is emptied at some 4 MiB unless a reader holds on to it
local LONG_CLAIM = 600      -- seconds that work lies there for anybody to claim
local LONG_STOP = 60        -- seconds that a run was asked to stop and has not
local LIMIT = 1000          -- runs in flight that are looked at

local function add(findings, severity, code, message, advice, subject)
  findings[#findings + 1] = { severity = severity, code = code, message = message, advice = advice, subject = subject }
end

--- What can be seen of the file without opening it.
---@param path string
---@return table[] findings
function checks.file(path)
  local findings = {}
  local about, problem = host.stat(path)
  if not about then
    add(findings, "error", "store_missing", ("there is no store at %s: %s"):format(path, problem),
      "'keel exec' makes it when it is first used; --store or KEEL_STORE name another one")
    return findings
  end
  if about.kind ~= "file" then
    add(findings, "error", "io", ("%s is no file"):format(path), "give the path of the store's file")
    return findings
  end
  if about.mode & 63 ~= 0 then -- 077
    add(findings, "warning", "permissions", ("others may read or write %s (mode %03o)"):format(path, about.mode),
      ("unless that is meant: chmod 600 '%s'"):format(path))
  end
  if about.uid ~= host.user_id() and host.user_id() ~= 0 then
    add(findings, "warning", "owner", ("%s belongs to another user (%d)"):format(path, about.uid),
      "run this as that user, or the files beside the store will belong to two")
  end
  local free, is_remote = host.space(path)
  if free and free < LOW_SPACE then
    add(findings, "warning", "space", ("only %s are free where the store is"):format(output.size(free)),
      "make room, or 'keel runs prune --before 30d'; a store that is full refuses every change")
  end
  if is_remote then
    add(findings, "error", "file_system", ("%s is on another machine's file system"):format(path),
      "move it to a local disk: neither its locks nor its log work over the network")
  end
  local log = host.stat(path .. "-wal")
  if log and log.size > BIG_LOG then
    add(findings, "warning", "log_size", ("the log beside the store has grown to %s"):format(output.size(log.size)),
      "some process reads for very long, or is stopped in the middle: 'keel stats' counts who is there")
  end
  return findings
end

local advice_of = {
  store_corrupt = "restore a backup; 'keel exec' and the others must not use this file meanwhile",
  store_version = "another version of Keel made it: use the newer of the two; whatever writes brings an older store up"
    .. " to date",
  store_readonly = "run this as the user whom it belongs to",
  io = "look at the permissions and at the disk",
  busy = "another process holds the lock for long: try again, and look at what is running",
}

--- A store that cannot be opened.
---@param path string
---@param err keel.Error
---@return table finding
function checks.unreadable(path, err)
  return { severity = "error", code = err.code, message = ("%s cannot be opened: %s"):format(path, err.message),
    advice = advice_of[err.code] or "the reference lists what the error means" }
end

local function since(time, now)
  return time and output.between(time, now) or 0
end

-- What is in flight: whose owner is gone, what nobody claims, what does not stop.
local function look_at_runs(store, findings)
  local rows, err = store:list_inflight { limit = LIMIT }
  if not rows then return add(findings, "error", err.code, err.message, "look at the store first") end
  local now, alive = store:now(), {}
  local orphans, unclaimed, stuck, overdue = {}, {}, {}, {}
  for _, run in ipairs(rows) do
    local id = run.session_id
    if id and alive[id] == nil then alive[id] = store:session_alive(id) end
    if not run.claimable and (not id or alive[id] == false) then
      orphans[#orphans + 1] = run
    elseif run.claimable and since(run.created_at, now) > LONG_CLAIM then
      unclaimed[#unclaimed + 1] = run
    elseif run.cancel_requested_at and since(run.cancel_requested_at, now) > LONG_STOP then
      stuck[#stuck + 1] = run
    elseif run.deadline and run.deadline < now then
      overdue[#overdue + 1] = run
    end
  end
  local function tell(list, code, message, advice)
    if #list == 0 then return end
    local ids = {}
    for i = 1, math.min(#list, 3) do ids[i] = list[i].run_id end
    add(findings, "warning", code, message:format(#list) .. ", the oldest: " .. table.concat(ids, ", "), advice,
      list[1].run_id)
  end
  tell(orphans, "orphans", "%d runs in flight belong to processes that are gone",
    "'keel reconcile' recovers them; admission does so for its own thread")
  tell(unclaimed, "unclaimed", "%d runs have waited for more than ten minutes to be claimed",
    "start a process that claims them, or 'keel runs cancel' them")
  tell(stuck, "not_stopping", "%d runs were asked to stop more than a minute ago and go on",
    "their process does not listen: end it, then 'keel reconcile'")
  tell(overdue, "overdue", "%d runs are past their deadline", "'keel reconcile' ends them as timeout")
  if #rows == LIMIT then
    add(findings, "warning", "many_inflight", ("%d runs or more are in flight"):format(LIMIT),
      "'keel runs list --status pending' shows what piles up; only the oldest were looked at")
  end
end

--- What is in the store.
---@param store keel.Store
---@param findings table[]
function checks.store(store, findings)
  local problems, err = store:verify()
  if not problems then return add(findings, "error", err.code, err.message, advice_of[err.code] or "try again") end
  for _, problem in ipairs(problems) do
    add(findings, "error", problem.code, problem.message,
      "'keel backup' what can be read, and restore an older backup if there is one")
  end
  look_at_runs(store, findings)
end

return checks
