--- What an owner does with its runs besides finishing them: renewing, giving back, settling, waiting, leaving. Adds its
--- methods to the manager.
local LiveRuns = require "keel.manager.live_runs"
local check = require "keel.check"
local errors = require "keel.errors"
local recovery = require "keel.recovery"

local PAGE = 1000          -- runs of this session read at once
local TICK_PAGE = 64       -- runs that one tick looks at for recovery
local SHUTDOWN_STEP = 0.01 -- seconds between two looks at what still runs
local SHUTDOWN_TIMEOUT = 10
local WAIT_STEP = 0.01     -- seconds, with a store that cannot wait for events
local IDLE_STEP = 60       -- seconds between two looks at a run whose end leaves an event
local OWNER_STEP = 1       -- the same when its owner is another process, which may die
local ORPHAN_STEP = 0.1    -- the same when it has died
local ORPHAN_PATIENCE = 2  -- seconds that others, who tick every second or so, have to recover an orphan

local is_final = LiveRuns.is_final

local function by_id(a, b) return a.run_id < b.run_id end

-- The rows this session has in flight, by id.
local function read_own(self, session_id)
  local rows, after, more = {}
  repeat
    local page
    page, more = self._client:call("list_inflight", { session_id = session_id, limit = PAGE, after = after })
    if not page then return nil, more end
    more = more or #page == PAGE
    for _, row in ipairs(page) do
      if rows[row.run_id] then return rows end -- it starts over: the run to go on behind was deleted
      rows[row.run_id] = row
      after = row.run_id
    end
  until not more
  return rows
end

-- What became of a run that is not in flight here any more, by the look of its row. Returns whether it was lost.
local function is_lost(self, record)
  local aborted = record.abort_event:is_set()
  local row, err = self:_refresh(record)
  if err then return false end
  if row then return self._live:is_lost(record.run_id) or is_final(record.status) end
  -- It vanished from the store altogether. What its end is to be can still be recorded.
  self:_abort(record, record.cancel_action)
  return not aborted
end

