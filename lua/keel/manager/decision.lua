--- The decision of a strategy, checked: what it may say, and that it speaks of runs it was shown.
local decision = {}

local known = { admit = "boolean", cancel = true, action = "string", after = "table", reuse = true, reason = "string" }

local none = {} -- shared; nobody writes to it

-- A run in a decision is one of the records that were shown, or its id.
local function id_of(run, shown)
  local id = type(run) == "table" and run.run_id or run
  if type(id) ~= "string" or not shown[id] then return nil end
  return id
end

local function ids_of(list, name, shown)
  local ids = {}
  for key, run in pairs(list) do
    if math.type(key) ~= "integer" or key < 1 or key > #list then return nil, name .. " must be a list" end
    ids[key] = id_of(run, shown)
    if not ids[key] then return nil, name .. " names a run that is not in flight on the thread" end
  end
  return ids
end

--- Checks what a strategy returned.
---@param given any
---@param inflight table[] the runs it was shown
---@return { admit: boolean, all: boolean, cancel: string[], action: string, after: string[], reuse: string?,
--- reason: string? }? decision ids in place of runs
---@return string? problem
function decision.check(given, inflight)
  if type(given) ~= "table" then return nil, "the decision must be a table, got " .. type(given) end
  for key, value in pairs(given) do
    local expected = known[key]
    if not expected then return nil, ("the decision has the unknown field '%s'"):format(tostring(key)) end
    if expected ~= true and type(value) ~= expected then
      return nil, ("%s must be a %s, got %s"):format(key, expected, type(value))
    end
  end
  if given.admit == nil then return nil, "the decision must say admit = true or false" end
  if given.action and given.action ~= "interrupt" and given.action ~= "rollback" then
    return nil, "action must be interrupt or rollback"
  end
  local made = { admit = given.admit, action = given.action or "interrupt", reason = given.reason, cancel = none,
    after = none, all = given.cancel == "all" }
  if not (given.cancel or given.after or given.reuse) then return made end
  local shown = {}
  for _, run in ipairs(inflight) do shown[run.run_id] = true end
  local problem
  if type(given.cancel) == "table" then
    made.cancel, problem = ids_of(given.cancel, "cancel", shown)
  elseif given.cancel ~= nil and not made.all then
    problem = "cancel must be a list of runs or \"all\""
  end
  if not problem and given.after then made.after, problem = ids_of(given.after, "after", shown) end
  if not problem and given.reuse ~= nil then
    made.reuse = id_of(given.reuse, shown)
    if not made.reuse then problem = "reuse names a run that is not in flight on the thread" end
  end
  if not problem and not given.admit and (made.all or #made.cancel > 0 or #made.after > 0) then
    problem = "a newcomer that is not admitted cannot cancel or wait for runs"
  end
  if not problem and given.admit and made.reuse then problem = "a decision cannot both admit and reuse" end
  if problem then return nil, problem end
  return made
end

return decision
