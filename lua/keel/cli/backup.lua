--- keel backup: a copy of the store while it is used.
local keel_command = require "keel.command"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local progress = require "keel.cli.progress"
local terminal = require "keel.cli.terminal"

return {
  about = "Copies the store as it is now into a new file, while others go on. The copy is a store of its own.",
  arguments = { { "file", "where to; must not be there yet" } },
  run = function(given)
    local store <close>, err = opening.store(given, "read")
    if not store then return nil, err end
    local done
    do
      local bar <close> = progress.new(given, "copying")
      bar:watch(store)
      done, err = store:backup(given.file)
    end
    if not done then return nil, err end
    local about = keel_command.stat(given.file) or { size = 0 }
    if given.json then
      output.json { path = given.file, bytes = about.size }
    elseif not given.quiet then
      terminal.print(("%s: %s"):format(given.file, output.size(about.size)))
    end
  end,
}
