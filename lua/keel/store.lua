--- What of a store is better said in Lua.
local kernel = require "keel.kernel"
local Lease = require "keel.lease"

local methods = kernel.store_methods

--- Runs fn(tx) in a writing transaction: commits when fn returns, rolls back when it raises (the error passes through)
--- or returns nil and an error. fn cannot yield.
--- Fails with what begin, commit or fn fail with.
---@generic T
---@param fn fun(tx: keel.Transaction): T?, keel.Error?
---@return T? ... what fn returned; true when it returned nothing
---@return keel.Error? err
function methods:transaction(fn)
  if type(fn) ~= "function" then
    error("bad argument #1 to 'transaction' (function expected, got " .. type(fn) .. ")", 2)
  end
  local tx, err = self:begin()
  if not tx then return nil, err end
  local results = table.pack(kernel.pcall(fn, tx))
  if not results[1] then
    tx:rollback()
    error(results[2], 0)
  end
  if results[2] == nil and results[3] ~= nil then
    tx:rollback()
    return nil, results[3]
  end
  local committed
  committed, err = tx:commit()
  if not committed then return nil, err end
  if results.n == 1 then return true end
  return table.unpack(results, 2, results.n)
end

--- Grants a name to this store's session, until it is released, expires, or the session ends. Raises for wrong types.
--- Fails with lease_held (owner, expires_at), also when this session holds it, and invalid_request (name, ttl, owner).
---@param name string id
---@param options { ttl: number, owner?: string } ttl: seconds, more than 0; owner: what others see, default the store's
---@return keel.Lease? lease
---@return keel.Error? err
function methods:lease(name, options)
  return Lease.acquire(self, name, options)
end

return methods
