--- What the end of a handler means for its run. Pure.
---
--- What a handler returns and raises is the host's: objects of any class, whose metamethods may raise. It is looked at
--- raw or under pcall, and whatever of it cannot be stored is left out: how the run ended is always known.
local LiveRuns = require "keel.manager.live_runs"
local answers = require "keel.store.answers"
local errors = require "keel.errors"
local kernel = require "keel.kernel"

local outcome = {}

local RESULT_MAX = kernel.limits.result -- bytes as JSON
local TEXT_MAX = 64 * 1024     -- bytes of a text that are kept
local NAME_MAX = 64            -- bytes of a name that a log line shows

local math_type = math.type

local ARRAY = getmetatable(kernel.array {})

-- --- Failures -------------------------------------------------------------------------------------------------------

local function failure(err, text)
  return { status = "error", error = text, error_code = errors.code(err), failed = true }
end

--- The handler of xpcall: the error with the traceback of the handler, without what called it.
---@param err any
---@return table failure
function outcome.traceback(err)
  local text = debug.traceback(errors.text(err), 2)
  local cut = text:find("\n%s*%[C%]: in function 'xpcall'")
  local given = failure(err, errors.cut(text:sub(1, (cut or 0) - 1)))
  given.raised = true
  return given
end

-- --- Fields ---------------------------------------------------------------------------------------------------------

local function as_text(value)
  if type(value) ~= "string" then return nil, "it is no text" end
  return errors.cut(value, TEXT_MAX)
end

local function as_code(value)
  if type(value) ~= "string" then return nil, "it is no text" end
  return errors.cut(value, kernel.limits.id)
end

local function as_integer(value)
  local whole = type(value) == "number" and math.tointeger(value)
  if not whole then return nil, "it is no whole number" end
  return whole
end

local function as_count(value)
  local whole, problem = as_integer(value)
  if whole and whole < 0 then return nil, "it is below 0" end
  return whole, problem
end

-- The size as JSON, or what keeps a value from being JSON.
local function size_of(value)
  local ok, text, err = pcall(kernel.json.encode, value)
  if not ok then return nil, errors.text(text) end
  if not text then return nil, err.message end
  return #text
end

local function as_result(value)
  local size, problem = size_of(value)
  if not size then return nil, problem end
  if size > RESULT_MAX then return nil, ("it has %d bytes as JSON, at most %d"):format(size, RESULT_MAX) end
  return value
end

local function as_document(value)
  if type(value) ~= "table" then return nil, "it is no table" end
  return as_result(value)
end

local function as_status(value)
  if not LiveRuns.is_final(value) then return nil, "it is not final" end
  return value
end

-- The fields of an outcome, each with what makes it fit to be stored: value -> the fit one, or nil and a problem.
local fields = { status = as_status, error = as_text, error_code = as_code, exit_code = as_integer,
  stop_reason = as_text, result = as_result, model_name = as_text, last_ai_message = as_text,
  first_human_message = as_text, token_usage_by_model = as_document, progress = as_document }
for _, name in ipairs(answers.counters) do fields[name] = as_count end

local function name_of(key)
  return errors.cut(errors.text(key), NAME_MAX)
end

-- Looks at a table that a handler has returned. One that speaks of how the run ended, and is not just a value, has
-- fields of outcomes alone, or beside others a status or an exit code that must not be lost: gives the fields that can
-- be stored, and what had to be left out, name -> why, nil for nothing. Of a value: nothing.
local function read(value)
  local given, left_out, known, unknown = { status = "success" }, nil, 0, 0
  for key, raw in next, value do
    local check, fit, problem = fields[key], nil, nil
    if not check then
      unknown, problem = unknown + 1, "there is no such field"
    elseif check == as_count and math_type(raw) == "integer" and raw >= 0 then
      known, fit = known + 1, raw
    else
      known, fit, problem = known + 1, check(raw)
    end
    if fit ~= nil then
      given[key] = fit
    else
      left_out = left_out or {}
      left_out[name_of(key)] = problem
    end
  end
  if unknown > 0 then
    local has_verdict = LiveRuns.is_final(rawget(value, "status")) or as_integer(rawget(value, "exit_code")) ~= nil
    if known == 0 or not has_verdict then return nil end
  end
  if left_out and left_out.status then -- whether it was a success, nobody knows
    given.status, given.error_code = "error", "invalid_outcome"
    given.error = given.error or errors.cut(("the handler returned the status %s, which is not final"):format(
      errors.text(rawget(value, "status"))))
  end
  return given, left_out
end

--- What a handler came to: the fields of a completion, and `failed`: another attempt may help; `raised`: it said so by
--- an error; `said_nothing`: it returned nothing at all; `left_out`: what cannot be stored, name -> why.
---@param ok boolean as xpcall gives them
---@param result any
---@param err any
---@return table outcome
function outcome.of(ok, result, err)
  if not ok then return type(result) == "table" and result or failure(result, errors.text(result)) end
  if (result == nil or result == false) and err ~= nil then return failure(err, errors.text(err)) end
  if result == nil then return { status = "success", said_nothing = true } end
  if result == true then return { status = "success" } end
  if type(result) == "table" and getmetatable(result) ~= ARRAY then
    local given, left_out = read(result)
    if given then
      given.left_out = left_out
      return given
    end
  end
  local value, problem = as_result(result)
  if value == nil then return { status = "success", left_out = { result = problem } } end
  return { status = "success", result = value }
end

--- What is left of an outcome that the store refuses as a whole: how the run ended, and why.
---@param given table
---@return table outcome
function outcome.core(given)
  return { status = given.status, exit_code = given.exit_code, error = given.error, error_code = given.error_code,
    stop_reason = given.stop_reason }
end

-- --- Handlers -------------------------------------------------------------------------------------------------------

--- The name of the handler that a run asks for.
---@param run keel.Run
---@return any name a string unless somebody has written something else
function outcome.handler_name(run)
  local name = run.handler
  if name == nil then name = run.kwargs and run.kwargs.handler end
  if name == nil then return "default" end
  return name
end

local function names_of(handlers)
  local names = {}
  for name in next, handlers do names[#names + 1] = name end
  table.sort(names)
  return names
end

local NAMES_MAX = 64 -- handlers of one claim, as the kernel has it

--- The names of the handlers that there are, sorted; nil when that cannot be said: a function is for every run, and so
--- may a table be that makes handlers when it is asked. More than 64 are not said either.
---@param handlers function|table<string, function>
---@return string[]? names
function outcome.names(handlers)
  if type(handlers) == "function" or getmetatable(handlers) ~= nil then return nil end
  local names = names_of(handlers)
  return #names <= NAMES_MAX and names or nil
end

--- The handler that a run asks for: the function, or that which the table has for its `handler` (its `kwargs.handler`
--- counts as one), or "default".
---@param handlers function|table<string, function>
---@param run keel.Run
---@return function? handler
---@return table? outcome when there is none: what a run ends with that cannot be given back
function outcome.handler_of(handlers, run)
  if type(handlers) == "function" then return handlers end
  local name = outcome.handler_name(run)
  local ok, handler = pcall(function() return type(name) == "string" and handlers[name] end)
  if ok and type(handler) == "function" then return handler end
  return nil, { status = "error", error_code = "unknown_handler", error = errors.cut(
    ("there is no handler %s; known are: %s"):format(errors.text(name),
      table.concat(names_of(handlers), ", "))) }
end

return outcome
