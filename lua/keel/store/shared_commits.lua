--- One commit for what many coroutines write in one iteration of a host's loop.
---
--- A store in front of a store, with the same methods. What coroutines write is queued; once an iteration all of it
--- runs in one writing transaction, with savepoints, so that a call that fails does not end the others. The coroutines
--- go on when the commit has succeeded, and not before: what a call acknowledges is as durable as without sharing.
--- Reads go straight to the store, and so does everything that is not called in a coroutine.
local Batch = require "keel.store.batch"
local answers = require "keel.store.answers"
local check = require "keel.check"
local kernel = require "keel.kernel"
local methods = require "keel.store"

---@class keel.SharedCommits: keel.Store
---@field flush fun(self: keel.SharedCommits) ends an iteration
---@field _store table the store behind
---@field _queue table[] calls that wait for the next iteration, in order
local SharedCommits = {}
SharedCommits.__name = "keel.shared_commits"

local isyieldable, running = coroutine.isyieldable, coroutine.running

local LOCK_TIMEOUT = 5               -- seconds, as a store's own
local STEP, STEP_LAST = 0.001, 0.005 -- seconds between two tries at the write lock, or two looks for events

local own = {} -- methods that are not the store's

-- The coroutine that a call is one of, if it can wait for the iteration. Not between a begin and its commit: the store
-- then says that it is busy.
local function sharer(self)
  if self._batch or not isyieldable() then return nil end
  local thread, shares = running(), self._shares
  return (shares == nil or shares(thread)) and thread or nil
end

-- Calls the store itself.
local function direct(self, name, ...)
  local store, seconds = self._store, self._at_most
  if seconds then
    self._at_most = false
    store:wait_at_most(seconds)
  end
  return store[name](store, ...)
end

local function schedule(self)
  if self._scheduled or self._busy or #self._queue == 0 then return end
  self._scheduled = true
  if self._defer then self._defer(function() self:flush() end) end
end

