--- Errors as values: { code, message, transient, … } that read "code: message".
local kernel = require "keel.kernel"

local errors = {}

--- Makes an error.
---@param code string one of the codes of the reference
---@param message string a sentence for people
---@param fields? table what comes with the code
---@return keel.Error
function errors.new(code, message, fields)
  local err = { code = code, message = message, transient = code == "busy" }
  for name, value in pairs(fields or {}) do err[name] = value end
  return setmetatable(err, kernel.error_metatable)
end

--- The error about a field that was given.
---@param field string its name, or its place
---@param problem string what is wrong with it
---@return keel.Error
function errors.invalid(field, problem)
  return errors.new("invalid_request", field .. " " .. problem, { field = field })
end

local CENTURY = 100 * 366 * 86400 -- as far as a number of seconds from now may be away

--- A time that was given: a text, or a number of seconds from now.
---@param given string|number
---@param field string its name
---@param now string
---@return string? time
---@return keel.Error? err
function errors.time(given, field, now)
  if type(given) == "number" then
    if not (given >= -CENTURY and given <= CENTURY) then
      return nil, errors.invalid(field, "is not a number of seconds from now, at most a century")
    end
    return kernel.time_text(kernel.time_seconds(now) + given)
  end
  if not kernel.time_seconds(given) then return nil, errors.invalid(field, "is not an RFC 3339 time") end
  return given
end

--- The error about a run that is not there.
---@param run_id string
---@return keel.Error
function errors.no_run(run_id)
  return errors.new("not_found", ("there is no run %s"):format(run_id), { run_id = run_id })
end

--- The error about a method that a store in other clothes does not have.
---@param method string
---@return keel.Error
function errors.no_method(method)
  return errors.new("io", ("the store has no method '%s'"):format(method))
end

--- What a policy was stopped for, in words.
---@param budget keel.PolicyBudget
---@param limit "instructions"|"seconds"|"bytes"
---@param is_block? boolean there were bytes left, but no script gets as many for one text or table
---@return string
function errors.spent(budget, limit, is_block)
  if is_block then return "it needed more than 1 MiB for one text, one table or its stack" end
  return ("it spent its budget of %s %s"):format(kernel.number_text(budget[limit]), limit)
end

--- A text as it can be stored and shown: what is not valid UTF-8 in it, byte by byte, as "?".
---@param text string
---@param as? string how a byte is written instead, as string.format has it
---@return string
function errors.readable(text, as)
  local from, parts = 1, {}
  while true do
    local fine, bad = utf8.len(text, from)
    if fine then return table.concat(parts) .. text:sub(from) end
    parts[#parts + 1] = text:sub(from, bad - 1) .. (as or "?"):format(text:byte(bad))
    from = bad + 1
  end
end

local TEXT_MAX = 64 * 1024 -- bytes of an error that are kept: enough for any traceback
local CODE_MAX = kernel.limits.id

--- A text fit to be stored: readable, and of a bounded length.
---@param text string
---@param max? integer bytes, default 64 KiB
---@return string
function errors.cut(text, max)
  max = max or TEXT_MAX
  if #text > max then
    local from = max - #"…" + 1
    while from > 1 and text:byte(from) & 0xC0 == 0x80 do from = from - 1 end -- not in the middle of a character
    text = text:sub(1, from - 1) .. "…"
  end
  return errors.readable(text)
end

-- A field of what may be an error of anybody's making: looking at it is the host's code too, and may raise.
local function field(err, name)
  if type(err) ~= "table" then return nil end
  local ok, value = pcall(function() return err[name] end)
  if ok then return value end
end

--- The code of an error, if it has one: cut, as any text of the host's is.
---@param err any
---@return string? code
function errors.code(err)
  local code = field(err, "code")
  return type(code) == "string" and errors.cut(code, CODE_MAX) or nil
end

local function is_ours(err)
  return type(err) == "table" and getmetatable(err) == kernel.error_metatable
end

--- What a host's code raised, as a text. Its `__tostring` is the host's code too, and may raise in turn. A table
--- without one that is made like an error of ours reads like one.
---@param err any
---@return string
function errors.text(err)
  local message = not is_ours(err) and field(err, "message")
  if type(message) == "string" and getmetatable(err) == nil then
    local code = errors.code(err)
    return errors.cut(code and ("%s: %s"):format(code, message) or message)
  end
  local ok, text = pcall(tostring, err)
  return ok and errors.cut(text) or ("an error that cannot be shown (a %s)"):format(type(err))
end

-- What SQLite says, in whatever wrapping, when trying again may help. Nothing else is worth a retry.
local transient_texts = { "database is locked", "database table is locked", "database is busy" }

local function is_transient_text(text)
  for _, words in ipairs(transient_texts) do
    if text:find(words, 1, true) then return true end
  end
  return false
end

--- Whether trying again may help.
---@param err any what a call returned or raised
---@return boolean
function errors.is_transient(err)
  if type(err) == "table" then return field(err, "transient") == true end
  return type(err) == "string" and is_transient_text(err)
end

--- Gives all of its arguments back, unless the first is nil or false: then raises the second as a text, with the
--- caller's place in front. Many hosts print an error that is a table as "(null)", or not at all.
---@generic T
---@param value? T
---@param err? any what a call returned behind nil
---@return T value
---@return any ... the rest
function errors.assert(value, err, ...)
  if value then return value, err, ... end
  if err == nil then err = "assertion failed!" end
  error(errors.text(err), 2)
end

--- Makes an error of whatever a store returned or raised. What has a code keeps it and its fields, and reads like any
--- other.
---@param err any
---@return keel.Error
function errors.from(err)
  if is_ours(err) then return err end
  local code, message = errors.code(err), field(err, "message")
  message = type(message) == "string" and errors.cut(message) or nil
  if code then
    local made = errors.new(code, message or code)
    for name, value in next, err do
      if rawget(made, name) == nil then made[name] = value end
    end
    made.transient = field(err, "transient") == true
    return made
  end
  message = message or errors.text(err)
  local closed = message:match "%((the store[^()]* is closed[^()]*)%)$"
  if closed then return errors.new("closed", closed) end
  local transient = errors.is_transient(err) or is_transient_text(message)
  return errors.new(transient and "busy" or "io", message)
end

return errors
