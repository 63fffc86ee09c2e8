--- When a schedule happens, as it is typed, and as it is shown.
local output = require "keel.cli.output"
local usage = require "keel.cli.usage"

local definition = {}

--- What CRON and --timezone say.
---@param text string five fields, @daily and the like, or @every TIME
---@param timezone? string
---@return { cron?: string, every?: number, timezone?: string }? said
---@return keel.Error? err
function definition.read(text, timezone)
  local span = text:match "^@every%s+(.*)$"
  if span then
    local seconds, problem = usage.duration(span)
    if not seconds then return nil, usage.error("CRON: " .. problem) end
    return { every = seconds, timezone = timezone }
  end
  return { cron = text, timezone = timezone or "local" }
end

--- What is wrong with it, with the way out: an asterisk that no quotes protect is taken for files.
---@param err keel.Error
---@return keel.Error
function definition.advised(err)
  if err.field == "cron" and err.message:find "^cron: it has %d+ fields" then
    err.message = err.message .. "; write it as one word in quotes: '0 3 * * *'"
  elseif err.field == "every" then
    return usage.error((err.message:gsub("^every", "CRON: the time behind @every", 1)))
  end
  return err
end

--- When a schedule happens, in words.
---@param schedule keel.Schedule
---@return string
function definition.shown(schedule)
  if schedule.cron then return schedule.cron end
  if schedule.every then return "@every " .. output.span(schedule.every) end
  return "policy " .. schedule.policy
end

--- A time as people read it.
---@param time? string
---@return string
function definition.clock(time)
  return time and time:sub(1, 10) .. " " .. time:sub(12, 19) or ""
end

--- The error of a schedule that there is not.
---@param name string
---@param list keel.Schedule[] those that there are
---@return keel.Error
function definition.missing(name, list)
  local names = {}
  for i, schedule in ipairs(list) do names[i] = schedule.name end
  local nearest = require("keel.kernel").nearest(name, names)
  return { code = "not_found", transient = false, message = ("there is no schedule %s; %s"):format(name,
    nearest and ("did you mean '%s'?"):format(nearest) or "'keel cron list' lists them") }
end

--- One schedule of all.
---@param manager keel.RunManager
---@param name string
---@return keel.Schedule? schedule
---@return keel.Error? err
function definition.find(manager, name)
  local list, err = manager:schedules()
  if not list then return nil, err end
  for _, schedule in ipairs(list) do
    if schedule.name == name then return schedule end
  end
  return nil, definition.missing(name, list)
end

return definition
