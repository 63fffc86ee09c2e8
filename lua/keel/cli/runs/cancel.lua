--- keel runs cancel: stops runs.
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local terminal = require "keel.cli.terminal"

local words = {
  cancelled = "it was pending, or had been stopped already: it is interrupted",
  requested = "its process was asked to stop it",
  taken_over = "its process is gone: it is interrupted",
  not_cancellable = "it has ended by itself",
  unknown = "there is no such run",
}

return {
  about = "Stops runs. What runs elsewhere is asked to stop: a command gets SIGTERM.",
  arguments = { { "run", "ids", many = true } },
  options = {
    { "--action", value = "ACTION", choices = { "interrupt", "rollback" },
      about = "interrupt (default), or rollback: its outcome is an error" },
  },
  run = function(given)
    local store <close>, manager = opening.manager(given, "change")
    if not store then return nil, manager end
    local code = 0
    for _, run_id in ipairs(given.run) do
      local done, verdict = manager:cancel(run_id, { action = given.action })
      if done == nil then return nil, verdict end
      if not done then code = 1 end
      if given.json then
        output.json { run_id = run_id, verdict = verdict }
      elseif not given.quiet or not done then
        local tell = done and terminal.print or terminal.say
        tell(("%s: %s"):format(run_id, words[verdict]))
      end
    end
    return code
  end,
}
