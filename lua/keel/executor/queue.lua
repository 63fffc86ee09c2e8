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
    -- thread_id -> { runs = pending records, due = seconds?, listed = boolean, busy = boolean, again = boolean, swept =
    -- boolean }; again: something has changed while it was looked at
    _threads = {},
    _ready = {}, _first = 1, _last = 0, -- ids of threads to look at, a queue
    _wanting = {}, -- name of a slot -> ids of threads that have runs which want it, as a set
    _blocked = setmetatable({}, { __mode = "k" }), -- records that were found to wait for more than their thread
    _full = {},    -- what a run wants of a name -> until when, in seconds, it is known to be full
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

local function add_to(index, key, value)
  local set = index[key]
  if not set then
    set = {}
    index[key] = set
  end
  set[value] = true
end

local function remove_from(index, key, value)
  local set = index[key]
  if not set then return end
  set[value] = nil
  if next(set) == nil then index[key] = nil end
end

--- Slots have been given up: puts the threads that want them among those to be looked at.
---@param names string[]
function Queue:freed(names)
  for _, name in ipairs(names) do
    self._full["slot " .. name] = nil
    local threads = self._wanting[name] or {}
    for thread_id in next, threads do
      if not self:ready(thread_id) then remove_from(self._wanting, name, thread_id) end
    end
  end
end

--- A run has ended or settled: puts the threads of those that are after it among those to be looked at.
---@param run_id string
---@param of_batches boolean a run of this process may have waited for its batch
function Queue:ended(run_id, of_batches)
  for _, record in ipairs(self._live:dependents_of(run_id, of_batches)) do self:ready(record.thread_id) end
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
  for _, slot in ipairs(record.slots or {}) do add_to(self._wanting, slot.name, record.thread_id) end
  self:ready(record.thread_id)
end

--- Puts all threads among those to be looked at.
function Queue:ready_all()
  self._full = {}
  for thread_id in next, self._threads do self:ready(thread_id) end
end

--- Puts up to `max` threads among those to be looked at, one after the other. What keeps their runs from starting is
--- then cleared away where it may be.
---@param max integer
function Queue:sweep(max)
  local id = self._swept
  if id and not self._threads[id] then id = nil end
  self._full = {}
  for _ = 1, max do
    id = next(self._threads, id)
    if not id then break end
    self._threads[id].swept = true
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

local function now(self) return kernel.time_seconds(self._client:now()) end

-- Tries to start a run that is due. Returns "started" or "waiting", "failed" when the store has; else it is no more.
-- What has waited for others than its thread before is asked for first, which writes nothing; not in a sweep.
local function try(self, thread, record, is_swept)
  if self._blocked[record] and not is_swept then
    local gate = self._client:call("gate", record.run_id)
    if gate and gate.gate ~= "open" then return "waiting", gate end
  end
  local verdict, err = self._manager:try_start(record.run_id)
  if verdict == "waiting" then return verdict, self._client:call("gate", record.run_id) end
  if verdict == "started" or verdict == "cancelled" or gone[err.code] then
    forget(thread, record)
    return verdict
  end
  return "failed"
end

-- The run of this process that is first in the queue a run waits in, if another is.
local function head_of_queue(thread, record, gate)
  for _, other in ipairs(gate.gate == "queue" and thread.runs or {}) do
    if other.run_id == gate.run_id and other ~= record then return other end
  end
end

local function is_limited(record)
  return record.slots ~= nil or record.rates ~= nil
end

-- What is known of a slot or rate by its name and what is wanted of it.
local function known_of(self, kind, want)
  local known = self._full[kind .. " " .. want.name]
  return known and known[want.per and want.max .. " " .. want.per or want.max]
end

-- Until when a run is known to wait for slots or rates that others were found to wait for, in seconds.
local function known_full(self, record)
  local last
  for _, kind in ipairs { "slot", "rate" } do
    for _, want in ipairs(record[kind .. "s"] or {}) do
      local time = known_of(self, kind, want)
      if time then last = math.max(last or time, time) end
    end
  end
  return last
end

-- Notes that a slot or rate of a run is full.
local function note_full(self, record, gate)
  for _, want in ipairs(record[gate.gate .. "s"] or {}) do
    if want.name == gate.name then
      local key = gate.gate .. " " .. want.name
      self._full[key] = self._full[key] or {}
      self._full[key][want.per and want.max .. " " .. want.per or want.max] =
        gate.free_at and kernel.time_seconds(gate.free_at) or math.huge
    end
  end
end

-- What a run that waits wants, as a text: those of its thread with the same are blocked alike.
local function wants_of(record)
  local parts = { tostring(record.concurrency), tostring(record.strict) }
  for _, kind in ipairs { "slots", "rates" } do
    for _, want in ipairs(record[kind] or {}) do
      parts[#parts + 1] = ("%s %s %s %s"):format(kind, want.max, want.per, want.name)
    end
  end
  return table.concat(parts, "\n")
end

-- A run has to wait: notes for whom else that holds, `waiting`, and when it is to be tried again.
local function note_waiting(self, thread, record, gate, waiting)
  if is_limited(record) or gate.gate == "after" or gate.gate == "paused" then self._blocked[record] = true end
  if gate.free_at then wait_until(self, thread, kernel.time_seconds(gate.free_at)) end
  if gate.gate == "slot" or gate.gate == "rate" then note_full(self, record, gate) end
  if gate.gate == "after" or gate.gate == "delay" then return end -- that is its own affair
  -- Behind one that waits for nothing but its thread all wait that have a concurrency.
  if not is_limited(record) then waiting.queued = waiting.queued or record.concurrency ~= nil
  else waiting[wants_of(record)] = true end
end

-- Whether a run is known to wait, without a look at it.
local function has_to_wait(self, thread, record, waiting)
  if waiting.queued and record.concurrency then return true end
  if not is_limited(record) then return false end
  local full = known_full(self, record)
  if full and full > now(self) then
    if full < math.huge then wait_until(self, thread, full) end
    return true
  end
  return waiting[wants_of(record)] == true
end

-- Starts the first run of a thread that may start.
local function start_one(self, thread)
  local waiting, is_swept = {}, thread.swept
  thread.swept = false
  for _, record in ipairs(in_order(thread.runs)) do
    local at = record.scheduled_at and kernel.time_seconds(record.scheduled_at)
    if record.status ~= "pending" or record.claimable or self._live:get(record.run_id) ~= record then
      forget(thread, record)
    elseif at and at > now(self) then
      wait_until(self, thread, at)
    elseif not has_to_wait(self, thread, record, waiting) then
      local verdict, gate = try(self, thread, record, is_swept)
      if verdict == "waiting" and gate then
        note_waiting(self, thread, record, gate, waiting)
        record = head_of_queue(thread, record, gate)
        verdict = record and try(self, thread, record, is_swept)
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
