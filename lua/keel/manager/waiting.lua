--- Waiting for the end of a run, wherever it runs.
local LiveRuns = require "keel.manager.live_runs"
local check = require "keel.check"
local errors = require "keel.errors"
local owner = require "keel.store.owner"
local timer = require "keel.manager.timer"

local WAIT_STEP = 0.01     -- seconds, with a store that cannot wait for events
local IDLE_STEP = 60       -- seconds between two looks at a run whose end leaves an event
local OWNER_STEP = 1       -- the same when its owner is another process, which may die
local ORPHAN_STEP = 0.1    -- the same when it has died
local ORPHAN_PATIENCE = 2  -- seconds that others, who tick every second or so, have to recover an orphan

local is_final = LiveRuns.is_final

local function is_in_memory(client)
  return client:has "backend" and client:call "backend" == "memory"
end

local function orphan_error(row)
  local run_id = row.run_id
  return errors.new("orphan", ("the owner of run %s is gone, and nothing recovers it: call tick or "
    .. "reconcile_orphaned_inflight_runs, or run 'keel reconcile'"):format(run_id),
    { run_id = run_id, thread_id = row.thread_id, session_id = row.session_id })
end

-- How long to sleep at most until the next look: the death of an owner leaves no event.
local function wait_step(self, row, orphan_since)
  if orphan_since then return ORPHAN_STEP end
  return row.session_id ~= self.client:session_id() and OWNER_STEP or IDLE_STEP
end

-- The store has said that no event can come.
local function never_ends(err, run_id)
  if err.code ~= "invalid_request" then return err end
  return errors.new("invalid_request", ("run %s could never end: the store is in memory, and this wait would block the "
    .. "only process that can end it; give a timeout, or open the store with a sleep that lets others run")
    :format(run_id), { field = "timeout", run_id = run_id })
end

---@class keel.manager.Waiting: keel.ManagerCore
local Waiting = {}

--- Waits until a run has ended, wherever it runs. Under a host's sleep it yields.
--- Raises for wrong types. Fails with not_found, timeout, orphan (its owner is gone, and nothing has recovered it for
--- two seconds, or until the timeout), invalid_request (timeout; also for a run that could never end: without a
--- timeout, on a store in memory whose waits block the only process that could end it) and what reading fails with.
---@param run_id string
---@param options? { timeout?: number } in seconds; nil: as long as it takes
---@return keel.Run? run
---@return keel.Error? err
function Waiting:wait(run_id, options)
  check.type(run_id, "string", 1, "wait")
  options = check.options(options, { timeout = "number" }, 2, "wait")
  local bad = check.duration(options.timeout, "timeout")
  if bad then return nil, bad end
  local clock = timer(self.client, options.timeout or math.huge)
  local client, cursor, orphan_since = self.client, nil, nil
  local function is_alive(session_id) return (client:is_alive(session_id)) end
  local can_wait = client:has "wait_events" and client:has "read_events"
  -- In memory all events are this process's: the store itself refuses a wait that nothing could end.
  local without_end = not options.timeout and is_in_memory(client)
  while true do
    -- The cursor is taken before the look: what happens in between is still to be read.
    if can_wait then
      local page, err = client:call("read_events", cursor, 256, { run_id = run_id })
      if not page then return nil, err end
      cursor = page.cursor
    end
    local record = self.live:get(run_id)
    if record and is_final(record.status) then return record end
    local row, err = client:call("get", run_id)
    if err then return nil, err end
    if not row then return nil, errors.no_run(run_id) end
    if is_final(row.status) then
      if not record then return LiveRuns.equip(row, true) end
      self.writer:refresh(record)
      return record
    end
    local left = clock.left()
    orphan_since = owner.is_gone(row, is_alive) and (orphan_since or clock.spent()) or nil
    if orphan_since and (left <= 0 or clock.spent() - orphan_since >= ORPHAN_PATIENCE) then
      return nil, orphan_error(row)
    end
    if left <= 0 then
      return nil, errors.new("timeout", ("run %s has not ended in time"):format(run_id), { run_id = run_id })
    end
    if can_wait then
      local step = not without_end and { timeout = math.min(left, wait_step(self, row, orphan_since)) } or nil
      local _, failure = client:call("wait_events", cursor, step)
      if failure then return nil, without_end and never_ends(failure, run_id) or failure end
    else
      clock.sleep(math.min(left, WAIT_STEP))
    end
  end
end

-- The oldest run of a batch in flight behind `after`, or false.
local function next_of_batch(self, batch_id, after)
  local query = { batch_id = batch_id, after = after, limit = 1, brief = true }
  local rows, err = self.client:call("list_inflight", query)
  if not rows then return nil, err end
  return rows[1] and rows[1].run_id or false
end

local function batch_timeout(self, batch_id)
  local counts = self.client:call("count_batch", batch_id)
  local left = counts and (", with %d of %d runs in flight"):format(counts.total - counts.done, counts.total) or ""
  return errors.new("timeout", ("the batch %s has not ended in time%s"):format(batch_id, left), { batch_id = batch_id })
end

--- Waits until all runs of a batch have ended, those that are made meanwhile too.
--- Raises for wrong types. Fails with not_found (the batch has no run), timeout, and with what `wait` fails with for
--- one of its runs.
---@param batch_id string
---@param options? { timeout?: number } in seconds, for all of them; nil: as long as it takes
---@return keel.BatchCounts? counts
---@return keel.Error? err
function Waiting:wait_batch(batch_id, options)
  check.type(batch_id, "string", 1, "wait_batch")
  options = check.options(options, { timeout = "number" }, 2, "wait_batch")
  local bad = check.duration(options.timeout, "timeout")
  if bad then return nil, bad end
  local clock = timer(self.client, options.timeout or math.huge)
  local run_id, err
  repeat
    -- What has ended stays so: the next look goes on behind it. The last one is at all of them.
    local after = run_id
    run_id, err = next_of_batch(self, batch_id, after)
    if run_id == false and after then run_id, err = next_of_batch(self, batch_id) end
    if run_id then
      local left = options.timeout and math.max(0, clock.left())
      local run, failure = Waiting.wait(self, run_id, { timeout = left })
      if not run and failure.code == "timeout" then return nil, batch_timeout(self, batch_id) end
      if not run and failure.code ~= "not_found" then return nil, failure end
    end
  until not run_id
  if err then return nil, err end
  local counts
  counts, err = self.client:call("count_batch", batch_id)
  if counts and counts.total == 0 then
    return nil, errors.new("not_found", ("there is no run of the batch %s"):format(batch_id), { batch_id = batch_id })
  end
  return counts, err
end

return Waiting
