--- keel runs show: all about one run, and why it is not running.
local about = require "keel.cli.about"
local describe = require "keel.cli.describe"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local shape = require "keel.cli.shape"
local terminal = require "keel.cli.terminal"
local which = require "keel.cli.which"

return {
  about = "Shows a run with all its fields, why it is not running, and what happened to it.",
  arguments = { { "run", which.about } },
  run = function(given)
    local store <close>, manager = opening.manager(given, "read")
    if not store then return nil, manager end
    local run_id, run, err
    run_id, err = which.run(store, given.run)
    if not run_id then return nil, err end
    run, err = store:get(run_id)
    if not run then return nil, err or opening.no_run(run_id) end
    local answer
    answer, err = about.explain(store, manager, run)
    if not answer then return nil, err end
    if given.json then
      local fields = shape.fields(run)
      fields.explanation = answer
      return output.json(fields)
    end
    output.fields(about.fields(run, answer))
    terminal.print()
    local page, cursor
    repeat
      page, err = store:read_events(cursor, 1000, { run_id = run.run_id })
      if not page then return nil, err end
      for _, event in ipairs(page.events) do terminal.print(describe.event(event, false)) end
      cursor = page.cursor
    until not page.has_more
  end,
}
