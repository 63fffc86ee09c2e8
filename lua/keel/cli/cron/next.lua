--- keel cron next: when a schedule, or a CRON, happens next.
local definition = require "keel.cli.cron.definition"
local kernel = require "keel.kernel"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local schedules = require "keel.schedule"
local terminal = require "keel.cli.terminal"
local usage = require "keel.cli.usage"

-- Up to `count` times behind one; fewer at the end of time.
local function times_behind(said, time, count)
  local list = {}
  while #list < count do
    local err
    time, err = schedules.next_occurrence(said, time)
    if not time then
      if #list > 0 or err.field == "from" then return list end
      return nil, definition.advised(err)
    end
    list[#list + 1] = time
  end
  return list
end

-- Those of a schedule: of one that a policy decides only the next is known.
local function times_of(given, name)
  local store <close>, manager = opening.manager(given, "read")
  if not store then return nil, manager end
  local schedule, err = definition.find(manager, name)
  if not schedule then return nil, err end
  if schedule.problem then
    return nil, { code = "policy_failed", transient = false,
      message = ("it is not known when %s happens next: %s"):format(name, schedule.problem) }
  end
  local list = {}
  if not schedule.policy then
    list, err = times_behind({ cron = schedule.cron, every = schedule.every, timezone = schedule.timezone },
      schedule.next_at, given.limit - 1)
    if not list then return nil, err end
  end
  table.insert(list, 1, schedule.next_at)
  return list
end

return {
  about = "Tells when a schedule happens next (UTC), or a CRON in quotes would.",
  arguments = { { "when", "the name of a schedule, or '0 3 * * *', @daily, '@every 10m'", complete = "schedules" } },
  options = {
    { "--limit", "-n", value = "N", convert = usage.integer(1, 1000), about = "the next N times (default 1)" },
    { "--timezone", "-z", value = "ZONE", about = "the zone of a CRON: local (default), UTC, Europe/Berlin" },
  },
  run = function(given)
    given.limit = given.limit or 1
    local list, err
    if given.when:find "[%s@*]" then
      local said
      said, err = definition.read(given.when, given.timezone)
      if said then list, err = times_behind(said, kernel.now(), given.limit) end
    elseif given.timezone then
      err = usage.error "--timezone goes with a CRON: a schedule has its own"
    else
      list, err = times_of(given, given.when)
    end
    if not list then return nil, err end
    for _, time in ipairs(list) do
      if given.json then output.json { at = time } else terminal.print(time) end
    end
  end,
}
