--- keel limits set: how many may hold a slot, or start with a rate.
local change = require "keel.cli.limits.change"
local kernel = require "keel.kernel"
local output = require "keel.cli.output"
local usage = require "keel.cli.usage"

-- N or N/TIME.
local function limit_of(text)
  local number, per = text:match "^([^/]*)/(.*)$"
  local max, seconds, problem
  max, problem = usage.integer(0)(number or text)
  if not max then return nil, problem .. "; write 4, or 10/1m" end
  if per then
    seconds, problem = usage.duration(per)
    if not seconds then return nil, problem end
  end
  return { max = max, per = seconds or kernel.null }
end

return {
  about = "Sets how many runs may hold a slot, or start with a rate, in all processes. It goes before what the runs say"
    .. " themselves. More places are filled at once; fewer take effect as runs end.",
  arguments = { { "name", "of the slot or rate", complete = "limits" },
    { "limit", "N: so many at a time; N/TIME: so many starts within the time", convert = limit_of } },
  run = function(given)
    local limit = given.limit
    local text = limit.per == kernel.null and ("may be held by %d"):format(limit.max) or
      ("may start %d times in %s"):format(limit.max, output.span(limit.per))
    return change.apply(given, "make", text, function(manager) return manager:set_limit(given.name, limit) end)
  end,
}
