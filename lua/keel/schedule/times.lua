--- Times as schedules count them, in whole microseconds since the epoch, and as texts.
local kernel = require "keel.kernel"

local times = {}

local SECOND = 1000000
times.SECOND = SECOND
times.LAST = 253402300799 * SECOND -- the end of the year 9999: the last time there is a text for

--- A time as text, as whole microseconds since the epoch.
---@param text string
---@return integer
function times.micros(text)
  return math.floor(kernel.time_seconds(text) * SECOND + 0.5)
end

--- And back.
---@param time integer
---@return string
function times.text(time)
  return kernel.time_text(time / SECOND)
end

--- Seconds as whole microseconds.
---@param seconds number
---@return integer
function times.span(seconds)
  return math.floor(seconds * SECOND + 0.5)
end

--- What a schedule policy returned: a time as text, or seconds from now.
---@param answer any
---@param now integer
---@return integer? time
---@return string? problem
function times.answer(answer, now)
  local time
  if type(answer) == "number" then
    if not (answer > -1e10 and answer < 1e10) then return nil, "it gave a number that is no seconds from now" end
    time = now + times.span(answer)
  elseif type(answer) == "string" then
    if not kernel.time_seconds(answer) then return nil, "it gave a text that is no RFC 3339 time" end
    time = times.micros(answer)
  else
    return nil, ("it gave a %s; a schedule policy returns a time"):format(type(answer))
  end
  if time > times.LAST then return nil, "it gave a time after the year 9999" end
  return time
end

return times