-- Compares runs that were in flight here with their rows: what was lost, and what others asked to cancel.
local function look_at_own(self, records, rows)
  local lost, asked = {}, {}
  for _, record in ipairs(records) do
    local row = rows[record.run_id]
    local is_ours = self._live:get(record.run_id) == record and not is_final(record.status) -- still, not only before
    if is_ours and not (row and row.fence == record.fence) then
      if is_lost(self, record) then lost[#lost + 1] = record end
    elseif is_ours then
      record.lease_expires_at = row.lease_expires_at
      if row.cancel_action and not record.abort_event:is_set() then
        self._live:update(record, { cancel_action = row.cancel_action, cancel_requested_at = row.cancel_requested_at,
          revision = row.revision, updated_at = row.updated_at })
        self:_abort(record, row.cancel_action)
        asked[#asked + 1] = record
      end
    end
  end
  return lost, asked
end

-- Ends the own runs whose deadline has passed. Returns the first failure as well.
local function expire_own(self)
  local expired, now, failure = {}, self._client:now(), nil
  for _, record in ipairs(self._live:in_flight()) do
    if record.deadline and record.deadline <= now then
      local done, err = self:_change_status(record, "timeout",
        { error = "the deadline of the run has passed", stop_reason = "deadline" })
      if done then
        self:_abort(record)
        expired[#expired + 1] = record
      elseif err.code ~= "stale_owner" and err.code ~= "invalid_transition" then
        failure = failure or err
      end
    end
  end
  return expired, failure
end

-- Says when a time is over: by the clock on the wall, or by what was slept, whichever comes first.
local function timer(self, seconds)
  local started, slept = self._client.monotonic(), 0
  local function spent() return math.max(slept, self._client.monotonic() - started) end
  return {
    spent = spent,
    left = function() return seconds - spent() end,
    sleep = function(step)
      slept = slept + step
      self._client:sleep(step)
    end,
  }
end

local function is_duration(value)
  return value == nil or (value >= 0 and value < math.huge)
end

local function bad_duration(field)
  return errors.new("invalid_request", field .. " must be a number of seconds, at least 0", { field = field })
end

-- Gives back a run that others can run. Returns nil when it cannot, and the error.
local function give_back(self, record)
  local run, err = self:requeue(record.run_id, { attempt = false })
  if not run then return nil, err end
  -- Somebody else may have taken and ended it by now. One that was asked to stop is still ours, and interrupted.
  return self._live:is_lost(record.run_id) and "given_back" or "interrupted"
end

-- Leaves a run: what others can run is given back without an attempt, the rest ends. Returns the list of the report
-- that it belongs to, nil when it is none of this process's any more, and the error.
local function leave(self, record)
  local run_id = record.run_id
  if self._live:is_lost(run_id) then return nil end
  if not is_final(record.status) then
    local list, err
    if record.shared then list, err = give_back(self, record) end
    if list then return list end
    if self._live:is_lost(run_id) then return nil end
    if err and err.transient then return nil, err end -- it stays running: an orphan can be given back, what ended not
  end
  if not is_final(record.status) then
    local done, err = self:_change_status(record, "interrupted", { stop_reason = "shutdown" })
    if done then return "interrupted" end
    if self._live:is_lost(run_id) then return nil end
    if not is_final(record.status) then return nil, err end
  elseif record.finalizing then
    local settled, err = self:settle(run_id)
    if settled == nil and err.code ~= "stale_owner" then return "finished", err end
  end
  return "finished"
end

-- Whether a handler works on a run, of an executor that is there or of one that was stopped without it.
local function has_handler(self, record)
  if self._observer and self._observer.holds(record) then return true end
  for _, observer in ipairs(self._left_behind) do
    if observer.holds(record) then return true end
  end
  return false
end

-- --- Waiting --------------------------------------------------------------------------------------------------------

local function is_in_memory(client)
  return client:has "backend" and client:call "backend" == "memory"
end

-- Whether the owner of a run is gone, and nothing has recovered it yet.
local function is_orphan(self, row)
  if row.session_id == nil then return not row.claimable end
  return not self._client:is_alive(row.session_id)
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
  return row.session_id ~= self._client:session_id() and OWNER_STEP or IDLE_STEP
end

-- The store has said that no event can come.
local function never_ends(err, run_id)
  if err.code ~= "invalid_request" then return err end
  return errors.new("invalid_request", ("run %s could never end: the store is in memory, and this wait would block the "
    .. "only process that can end it; give a timeout, or open the store with a sleep that lets others run")
    :format(run_id), { field = "timeout", run_id = run_id })
end

---@class keel.ShutdownReport
---@field finished keel.Run[] ended by themselves
---@field given_back keel.Run[] pending again, for others
---@field interrupted keel.Run[] not finished, and nobody else can run them
---@field running? keel.Run[] whose handlers have not ended: orphans when the process goes

---@param Manager keel.RunManager
return function(Manager)
  --- Renews the leases of all own runs (with lease_ttl), ends those whose deadline has passed, and learns what became
  --- of them elsewhere. Runs that were lost are fenced: their abort events are set, and later writes are refused. Runs
  --- that another process asked to stop have their abort events set; finishing them is up to whoever does the work.
  --- Fails with what the store fails with; when only ending a run does, the error is the second value.
  ---@return { renewed: integer, lost: keel.Run[], cancel_requested: keel.Run[], expired: keel.Run[] }? report
  ---@return keel.Error? err
  function Manager:heartbeat()
    local session_id, err = self._client:session_id()
    if err then return nil, err end
    local report = { renewed = 0, lost = {}, cancel_requested = {}, expired = {} }
    if not session_id then return report end
    local records = self._live:in_flight()
    if self._lease then -- reservations have leases, too
      report.renewed, err = self._client:call("renew_runs", self._lease)
      if not report.renewed then return nil, err end
    end
    if #records == 0 then return report end
    local rows
    rows, err = read_own(self, session_id)
    if not rows then return nil, err end
    report.lost, report.cancel_requested = look_at_own(self, records, rows)
    report.expired, err = expire_own(self)
    return report, err
  end

  --- One step of what a host should do now and then: a heartbeat, and recovery of what the dead left, a page of runs a
  --- call. Call it from a loop or a timer, every second or so.
  --- Fails with what the store fails with.
  ---@param options? { reconciler?: string|function } as in reconcile_orphaned_inflight_runs
  ---@return { renewed: integer, lost: keel.Run[], cancel_requested: keel.Run[], expired: keel.Run[],
  --- recovered: keel.Run[] }? report
  ---@return keel.Error? err
  function Manager:tick(options)
    options = check.options(options, { reconciler = "string|function|policy" }, 1, "tick")
    local err = self:_check_reconciler(options.reconciler)
    if err then return nil, err end
    local report, failure = self:heartbeat()
    if not report then return nil, failure end
    self:_end_reservations()
    local context = self:_sweep_context(options)
    context.page, context.position = TICK_PAGE, self._swept
    local ids
    ids, err, self._swept = recovery.sweep(context)
    report.recovered = self:_records_of(ids)
    return report, failure or err
  end

  --- Gives a run of this process back: pending, owned by nobody, with one attempt more; anybody may claim it after the
  --- delay. With `attempt = false` it was no try: no attempt is spent. When max_attempts are used up it ends with the
  --- error; when it was asked to stop, it is interrupted.
  --- Raises for wrong types. Fails with not_found, invalid_request (delay), invalid_transition, stale_owner, and what
  --- writing fails with.
  ---@param run_id string
  ---@param options? { delay?: number, error?: string, attempt?: boolean } delay in seconds; attempt: default true
  ---@return keel.Run? run
  ---@return keel.Error? err
  function Manager:requeue(run_id, options)
    check.type(run_id, "string", 1, "requeue")
    options = check.options(options, { delay = "number", error = "string", attempt = "boolean" }, 2, "requeue")
    if not is_duration(options.delay) then return nil, bad_duration "delay" end
    local row, record, err = self:_to_write(run_id)
    if not row then return nil, err end
    local found, written = self._client:call("requeue", run_id,
      { fence = row.fence, delay = options.delay, error = options.error, attempt = options.attempt })
    if found == false then return nil, errors.no_run(run_id) end
    if found == nil then
      if record then self:_refresh(record) end
      return nil, written
    end
    if record then
      local ended = type(written) == "table" and is_final(written.status)
      if not ended then self._live:lose(record) end -- before anything yields: it is nobody's
      self:_refresh(record, true)
    end
    return self:get(run_id)
  end

  --- Says that the work of an interrupted run has come to rest: ends its finalizing, so that what waits for it may
  --- start.
  --- Fails with not_found, stale_owner (it was taken over) and what writing fails with.
  ---@param run_id string
  ---@return boolean? settled false when it was not finalizing
  ---@return keel.Error? err
  function Manager:settle(run_id)
    check.type(run_id, "string", 1, "settle")
    local row, record, err = self:_to_write(run_id)
    if not row then return nil, err end
    local settled
    settled, err = self._client:call("settle", run_id, { fence = row.fence })
    if settled == nil then
      if record then self:_refresh(record) end
      return nil, err
    end
    if record then self._live:update(record, { finalizing = false }) end
    return settled
  end

  --- Waits until a run has ended, wherever it runs. Under a host's sleep it yields.
  --- Raises for wrong types. Fails with not_found, timeout, orphan (its owner is gone, and nothing has recovered it for
  --- two seconds, or until the timeout), invalid_request (timeout; also for a run that could never end: without a
  --- timeout, on a store in memory whose waits block the only process that could end it) and what reading fails with.
  ---@param run_id string
  ---@param options? { timeout?: number } in seconds; nil: as long as it takes
  ---@return keel.Run? run
  ---@return keel.Error? err
  function Manager:wait(run_id, options)
    check.type(run_id, "string", 1, "wait")
    options = check.options(options, { timeout = "number" }, 2, "wait")
    if not is_duration(options.timeout) then return nil, bad_duration "timeout" end
    local clock = timer(self, options.timeout or math.huge)
    local client, cursor, orphan_since = self._client, nil, nil
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
      local record = self._live:get(run_id)
      if record and is_final(record.status) then return record end
      local row, err = client:call("get", run_id)
      if err then return nil, err end
      if not row then return nil, errors.no_run(run_id) end
      if is_final(row.status) then
        if not record then return LiveRuns.equip(row, true) end
        self:_refresh(record)
        return record
      end
      local left = clock.left()
      orphan_since = is_orphan(self, row) and (orphan_since or clock.spent()) or nil
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

  --- Leaves in good order: signals the live runs to stop (the action is "shutdown", unless another was asked for),
  --- waits until they have ended and settled, and leaves those that have not when the time is over: what others can run
  --- (it was claimed) is given back without an attempt, the rest is `interrupted` with the stop_reason "shutdown". What
  --- finished by itself keeps its outcome. A run that a handler of an executor still works on stays running. The wait
  --- goes through the store's sleep, so that a host's coroutines can finish.
  --- Raises for wrong types. Fails with invalid_request (timeout); when writing fails, the error is the second value.
  ---@param options? { timeout?: number } in seconds, for all of them together; default 10
  ---@return keel.ShutdownReport? report
  ---@return keel.Error? err
  function Manager:shutdown(options)
    options = check.options(options, { timeout = "number" }, 1, "shutdown")
    if not is_duration(options.timeout) then return nil, bad_duration "timeout" end
    local clock = timer(self, options.timeout or SHUTDOWN_TIMEOUT)
    local failure, signalled = nil, {}
    repeat -- what is made meanwhile is signalled, too
      local running = self._live:unsettled()
      for _, record in ipairs(running) do
        if not signalled[record] then self:_abort(record, record.cancel_action or "shutdown") end
        signalled[record] = true
      end
      local over = #running == 0 or clock.left() <= 0
      if not over then clock.sleep(math.min(SHUTDOWN_STEP, clock.left())) end
    until over
    local report = { finished = {}, given_back = {}, interrupted = {} }
    for record in pairs(signalled) do
      local list, err
      if has_handler(self, record) then
        list, report.running = "running", report.running or {}
      else
        list, err = leave(self, record)
      end
      if list then table.insert(report[list], record) end
      failure = failure or err
    end
    for _, list in pairs(report) do table.sort(list, by_id) end
    return report, failure
  end
end
