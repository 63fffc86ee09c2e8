--- keel cron add: a command that is run again and again.
local claimable = require "keel.cli.exec.claimable"
local definition = require "keel.cli.cron.definition"
local keel_command = require "keel.command"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local usage = require "keel.cli.usage"

local SYNOPSIS = "NAME 'CRON' [OPTION …] -- COMMAND [ARGUMENT …]"

local options = claimable.options(true)
table.insert(options, 1, { "--timezone", "-z", value = "ZONE",
  about = "the zone of CRON: local (default), UTC, Europe/Berlin" })
table.insert(options, 2, { "--missed", value = "WHAT", choices = { "once", "skip", "all" },
  about = "what becomes of occurrences that nobody was there for: one run for all (default), none, one each" })

return {
  about = "Has a command run again and again, here in this folder. What is due is made by 'keel work', or by any"
    .. " program that ticks, each occurrence once; it is a run for whoever works off commands. One that is due while"
    .. " the last one is not done is left out, unless another --strategy decides.",
  more = [[
CRON is one word in quotes: minute, hour, day of month, month, day of week ('0 3 * * mon-fri'); @daily and the like; or
'@every 10m'. An existing schedule of that name is changed.]],
  usage = SYNOPSIS,
  arguments = { { "name", "of the schedule, and the thread of its runs unless --thread names another",
    complete = "schedules" }, { "cron", "when: '0 3 * * *', @hourly, '@every 10m'", complete = "none" } },
  options = options,
  takes_command = "command",
  run = function(given)
    if #given.command == 0 then return nil, claimable.no_command("keel cron add", SYNOPSIS) end
    local wanted, err = definition.read(given.cron, given.timezone)
    if not wanted then return nil, err end
    if given.strategy and given.strategy:find "[/.]" then
      return nil, usage.error "--strategy must be a name: a schedule is kept, and its script might change"
    end
    wanted.options, err = claimable.asked(given, keel_command.directory() or keel_command.last_directory())
    if not wanted.options then return nil, err end
    wanted.thread_id, wanted.missed = given.thread, given.missed
    local store <close>, manager = opening.manager(given, "make")
    if not store then return nil, manager end
    local schedule
    schedule, err = manager:schedule(given.name, wanted)
    if not schedule then return nil, definition.advised(require("keel.cli.gate").advised(err)) end
    if given.json then return output.json(schedule) end
    output.note(given, ("%s is due next at %s (UTC); 'keel work' runs it"):format(output.plain(given.name),
      definition.clock(schedule.next_at)))
  end,
}
