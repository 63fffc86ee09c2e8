--- Reservations: a thread held for something that is no run.
local check = require "keel.check"
local errors = require "keel.errors"
local in_flight = require "keel.admission.inflight"
local kernel = require "keel.kernel"

local kinds = { checkpoint_write = true, artifact_write = true, delete = true }

local function busy(thread_id, row)
  local what = row.operation_kind == "run" and "run" or "the reservation"
  return errors.new("conflict", ("thread %s is busy with %s %s"):format(thread_id, what, row.run_id),
    { thread_id = thread_id, run_id = row.run_id })
end

-- Holds the thread, in one transaction with the look at what is on it.
local function hold(self, thread_id, kind)
  local run_id, err = kernel.new_id()
  if not run_id then return nil, err end
  local session_id
  session_id, err = self.client:session_id()
  if err then return nil, err end
  self.context:refresh_policies()
  local held
  held, err = self.client:transaction_on({ thread_id = thread_id }, "reserve", function(tx)
    local inflight, failure = in_flight.read(self.context, tx, thread_id)
    if not inflight then return nil, failure end
    local blocker = inflight.reservation or inflight.runs[1]
    for _, id in ipairs(inflight.finalizing) do
      local settled
      settled, failure = tx:settle(id, { settle_timeout = self.context.settle_timeout })
      if settled == nil then return nil, failure end
      blocker = blocker or not settled and { run_id = id, operation_kind = "run" } or nil
    end
    if blocker then return nil, busy(thread_id, blocker) end
    local ok
    ok, failure = tx:put(run_id, { thread_id = thread_id, status = "running", operation_kind = kind,
      session_id = session_id, lease_expires_at = self.context:lease_end() }, { operation_kind = kind })
    if not ok then return nil, failure end
    return true
  end)
  if not held then return nil, err end
  return run_id
end

---@class keel.manager.Reserving: keel.ManagerCore
local Reserving = {}

--- Runs fn() while the thread is held for an operation that is no run: guarded create is refused on it meanwhile,
--- whatever the strategy. Held or busy threads are refused. What fn raises is raised, after the thread is free again.
--- fn may yield. If this process dies, the reservation ends with it.
--- Raises for wrong types. Fails with conflict (thread_id, run_id), invalid_request (kind, thread_id) and what
--- writing fails with; then fn was not called.
---@param thread_id string
---@param kind "checkpoint_write"|"artifact_write"|"delete"
---@param fn fun(): ...
---@return any ... what fn returned
function Reserving:reserve(thread_id, kind, fn)
  check.type(thread_id, "string", 1, "reserve")
  check.type(kind, "string", 2, "reserve")
  check.type(fn, "function", 3, "reserve")
  if not kinds[kind] then
    return nil, errors.new("invalid_request", "kind must be one of: checkpoint_write, artifact_write, delete",
      { field = "kind" })
  end
  local run_id, err = hold(self, thread_id, kind)
  if not run_id then return nil, err end
  local results = table.pack(pcall(fn))
  if results[1] then
    self.reservations:release(run_id, "success")
    return table.unpack(results, 2, results.n)
  end
  self.reservations:release(run_id, "error", errors.text(results[2]))
  error(results[2], 0)
end

return Reserving
