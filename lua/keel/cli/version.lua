--- keel version: which version this is.
local kernel = require "keel.kernel"
local terminal = require "keel.cli.terminal"

return {
  about = "Prints the version of the command and of the kernel in it.",
  run = function(options)
    terminal.print(options.json and kernel.json.encode { version = kernel.version } or "keel " .. kernel.version)
  end,
}
