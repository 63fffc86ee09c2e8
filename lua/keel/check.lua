--- Checks of arguments: misuse raises, naming what was wrong.
local errors = require "keel.errors"
local kernel = require "keel.kernel"

local check = {}
local null = kernel.null
local math_type, next, type = math.type, next, type

local none = setmetatable({}, { __newindex = function() error("the empty options are shared") end })

local function misuse(level, argument, name, problem)
  error(("bad argument #%d to '%s' (%s)"):format(argument, name, problem), level + 1)
end

local function is_named(value, name)
  local meta = getmetatable(value)
  return type(meta) == "table" and meta.__name == name
end

--- The words "; did you mean '…'?", or an empty text when no known name is near.
---@param name any what was given
---@param known table<string, any>|string[] the names there are: the list's, else the keys
---@return string
function check.did_you_mean(name, known)
  if type(name) ~= "string" then return "" end
  local names = known
  if known[1] == nil then
    names = {}
    for key in pairs(known) do names[#names + 1] = key end
    table.sort(names) -- of two that are as near, always the same
  end
  local nearest = kernel.nearest(name, names)
  return nearest and ("; did you mean '%s'?"):format(nearest) or ""
end

local guarded = setmetatable({}, { __mode = "k" }) -- a public method -> the function behind it

local function is_public(name, method)
  return type(method) == "function" and name ~= "new" and not name:find "^_"
end

local function misfit(class, name, self)
  error(("bad argument #1 to '%s' (%s expected, got %s: call methods with a colon)"):format(name, class.__name,
    type(self)), 3)
end

--- Has the public methods of a class look at what they are called on: a dot in place of the colon is the commonest
--- mistake, and would be seen only somewhere inside.
---@param class table
---@param own string a field that all of its objects have
function check.methods(class, own)
  for name, method in pairs(class) do
    if is_public(name, method) then
      class[name] = function(self, ...)
        local kind = type(self)
        if (kind ~= "table" and kind ~= "userdata") or self[own] == nil then misfit(class, name, self) end
        return method(self, ...)
      end
      guarded[class[name]] = method
    end
  end
  return class
end

--- Gives a class the public methods of a part: they are called on what its objects have in a field.
---@param class table
---@param own string the field, which all of its objects have
---@param part table<string, function>
function check.delegate(class, own, part)
  for name, method in pairs(part) do
    if is_public(name, method) then
      class[name] = function(self, ...)
        local target = type(self) == "table" and self[own]
        if not target then misfit(class, name, self) end
        return method(target, ...)
      end
      guarded[class[name]] = method
    end
  end
end

--- The function that was written, of one that looks at what it is called on; any other as it is.
---@param fn function
---@return function
function check.written(fn)
  return guarded[fn] or fn
end

--- Whether a text has a control character, which no id may have: U+0000 to U+001F and U+007F to U+009F.
---@param text string
---@return boolean
function check.has_control(text)
  return text:find "[\0-\31\127]" ~= nil or text:find "\xC2[\x80-\x9F]" ~= nil
end

--- A text as a part of an id: what no id may have becomes "?", and it is cut between two characters.
---@param text string
---@param longest integer bytes
---@return string
function check.fit_id(text, longest)
  text = errors.readable(text):gsub("[\0-\31\127]", "?"):gsub("\xC2[\x80-\x9F]", "?"):sub(1, longest)
  while not utf8.len(text) do text = text:sub(1, -2) end
  return text
end

--- The error about an id that was given, as far as one was; nil when there is nothing wrong. The kernel says the same;
--- this is for what is stored or asked for later.
---@param value? string
---@param field string its name
---@param place? string where it is in the field; default `field`
---@return keel.Error?
function check.id(value, field, place)
  if value == nil or check.is_id(value) then return nil end
  return errors.new("invalid_request", ("%s must be 1 to %d bytes of UTF-8 without control characters"):format(
    place or field, kernel.limits.id), { field = field })
end

--- Whether a value is a text that can be an id.
---@param value any
---@return boolean
function check.is_id(value)
  return type(value) == "string" and value ~= "" and check.fit_id(value, kernel.limits.id) == value
end

--- Whether a value can be called.
---@param value any
---@return boolean
function check.is_callable(value)
  local meta = getmetatable(value)
  return type(value) == "function" or (type(meta) == "table" and meta.__call ~= nil)
end

-- Whether a value has one of the types that Lua does not know by that name. A whole number may be a float, as it may
-- anywhere in Lua: many decoders of JSON make nothing else.
local function fits(value, expected)
  if expected == "integer" then return type(value) == "number" and math.tointeger(value) ~= nil end
  if expected == "time" then return type(value) == "string" or type(value) == "number" end
  if expected == "callable" then return check.is_callable(value) end
  if expected == "retry policy" then return is_named(value, "keel.retry_policy") end
  for one in expected:gmatch("[^|]+") do
    if type(value) == one or (one == "policy" and is_named(value, "keel.policy")) then return true end
  end
  return false
end

-- What a value should have been, and what it is.
local function wanted(expected)
  return expected == "integer" and "whole number" or expected
end

local function kind_of(value, expected)
  return expected == "integer" and type(value) == "number" and kernel.number_text(value) or type(value)
end

--- Raises unless a value has a type ("integer", any whole number, "callable" and "retry policy" count as types).
---@param value any
---@param expected string
---@param argument integer its number, for the message
---@param name string the function's
function check.type(value, expected, argument, name)
  if type(value) ~= expected and not fits(value, expected) then
    misuse(3, argument, name, ("%s expected, got %s"):format(wanted(expected), kind_of(value, expected)))
  end
end

--- Whether a number is a number of seconds that can be waited: at least 0, and an end to it.
---@param value number
---@return boolean
function check.is_duration(value)
  return value >= 0 and value < math.huge -- false for NaN as well
end

--- The error about a number of seconds that was given, as far as one was; nil when there is nothing wrong.
---@param value? number
---@param field string its name
---@param some? boolean 0 is not enough
---@return keel.Error?
function check.duration(value, field, some)
  if value == nil or check.is_duration(value) and (value > 0 or not some) then return nil end
  return errors.invalid(field, "must be a number of seconds" .. (some and " greater than 0" or ", at least 0"))
end

-- The options of a table with a metatable, those it inherits too, in one without: operations of the kernel look at
-- what a table itself has.
local function flat(options, known)
  local plain = {}
  for name in pairs(known) do plain[name] = options[name] end
  for name, value in next, options do plain[name] = value end
  return plain
end

--- Raises unless options are nil or a table of known names with the right types.
---@param options table?
---@param known table<string, string|true> name -> type, several joined by "|", or true for any
---@param argument integer
---@param name string the function's
---@param depth? integer how many functions lie between that function and this one; default 0
---@return table options the same, or an empty table that nobody may write to; without a metatable and what is
--- keel.null, and 2 for 2.0
function check.options(options, known, argument, name, depth)
  if options == nil then return none end
  local as_given, level = true, 3 + (depth or 0)
  if type(options) ~= "table" then misuse(level, argument, name, "table expected, got " .. type(options)) end
  if getmetatable(options) ~= nil then options = flat(options, known) end
  for key, value in next, options do
    local expected = known[key]
    -- Nearly all that is given is as it is said, and needs no second look.
    if (expected == "integer" and math_type or type)(value) ~= expected and expected ~= true or value == null then
      if expected == nil then
        misuse(level, argument, name, ("unknown option '%s'%s"):format(tostring(key), check.did_you_mean(key, known)))
      end
      if value ~= null and not fits(value, expected) then
        misuse(level, argument, name,
          ("option '%s' must be a %s, got %s"):format(key, wanted(expected), kind_of(value, expected)))
      end
      as_given = as_given and value ~= null and expected ~= "integer" -- which is whole, and a float
    end
  end
  if as_given then return options end
  local given = {}
  for key, value in pairs(options) do
    if value ~= null then given[key] = known[key] == "integer" and math.tointeger(value) or value end
  end
  return given
end

return check
