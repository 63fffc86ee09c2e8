--- keel run: a Lua script with keel in it.
local keel_command = require "keel.command"
local terminal = require "keel.cli.terminal"
local usage = require "keel.cli.usage"

-- An error with the frames of the script: those behind it are of the command.
local function explain(err)
  local trace = debug.traceback(require("keel.cli.repl.chunk").message_of(err), 2)
  return (trace:gsub("\n\t%[C%]: in function 'xpcall'\n.*$", ""))
end

return {
  about = "Runs a Lua script. `require \"keel\"` works, `keel` is there already, and `arg` and `...`"
    .. " are its arguments. $KEEL_STORE tells it which store, when --store was given.",
  usage = "[--] SCRIPT.lua [ARGUMENT …]",
  takes_command = "script",
  is_host = true,
  run = function(given)
    local path = given.command[1]
    if not path then return nil, usage.error "which script? Write: keel run SCRIPT.lua [ARGUMENT …]" end
    local chunk, problem = loadfile(path)
    if not chunk then return nil, usage.error(problem) end
    if given.store then keel_command.set_environment("KEEL_STORE", given.store) end
    _G.arg = table.move(given.command, 1, #given.command, 0, {})
    _G.keel = require "keel"
    local result = table.pack(xpcall(chunk, explain, table.unpack(given.command, 2)))
    if not result[1] and given.json then return nil, { code = "script", message = result[2], transient = false } end
    if not result[1] then
      terminal.say("keel run: ", result[2])
      return 1
    end
    -- As for os.exit: a code, or whether it went well.
    if type(result[2]) == "number" then return (math.tointeger(result[2]) or 1) & 255 end
    return result[2] == false and 1 or 0
  end,
}
