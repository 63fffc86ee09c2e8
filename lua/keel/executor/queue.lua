--- The pending runs that a process owns, by thread, and which threads are worth a look.
---
--- A thread is looked at when something has changed on it, when the delay of one of its runs is over, and now and then
--- (`sweep`): nobody tells of the death of an owner. Looking starts the first run that may start.
local kernel = require "keel.kernel"

---@class keel.ExecutorQueue
---@field on_due? fun() told when a delay is over sooner than all before
local Queue = {}
Queue.__index = Queue

local LATER = 1 -- seconds until a thread is looked at again whose start has failed

---@param manager keel.RunManager
---@param client keel.StoreClient the manager's
---@param live keel.LiveRuns the manager's
function Queue.new(manager, client, live)
  return setmetatable({
    _manager = manager,
    _client = client,
    _live = live,
    _threads = {}, -- thread_id -> { runs = pending records, due = seconds?, listed = boolean, busy = boolean }
    _ready = {}, _first = 1, _last = 0, -- ids of threads to look at, a queue
  }, Queue)
end

--- Puts a thread among those to be looked at.
---@param thread_id string
---@return boolean whether it has runs that wait
function Queue:ready(thread_id)
  local thread = self._threads[thread_id]
  if not thread then return false end
  if thread.listed then return true end
  thread.listed = true
  self._last = self._last + 1
  self._ready[self._last] = thread_id
  return true
end

-- What more it may wait for than its thread.
local function is_limited(record)
  return record.slots ~= nil or record.rates ~= nil
end

--- Puts the threads among those to be looked at that have runs which may wait for others.
function Queue:ready_limited()
  for thread_id, thread in pairs(self._threads) do
    if thread.limited then self:ready(thread_id) end
  end
end

--- Takes up a pending run.
---@param record keel.Run
function Queue:add(record)
  local thread = self._threads[record.thread_id]
  if not thread then
    thread = { runs = { record }, due = nil, listed = false, busy = false, again = false }
    self._threads[record.thread_id] = thread
  else
    table.insert(thread.runs, record)
  end
  if is_limited(record) then self._threads[record.thread_id].limited = true end
  self:ready(record.thread_id)
end

--- Puts up to `max` threads among those to be looked at, one after the other.
---@param max integer
function Queue:sweep(max)
  local id = self._swept
  if id and not self._threads[id] then id = nil end
  for _ = 1, max do
    id = next(self._threads, id)
    if not id then break end
    self:ready(id)
  end
  self._swept = id
end

--- Puts the threads whose delay is over among those to be looked at.
---@param now number
function Queue:take_due(now)
  if not self._due or self._due > now then return end
  self._due = nil
  for thread_id, thread in pairs(self._threads) do
    if thread.due and thread.due <= now then
      thread.due = nil
      self:ready(thread_id)
    elseif thread.due then
      self._due = math.min(self._due or thread.due, thread.due)
    end
  end
end

local function wait_until(self, thread, time)
  thread.due = math.min(thread.due or time, time)
  if self._due and self._due <= time then return end
  self._due = time
  if self.on_due then self.on_due() end
end

--- When the next delay is over.
---@return number? seconds
function Queue:due()
  return self._due
end

-- The best first, equal ones as they were made: nearly always the order of the gate.
local function in_order(runs)
  if #runs < 2 then return runs end
  local sorted = table.move(runs, 1, #runs, 1, {})
  table.sort(sorted, function(a, b)
    local one, other = a.priority or 0, b.priority or 0
    if one ~= other then return one > other end
    return a.run_id < b.run_id
  end)
  return sorted
end

local function forget(thread, record)
  for i, other in ipairs(thread.runs) do
    if other == record then return table.remove(thread.runs, i) end
  end
end

--- Whether there are threads to be looked at.
---@return boolean
function Queue:has_ready()
  return self._first <= self._last
end

local gone = { stale_owner = true, invalid_transition = true, not_found = true }

-- Tries to start a run that is due. Returns "started" or "waiting", "failed" when the store has; else it is no more.
local function try(self, thread, record)
  local verdict, err = self._manager:try_start(record.run_id)
  if verdict == "waiting" then return verdict end
  if verdict == "started" or verdict == "cancelled" or gone[err.code] then
    forget(thread, record)
    return verdict
  end
  return "failed"
end

-- The run of this process that is first in the queue a run waits in, if another is.
local function head_of_queue(self, thread, record)
  local gate = self._client:call("gate", record.run_id)
  if not (gate and gate.gate == "queue") then return nil end
  for _, other in ipairs(thread.runs) do
    if other.run_id == gate.run_id and other ~= record then return other end
  end
end

local function now(self) return kernel.time_seconds(self._client:now()) end

-- Whether it is its thread that a run waits for: then all behind it do. One that waits for a rate is tried again when
-- that has room.
local function waits_for_thread(self, thread, record)
  if not is_limited(record) then return true end
  local gate = self._client:call("gate", record.run_id)
  if gate and gate.free_at then wait_until(self, thread, kernel.time_seconds(gate.free_at)) end
  return gate ~= nil and (gate.gate == "queue" or gate.gate == "concurrency")
end

-- Starts the first run of a thread that may start.
local function start_one(self, thread)
  local queued = false
  for _, record in ipairs(in_order(thread.runs)) do
    local at = record.scheduled_at and kernel.time_seconds(record.scheduled_at)
    if record.status ~= "pending" or record.claimable or self._live:get(record.run_id) ~= record then
      forget(thread, record)
    elseif at and at > now(self) then
      wait_until(self, thread, at)
    elseif not (queued and record.concurrency) then -- behind one that is queued all such wait
      local verdict = try(self, thread, record)
      local on_thread = verdict == "waiting" and waits_for_thread(self, thread, record)
      if on_thread and record.concurrency then
        queued = true
        record = head_of_queue(self, thread, record)
        verdict = record and try(self, thread, record)
      end
      if verdict == "started" then return record end
      if verdict == "failed" then
        wait_until(self, thread, now(self) + LATER)
        return nil
      end
    end
  end
end

--- Starts a run of the threads that are to be looked at.
---@return keel.Run? record running
function Queue:start()
  while self._first <= self._last do
    local id = self._ready[self._first]
    self._ready[self._first] = nil
    self._first = self._first + 1
    local thread = self._threads[id]
    if thread and thread.busy then
      thread.again = true
      thread.listed = false
    elseif thread then
      thread.listed, thread.busy = false, true
      local record = start_one(self, thread)
      thread.busy = false
      if #thread.runs == 0 then self._threads[id] = nil end
      if record or thread.again then self:ready(id) end
      thread.again = false
      if record then return record end
    end
  end
end

return Queue
