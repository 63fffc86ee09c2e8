--- keel cron remove: ends a schedule.
local definition = require "keel.cli.cron.definition"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"

return {
  about = "Removes a schedule. The runs that it has made stay.",
  arguments = { { "name", "of the schedule", complete = "schedules" } },
  run = function(given)
    local store <close>, manager = opening.manager(given, "change")
    if not store then return nil, manager end
    local removed, err = manager:unschedule(given.name)
    if removed == nil then return nil, err end
    if not removed then
      local list
      list, err = manager:schedules()
      return nil, list and definition.missing(given.name, list) or err
    end
    if given.json then output.json { name = given.name, removed = true } end
  end,
}