-- Queues a call and waits until it has results. What resumes the coroutine for other reasons does not hurry it.
local function enqueue(self, call)
  local queue = self._queue
  queue[#queue + 1], self._at_most = call, false -- it waits for its iteration, which has a lock_timeout of its own
  schedule(self)
  return Batch.await(call)
end

-- What is worth sharing: the operations that commit.
for name in pairs(kernel.writes) do
  own[name] = function(self, ...)
    local thread = sharer(self)
    if not thread then return direct(self, name, ...) end
    return enqueue(self, { method = name, thread = thread, waits = false, settled = false, ok = false, first = nil,
      second = nil, third = nil, n = select("#", ...), ... })
  end
end

--- Begins a transaction that shares its commit: it goes on inside the iteration, and may not yield before commit or
--- rollback, both of which wait for the end of the iteration.
function own:begin(options)
  local thread = sharer(self)
  if not thread then return direct(self, "begin", options) end
  return enqueue(self, { method = "begin", thread = thread, n = 0 })
end

--- The store's, for the next call; it is told when that is not shared.
function own:wait_at_most(seconds)
  if not (type(seconds) == "number" and seconds >= 0) then return self._store:wait_at_most(seconds) end -- which raises
  self._at_most = seconds
end

own.transaction, own.lease = methods.transaction, methods.lease

--- Waits as the host said; what is not shared waits as the store does, and one that does not know how blocks.
function own:sleep(seconds)
  if self._sleep and sharer(self) then return self._sleep(seconds) end
  if self._store.sleep then return self._store:sleep(seconds) end
  kernel.sleep(seconds)
end

--- As the store's, but a coroutine waits without holding up the thread, even if the store was given no `sleep`.
function own:wait_events(cursor, options)
  local timeout = options and options.timeout or math.huge
  if not (self._sleep and sharer(self) and math.type(timeout) and timeout >= 0) then
    return direct(self, "wait_events", cursor, options)
  end
  self._at_most = false -- it waits for no lock
  local deadline, step = kernel.monotonic() + timeout, STEP
  while true do
    local ready, err = self._store:wait_events(cursor, { timeout = 0 })
    local left = deadline - kernel.monotonic()
    if ready or left <= 0 or (ready == nil and err.code ~= "busy") then return ready, err end
    self._sleep(math.min(step, left))
    step = math.min(step * 1.25, STEP_LAST)
  end
end

-- --- The iteration --------------------------------------------------------------------------------------------------

-- The writing transaction of an iteration. The host's sleep waits for the lock, else the store waits as it was told to.
local function begin(self)
  if not self._sleep then return self._store:begin() end
  local deadline, step = kernel.monotonic() + self._lock_timeout, STEP
  while true do
    local tx, err = self._store:begin { wait = false }
    if tx or err.code ~= "busy" then return tx, err end
    if kernel.monotonic() >= deadline then -- a server that was asked would give it some day
      if type(self._store) == "userdata" then self._store:wait_at_most(0) end
      return self._store:begin()
    end
    kernel.sleep_through(self._sleep, step)
    step = math.min(step * 1.25, STEP_LAST)
  end
end

local function take(self, count)
  local queue, taken = self._queue, {}
  table.move(queue, 1, math.min(count, #queue), 1, taken)
  self._queue = table.move(queue, #taken + 1, #queue, 1, {})
  return taken
end

-- Runs a batch in a transaction, and tells which events that has written, if the store can say.
local function run(self, batch, tx)
  if not (batch:run(tx) and self._on_commit and type(self._store) == "userdata") then return end
  local from, to = kernel.committed_events(self._store)
  if from then self._on_commit(batch.calls, from, to) end
end

-- Runs what is queued and has room in one transaction.
local function iterate(self)
  local waiting = #self._queue
  local ok, tx, err = pcall(begin, self)
  local batch
  if ok and tx then
    batch = Batch.new(take(self, Batch.MAX))
    self._batch = batch
    run(self, batch, tx)
    self._batch = false
    -- Something ended the transaction for all: each call has one of its own, and is told how that went.
    for _, call in ipairs(batch:undone()) do
      local one = Batch.new { call }
      ok, tx, err = pcall(begin, self)
      if ok and tx then run(self, one, tx) else one:fail(ok, ok and err or tx) end
    end
  else -- those that came while this waited for the lock have not had their time
    batch = Batch.new(take(self, waiting))
    batch:fail(ok, ok and err or tx)
  end
  self._busy = false
  local failure = batch:resume()
  schedule(self)
  if failure then error(failure, 0) end
end

--- Runs what was queued, up to 256 calls, in one transaction: the end of an iteration, for hosts that gave no `defer`.
--- While it waits for another writer, in a coroutine of its own, it does nothing.
--- Raises what a coroutine raised that went on, after all have gone on.
function own:flush()
  self._scheduled = false
  if self._busy or #self._queue == 0 then return end
  self._busy = true
  local thread = coroutine.create(iterate)
  local ok, err = coroutine.resume(thread, self)
  if not ok then
    self._busy, self._batch = false, nil
    error(err, 0)
  end
end

-- --- The rest is the store's ----------------------------------------------------------------------------------------

local forwarders = setmetatable({}, { __index = function(map, name)
  local function forward(self, ...)
    return direct(self, name, ...)
  end
  map[name] = forward
  return forward
end })

-- What is here whatever the store behind has. A store in other clothes need not have the rest.
local always = { flush = true, transaction = true, lease = true, sleep = true }

-- What a store has under a name.
local function member_of(self, name)
  if own[name] and (always[name] or self._store[name]) then return own[name] end
  if type(name) == "string" and name:find "^_" then return nil end
  local member = self._store[name]
  return type(member) == "function" and forwarders[name] or member
end

function SharedCommits:__index(name)
  local member = member_of(self, name)
  -- Keel's own store has its methods for ever; one in other clothes may get others.
  if type(self._store) == "userdata" and type(member) == "function" then rawset(self, name, member) end
  return member
end

function SharedCommits:__close()
  self._store:close()
end

function SharedCommits:__tostring()
  return "keel.shared_commits of " .. tostring(self._store)
end

local known = { defer = "callable", sleep = "callable", shares = "callable", lock_timeout = "number" }

--- Puts a store in front of a store that lets coroutines share commits. It is used like the store, by a manager too.
--- Raises for unknown options and wrong types, and for a negative lock_timeout.
---@param store keel.Store|table
---@param options? { defer?: fun(fn: function), sleep?: fun(seconds: number), shares?: fun(thread: thread): boolean,
--- lock_timeout?: number } defer: calls fn once, at the end of this iteration of the host's loop; nil: the host calls
--- flush(). sleep: how a coroutine waits; nil: as the store does. shares: whether a coroutine's calls are shared; nil:
--- those of all that may yield. lock_timeout: seconds an iteration waits for other writers through `sleep`; default 5
---@return keel.SharedCommits
local function new(store, options)
  check.type(store, "userdata|table", 1, "shared_commits")
  options = check.options(options, known, 2, "shared_commits")
  local in_time = (options.lock_timeout or 0) >= 0 -- false for NaN as well
  if not in_time then
    error("bad argument #2 to 'shared_commits' (option 'lock_timeout' must be at least 0)", 2)
  end
  return setmetatable({
    _store = answers.settle(store),
    _queue = {},
    _busy = false,      -- an iteration runs, or waits for the lock
    _scheduled = false, -- the end of the iteration has been asked for
    _at_most = false,   -- seconds that the next call may wait
    _batch = false,     -- the one whose transaction is open
    _defer = options.defer or false,
    _sleep = options.sleep or false,
    _shares = options.shares,
    _lock_timeout = options.lock_timeout or LOCK_TIMEOUT,
    _on_commit = false, -- told which calls were committed
  }, SharedCommits)
end

--- Whether an object is one of these.
local function is(object)
  return getmetatable(object) == SharedCommits
end

--- Whether an object is a store of Keel's own, or one of these in front of one.
local function is_own(object)
  return type(object) == "userdata" or is(object) and type(object._store) == "userdata"
end

--- For who drives the coroutines himself: has fn told of each commit before they go on, its calls and the ids of their
--- events, from the first on and below the second; of none that has written no event, nor of a store in other clothes.
---@param shared keel.SharedCommits
---@param fn fun(calls: table[], from: integer, to: integer)
local function tell_commits(shared, fn)
  shared._on_commit = fn
end

return { new = new, is = is, is_own = is_own, tell_commits = tell_commits }
