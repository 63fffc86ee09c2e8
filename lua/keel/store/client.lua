--- How a manager talks to its store: any object with the methods. What it raises counts as an error it returned; what
--- is transient is tried again, by the retry policy, through the wait of the store's host.
local SharedCommits = require "keel.store.shared_commits"
local answers = require "keel.store.answers"
local errors = require "keel.errors"
local kernel = require "keel.kernel"

---@class keel.StoreClient
---@field on_changed? fun(ids: string[]) hears of runs of this session that a call has changed besides its own
local Client = {}
Client.__index = Client

--- Seconds that a call may wait in all, unless it is told otherwise.
Client.MAX_WAIT = 5

local function member(object, name) return object[name] end

-- A method that a store in other clothes need not have.
local function optional(store, name)
  local ok, method = pcall(member, store, name)
  return ok and method or nil
end

---@param store table|keel.Store
---@param retry keel.RetryPolicy
---@param log? fun(level: string, message: string, fields: table)
---@param max_wait? number seconds that a call may wait, over all tries and for other writers; default 5
---@return keel.StoreClient
function Client.new(store, retry, log, max_wait)
  local client = setmetatable({ _retry = retry, _log = log, _own = nil, _max_wait = max_wait or Client.MAX_WAIT },
    Client)
  client:use(store)
  return client
end

--- Talks to another object from now on, one in front of the same store.
---@param store table|keel.Store
function Client:use(store)
  if not SharedCommits.is(store) then store = answers.settle(store) end
  self.store, self._now, self._bound = store, optional(store, "now"), optional(store, "wait_at_most")
  self._is_own = SharedCommits.is_own(store) -- nothing of it raises when it is looked at
  local tell = self._log and optional(store, "tell_damage")
  if tell then pcall(tell, store, self._log) end -- a store that was closed has nothing to tell
end

--- The store that an option gave: an object, or a uri that is opened. Raises when it is missing, and for an object
--- without the methods. Fails with what opening fails with.
---@param given table|keel.Store|string|nil
---@param name string the function's
---@param log? fun(level: string, message: string, fields: table) of a store that is opened here
---@return table|keel.Store? store
---@return keel.Error? err
function Client.open(given, name, log)
  local function misuse(problem) error(("bad argument #1 to '%s' (option 'store' %s)"):format(name, problem), 4) end
  if given == nil then
    misuse "is missing: give an open store, or a path to open; \":memory:\" keeps nothing beyond the process"
  end
  if type(given) == "string" then
    return kernel.open(given, { log = log and function(...) return log(...) end })
  end
  for _, method in ipairs { "put", "get" } do
    if not optional(given, method) then misuse(("has no method '%s'"):format(method)) end
  end
  return given
end

-- What is the store's failure, and not an answer.
local store_failures = { busy = true, closed = true, io = true, no_memory = true, store_corrupt = true,
  store_full = true, store_missing = true, replaced = true, store_readonly = true, store_version = true,
  not_supported = true }

--- Tells the host: through the manager's log, else through the store's. What that raises is dropped: what was written
--- is written, and telling of it is not worth losing the answer.
---@param level "info"|"warn"|"error"
---@param message string
---@param fields table
function Client:log(level, message, fields)
  if self._log then
    pcall(self._log, level, message, fields)
    return
  end
  local log = optional(self.store, "log")
  if log then pcall(log, self.store, level, message, fields) end
end

-- What a method has come to, by what pcall gives of it: what it raises counts as an error it returned.
local function settled(ok, result, second, third)
  if not ok then
    local err = errors.from(result)
    if err.code == "forked" then error(err, 0) end -- no failure of the store, but a mistake of the host
    return nil, err
  end
  if result == nil and second ~= nil then return nil, errors.from(second) end
  return result, second, third
end

local function guarded(object, method, ...)
  local fn = optional(object, method)
  if fn == nil then return nil, errors.no_method(method) end
  return settled(pcall(fn, object, ...))
end

--- Waits as the store does; a store that does not know how blocks.
---@param seconds number
function Client:sleep(seconds)
  local sleep = optional(self.store, "sleep")
  if sleep then return sleep(self.store, seconds) end
  kernel.sleep(seconds)
end

local function wait(self, attempt, left)
  local retry = self._retry
  local seconds = retry:delay(attempt, retry.jitter > 0 and math.random() or 0)
  seconds = math.min(seconds, left)
  if retry.sleep then
    return kernel.sleep_through(retry.sleep, seconds, function(message) self:log("warn", message, {}) end)
  end
  self:sleep(seconds)
end

-- Tells who keeps records of runs which of them a call has changed besides the one that it was about. A gate, which is
-- a third result as well, is no list.
local function tell(self, changed)
  if self.on_changed and type(changed) == "table" and changed[1] then self.on_changed(changed) end
end

-- Goes on behind a first try: calls fn(...) again until its first result is not nil, or its error is not transient, or
-- the attempts are used up, or the time is over.
local function go_on(self, what, until_then, result, second, third, fn, ...)
  local attempt = 1
  while result == nil and errors.is_transient(second) and attempt < self._retry.max_attempts do
    local left = until_then - self.monotonic()
    if left <= 0 then break end
    self:log("warn", what .. " failed and is tried again", { attempt = attempt, error = tostring(second) })
    wait(self, attempt, left)
    if self._bound then self._bound(self.store, math.max(0, until_then - self.monotonic())) end
    result, second, third = fn(...)
    attempt = attempt + 1
  end
  if result == nil and second ~= nil and store_failures[second.code] then
    self:log("error", what .. " failed", { attempts = attempt, error = tostring(second) })
  end
  if third ~= nil then tell(self, third) end
  return result, second, third
end

