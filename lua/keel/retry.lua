--- Retry as a value: which errors are worth another try, and how long to wait before it.
local check = require "keel.check"
local errors = require "keel.errors"
local kernel = require "keel.kernel"

---@class keel.RetryPolicy
---@field max_attempts integer
---@field initial_delay number seconds
---@field max_delay number seconds
---@field backoff_factor number
---@field jitter number
local Retry = {}
Retry.__index = Retry
Retry.__name = "keel.retry_policy"

local known = {
  max_attempts = "integer",
  initial_delay = "number",
  max_delay = "number",
  backoff_factor = "number",
  jitter = "number",
  sleep = "callable",
}

-- The error about numbers that make no sense.
local function out_of_range(policy)
  if policy.max_attempts < 1 then return errors.invalid("max_attempts", "must be at least 1") end
  local bad = check.duration(policy.initial_delay, "initial_delay") or check.duration(policy.max_delay, "max_delay")
  if bad then return bad end
  if not (policy.backoff_factor >= 1 and policy.backoff_factor < math.huge) then
    return errors.invalid("backoff_factor", "must be at least 1")
  end
  if not (policy.jitter >= 0 and policy.jitter <= 1) then return errors.invalid("jitter", "must be between 0 and 1") end
end

--- Makes a retry policy.
--- Raises for unknown options and wrong types. Fails with invalid_request for numbers out of range.
---@param options? { max_attempts?: integer, initial_delay?: number, max_delay?: number, backoff_factor?: number,
--- jitter?: number, sleep?: fun(seconds: number) } defaults 5, 0.05 s, 1 s, 2.0, 0; jitter is the part of a delay, 0
--- to 1, that chance may take away; sleep waits between attempts and may yield (default: the store's)
---@return keel.RetryPolicy? policy
---@return keel.Error? err
function Retry.new(options)
  options = check.options(options, known, 1, "retry_policy")
  local policy = setmetatable({ sleep = options.sleep }, Retry)
  for name, default in pairs(kernel.retry_defaults) do policy[name] = options[name] or default end
  local err = out_of_range(policy)
  if err then return nil, err end
  return policy
end

--- The seconds to wait after a failed attempt. Pure.
---@param attempt integer the failed one, from 1
---@param chance? number in [0, 1), decides the jitter; default 0: none is taken away
---@return number seconds
function Retry:delay(attempt, chance)
  check.type(attempt, "integer", 1, "delay")
  if chance ~= nil then check.type(chance, "number", 2, "delay") end
  return kernel.retry_delay(self, attempt, chance or 0)
end

--- Whether an error is worth another attempt: one with `transient`, or a text that says the database is locked or busy.
---@param err any
---@return boolean
function Retry.is_transient(_, err)
  return errors.is_transient(err)
end

-- The first argument of a method call is the store: it knows how its host waits.
local function sleep_of(first)
  local kind = type(first)
  if kind ~= "userdata" and kind ~= "table" then return kernel.sleep end
  local ok, sleep = pcall(function() return first.sleep end)
  if not ok or not sleep then return kernel.sleep end
  return function(seconds) return sleep(first, seconds) end
end

--- Calls fn(...) until it succeeds, fails for good, or the attempts are used up. Between attempts it waits through the
--- policy's `sleep`, else through that of the store in the first argument, else it blocks.
--- An error raised by fn for good is raised again; one that it returned is returned.
---@param fn fun(...): ...
---@return ... what fn returned last
function Retry:call(fn, ...)
  check.type(fn, "callable", 1, "call")
  for attempt = 1, self.max_attempts do
    local result = table.pack(pcall(fn, ...))
    local raised = not result[1]
    local err = raised and result[2] or (result[2] == nil and result[3]) or nil
    if err == nil or err == false or attempt == self.max_attempts or not errors.is_transient(err) then
      if raised then error(err, 0) end
      return table.unpack(result, 2, result.n)
    end
    local seconds = self:delay(attempt, self.jitter > 0 and math.random() or 0)
    if self.sleep then kernel.sleep_through(self.sleep, seconds) else sleep_of((...))(seconds) end
  end
end

return check.methods(Retry, "max_attempts")
