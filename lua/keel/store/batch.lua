--- The calls that share one commit, and what becomes of them.
---
--- A call has `method`, its arguments in order and their number `n`, the `thread` that waits for it and, once it is
--- `settled`, what pcall gives: `ok`, and `first`, `second` and `third`, as no operation has more results. All of it is
--- in one table: there are three calls a run, and a table costs as much as a call. One of `begin` is handed a
--- transaction: its thread goes on inside the batch until it commits or rolls back, both of which wait for the end of
--- the batch.
local errors = require "keel.errors"

local unpack = table.unpack

---@class keel.CommitBatch
---@field calls table[]
local Batch = {}
Batch.__index = Batch

--- How many calls share a commit at most: other processes wait for the lock meanwhile.
Batch.MAX = 256

---@param calls table[]
function Batch.new(calls)
  return setmetatable({ calls = calls, _alone = #calls == 1, _undone = {}, _failure = nil }, Batch)
end

local function settle(call, ok, first, second, third)
  call.settled, call.ok, call.first, call.second, call.third = true, ok, first, second, third
end

--- Waits for the results of a call; of `begin`, for the transaction.
function Batch.await(call)
  call.waits = true
  repeat coroutine.yield() until call.settled
  call.waits = false
  if not call.ok then error(call.first, 0) end
  if call.third ~= nil then return call.first, call.second, call.third end
  if call.second ~= nil then return call.first, call.second end
  return call.first
end

-- --- A transaction inside the batch ---------------------------------------------------------------------------------

local Transaction = { __name = "keel.shared_transaction" }

local function is_open(tx)
  return tx._call.state == "open"
end

-- Waits for what has become of the whole batch.
local function await_end(call)
  call.settled = false
  return Batch.await(call)
end

local ending = {}

function ending:commit()
  if not is_open(self) then error("bad argument #1 to 'commit' (the transaction is over)", 2) end
  if not coroutine.isyieldable() then error("a shared commit waits: call it where the coroutine may yield", 2) end
  self._call.state = "commit"
  return await_end(self._call)
end

function ending:rollback()
  if not is_open(self) then return end
  self._call.state = "rollback"
  self._undo()
  -- Until the others are done the store is busy. Inside a function that cannot yield it is so anyway.
  if coroutine.isyieldable() and coroutine.running() == self._call.thread then await_end(self._call) end
end

ending.close = ending.rollback

local forwarders = setmetatable({}, { __index = function(map, name)
  local function forward(self, ...)
    if not is_open(self) then error(("bad argument #1 to '%s' (the transaction is over)"):format(name), 2) end
    return self._tx[name](self._tx, ...)
  end
  map[name] = forward
  return forward
end })

function Transaction:__index(name)
  return ending[name] or self._tx[name] and forwarders[name]
end

function Transaction:__close()
  self:rollback()
end

function Transaction:__tostring()
  return "keel.shared_transaction (" .. (is_open(self) and "open" or "over") .. ")"
end

-- --- Running --------------------------------------------------------------------------------------------------------

-- Lets the thread of a `begin` go on with a transaction until it ends it. Returns whether to keep what it did.
local function hand_over(self, tx, call, undo)
  if coroutine.status(call.thread) ~= "suspended" then -- closed by its host meanwhile
    call.state = "over"
    return false
  end
  call.state = "open"
  settle(call, true, setmetatable({ _call = call, _tx = tx, _undo = undo }, Transaction))
  local ok, err = coroutine.resume(call.thread)
  if not ok then self._failure = self._failure or err end
  call.settled = false
  if call.state == "commit" then
    settle(call, true, true)
    return true
  end
  if call.state == "rollback" then
    settle(call, true)
    return false
  end
  call.state = "over"
  return false -- it has died, or waits for something else: what it did must not be committed behind its back
end

-- Runs a call of an operation. Returns whether it succeeded.
local function run_plain(tx, call)
  settle(call, pcall(tx[call.method], tx, unpack(call, 1, call.n)))
  return call.ok and (call.first ~= nil or call.second == nil)
end

-- Runs a call so that it can be undone alone. Returns false when the transaction is lost to all.
local function run_apart(self, tx, call)
  local mark = tx:savepoint()
  if not mark then return false end
  local keep
  if call.method == "begin" then
    keep = hand_over(self, tx, call, function() tx:rollback_to(mark) end)
    if call.state == "rollback" then return true end -- undone already; were that lost, the next step finds out
  else
    keep = run_plain(tx, call)
  end
  return (keep and tx:release(mark) or not keep and tx:rollback_to(mark)) ~= nil
end

-- Whether a transaction is good after a call that failed: a refused one has written nothing.
local function is_good(tx)
  local mark = tx:savepoint()
  return mark and tx:release(mark) and true or false
end

-- Runs the operations under one savepoint: keeping a savepoint of its own for each costs as much again as what they do,
-- as SQLite copies every page for it. When one fails half-way all of them are undone, and run again one by one.
local function run_together(self, tx, calls)
  local mark = tx:savepoint()
  if not mark then return false end
  for _, call in ipairs(calls) do
    if not run_plain(tx, call) and not is_good(tx) then
      if not tx:rollback_to(mark) then return false end
      for _, again in ipairs(calls) do
        if not run_apart(self, tx, again) then return false end
      end
      return true
    end
  end
  return tx:release(mark) ~= nil
end

-- Runs a call that nobody shares the transaction with. Returns whether there is something to commit.
local function run_alone(self, tx, call)
  if call.method ~= "begin" then return run_plain(tx, call) end
  return hand_over(self, tx, call, function() tx:rollback() end) and call.state == "commit"
end

local function run_all(self, tx)
  local plain, begins = {}, {}
  for _, call in ipairs(self.calls) do
    local list = call.method == "begin" and begins or plain
    list[#list + 1] = call
  end
  if #plain > 0 and not run_together(self, tx, plain) then return false end
  for _, call in ipairs(begins) do
    if not run_apart(self, tx, call) then return false end
  end
  return true
end

-- The commit did not come to pass, for whatever reason: nobody has written anything.
local function lose(self, err)
  local lost = errors.new("busy",
    "what was to share a commit with others was undone, and can be tried again: " .. tostring(err))
  for _, call in ipairs(self.calls) do
    if self._alone then
      settle(call, true, nil, err)
    elseif call.method ~= "begin" then
      call.settled = false
      table.insert(self._undone, call)
    elseif call.state == nil or call.state == "commit" then -- the others have undone theirs before
      settle(call, true, nil, lost)
    end
  end
end

-- What the transaction has changed besides is told to one of the calls: it is as good as another.
local function tell(self, changed)
  for _, call in ipairs(self.calls) do
    if call.method == "begin" and call.state == "commit" then
      call.second = changed
      return
    elseif call.method ~= "begin" and call.ok and call.third == nil then
      call.third = changed
      return
    end
  end
end

--- Runs all calls in a transaction, and ends it.
---@param tx keel.Transaction
---@return boolean? committed
function Batch:run(tx)
  local answered, ok
  if self._alone then answered, ok = pcall(run_alone, self, tx, self.calls[1])
  else answered, ok = pcall(run_all, self, tx) end
  if answered and ok then
    local err
    answered, ok, err = pcall(tx.commit, tx)
    if answered and ok then
      if err ~= nil then tell(self, err) end
      return true
    end
    return lose(self, errors.from(answered and err or ok))
  end
  pcall(tx.rollback, tx) -- the store may have been closed meanwhile
  if not answered then return lose(self, errors.from(ok)) end
  if not self._alone then lose(self, errors.new("io", "the database has ended the transaction")) end
end

--- The calls to be run again, each alone: what they did was undone by no fault of theirs.
---@return table[]
function Batch:undone()
  return self._undone
end

--- There was no transaction: all calls are told.
---@param answered boolean false: it was raised
---@param err any
function Batch:fail(answered, err)
  for _, call in ipairs(self.calls) do
    if answered then settle(call, true, nil, err) else settle(call, false, err) end
  end
end

--- Lets the threads go on. Returns the first error that one of them raised.
---@return any failure
function Batch:resume()
  for _, call in ipairs(self.calls) do
    if call.waits and call.settled and coroutine.status(call.thread) == "suspended" then
      local ok, err = coroutine.resume(call.thread)
      if not ok then self._failure = self._failure or err end
    end
  end
  return self._failure
end

return Batch
