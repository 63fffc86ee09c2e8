--- keel runs cancel: stops runs.
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local terminal = require "keel.cli.terminal"
local which = require "keel.cli.which"

local words = {
  cancelled = "it was pending, or had been stopped already: it is interrupted",
  requested = "its process was asked to stop it",
  taken_over = "its process is gone: it is interrupted",
  not_cancellable = "it has ended by itself",
  unknown = "there is no such run",
}

local function cancel_each(store, manager, given)
  local ids, err = which.runs(store, given.run, true, true)
  if not ids then return nil, err end
  local code = 0
  for _, run_id in ipairs(ids) do
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
end

local function cancel_all(manager, given)
  local count, err = manager:cancel_all(which.filter(given), { action = given.action })
  if not count then return nil, err end
  if given.json then
    output.json { cancelled = count }
  elseif not given.quiet then
    terminal.print(("stopped, or asked to stop: %s"):format(output.count(count, "run")))
  end
end

local options = which.options { "pending", "running" }
options[#options + 1] = { "--action", value = "ACTION", choices = { "interrupt", "rollback" },
  about = "interrupt (default), or rollback: its outcome is an error" }

return {
  about = "Stops runs: those that are named, or all in flight that a filter means. What runs elsewhere is asked to "
    .. "stop: a command gets SIGTERM.",
  arguments = { { "run", which.about_changed, many = true, optional = true } },
  options = options,
  run = function(given)
    local misuse = which.misuse(given)
    if misuse then return nil, misuse end
    local store <close>, manager = opening.manager(given, "change")
    if not store then return nil, manager end
    if which.filter(given) then return cancel_all(manager, given) end
    return cancel_each(store, manager, given)
  end,
}
