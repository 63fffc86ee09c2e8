--- PostgreSQL servers of a test's own, which it can stop and crash (tests/postgres.sh).
local command = require "support.command"
local process = require "support.process"
local support = require "support"

local M = {}
local script <const> = command.root .. "/tests/postgres.sh"
local folders, made = {}, 0

local function run(prefix, verb, ...)
  local pipe <close> = assert(io.popen(table.concat({ prefix, script, verb, ... }, " ")))
  return assert(pipe:read "l", "there is no server")
end

local function folder_for_one()
  made = made + 1
  local folder = ("%s/keel-server-%d-%d"):format(os.getenv "TMPDIR" or "/tmp", process.pid(), made)
  folders[#folders + 1] = folder
  return folder
end

--- Makes and starts one; gives the uri of its database, and its folder. `prefix` is what runs the command.
function M.start(prefix)
  local folder = folder_for_one()
  return run(prefix or "", "start", folder), folder
end

--- One that follows the server in another folder.
function M.standby(of)
  local folder = folder_for_one()
  return run("", "standby", folder, of), folder
end

--- Has it crash, and starts it again.
function M.restart(folder)
  assert(os.execute(("%s restart '%s'"):format(script, folder)))
end

--- After a test, instead of support.clean_up: first what the servers have to be asked about, then the servers.
function M.clean_up()
  support.clean_up()
  for i = #folders, 1, -1 do
    os.execute(("%s stop '%s' 2>/dev/null; rm -rf '%s'"):format(script, folders[i], folders[i]))
    folders[i] = nil
  end
end

return M
