--- keel limits remove: takes away what is set for a name.
local change = require "keel.cli.limits.change"
local kernel = require "keel.kernel"

return {
  about = "Takes away the limit that is set for a name: what the runs say themselves holds again. A pause stays.",
  arguments = { { "name", "of the slot or rate", complete = "limits" } },
  run = function(given)
    return change.apply(given, "change", "has no limit any more", function(manager)
      local limit, err = change.find(manager, given.name)
      if err then return nil, err end
      if not limit or not limit.max then
        return nil, { code = "not_found", transient = false,
          message = ("no limit is set for %s; 'keel limits' lists them"):format(given.name) }
      end
      return manager:set_limit(given.name, { max = kernel.null, per = kernel.null })
    end)
  end,
}
