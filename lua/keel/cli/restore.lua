--- keel restore: puts a backup in the place of the store.
local ask = require "keel.cli.ask"
local errors = require "keel.errors"
local keel_command = require "keel.command"
local kernel = require "keel.kernel"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local terminal = require "keel.cli.terminal"

-- Asks on a terminal; elsewhere whoever gave the command has decided.
local function agrees(given, path)
  if given.yes or not keel_command.stat(path) or not keel_command.is_terminal(0) then return true end
  terminal.say(terminal.plain(path .. " is replaced by " .. given.file .. "; what is in it now is lost."))
  return ask "Go on?" == true -- nil: there is no terminal to show the question on
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
    if opening.is_on_server(path) then
      return nil, errors.new("not_supported", "a store on a server is restored by the server's means: pg_restore into a"
        .. " schema or database of its own, then 'keel copy --anyway' from there, which gives the store a new epoch")
    end
    if is_default then
      local made, err = opening.make_folder(path)
      if not made then return nil, err end
    end
    local problem = opening.folder_problem(path)
    if problem then return nil, errors.new("store_missing", problem .. "; --store names another file") end
    if not agrees(given, path) then
      return nil, errors.new("cancelled", "nothing was replaced; --yes does it without asking")
    end
    local done, err = kernel.restore(given.file, path)
    if not done then return nil, err end
    if given.json then
      output.json { path = path, backup = given.file }
    elseif not given.quiet then
      terminal.print(("%s: restored from %s"):format(path, given.file))
    end
  end,
}
