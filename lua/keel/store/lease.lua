--- A lease: a name with one holder, and a token that grows with every grant of the name.
local check = require "keel.check"

---@class keel.Lease
---@field name string
---@field token integer the fencing token: greater than that of every earlier grant of the name
---@field owner string the name that others see
---@field expires_at string time; when it ends unless it is renewed
---@field private _store keel.Store
---@field private _over boolean released: closing does nothing
local Lease = { __name = "keel.lease" }
Lease.__index = Lease

--- Acquires a name; see keel.Store.lease.
---@param store keel.Store
---@param name string
---@param options? { ttl?: number, owner?: string }
---@return keel.Lease? lease
---@return keel.Error? err
local function acquire(store, name, options)
  check.type(name, "string", 1, "lease")
  options = check.options(options, { ttl = "number", owner = "string" }, 2, "lease")
  local grant, err = store:acquire_lease(name, options)
  if not grant then return nil, err end
  return setmetatable({
    name = grant.name, token = grant.token, owner = grant.owner, expires_at = grant.expires_at,
    _store = store, _over = false,
  }, Lease)
end

--- Lets the lease run for ttl seconds from now. One that has expired is renewed too, if nobody was granted the name
--- since. Fails with stale_owner (the lease was released, or granted to somebody else), invalid_request (ttl).
---@param ttl number seconds, more than 0
---@return true? done expires_at is the new end
---@return keel.Error? err
function Lease:renew(ttl)
  if ttl ~= nil then check.type(ttl, "number", 1, "renew") end
  local expires_at, err = self._store:renew_lease(self.name, self.token, ttl)
  if not expires_at then return nil, err end
  self.expires_at = expires_at
  return true
end

--- Frees the name at once. Fails with stale_owner: it is not this lease's any more.
---@return true? done
---@return keel.Error? err
function Lease:release()
  local done, err = self._store:release_lease(self.name, self.token)
  if not done then return nil, err end
  self._over = true
  return true
end

--- Asks the store whether the lease still holds: its token is the newest, and it has neither been released nor expired.
---@return boolean? held
---@return keel.Error? err
function Lease:held()
  local newest, err = self._store:get_lease(self.name)
  if err then return nil, err end
  return newest ~= nil and newest.token == self.token and newest.held
end

--- Releases the lease if it is still held; safe to call again. What keeps it from being released is told to the store's
--- log: the lease then ends by itself. Leaving the scope of a `local lease <close>` does the same. The collector does
--- not: it must not write.
function Lease:close()
  if self._over then return end
  self._over = true
  -- A store that is closed has ended the lease, and a forked child has none: these raise.
  local called, done, err = pcall(self.release, self)
  if called and not done and err.code ~= "stale_owner" then
    self._store:log("warn", "a lease could not be released", { lease = self.name, token = self.token, error = err })
  end
end

Lease.__close = Lease.close

function Lease:__tostring()
  return ("keel.lease (%s, token %d)"):format(self.name, self.token)
end

check.methods(Lease, "_store")

return { acquire = acquire }
