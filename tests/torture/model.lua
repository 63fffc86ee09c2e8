--- Replays an event log against a simple model of what must hold. Pure: a list of events and rows in, complaints out.
local kernel = require "keel.kernel"
local threads = require "threads"

local model = {}

local MOST_COMPLAINTS = 20

local Model = {}
Model.__index = Model

local function is_active(run) return run.status == "running" or run.finalizing end

function Model:complain(event, text, ...)
  self.wrong = self.wrong + 1
  if #self.complaints >= MOST_COMPLAINTS then return end
  self.complaints[#self.complaints + 1] = ("event %d (%s of run %s on %s): %s"):format(event.id, event.kind,
    event.run_id or "-", event.thread_id or "-", text:format(...))
end

function Model:count(thread_id, test)
  local count = 0
  for _, run in pairs(self.live[thread_id] or {}) do
    if test(run) then count = count + 1 end
  end
  return count
end

-- Runs that are pending, running or finalizing, by thread.
function Model:keep(run)
  local live = self.live[run.thread_id] or {}
  self.live[run.thread_id] = live
  live[run.run_id] = (run.status == "pending" or is_active(run)) and run or nil
end

local function pending(run) return run.status == "pending" end
local function in_flight(run) return run.status == "pending" or run.status == "running" end

local handlers = {}

function handlers:run_created(event)
  local rule = threads[event.thread_id]
  if self.runs[event.run_id] then self:complain(event, "it was there already") end
  if rule.alone and self:count(event.thread_id, in_flight) > 0 then
    self:complain(event, "admitted while another was in flight")
  end
  local row = self.rows[event.run_id] or {}
  local run = { run_id = event.run_id, thread_id = event.thread_id, status = "pending", order = event.id, fence = 0,
    priority = row.priority or 0, settled = true }
  self.runs[event.run_id] = run
  self:keep(run)
  if rule.waiting and self:count(event.thread_id, pending) > rule.waiting then
    self:complain(event, "%d wait, %d may", self:count(event.thread_id, pending), rule.waiting)
  end
end

local function is_ahead(a, b)
  if a.priority ~= b.priority then return a.priority > b.priority end
  return a.order < b.order
end

function handlers:run_started(event)
  local rule, run = threads[event.thread_id], self.runs[event.run_id]
  if run.status ~= "pending" then self:complain(event, "it was %s", run.status) end
  if event.data.fence <= run.fence then self:complain(event, "fence %d after %d", event.data.fence, run.fence) end
  if rule.queue then
    for _, other in pairs(self.live[event.thread_id]) do
      local due = not other.due_at or other.due_at <= self.began_after
      if other ~= run and other.status == "pending" and due and is_ahead(other, run) then
        self:complain(event, "run %s is queued ahead", other.run_id)
      end
    end
  end
  run.status, run.fence, run.session_id = "running", event.data.fence, event.data.session_id
  self:keep(run)
  local active = self:count(event.thread_id, is_active)
  if rule.most and active > rule.most then self:complain(event, "%d are active, %d may be", active, rule.most) end
end

function handlers:run_finished(event)
  local run, data = self.runs[event.run_id], event.data
  local rolled_back = run.status == "interrupted" and data.status == "error"
  if run.status ~= "pending" and run.status ~= "running" and not rolled_back then
    self:complain(event, "it was %s and became %s", run.status, data.status)
  end
  if data.stop_reason == "orphan_recovered" then run.recovered = (run.recovered or 0) + 1 end
  if (run.recovered or 0) > 1 then self:complain(event, "recovered twice") end
  if data.stop_reason == "orphan_recovered" and run.session_id then
    self.recovered[#self.recovered + 1] = { run_id = run.run_id, session_id = run.session_id, event = event }
  end
  run.status, run.finalizing = data.status, data.finalizing or false
  self:keep(run)
end

function handlers:run_requeued(event)
  local run = self.runs[event.run_id]
  if run.status ~= "running" and run.status ~= "pending" then self:complain(event, "it was %s", run.status) end
  if event.data.losses then
    self.recovered[#self.recovered + 1] = { run_id = run.run_id, session_id = run.session_id, event = event }
  end
  run.status, run.session_id = "pending", nil
  run.due_at = event.data.delay and kernel.time_seconds(event.at) + event.data.delay or nil
  self:keep(run)
end

function handlers:run_settled(event)
  local run = self.runs[event.run_id]
  if not run.finalizing then self:complain(event, "it was not finalizing") end
  run.finalizing = false
  self:keep(run)
end

--- Replays events, all of them in order, and compares the end with the rows.
---@param events table[]
---@param rows table<string, table> the rows of all runs, by id
---@return { complaints: string[], wrong: integer, runs: table<string, table>, recovered: table[] }
function model.replay(events, rows)
  local self = setmetatable({ runs = {}, live = {}, rows = rows, complaints = {}, wrong = 0, recovered = {},
    began_after = 0 }, Model)
  for i, event in ipairs(events) do
    if event.id ~= i then self:complain(event, "it should have the id %d", i) end
    if event.run_id and event.kind ~= "run_created" and not self.runs[event.run_id] then
      self:complain(event, "the run was never created")
    elseif handlers[event.kind] then
      handlers[event.kind](self, event)
    end
    self.began_after = kernel.time_seconds(event.at) -- the next transaction began later than this
  end
  local last = events[#events] or { id = 0, kind = "-" }
  for id, run in pairs(self.runs) do
    local row = rows[id]
    local event = { id = last.id, kind = "the end", run_id = id, thread_id = run.thread_id }
    if not row then
      self:complain(event, "it has no row")
    else
      if row.status ~= run.status then self:complain(event, "the log says %s, the row %s", run.status, row.status) end
      if in_flight(run) then self:complain(event, "it is left %s", run.status) end
    end
  end
  return self
end

return model
