--- keel runs create: a command as a run for whoever works it off.
local claimable = require "keel.cli.exec.claimable"
local exec = require "keel.cli.exec"
local gate = require "keel.cli.gate"
local keel_command = require "keel.command"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local terminal = require "keel.cli.terminal"

local SYNOPSIS = "[OPTION …] [--] COMMAND [ARGUMENT …]"

return {
  about = "Puts a command in line for 'keel work', to be run in this folder, and prints its run's id.",
  usage = SYNOPSIS,
  options = claimable.options(),
  takes_command = "command",
  run = function(given)
    if #given.command == 0 then return nil, claimable.no_command("keel runs create", SYNOPSIS) end
    local asked, err = claimable.asked(given, keel_command.directory() or keel_command.last_directory())
    if not asked then return nil, err end
    local store <close>, manager = opening.manager(given, "make")
    if not store then return nil, manager end
    local settled, unclear = gate.settle(store, asked.after)
    if not settled then return nil, unclear end
    local run, verdict = manager:create_or_reject(exec.thread_of(given, asked.fingerprint), asked)
    if not run then return nil, gate.advised(verdict) end
    if given.json then
      output.json { run_id = run.run_id, reused = verdict == "reused" or nil }
    else
      terminal.print(run.run_id)
    end
  end,
}
