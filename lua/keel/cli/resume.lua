--- keel resume: ends a pause.
local change = require "keel.cli.limits.change"

return {
  about = "Ends a pause: what waits may start.",
  arguments = { { "name", "what was paused: a slot or rate, thread:KEY, or '*'", complete = "paused" } },
  run = function(given)
    return change.apply(given, "change", "is not paused any more", function(manager)
      local limit, err = change.find(manager, given.name)
      if err then return nil, err end
      if not limit or not limit.paused then
        return nil, { code = "not_found", transient = false,
          message = ("%s is not paused; 'keel limits' lists what is"):format(given.name) }
      end
      return manager:resume(given.name)
    end)
  end,
}
