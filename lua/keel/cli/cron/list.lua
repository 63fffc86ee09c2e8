--- keel cron list: what is run again and again.
local definition = require "keel.cli.cron.definition"
local describe = require "keel.cli.describe"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"

-- What it runs: a command, or whose work it is.
local function what(schedule)
  if schedule.problem then return schedule.problem end
  local options = schedule.options or {}
  local text = describe.what { kwargs = options.kwargs }
  return text ~= "" and text or options.handler
end

return {
  about = "Lists the schedules: when each happens, next and last (UTC), and what is run.",
  run = function(given)
    local store <close>, manager = opening.manager(given, "read")
    if not store then return nil, manager end
    local list, err = manager:schedules()
    if not list then return nil, err end
    local rows = {}
    for i, schedule in ipairs(list) do
      if given.json then output.json(schedule) end
      rows[i] = { schedule.name, definition.shown(schedule), schedule.timezone or "",
        definition.clock(schedule.next_at), definition.clock(schedule.last_at), what(schedule) }
    end
    if given.json then return end
    if #rows == 0 then return output.note(given, "there is no schedule; 'keel cron add' makes one") end
    output.table({ "~NAME", "~CRON", "?ZONE", "NEXT", "?LAST", "WHAT" }, rows)
  end,
}