-- When a call that begins now is to be over.
local function begin(self)
  if self._bound then self._bound(self.store, self._max_wait) end
  return self.monotonic() + self._max_wait
end

--- Calls a method of the store, once or as often as the retry policy says.
---@param method string
---@return any result nil when it failed, or gave nil
---@return any second the error, or the method's second result
function Client:call(method, ...)
  local store, until_then = self.store, begin(self)
  local fn = self._is_own and store[method] or optional(store, method)
  if fn == nil then return go_on(self, method, until_then, guarded(store, method)) end
  local ok, result, second, third = pcall(fn, store, ...)
  if ok and (result ~= nil or second == nil) then
    if third ~= nil then tell(self, third) end
    return result, second, third
  end
  result, second = settled(ok, result, second)
  return go_on(self, method, until_then, result, second, nil, guarded, store, method, ...)
end

-- One try at a transaction. A rehearsal keeps nothing.
local function transact(self, keep, scope, fn, ...)
  local tx, err = guarded(self.store, "begin", scope)
  if not tx then return nil, err end
  local ok, result, failure = kernel.pcall(fn, tx, ...)
  if ok and result ~= nil and not keep then
    tx:rollback()
    return result
  elseif ok and result ~= nil then
    local committed
    committed, err = guarded(tx, "commit")
    if committed then
      if err ~= nil then tell(self, err) end
      return result
    end
  else
    err = errors.from(ok and failure or result)
  end
  if err.code == "forked" then error(err, 0) end
  pcall(function() tx:rollback() end)
  return nil, err
end

-- The same once more: it may be another's by now.
local function again(self, keep, scope, fn, ...)
  local _, problem = self:session_id()
  if problem then return nil, problem end
  self._transacts = true
  local result, err = transact(self, keep, scope, fn, ...)
  self._transacts = false
  return result, err
end

-- Works off what a transaction has left of a large family: what was done is done, and a tick goes on as well.
local function catch_up(self)
  if self:has "is_behind" and self.store:is_behind() then self:call "catch_up" end
end

-- A transaction is somebody's: who it is is asked before, as all calls are busy in it.
local function transact_as(self, what, keep, scope, fn, ...)
  local _, problem = self:session_id()
  if problem then return nil, problem end
  local until_then = begin(self)
  self._transacts = true
  local result, err = transact(self, keep, scope, fn, ...)
  self._transacts = false
  if result == nil then
    result, err = go_on(self, what, until_then, result, err, nil, again, self, keep, scope, fn, ...)
  end
  if result ~= nil then catch_up(self) end
  return result, err
end

--- Runs fn(tx, ...) in a transaction, the whole of it once or as often as the retry policy says. fn returns a result,
--- which commits, or nil and an error, which rolls back; it cannot yield.
---@param what string for the log
---@param fn fun(tx: keel.Transaction, ...): any, keel.Error?
---@return any result
---@return keel.Error? err
function Client:transaction(what, fn, ...)
  return transact_as(self, what, true, nil, fn, ...)
end

--- The same for one that is about a thread, or a run and its thread: on a server others write elsewhere meanwhile.
---@param scope? { thread_id?: string, run_id?: string, idempotency_key?: string, user_id?: string } nil: anything
---@param what string for the log
---@param fn fun(tx: keel.Transaction, ...): any, keel.Error?
---@return any result
---@return keel.Error? err
function Client:transaction_on(scope, what, fn, ...)
  return transact_as(self, what, true, scope, fn, ...)
end

--- The same, but rolls back whatever fn did.
---@param what string for the log
---@param fn fun(tx: keel.Transaction, ...): any, keel.Error?
---@return any result
---@return keel.Error? err
function Client:rehearsal(what, fn, ...)
  return transact_as(self, what, false, nil, fn, ...)
end

--- Whether the store has a method.
---@param method string
---@return boolean
function Client:has(method)
  if self._is_own then return self.store[method] ~= nil end
  return optional(self.store, method) ~= nil
end

--- Seconds on a clock that nobody sets.
Client.monotonic = kernel.monotonic

-- Whether a session lasts as long as the handle: on a server it is its connection's, which can be lost.
local function lasts(store)
  local backend = optional(store, "backend")
  return not backend or backend(store) ~= "postgres"
end

--- The session that runs made through this store belong to; nil when it has none.
---@return integer? session_id
---@return keel.Error? err
function Client:session_id()
  if self._own ~= nil and (self._lasts or self._transacts) then return self._own end
  if self._lasts == nil then self._lasts = lasts(self.store) end
  if optional(self.store, "session_id") then
    local session_id, err = self:call("session_id")
    if session_id == nil then return nil, err end
    self._own = session_id
  end
  return self._own
end

--- Whether a session is there; when the store cannot say, it is not ruled out.
---@param session_id integer
---@return boolean alive
---@return boolean? undecided nothing here can tell
function Client:is_alive(session_id)
  if session_id == self._own and (self._lasts or self._transacts) then return true, false end
  if not optional(self.store, "session_alive") then return false end
  local alive, undecided = self:call("session_alive", session_id)
  return alive ~= false, undecided == true
end

--- Seconds that the lease of a run has still to go unrenewed; a store that does not know goes by its clock.
---@param row table
---@return number? seconds nil: it has no lease, or that is not known
function Client:lease_left(row)
  if not row.lease_expires_at then return nil end
  if optional(self.store, "lease_left") then return (self:call("lease_left", row.run_id)) end
  return math.max(0, kernel.time_seconds(row.lease_expires_at) - kernel.time_seconds(self:now()))
end

--- The time by the store's clock.
---@return string
function Client:now()
  if self._now then return self._now(self.store) end
  return kernel.now()
end

return Client
