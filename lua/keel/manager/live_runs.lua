--- The live records of a process: runs in flight that it made or claimed, and a few that have just ended.
---
--- A live record mirrors its row. What is here cannot be stored: the abort signal, the coroutine. The table is bounded
--- by what is in flight plus FINISHED_KEPT. The last LOST_KEPT runs that this process has lost are remembered, so that
--- whoever still holds the record of one is told when he writes it.
local AbortEvent = require "keel.manager.abort_event"
local errors = require "keel.errors"
local kernel = require "keel.kernel"

---@class keel.LiveRuns
---@field observer? keel.Observer told of each new record, and of runs that anybody may claim
---@field log? fun(level: string, message: string, fields: table) told when one of these raises
local LiveRuns = {}
local null = kernel.null
LiveRuns.__index = LiveRuns

local BATCH = {}         -- stands for whatever batch

local FINISHED_KEPT = 32 -- finished records kept for whoever asks again soon; each costs the collector a visit

local LOST_KEPT = 1024   -- runs that were lost and are remembered, so that late writes are refused

local final = kernel.final

--- Whether a status is final.
---@param status string
---@return boolean
function LiveRuns.is_final(status)
  return final[status] == true
end

---@param log? fun(level: string, message: string, fields: table)
---@return keel.LiveRuns
function LiveRuns.new(log)
  return setmetatable({ log = log, _by_id = {}, _by_thread = {}, _finished = {}, _first = 1, _last = 0,
    _lost = {}, _lost_ids = {}, _lost_next = 1, -- lost: run_id -> its place among lost_ids, a ring
    _dependents = {}, -- pending records that are after others -> true
    _of_source = {},  -- id of a run, or BATCH -> those that are after it, as a set
  }, LiveRuns)
end

--- Adds what only a process has to a record.
---@param record keel.Run
---@param store_only boolean
---@return keel.Run
function LiveRuns.equip(record, store_only)
  record.store_only = store_only
  record.abort_event = AbortEvent.new()
  record.finalizing = record.finalizing or false
  return record
end

--- Notifies the observer, if there is one. What it learns of is committed: if it raises, that is logged, and the caller
--- still gets its result.
---@param what "on_add"|"on_claimable"|"on_schedule"
---@param record? keel.Run
function LiveRuns:notify(what, record)
  local observer = self.observer
  if not observer then return end
  local ok, err = pcall(observer[what], record)
  if not ok and self.log then
    self.log("error", "an observer of runs failed",
      { observer = what, run_id = record and record.run_id, error = errors.text(err) })
  end
end

-- Calls fn with each key that a record is found by when what it is after has ended.
local function each_source(record, fn)
  for _, source in ipairs(record.after or {}) do fn(source.run_id or BATCH) end
  for _, run_id in ipairs(record.waits_for or {}) do fn(run_id) end
end

local function take_up_dependent(self, record)
  self._dependents[record] = true
  each_source(record, function(source)
    local set = self._of_source[source] or {}
    self._of_source[source], set[record] = set, true
  end)
end

local function forget_dependent(self, record)
  self._dependents[record] = nil
  each_source(record, function(source)
    local set = self._of_source[source]
    if set then set[record] = nil end
    if set and next(set) == nil then self._of_source[source] = nil end
  end)
end

--- Whether a pending record is after others.
---@return boolean
function LiveRuns:has_dependents()
  return next(self._dependents) ~= nil
end

