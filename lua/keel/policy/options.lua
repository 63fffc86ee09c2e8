--- The `strategy_options` of the built-in strategies: which there are, and what they may be. A strategy looks at a
--- value when it needs it, on a busy thread; who mistyped should hear of it at once. Managers, tests and the command
--- ask here.
local check = require "keel.check"
local errors = require "keel.errors"
local kernel = require "keel.kernel"

local options = {}

local LONGEST = 1e8 -- seconds, some three years; a decision takes ten times as long
local SHOWN = 32    -- bytes of a text that was given and is shown

-- What a value may be: its type, whether it fits, and that in words.
local function whole_from(least)
  return { type = "number", words = "a whole number from " .. least, fits = function(value)
    local whole = math.tointeger(value)
    return whole ~= nil and whole >= least
  end }
end
local places, count = whole_from(1), whole_from(0)
local seconds = { type = "number", words = ("a number of seconds from 0 to %d"):format(LONGEST),
  fits = function(value) return value >= 0 and value <= LONGEST end }
local flag = { type = "boolean", words = "true or false", fits = function() return true end }

-- Strategy -> its options, in the order in which they are told. Those that are not here have none.
local known = {
  enqueue = { { "max_waiting", count }, { "strict", flag } },
  limit = { { "max", places }, { "max_waiting", count } },
  debounce = { { "wait", seconds }, { "max_wait", seconds }, { "max", places } },
}

--- The names of the options that a built-in strategy has.
---@param strategy string
---@return string[]
function options.names(strategy)
  local names = {}
  for i, option in ipairs(known[strategy] or {}) do names[i] = option[1] end
  return names
end

local function rule_of(strategy, name)
  for _, option in ipairs(known[strategy] or {}) do
    if option[1] == name then return option[2] end
  end
end

local function unknown(strategy, name)
  local names = options.names(strategy)
  local nearest = check.did_you_mean(name, names)
  if nearest == "" then
    nearest = ("; strategy %s has %s"):format(strategy, #names > 0 and table.concat(names, " and ") or "none")
  end
  return ("unknown strategy option '%s'%s"):format(tostring(name), nearest)
end

-- What was given, in a few words.
local function shown(value)
  if type(value) == "number" then return kernel.number_text(value) end
  if type(value) ~= "string" then return type(value) end
  return ("'%s'"):format(errors.cut(value, SHOWN))
end

--- What is wrong with the options that a built-in strategy is to be given.
---@param strategy string
---@param given table
---@return string? misuse an unknown name or a wrong type
---@return keel.Error? err invalid_request: a value out of range, its name as the field
function options.check(strategy, given)
  for name, value in next, given do
    local rule = rule_of(strategy, name)
    if not rule then return unknown(strategy, name) end
    local is_of_type = type(value) == rule.type
    if not is_of_type or not rule.fits(value) then
      local problem = ("must be %s, got %s"):format(rule.words, shown(value))
      if not is_of_type then return ("strategy option '%s' %s"):format(name, problem) end
      return nil, errors.new("invalid_request", ("strategy option '%s' %s"):format(name, problem), { field = name })
    end
  end
end

return options
