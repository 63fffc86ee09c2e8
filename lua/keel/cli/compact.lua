--- keel compact: makes the store's file as small as its content.
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local terminal = require "keel.cli.terminal"

return {
  about = "Makes the store's file as small as its content. Others can read meanwhile, but not write.",
  more = "It takes time in proportion to the store, and for as long the room of a second one.",
  run = function(given)
    local store <close>, err = opening.store(given, "change")
    if not store then return nil, err end
    local freed
    freed, err = store:compact()
    if not freed then return nil, err end
    if given.json then
      output.json { path = store:path(), freed_bytes = freed }
    elseif not given.quiet then
      terminal.print(("%s: %s given back"):format(store:path(), output.size(freed)))
    end
  end,
}
