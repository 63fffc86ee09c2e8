--- What of a store is better said in Lua.
local kernel = require "keel.kernel"

local methods = kernel.store_methods

--- Runs fn(tx) in a writing transaction: commits when fn returns, rolls back when it raises (the error passes through) or
--- returns nil and an error. fn cannot yield.
--- Fails with what begin, commit or fn fail with.
---@generic T
---@param fn fun(tx: keel.Transaction): T?, keel.Error?
---@return T? result what fn returned; true when it returned nothing
---@return keel.Error? err
function methods:transaction(fn)
  if type(fn) ~= "function" then
    error("bad argument #1 to 'transaction' (function expected, got " .. type(fn) .. ")", 2)
  end
  local tx, err = self:begin()
  if not tx then return nil, err end
  local ok, result, failure = kernel.pcall(fn, tx)
  if not ok then
    tx:rollback()
    error(result, 0)
  end
  if result == nil and failure ~= nil then
    tx:rollback()
    return nil, failure
  end
  local committed, commit_error = tx:commit()
  if not committed then return nil, commit_error end
  if result == nil then result = true end
  return result
end

return methods
