--- Starting and claiming runs through the gate.
local LiveRuns = require "keel.manager.live_runs"
local check = require "keel.check"
local clearing = require "keel.manager.clearing"
local errors = require "keel.errors"

-- Starts a run, clearing away what may be. Returns what was found and written, and the gate.
local function start_after_clearing(self, run_id, thread_id, fence)
  self.context:refresh_policies()
  local started, err = self.client:transaction("try_start", function(tx)
    local found, written, gate
    local cleared = {}
    for _ = 1, clearing.MAX do
      found, written, gate = tx:start(run_id, fence, self.context.lease)
      if found == nil then return nil, written end
      if not gate then break end
      local some, failure = clearing.clear(self, tx, gate, thread_id, cleared, self.context, {})
      if some == nil then return nil, failure end
      if not some then break end
    end
    return { found = found, written = written, gate = gate, cleared = cleared }
  end)
  if not started then return nil, err end
  self.writer:refresh_all(started.cleared)
  return started.found, started.written, started.gate
end

local function start(self, row)
  local run_id, fence = row.run_id, row.fence
  local found, written, gate = self.client:call("start", run_id, fence, self.context.lease)
  if gate and clearing.may_clear(self, gate, row.thread_id) then
    return start_after_clearing(self, run_id, row.thread_id, fence)
  end
  return found, written, gate
end

---@class keel.manager.Starting: keel.ManagerCore
local Starting = {}

--- Starts a pending run of this session, unless it was cancelled or has to wait. What it waits for and has no right
--- to be in the way any more is recovered first.
--- Fails with not_found, stale_owner, invalid_transition (it has started or ended) and what writing fails with.
---@param run_id string
---@return "started"|"cancelled"|"waiting"|nil verdict
---@return keel.Error? err
function Starting:try_start(run_id)
  check.type(run_id, "string", 1, "try_start")
  local row, record, err = self.writer:to_write(run_id)
  if not row then return nil, err end
  if not record and row.status == "pending" then
    err = self.writer:not_startable(row)
    if err then return nil, err end
  end
  local found, written, gate = start(self, row)
  if found == false then return nil, errors.no_run(run_id) end
  if found == nil then
    if record then self.writer:refresh(record) end
    if written.code == "invalid_transition" and written.from == "interrupted" then return "cancelled" end
    return nil, written
  end
  if gate then return "waiting" end
  local status = written.status
  if record then
    self.writer:apply(record, written)
    if status ~= "running" then self.writer:abort(record, record.cancel_action) end
  end
  return status == "running" and "started" or "cancelled"
end

--- Takes the best run that anybody may claim: highest priority, then longest there. It is then running, this process
--- owns it, and its record is live.
--- Raises for unknown options and wrong types. Fails with invalid_request (lease_ttl), limit_too_large and what writing
--- fails with.
---@param options? { threads?: string[], handlers?: string[], limit?: integer, lease_ttl?: number } threads: only runs
--- of these; handlers: only runs with one of these, "default" for those without one; limit: blocked lines that are
--- looked at, 1 to 1000, the default; lease_ttl: seconds after which it is lost unless a heartbeat renews it, in place
--- of the manager's, whose lease_grace is added
---@return keel.Run? run nil when there is none to take
---@return keel.Error? err
function Starting:claim_next(options)
  options = check.options(options, { threads = "table", handlers = "table", limit = "integer", lease_ttl = "number" },
    1, "claim_next")
  for _, name in ipairs { "threads", "handlers" } do
    for _, id in ipairs(options[name] or {}) do
      if type(id) ~= "string" then
        error(("bad argument #1 to 'claim_next' (option '%s' must be a list of strings; it has a %s)"):format(name,
          type(id)), 2)
      end
    end
  end
  local bad = check.duration(options.lease_ttl, "lease_ttl", true)
  if bad then return nil, bad end
  local lease = self.context.lease
  if options.lease_ttl then
    lease = options.lease_ttl + self.context.lease_grace
    self.own_leases = true -- before anything yields: a heartbeat must not give it another
  end
  local row, err = self.client:call("claim_next",
    { threads = options.threads, handlers = options.handlers, limit = options.limit, lease_ttl = lease })
  if not row then return nil, err end
  -- It may have been lost here and given back before a heartbeat noticed: whoever works on it has to stop.
  local former = self.live:get(row.run_id)
  local record = LiveRuns.equip(row, false)
  self.live:add(record)
  if former then self.writer:abort(former, former.cancel_action) end
  return record
end

return Starting
