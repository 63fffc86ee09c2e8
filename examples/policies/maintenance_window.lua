-- A strategy: nothing starts during maintenance. What comes in the window is admitted and starts when it is over; with
-- options.refuse it is refused. Outside of it, as many runs as may wish. The window is every day, in UTC, from
-- options.from ("02:00") to options.to ("04:00"), and may go over midnight.
--
--   runs:create_or_reject("reports", { multitask_strategy = "maintenance_window",
--     strategy_options = { from = "22:30", to = "01:00" } })
local DAY = 24 * 60 * 60

local function seconds_of(text)
  local hours, minutes = tostring(text):match "^(%d%d?):([0-5]%d)$"
  local seconds = hours and hours * 3600 + minutes * 60
  if not seconds or seconds > DAY then error(("'%s' is no time of the day, like 02:00"):format(text), 0) end
  return seconds
end

return function(request)
  local options = request.options
  local from, to = seconds_of(options.from or "02:00"), seconds_of(options.to or "04:00")
  local hours, minutes, seconds = request.now:match "T(%d+):(%d+):(%d+%.?%d*)"
  local now = hours * 3600 + minutes * 60 + seconds
  -- Counted from the beginning of the window, midnight is nothing special.
  local into, length = (now - from) % DAY, (to - from) % DAY
  if into >= length then return { admit = true } end
  local reason = ("maintenance until %s UTC"):format(options.to or "04:00")
  if options.refuse then return { admit = false, reason = reason } end
  return { admit = true, delay = length - into, reason = reason }
end