--- The pending records that are after a run.
---@param run_id string
---@param of_batches? boolean and those that are after a batch, which it may be of
---@return keel.Run[]
function LiveRuns:dependents_of(run_id, of_batches)
  local list = {}
  for record in next, self._of_source[run_id] or {} do list[#list + 1] = record end
  for record in next, of_batches and self._of_source[BATCH] or {} do list[#list + 1] = record end
  return list
end

---@param record keel.Run
function LiveRuns:add(record)
  local run_id, thread_id = record.run_id, record.thread_id
  self._lost[run_id] = nil
  self._by_id[run_id] = record
  local on_thread = self._by_thread[thread_id]
  if on_thread == nil or on_thread == run_id then
    self._by_thread[thread_id] = run_id
  elseif type(on_thread) == "table" then
    on_thread[run_id] = record
  else
    self._by_thread[thread_id] = { [on_thread] = self._by_id[on_thread], [run_id] = record }
  end
  if record.status == "pending" and (record.after or record.waits_for) then take_up_dependent(self, record) end
  if self.observer then self:notify("on_add", record) end
end

---@param run_id string
---@return keel.Run?
function LiveRuns:get(run_id)
  return self._by_id[run_id]
end

--- The live records of a thread, by id; not to be written to.
---@param thread_id string
---@return table<string, keel.Run>
function LiveRuns:of_thread(thread_id)
  local on_thread = self._by_thread[thread_id]
  if type(on_thread) == "table" then return on_thread end
  return on_thread and { [on_thread] = self._by_id[on_thread] } or {}
end

---@param run_id string
---@return keel.Run? record the one that was there
function LiveRuns:drop(run_id)
  local record = self._by_id[run_id]
  if not record then return nil end
  self._by_id[run_id] = nil
  if self._dependents[record] then forget_dependent(self, record) end
  local thread_id = record.thread_id
  local on_thread = self._by_thread[thread_id]
  if on_thread == run_id then
    self._by_thread[thread_id] = nil
  else
    on_thread[run_id] = nil
    if next(on_thread) == nil then self._by_thread[thread_id] = nil end
  end
  return record
end

-- The record has ended: it stays for a while, and pushes out one that ended long ago.
local function retire(self, record)
  self._last = self._last + 1
  self._finished[self._last] = record.run_id
  if self._last - self._first + 1 > FINISHED_KEPT then
    self:drop(self._finished[self._first])
    self._finished[self._first] = nil
    self._first = self._first + 1
  end
end

local function is_done(record)
  return final[record.status] and not record.finalizing
end

--- The run of a live record belongs to somebody else now: it can still be looked at, but not written. One that has
--- ended stays what it is.
---@param record keel.Run
function LiveRuns:lose(record)
  local run_id = record.run_id
  if not self._lost[run_id] then
    local place = self._lost_next
    local oldest = self._lost_ids[place]
    -- One that was made anew here and lost again has a later place as well.
    if oldest and self._lost[oldest] == place then self._lost[oldest] = nil end
    self._lost_ids[place], self._lost[run_id] = run_id, place
    self._lost_next = place % LOST_KEPT + 1
  end
  if not final[record.status] and self._by_id[record.run_id] == record then self:drop(record.run_id) end
end

--- Whether this process had the run and lost it; of the last thousand or so.
---@param run_id string
---@return boolean
function LiveRuns:is_lost(run_id)
  return self._lost[run_id] ~= nil
end

-- The records that a test holds for.
local function collect(self, test)
  local records = {}
  for _, record in pairs(self._by_id) do
    if test(record) then records[#records + 1] = record end
  end
  return records
end

--- The records that are pending or running, in no order.
---@return keel.Run[]
function LiveRuns:in_flight()
  return collect(self, function(record) return not final[record.status] end)
end

--- The records that are pending, running or finalizing, in no order.
---@return keel.Run[]
function LiveRuns:unsettled()
  return collect(self, function(record) return not is_done(record) end)
end

--- Writes into a live record what its row has now.
---@param record keel.Run
---@param fields table what was written, or the whole row
---@return boolean? ended whether it has a final status now, and had none
function LiveRuns:update(record, fields)
  local was_final = final[record.status]
  local was_done = was_final and not record.finalizing
  for name, value in next, fields do
    if value == null then value = nil end
    record[name] = value
  end
  if self._dependents[record] and record.status ~= "pending" then forget_dependent(self, record) end
  if not was_done and is_done(record) and self._by_id[record.run_id] == record then retire(self, record) end
  return not was_final and final[record.status]
end

--- Writes into a live record all that its row has, and takes out what it has not.
---@param record keel.Run
---@param row table
---@return boolean? ended as of update
function LiveRuns:replace(record, row)
  for name in pairs(kernel.run_fields) do
    if row[name] == nil then row[name] = kernel.null end
  end
  return self:update(record, row)
end

--- The signal to stop: once, with the action that holds.
---@param record keel.Run
---@param action? string
---@param report fun(err: any) gets what a listener raises
function LiveRuns.abort(record, action, report)
  record.abort_action = record.abort_action or action or "interrupt"
  record.abort_event:set(report)
end

return LiveRuns
