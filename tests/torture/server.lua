--- A throw-away PostgreSQL server for the torture, with its data in a folder, and the ways in which it goes down.
local uv = require "luv"

local script = (arg[0]:match "^(.*)/[^/]*$" or ".") .. "/../postgres.sh"

local Server = {}
Server.__index = Server

local function children_of(pid)
  local file <close> = io.open(("/proc/%d/task/%d/children"):format(pid, pid))
  local list = {}
  for child in (file and file:read "a" or ""):gmatch "%d+" do list[#list + 1] = math.tointeger(tonumber(child)) end
  return list
end

local function is_gone(pid)
  local file <close> = io.open(("/proc/%d/stat"):format(pid))
  local stat = file and file:read "a" -- nothing: it went in between
  local state = stat and stat:match "%) (%a)"
  return not state or state == "Z" or state == "X"
end

--- Makes and starts one in a new folder.
---@param folder string
---@return table server `uri` is that of its database
function Server.start(folder)
  local pipe <close> = assert(io.popen(("%s start '%s'"):format(script, folder)))
  return setmetatable({ folder = folder, uri = assert(pipe:read "l", "no server") }, Server)
end

--- kill -9 of all its processes at once, as when its machine loses them.
function Server:kill()
  local file <close> = assert(io.open(self.folder .. "/data/postmaster.pid"))
  local first = math.tointeger(file:read "n")
  uv.kill(first, "sigstop") -- one that it started behind our back would go on writing beside the next server
  local pids = children_of(first)
  table.insert(pids, 1, first)
  for _, pid in ipairs(pids) do uv.kill(pid, "sigkill") end
  for _, pid in ipairs(pids) do
    while not is_gone(pid) do uv.sleep(1) end
  end
  -- Nobody need have fetched what is left of it in the table of processes, and it would be taken for alive.
  os.remove(self.folder .. "/data/postmaster.pid")
  os.remove(self.folder .. "/.s.PGSQL.5432.lock")
end

--- Starts it again; one that still runs is told first to drop everything (pg_ctl's immediate mode).
function Server:restart()
  assert(os.execute(("%s restart '%s' 2>/dev/null"):format(script, self.folder)))
end

function Server:stop()
  os.execute(("%s stop '%s'"):format(script, self.folder))
end

return Server
