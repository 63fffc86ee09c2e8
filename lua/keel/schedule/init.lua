--- What a schedule is told to be, checked; and when it happens next.
local Occurrences = require "keel.schedule.occurrence"
local check = require "keel.check"
local errors = require "keel.errors"
local kernel = require "keel.kernel"
local times = require "keel.schedule.times"

---@class keel.ScheduleDefinition
---@field cron? string
---@field every? number seconds
---@field policy? string in place of both: the name of a schedule policy
---@field timezone? string of cron; default "UTC"
---@field thread_id? string of its runs; default the schedule's name
---@field options? table what `create_or_reject` takes
---@field missed? "once"|"skip"|"all" what becomes of what is found too late; default "once"
---@field grace? number seconds after which it is too late; default 60

local definition = {}

local EVERY_MIN, EVERY_MAX = 0.001, 1e9 -- seconds
local GRACE = 60

local known = { cron = "string", every = "number", policy = "string", timezone = "string", thread_id = "string",
  options = "table", missed = "string", grace = "number" }
local kinds = { "cron", "every", "policy" }
local missed = { once = true, skip = true, all = true }

-- Which of the three it is.
local function kind_of(given)
  local kind
  for _, name in ipairs(kinds) do
    if given[name] ~= nil then
      if kind then return nil, errors.invalid(name, "does not go with " .. kind) end
      kind = name
    end
  end
  if kind then return kind end
  return nil, errors.invalid("cron", "is missing: a schedule has one of cron, every, policy")
end

local function check_every(every)
  if every >= EVERY_MIN and every <= EVERY_MAX then return nil end -- false for NaN
  return errors.invalid("every", ("must be a number of seconds from %s to %d"):format(kernel.number_text(EVERY_MIN),
    math.tointeger(EVERY_MAX)))
end

--- Checks a definition.
--- Raises for unknown options and wrong types. Fails with invalid_request, naming the field.
---@param given table
---@param argument integer its number, for messages
---@param name string the function's that calls this one
---@return keel.ScheduleDefinition? checked a table of its own, with `missed` and `grace`, and `timezone` beside `cron`
---@return keel.Error? err
function definition.check(given, argument, name)
  local options = check.options(given, known, argument, name, 1)
  local kind, err = kind_of(options)
  if not kind then return nil, err end
  if options.timezone and kind ~= "cron" then
    return nil, errors.invalid("timezone", ("goes with cron, not with %s"):format(kind))
  end
  err = options.every and check_every(options.every) or check.id(options.thread_id, "thread_id") or
    check.duration(options.grace, "grace")
  if err then return nil, err end
  if options.missed and not missed[options.missed] then
    return nil, errors.invalid("missed", "must be one of: once, skip, all")
  end
  if kind == "policy" and options.policy == "" then return nil, errors.invalid("policy", "must not be empty") end
  local checked = {}
  for field in pairs(known) do checked[field] = options[field] end
  checked.missed, checked.grace = options.missed or "once", options.grace or GRACE
  if kind == "cron" then checked.timezone = options.timezone or "UTC" end
  return checked
end

--- The times of a definition that says them itself.
---@param checked keel.ScheduleDefinition
---@return keel.Occurrences? occurrences
---@return keel.Error? err invalid_request: cron, timezone
function definition.occurrences(checked)
  if checked.every then return Occurrences.every(times.span(checked.every)) end
  return Occurrences.by_cron(checked.cron, checked.timezone)
end

--- The first time after another at which something that is scheduled so happens. It is told by its arguments, the
--- system's zone files and, for timezone = "local", TZ; a number as `from` counts from now.
--- Raises for unknown options and wrong types. Fails with invalid_request (cron with `position`, every, timezone,
--- policy, from).
---@param given keel.ScheduleDefinition with cron or every
---@param from string|number
---@return string? time
---@return keel.Error? err
function definition.next_occurrence(given, from)
  check.type(given, "table", 1, "next_occurrence")
  check.type(from, "time", 2, "next_occurrence")
  local checked, err = definition.check(given, 1, "next_occurrence")
  if not checked then return nil, err end
  if checked.policy then return nil, errors.invalid("policy", "is asked by its schedule") end
  local text, occurrences
  text, err = errors.time(from, "from", kernel.now())
  if not text then return nil, err end
  occurrences, err = definition.occurrences(checked)
  if not occurrences then return nil, err end
  local found = occurrences:after(times.micros(text))
  if not found then return nil, errors.invalid("from", "has nothing behind it before the year 10000") end
  return times.text(found)
end

return definition
