--- What the end of a handler means for its run. Pure.
local errors = require "keel.errors"

local outcome = {}

local ERROR_MAX = 64 * 1024 -- bytes of an error that are kept: enough for any traceback

--- Makes a text fit to be stored: valid UTF-8, of a bounded length.
---@param text string
---@return string
function outcome.text(text)
  if #text > ERROR_MAX then text = text:sub(1, ERROR_MAX) .. "…" end
  return errors.readable(text)
end

-- An error as a text, whatever it is. A bare table made like an error of ours reads like one.
local function in_words(err)
  if type(err) == "table" and getmetatable(err) == nil and type(err.message) == "string" then
    return type(err.code) == "string" and ("%s: %s"):format(err.code, err.message) or err.message
  end
  local ok, text = pcall(tostring, err)
  return ok and text or "an error that cannot be shown"
end

--- The handler of xpcall: the error with the traceback of the handler, without what called it.
---@param err any
---@return table failure
function outcome.traceback(err)
  local text = debug.traceback(in_words(err), 2)
  local cut = text:find("\n%s*%[C%]: in function 'xpcall'")
  local is_ours = type(err) == "table" and type(err.code) == "string"
  return { error = outcome.text(text:sub(1, (cut or 0) - 1)), error_code = is_ours and err.code or nil, failed = true }
end

-- A failure without a traceback: the handler said so itself.
local function failure_of(err)
  local is_ours = type(err) == "table" and type(err.code) == "string"
  return { error = outcome.text(in_words(err)), error_code = is_ours and err.code or nil, failed = true }
end

local final = { success = true, error = true, timeout = true, interrupted = true }

--- What a handler came to. `failed`: another attempt may help.
---@param ok boolean as xpcall gives them
---@param result any
---@param err any
---@return table outcome the fields of a completion, and `failed`
function outcome.of(ok, result, err)
  if not ok then return type(result) == "table" and result or failure_of(result) end
  if (result == nil or result == false) and err ~= nil then return failure_of(err) end
  if type(result) ~= "table" then return { status = "success" } end
  local fields = { status = "success" }
  for name, value in pairs(result) do fields[name] = value end
  if not final[fields.status] then
    return { status = "error", error_code = "invalid_outcome",
      error = outcome.text("the handler returned the status " .. tostring(fields.status) .. ", which is not final") }
  end
  if type(fields.error) == "string" then fields.error = outcome.text(fields.error) end
  return fields
end

--- The handler that a run asks for: the function, or that which the table has for its `handler` or `kwargs.handler`,
--- or "default".
---@param handlers function|table<string, function>
---@param run keel.Run
---@return function? handler
---@return table? outcome when there is none: the run ends with it
function outcome.handler_of(handlers, run)
  if type(handlers) == "function" then return handlers end
  local name = run.handler or (run.kwargs and run.kwargs.handler)
  if name == nil then name = "default" end
  local handler = type(name) == "string" and handlers[name]
  if handler then return handler end
  local known = {}
  for other in pairs(handlers) do known[#known + 1] = other end
  table.sort(known)
  return nil, { status = "error", error_code = "unknown_handler", error = outcome.text(
    ("there is no handler %s; known are: %s"):format(tostring(name), table.concat(known, ", "))) }
end

return outcome
