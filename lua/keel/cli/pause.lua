--- keel pause: nothing of a name starts until it is resumed.
local change = require "keel.cli.limits.change"

return {
  about = "Lets nothing start of a slot or rate, of a thread (thread:KEY) or at all ('*') until it is resumed, in all"
    .. " processes. What runs goes on.",
  arguments = { { "name", "of a slot or rate, thread:KEY, or '*'", complete = "pausable" } },
  options = { { "--reason", value = "TEXT", about = "why, for people" } },
  run = function(given)
    return change.apply(given, "change", "is paused", function(manager)
      return manager:pause(given.name, { reason = given.reason })
    end)
  end,
}
