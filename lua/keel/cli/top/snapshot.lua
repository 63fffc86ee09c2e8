--- What keel top shows, as a table: one picture of a store, by reads that are bounded whatever is in it; but who waits
--- for a name, and who holds it, is counted.
local ended_last = require "keel.cli.top.ended"
local kernel = require "keel.kernel"
local shape = require "keel.cli.shape"

local EXPLAINED = 50 -- pending runs, the oldest, of which is said what they wait for
local NAMES = 100    -- limits

-- What is there of each thread, in the order of its oldest run.
local function threads_of(runs, alive)
  local threads, by_id = kernel.array(), {}
  for _, run in ipairs(runs) do
    local thread = by_id[run.thread_id]
    if not thread then
      thread = { thread_id = run.thread_id, running = 0, pending = 0, claimable = 0, oldest_at = run.created_at }
      by_id[run.thread_id] = thread
      threads[#threads + 1] = thread
    end
    thread[run.status] = thread[run.status] + 1
    if run.claimable then thread.claimable = thread.claimable + 1 end
    if run.status == "pending" then thread.waiting_since = thread.waiting_since or run.created_at end
    if run.status == "running" and not thread.run_id then
      thread.run_id, thread.session_id = run.run_id, run.session_id
      thread.owner_alive = alive[run.session_id] or false
    end
  end
  return threads
end

-- The processes there are, with what each has in flight.
local function sessions_of(known, runs)
  local sessions, by_id = kernel.array(), {}
  for _, session in ipairs(known) do
    session.running, session.pending = 0, 0
    by_id[session.session_id] = session
  end
  for _, run in ipairs(runs) do
    local session = by_id[run.session_id]
    if session then session[run.status] = session[run.status] + 1 end
  end
  for _, session in ipairs(known) do
    if session.alive or session.running + session.pending > 0 then sessions[#sessions + 1] = session end
  end
  return sessions
end

-- What the first pending runs wait for: a name, or a run.
local function explain(store, shown)
  local count = 0
  for _, run in ipairs(shown) do
    if run.status == "pending" and count < EXPLAINED then
      count = count + 1
      local gate, err = store:gate(run.run_id)
      if err then return err end
      if gate and gate.gate ~= "open" then
        run.waits_for, run.waits_for_name, run.waits_for_run = gate.gate, gate.name, gate.run_id
        run.startable_at = gate.scheduled_at or gate.free_at
      end
    end
  end
end

--- Reads a picture of the store.
---@param store keel.Store
---@param limit integer runs in flight that are looked at, the oldest
---@return table? snapshot
---@return keel.Error? err
return function(store, limit)
  local newest, err = store:event_high_water()
  if not newest then return nil, err end
  local runs, known, latest, is_cut
  runs, err = store:list_inflight { limit = limit }
  is_cut = err
  if not runs then return nil, err end
  known, err = store:sessions()
  if not known then return nil, err end
  latest, err = ended_last(store, newest)
  if not latest then return nil, err end
  local alive = {}
  for _, session in ipairs(known) do alive[session.session_id] = session.alive end
  local shot = { at = store:now(), store = store:path(), event_id = newest, running = 0, pending = 0, claimable = 0,
    has_more = #runs == limit or is_cut == true, runs = kernel.array(), ended = kernel.array() }
  for i, run in ipairs(runs) do
    shot[run.status] = shot[run.status] + 1
    if run.claimable then shot.claimable = shot.claimable + 1 end
    shot.runs[i] = shape.fields(run)
    shot.runs[i].owner_alive = run.session_id and (alive[run.session_id] or false)
  end
  for i, run in ipairs(latest) do shot.ended[i] = shape.fields(run) end
  err = explain(store, shot.runs)
  if err then return nil, err end
  shot.limits, err = store:limits { limit = NAMES }
  if not shot.limits then return nil, err end
  kernel.array(shot.limits)
  shot.threads = threads_of(runs, alive)
  shot.sessions = sessions_of(known, runs)
  return shot
end
