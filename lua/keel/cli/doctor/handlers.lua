--- Handlers that nobody seems to have: runs of theirs wait, though what stands behind them was claimed.
---
--- A store does not know who can work on what. But a claim takes the best run of the handlers it asks for: what took
--- another one and left this did not ask for its handler.
local due_since = require "keel.due_since"
local kernel = require "keel.kernel"
local output = require "keel.cli.output"

local LONG = 60     -- seconds that a run has been due without being claimed
local NEWEST = 1000 -- runs that may have ended, among which those are looked for that were claimed meanwhile
local SHOWN = 3     -- runs that are named

local Handlers = {}
Handlers.__index = Handlers

--- What was seen of each handler so far.
function Handlers.new()
  return setmetatable({ waiting = {}, started = {}, running = {} }, Handlers)
end

local function handler_of(run)
  return run.handler or "default"
end

--- Takes note of a run.
---@param run table its row
---@param now string
function Handlers:note(run, now)
  local handler = handler_of(run)
  if run.started_at then self.started[#self.started + 1] = run end
  if run.status == "running" then self.running[handler] = true end
  local is_over = run.deadline and run.deadline <= now
  if run.status == "pending" and run.claimable and due_since(run) <= now and not is_over then
    self.waiting[handler] = self.waiting[handler] or {}
    table.insert(self.waiting[handler], run)
  end
end

-- Whether somebody claimed a run of another handler that a claim takes after this one.
local function was_passed_over(self, run)
  local since = due_since(run)
  for _, other in ipairs(self.started) do
    local is_behind = other.priority < run.priority or
      other.priority == run.priority and other.created_at > run.created_at
    if other.shared and is_behind and other.started_at > since and handler_of(other) ~= handler_of(run) then
      return true
    end
  end
  return false
end

-- Whether a run of the handler has been started since.
local function was_tried(self, handler, since)
  for _, other in ipairs(self.started) do
    if handler_of(other) == handler and other.started_at > since then return true end
  end
  return false
end

-- The first of the runs that could have been claimed long ago and was not.
local function left(self, store, runs, now)
  for _, run in ipairs(runs) do
    if output.between(due_since(run), now) > LONG and was_passed_over(self, run) then
      local gate = store:gate(run.run_id)
      if gate and gate.gate == "open" then return run end
    end
  end
end

-- The handlers of which runs wait and none runs, in order.
local function suspects(self)
  local names = {}
  for handler in pairs(self.waiting) do
    if not self.running[handler] then names[#names + 1] = handler end
  end
  table.sort(names)
  return names
end

local function report(findings, handler, runs, since)
  local ids, shown = {}, {}
  for i, run in ipairs(runs) do
    ids[i] = run.run_id
    if i <= SHOWN then shown[i] = run.run_id end
  end
  if #runs > SHOWN then shown[SHOWN + 1] = "…" end
  local sentence = #runs == 1 and "%s of handler \"%s\" is due since %s and does not run: %s"
    or "%s of handler \"%s\" are due since %s, none of them runs: %s"
  findings:add("warning", "no_handler",
    sentence:format(output.count(#runs, "run"), handler, since, table.concat(shown, ", ")),
    "others were claimed that stand behind them: start the program that has this handler, or stop them with 'keel runs "
    .. "cancel'", { handler = handler, count = #runs, run_ids = kernel.array(ids) })
end

--- Adds a finding for each handler that nobody seems to have.
---@param store keel.Store
---@param findings table
---@param now string
---@return table<string, true> reported the ids of the runs that were told of
---@return keel.Error? err
function Handlers:report(store, findings, now)
  local reported, names = {}, suspects(self)
  if #names == 0 then return reported end
  local newest, err = store:list_runs { limit = NEWEST }
  if not newest then return reported, err end
  for _, run in ipairs(newest) do
    if run.status ~= "pending" and run.status ~= "running" then self:note(run, now) end
  end
  for _, handler in ipairs(names) do
    local runs = self.waiting[handler]
    local run = left(self, store, runs, now)
    if run and not was_tried(self, handler, due_since(run)) then
      report(findings, handler, runs, due_since(run))
      for _, one in ipairs(runs) do reported[one.run_id] = true end
    end
  end
  return reported
end

return Handlers
