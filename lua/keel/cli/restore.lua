--- keel restore: puts a backup in the place of the store.
local host = require "keel.host"
local kernel = require "keel.kernel"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"

-- Asks on a terminal; elsewhere whoever gave the command has decided.
local function agrees(path, file)
  io.stderr:write(("%s is replaced by %s, and what is in it now is lost. Go on? [y/N] "):format(output.plain(path),
    output.plain(file)))
  local answer = io.read "l"
  return answer ~= nil and answer:lower():find "^%s*y" ~= nil
end

return {
  about = "Puts a backup in the place of the store. It is refused while a process has the store open.",
  more = "The old log and the files beside the store go with it, which copying by hand forgets. A store that is missing"
    .. " is made.",
  arguments = { { "file", "the backup" } },
  options = { { "--yes", "-y", about = "do not ask, on a terminal either" } },
  run = function(given)
    local path, is_default = opening.path(given)
    if not path then return nil, is_default end
    if is_default then
      local made, err = opening.make_folder(path)
      if not made then return nil, err end
    end
    if not given.yes and host.stat(path) and host.is_terminal(0) and not agrees(path, given.file) then
      return nil, { code = "cancelled", message = "nothing was replaced", transient = false }
    end
    local done, err = kernel.restore(given.file, path)
    if not done then return nil, err end
    if given.json then
      output.json { path = path, backup = given.file }
    elseif not given.quiet then
      print(("%s: restored from %s"):format(path, given.file))
    end
  end,
}
