--- Finds the run that an idempotency key was used for.
local errors = require "keel.errors"
local kernel = require "keel.kernel"
local recovery = require "keel.recovery"

-- Whether a run leaves its key to the next: its owner was lost, so nobody knows that it ran to its end; the newcomer is
-- another try of it; or only a success counts for the newcomer.
local function leaves_key(run, request)
  if run.run_id == request.fields.retry_of then return true end
  if run.stop_reason == "orphan_recovered" then return kernel.final[run.status] end
  return request.key_until == "success" and kernel.final[run.status] and run.status ~= "success"
end

--- The run that was made with the request's key, if there is one that counts. One whose owner is gone is recovered
--- first.
---@param tx keel.Transaction
---@param context table
---@param request table
---@return table|false? run
---@return keel.Error? err
return function(tx, context, request)
  local fields = request.fields
  if not fields.idempotency_key then return false end
  local run, err = tx:find_by_key(fields.idempotency_key, { user_id = fields.user_id })
  if run and not kernel.final[run.status] then
    local taken
    taken, err = recovery.take(tx, context, run)
    if taken == nil then return nil, err end
    if taken then run, err = tx:find_by_key(fields.idempotency_key, { user_id = fields.user_id }) end
  end
  if not run then
    if err then return nil, err end
    return false
  end
  if leaves_key(run, request) then return false end
  if run.thread_id ~= request.thread_id or run.idempotency_hash ~= fields.idempotency_hash then
    local what = run.thread_id ~= request.thread_id and "on another thread" or "with other contents"
    return nil, errors.new("idempotency_mismatch",
      ("the idempotency key was used %s, for run %s"):format(what, run.run_id), { run_id = run.run_id })
  end
  return run
end
