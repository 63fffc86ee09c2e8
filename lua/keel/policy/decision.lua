--- The decision of a strategy, checked: what it may say, and that it speaks of runs it was shown.
local contract = require "keel.policy.contract"
local kernel = require "keel.kernel"

local decision = {}

local known = { admit = "boolean", cancel = true, action = "string", after = "table", reuse = true, reason = "string",
  concurrency = "number", strict = "boolean", delay = "number", within = "number", replace = true, position = "number",
  slots = "table", rates = "table" }

local none = {} -- shared; nobody writes to it

-- A run in a decision is one of the records that were shown, or its id.
local function id_of(run, shown)
  local id = type(run) == "table" and rawget(run, "run_id") or run
  if type(id) ~= "string" or not shown[id] then return nil end
  return id
end

local function ids_of(list, name, shown)
  local ids, problem = contract.list(list, name)
  if not ids then return nil, problem end
  for i, run in ipairs(ids) do
    ids[i] = id_of(run, shown)
    if not ids[i] then return nil, name .. " names a run that is not in flight on the thread" end
  end
  return ids
end

local LONGEST = 1e9 -- seconds, some thirty years; also keeps infinity and NaN out

-- Puts whole numbers in as integers: half of four is 2.0 in Lua.
local function check_numbers(made, given)
  for _, name in ipairs { "concurrency", "position" } do
    local value = given[name]
    made[name] = value and math.tointeger(value)
    if value and (not made[name] or value < 1) then return name .. " must be a whole number from 1" end
  end
  for _, name in ipairs { "delay", "within" } do
    local value = given[name]
    if value and not (value >= 0 and value <= LONGEST) then
      return ("%s must be a number of seconds from 0 to %d"):format(name, LONGEST)
    end
  end
end

-- Puts slots and rates in, in tables of their own. An empty list is none, as it is of a caller.
local function check_wants(made, given)
  for _, name in ipairs { "slots", "rates" } do
    if given[name] and next(given[name]) ~= nil then
      local is_sound, err = kernel.check_wants(given[name], name)
      if not is_sound then return err.message end
      made[name] = {}
      for i, want in ipairs(given[name]) do
        made[name][i] = { name = rawget(want, "name"), max = rawget(want, "max"), per = rawget(want, "per") }
      end
    end
  end
end

-- What a decision that does not admit may not say.
local for_newcomers = { "after", "concurrency", "strict", "delay", "within", "replace", "slots", "rates" }

local function check_whole(made, given)
  if not given.admit then
    if made.all or #made.cancel > 0 then return "a newcomer that is not admitted cannot cancel runs" end
    for _, name in ipairs(for_newcomers) do
      if given[name] ~= nil then return ("a newcomer that is not admitted cannot have %s"):format(name) end
    end
  end
  if given.admit and made.reuse then return "a decision cannot both admit and reuse" end
end

-- Replaces runs by their ids. Returns a problem, if there is one.
local function resolve(made, given, inflight, finalizing)
  local shown, unsettled = {}, {}
  for _, run in ipairs(inflight) do
    shown[run.run_id] = run
    unsettled[run.run_id] = true
  end
  for _, run_id in ipairs(finalizing) do unsettled[run_id] = true end
  local problem
  if type(given.cancel) == "table" then
    made.cancel, problem = ids_of(given.cancel, "cancel", shown)
  elseif given.cancel ~= nil and not made.all then
    problem = "cancel must be a list of runs or \"all\""
  end
  if problem then return problem end
  if given.after then made.after, problem = ids_of(given.after, "after", unsettled) end
  if problem then return problem end
  for _, name in ipairs { "reuse", "replace" } do
    if given[name] ~= nil then
      made[name] = id_of(given[name], shown)
      if not made[name] then return name .. " names a run that is not in flight on the thread" end
    end
  end
  if made.replace and shown[made.replace].status ~= "pending" then return "replace names a run that has started" end
end

--- Checks what a strategy returned.
---@param answer any
---@param inflight table[] the runs it was shown
---@param finalizing string[] ids that `after` may name as well
---@return { admit: boolean, all: boolean, cancel: string[], action: string, after: string[], reuse: string?,
--- replace: string?, concurrency: integer?, strict: boolean?, delay: number?, within: number?, position: integer?,
--- slots: table[]?, rates: table[]?, reason: string? }? decision ids in place of runs
---@return string? problem
function decision.check(answer, inflight, finalizing)
  local given, problem = contract.fields(answer, "the decision", known)
  if not given then return nil, problem end
  if given.admit == nil then return nil, "the decision must say admit = true or false" end
  if given.action and given.action ~= "interrupt" and given.action ~= "rollback" then
    return nil, "action must be interrupt or rollback"
  end
  local made = { admit = given.admit, action = given.action or "interrupt", reason = given.reason, cancel = none,
    after = none, all = given.cancel == "all", delay = given.delay, within = given.within, strict = given.strict }
  problem = check_numbers(made, given) or check_wants(made, given)
  if not problem and (given.cancel or given.after or given.reuse ~= nil or given.replace ~= nil) then
    problem = resolve(made, given, inflight, finalizing)
  end
  problem = problem or check_whole(made, given)
  if problem then return nil, problem end
  return made
end

return decision
