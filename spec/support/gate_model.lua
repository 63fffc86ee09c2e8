--- The gate, as it is meant: what a run waits for, and who is next. A reference without a database, for
--- spec/gate/model_spec.lua, which compares a store with it step by step. Whatever differs from this page is wrong.
---
--- A run: { id, seq, thread, status, priority, handler, concurrency, strict, slots, rates, at, edges, owner, tried,
--- finalizing }. `owner` nil: anybody may claim it; `at`: when it may start first, in seconds; `tried`: it had started
--- before; `edges`: what it waits for: run -> { final, success }.
local Model = {}
Model.__index = Model

function Model.new()
  return setmetatable({ now = 0, runs = {}, count = 0, limits = {}, starts = {} }, Model)
end

function Model.is_final(run) return run.status ~= "pending" and run.status ~= "running" end
function Model.is_holding(run) return run.status == "running" or run.finalizing end
function Model.is_settled(run) return Model.is_final(run) and not run.finalizing end

-- Runs in the order in which they were made.
local function in_order(self)
  local list = {}
  for _, run in pairs(self.runs) do list[#list + 1] = run end
  table.sort(list, function(a, b) return a.seq < b.seq end)
  return list
end

local function is_ahead(a, b)
  if a.priority ~= b.priority then return a.priority > b.priority end
  return a.seq < b.seq
end

local function is_due(self, run) return not run.at or run.at <= self.now end

-- What a run wants of names, as a text.
local function limits_of(run)
  local parts = {}
  for _, slot in ipairs(run.slots or {}) do parts[#parts + 1] = ("slot %d %s"):format(slot.max, slot.name) end
  for _, rate in ipairs(run.rates or {}) do
    parts[#parts + 1] = ("rate %d %d %s"):format(rate.max, rate.per, rate.name)
  end
  return table.concat(parts, "\n")
end

-- --- What a run waits for -------------------------------------------------------------------------------------------

-- Whether a run goes before another one of its thread. Nobody is held up by what is blocked where he is not: ahead is
-- only what wants nothing that he does not want. A strict one keeps the order behind all but a first start in the
-- future.
local function goes_before(self, other, run)
  if other.status ~= "pending" or other.thread ~= run.thread or not is_ahead(other, run) then return false end
  if run.strict then return is_due(self, other) or other.tried end
  local limits = limits_of(other)
  return is_due(self, other) and next(other.edges) == nil and (limits == "" or limits == limits_of(run))
end

local function thread_has_room(self, run)
  local holding = 0
  for _, other in pairs(self.runs) do
    if other.thread == run.thread and Model.is_holding(other) then holding = holding + 1 end
  end
  return holding < run.concurrency
end

local function slot_has_room(self, slot)
  local limit, max, holding = self.limits[slot.name], slot.max, 0
  for _, other in pairs(self.runs) do
    for _, held in ipairs(Model.is_holding(other) and other.slots or {}) do
      if held.name == slot.name then
        holding = holding + 1
        max = math.min(max, held.max)
      end
    end
  end
  if limit and limit.max and not limit.per then max = limit.max end
  return holding < max
end

-- When the next start of a rate may be; infinity: never.
local function rate_is_free_at(self, rate)
  local limit = self.limits[rate.name]
  local max, per = rate.max, rate.per
  if limit and limit.max and limit.per then max, per = limit.max, limit.per end
  if max == 0 then return math.huge end
  local starts = self.starts[rate.name] or {}
  if #starts < max then return self.now end
  return math.max(self.now, starts[#starts - max + 1] + per)
end

local function is_paused(self, name) return self.limits[name] and self.limits[name].paused end

--- What keeps a pending run from starting, in the order of the gate; empty: nothing.
---@return string[]
function Model:reasons(run)
  local reasons = {}
  local function add(is_so, reason) if is_so then reasons[#reasons + 1] = reason end end
  add(not is_due(self, run), "delay")
  add(next(run.edges) ~= nil, "after")
  if run.concurrency then
    for _, other in pairs(self.runs) do
      if goes_before(self, other, run) then
        add(true, "queue")
        break
      end
    end
    add(not thread_has_room(self, run), "concurrency")
  end
  for _, slot in ipairs(run.slots or {}) do add(not slot_has_room(self, slot), "slot") end
  for _, rate in ipairs(run.rates or {}) do add(rate_is_free_at(self, rate) > self.now, "rate") end
  local names = { "*", "thread:" .. run.thread }
  for _, list in ipairs { run.slots or {}, run.rates or {} } do
    for _, one in ipairs(list) do names[#names + 1] = one.name end
  end
  for _, name in ipairs(names) do add(is_paused(self, name), "paused") end
  return reasons
end

--- Whom a claim takes: of those that anybody may claim and that can start the highest priority, then the oldest.
---@param asked? { handlers?: string[], threads?: string[] }
---@return table? run
function Model:next_claim(asked)
  local function is_asked(list, name)
    for _, one in ipairs(list or { name }) do
      if one == name then return true end
    end
  end
  local best
  for _, run in pairs(self.runs) do
    if run.status == "pending" and not run.owner and is_asked(asked and asked.handlers, run.handler or "default")
      and is_asked(asked and asked.threads, run.thread) and #self:reasons(run) == 0
      and not (best and is_ahead(best, run)) then
      best = run
    end
  end
  return best
end

-- --- What happens ---------------------------------------------------------------------------------------------------

function Model:start(run, owner)
  run.status, run.owner, run.started = "running", owner, true
  for _, rate in ipairs(run.rates or {}) do
    -- What is out of every window is forgotten, also should the clock be put back later. Here a name has one window.
    local starts = self.starts[rate.name] or {}
    while starts[1] and starts[1] <= self.now - rate.per do table.remove(starts, 1) end
    table.insert(starts, self.now)
    self.starts[rate.name] = starts
  end
end

-- Tells those that wait for a run what has become of it.
local function resolve(self, source)
  for _, run in ipairs(in_order(self)) do
    local wanted = run.status == "pending" and run.edges[source]
    if wanted and wanted.success and Model.is_final(source) and source.status ~= "success" then
      self:finish(run, "error")
    elseif wanted and Model.is_settled(source) then
      run.edges[source] = nil
    end
  end
end

--- Ends a run; what it held is free when it has settled.
function Model:finish(run, status, finalizing)
  run.status, run.edges = status, {}
  run.finalizing = finalizing and run.started or nil
  resolve(self, run)
end

function Model:settle(run)
  run.finalizing = nil
  resolve(self, run)
end

--- Gives a run back, for anybody to claim.
function Model:give_back(run, delay)
  run.status, run.owner, run.started, run.tried = "pending", nil, nil, run.tried or run.started
  run.at = delay and delay > 0 and self.now + delay or nil
end

--- One that was deleted in flight counts as interrupted.
function Model:delete(run)
  if not Model.is_settled(run) then self:finish(run, Model.is_final(run) and run.status or "interrupted") end
  self.runs[run.id] = nil
end

function Model:has_batch(batch_id)
  for _, run in pairs(self.runs) do
    if run.batch_id == batch_id then return true end
  end
  return false
end

-- The runs that a source of `after` means.
local function runs_of(self, source)
  if not source.batch_id then return { self.runs[source.run_id] } end
  local members = {}
  for _, run in pairs(self.runs) do
    if run.batch_id == source.batch_id and not Model.is_settled(run) then members[#members + 1] = run end
  end
  return members
end

--- Admits a run. Its `after` names runs that there are.
function Model:admit(fields, owner)
  self.count = self.count + 1
  local run = { seq = self.count, status = "pending", owner = owner, edges = {} }
  for name, value in pairs(fields) do run[name] = value end
  run.priority = run.priority or 0
  self.runs[run.id] = run
  local failed = false
  for _, source in ipairs(fields.after or {}) do
    local on = source.on or (source.batch_id and "final" or "success")
    for _, other in ipairs(runs_of(self, source)) do
      local is_ended = Model.is_final(other)
      if on == "success" and is_ended and other.status ~= "success" then failed = true end
      if other ~= run and not Model.is_settled(other) then
        run.edges[other] = run.edges[other] or {}
        run.edges[other][on] = true
      end
    end
  end
  if failed then self:finish(run, "error") end
  return run
end

function Model:advance(seconds)
  self.now = self.now + seconds
  -- A start cannot lie in the future: one that a clock which was put back leaves there counts from now on.
  for _, starts in pairs(self.starts) do
    for i, at in ipairs(starts) do starts[i] = math.min(at, self.now) end
  end
end

return Model
