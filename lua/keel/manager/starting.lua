--- Starting and claiming runs through the gate. Adds its methods to the manager.
local LiveRuns = require "keel.manager.live_runs"
local check = require "keel.check"
local errors = require "keel.errors"
local recovery = require "keel.recovery"

local CLEARED_MAX = 256 -- runs in the way that one try clears away; the next try goes on

-- --- What is in the way ---------------------------------------------------------------------------------------------

-- Ends a run that is in the way and has no right to be: its owner is gone, its time is over, or it was asked to stop
-- and has not done so in time. Returns whether anything changed.
local function clear_run(self, tx, row, context)
  local patience = self._settle_timeout
  if LiveRuns.is_final(row.status) then return tx:settle(row.run_id, { patience = patience }) end
  local taken, err = recovery.take(tx, context, row)
  if taken or err then return taken, err end
  if not row.cancel_requested_at then return false end
  return tx:claim_for_takeover(row.run_id,
    { status = "interrupted", stop_reason = "settle_timeout", patience = patience })
end

-- The rows a gate speaks of.
local function in_the_way(store, gate, thread_id)
  if gate.gate == "delay" or gate.gate == "open" then return {} end
  if gate.gate == "concurrency" then
    return store:list_inflight { thread_id = thread_id, active = true, limit = CLEARED_MAX, brief = true }
  end
  local row, err = store:get(gate.run_id)
  if err then return nil, err end
  return { row }
end

-- Adds the ids of the runs that were cleared away to `cleared`, and of those that were recovered to `recovered` too.
-- Returns whether there were any.
local function clear(self, tx, gate, thread_id, cleared, context, recovered)
  local rows, err = in_the_way(tx, gate, thread_id)
  if not rows then return nil, err end
  local some = false
  for _, row in ipairs(rows) do
    local done, failure = clear_run(self, tx, row, context)
    if done == nil then return nil, failure end
    if done then
      some = true
      cleared[#cleared + 1] = row.run_id
      local is_run = not recovery.is_reservation(row) and not LiveRuns.is_final(row.status)
      if is_run then recovered[#recovered + 1] = row.run_id end
    end
  end
  return some
end

-- Whether it is worth a writing transaction to look closer at what is in the way. Only reads.
local function may_clear(self, gate, thread_id)
  local client = self._client
  local rows = in_the_way(setmetatable({}, { __index = function(_, method)
    return function(_, ...) return client:call(method, ...) end
  end }), gate, thread_id)
  for _, row in ipairs(rows or {}) do
    if row.cancel_requested_at or LiveRuns.is_final(row.status) then return true end
    if self:_cause_of(row) then return true end
  end
  return false
end

-- Starts a run, clearing away what may be. Returns what was found and written, and the gate.
local function start_after_clearing(self, run_id, thread_id, options)
  self:_refresh_policies()
  local started, err = self._client:transaction("try_start", function(tx)
    local found, written, gate
    local cleared = {}
    for _ = 1, CLEARED_MAX do
      found, written, gate = tx:update_status(run_id, "running", options)
      if found == nil then return nil, written end
      if not gate then break end
      local some, failure = clear(self, tx, gate, thread_id, cleared, self._context, {})
      if some == nil then return nil, failure end
      if not some then break end
    end
    return { found = found, written = written, gate = gate, cleared = cleared }
  end)
  if not started then return nil, err end
  self:_refresh_all(started.cleared)
  return started.found, started.written, started.gate
end

local function start(self, row)
  local options = { fence = row.fence, gate = true, lease_ttl = self._lease }
  local found, written, gate = self._client:call("update_status", row.run_id, "running", options)
  if gate and may_clear(self, gate, row.thread_id) then
    return start_after_clearing(self, row.run_id, row.thread_id, options)
  end
  return found, written, gate
end

---@param Manager keel.RunManager
return function(Manager)
  -- Clears away what keeps a run from being claimed and has no right to, by the rules of a sweep. Adds the ids of runs
  -- that were recovered. Returns the error when that fails.
  function Manager:_clear_way(row, context, recovered)
    local gate, err = self._client:call("gate", row.run_id)
    if not gate then return err end
    if gate.gate ~= "after" and gate.gate ~= "concurrency" then return nil end
    if not may_clear(self, gate, row.thread_id) then return nil end
    local done, failure = self._client:transaction("clear", function(tx)
      local cleared, taken = {}, {}
      for _ = 1, CLEARED_MAX do
        local state, problem = tx:gate(row.run_id)
        if problem then return nil, problem end
        if not state then break end
        local some
        some, problem = clear(self, tx, state, row.thread_id, cleared, context, taken)
        if some == nil then return nil, problem end
        if not some then break end
      end
      return { cleared = cleared, taken = taken }
    end)
    if not done then return failure end
    self:_refresh_all(done.cleared)
    table.move(done.taken, 1, #done.taken, #recovered + 1, recovered)
  end

  --- Starts a pending run of this session, unless it was cancelled or has to wait. What it waits for and has no right
  --- to be in the way any more is recovered first.
  --- Fails with not_found, stale_owner, invalid_transition (it has started or ended) and what writing fails with.
  ---@param run_id string
  ---@return "started"|"cancelled"|"waiting"|nil verdict
  ---@return keel.Error? err
  function Manager:try_start(run_id)
    check.type(run_id, "string", 1, "try_start")
    local row, record, err = self:_to_write(run_id)
    if not row then return nil, err end
    if not record and row.status == "pending" then
      err = self:_not_startable(row)
      if err then return nil, err end
    end
    self._context.session_id = self._client:session_id()
    local found, written, gate = start(self, row)
    if found == false then return nil, errors.no_run(run_id) end
    if found == nil then
      if record then self:_refresh(record) end
      if written.code == "invalid_transition" and written.from == "interrupted" then return "cancelled" end
      return nil, written
    end
    if gate then return "waiting" end
    local status = type(written) == "table" and written.status or "running"
    if record then
      self:_apply(record, written, { status = status })
      if status ~= "running" then self:_abort(record, record.cancel_action) end
    end
    return status == "running" and "started" or "cancelled"
  end

  --- Takes the best run that anybody may claim: highest priority, then longest there. It is then running, this process
  --- owns it, and its record is live.
  --- Raises for unknown options and wrong types. Fails with invalid_request, limit_too_large and what writing fails
  --- with.
  ---@param options? { threads?: string[], handlers?: string[], limit?: integer } threads: only runs of these; handlers:
  --- only runs with one of these, "default" for those without one; limit: blocked lines that are looked at, 1 to 1000,
  --- the default
  ---@return keel.Run? run nil when there is none to take
  ---@return keel.Error? err
  function Manager:claim_next(options)
    options = check.options(options, { threads = "table", handlers = "table", limit = "integer" }, 1, "claim_next")
    for _, name in ipairs { "threads", "handlers" } do
      for _, id in ipairs(options[name] or {}) do
        if type(id) ~= "string" then
          error(("bad argument #1 to 'claim_next' (option '%s' must be a list of strings; it has a %s)"):format(name,
            type(id)), 2)
        end
      end
    end
    local row, err = self._client:call("claim_next",
      { threads = options.threads, handlers = options.handlers, limit = options.limit, lease_ttl = self._lease })
    if not row then return nil, err end
    -- It may have been lost here and given back before a heartbeat noticed: whoever works on it has to stop.
    local former = self._live:get(row.run_id)
    local record = LiveRuns.equip(row, false)
    self._live:add(record)
    if former then self:_abort(former, former.cancel_action) end
    return record
  end
end
