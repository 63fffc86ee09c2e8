--- What a strategy is told of a newcomer, and of how long the runs in flight may still be put off.
local due_since = require "keel.due_since"
local kernel = require "keel.kernel"

local request_for = {}

-- A copy of a document, for a function of the host, which could change what is stored.
local function copied(document, made)
  if type(document) ~= "table" then return document end
  made = made or {} -- whether the document is a tree is found out when it is written
  local copy = made[document]
  if copy then return copy end
  copy = {}
  made[document] = copy
  for key, value in next, document do copy[key] = copied(value, made) end
  return setmetatable(copy, getmetatable(document))
end

local function as_it_is(document) return document end

-- What a caller may ask for, beside what is shown as a copy or with a default.
local asked_for = {}
for name, giver in pairs(kernel.run_givers) do
  if giver == "caller" and kernel.run_fields[name] ~= "table" and name ~= "priority" then
    asked_for[#asked_for + 1] = name
  end
end

--- What a strategy is told of the newcomer. Built-in ones change nothing, and files are shown copies by the sandbox.
---@param context table
---@param policy keel.Policy
---@param request table
---@param inflight? table as inflight.read has it; nil: it is not known yet, and not told
---@return keel.Request
function request_for.describe(context, policy, request, inflight)
  local shown, fields = policy.of_host and copied or as_it_is, request.fields
  local description = {
    thread_id = request.thread_id,
    metadata = shown(fields.metadata or {}),
    kwargs = shown(fields.kwargs or {}),
    worker_ref = shown(fields.worker_ref),
    after = shown(fields.after),
    slots = shown(fields.slots),
    rates = shown(fields.rates),
    priority = fields.priority or 0,
    multitask_strategy = policy.name,
    options = shown(request.strategy_options or {}),
    now = context.now(),
  }
  if inflight then
    description.inflight_count = inflight.count
    description.finalizing = table.move(inflight.finalizing, 1, #inflight.finalizing, 1, {})
  end
  for _, name in ipairs(asked_for) do description[name] = fields[name] end
  return description
end

-- The seconds from one time to another.
local function between(from, to) return math.max(0, to - kernel.time_seconds(from)) end

-- How old a run is, how long it has waited since its time came, and for how long it has been running.
local function show_ages(run, now)
  local started = run.status == "running" and run.started_at or nil
  run.age = between(run.created_at, now)
  run.waited = between(due_since(run), started and kernel.time_seconds(started) or now)
  run.running_for = started and between(started, now)
end

--- A strategy has no clock: what it may want to know of times is worked out for it. Those built in want to know nothing
--- but how long a run may still be put off.
---@param policy keel.Policy
---@param runs table[] what it is shown; written to
---@param now string a time
function request_for.show_times(policy, runs, now)
  local seconds
  for _, run in ipairs(runs) do
    if run.start_by or not policy.is_built_in then
      seconds = seconds or kernel.time_seconds(now)
      if run.start_by then run.start_within = math.max(0, kernel.time_seconds(run.start_by) - seconds) end
      if not policy.is_built_in then show_ages(run, seconds) end
    end
  end
end

return request_for
