--- Real child processes: a Lua chunk run by another lua5.4 and spoken to by lines over its pipes.
-- In the chunk, `keel` is the module, `say(…)` sends a line, `hear()` waits for one, `…` are the arguments.
-- Nobody sleeps to synchronise: parent and child wait for each other's lines. What hangs fails at the deadline.
local uv = require "luv"

local M = {}
local Child = {}
Child.__index = Child

local DEADLINE_MS = 30000
local running, count = {}, 0

local PRELUDE = "local keel = require 'keel' io.stdout:setvbuf 'line' "
  .. "local function say(...) print(...) end local function hear() return io.read 'l' end "

function M.pid()
  return uv.os_getpid()
end

--- Turns the loop until `done()`; false when the deadline came first.
function M.turn_until(done, milliseconds)
  local late = false
  local timer = uv.new_timer()
  uv.update_time() -- what was done since the last turn took its time
  timer:start(milliseconds or DEADLINE_MS, 0, function() late = true end)
  local is_done = done()
  while not is_done and not late do
    uv.run "once"
    is_done = done()
  end
  timer:close()
  uv.run "nowait"
  return (is_done or done()) and true or false
end

--- The same for what no event of the loop tells of: looks every few milliseconds.
function M.poll_until(done, milliseconds)
  local tick = uv.new_timer()
  tick:start(5, 5, function() end)
  local found = M.turn_until(done, milliseconds)
  tick:close()
  uv.run "nowait"
  return found
end

--- Whether a process is gone, or a zombie that its parent has yet to wait for.
function M.is_gone(pid)
  local file <close> = io.open(("/proc/%s/stat"):format(pid))
  local stat = file and file:read "a" -- nothing: it went in between
  local state = stat and stat:match "%) (%a)"
  return not state or state == "Z" or state == "X"
end

local function collect(child, pipe, name)
  pipe:read_start(function(_, data)
    if data then child[name] = child[name] .. data else child[name .. "_ended"] = true end
  end)
end

local function environment(extra)
  local list = {}
  for name, value in pairs(uv.os_environ()) do
    if not (extra and extra[name] ~= nil) then list[#list + 1] = name .. "=" .. value end
  end
  for name, value in pairs(extra or {}) do list[#list + 1] = name .. "=" .. value end
  return list
end

--- Starts `chunk` in a new process. options: `prefix` (a command that runs it, as a list), `env` (a table).
-- With `open_to_all`, another user may read the script.
function M.spawn(directory, chunk, arguments, options)
  options = options or {}
  count = count + 1
  local path = ("%s/child-%d.lua"):format(directory, count)
  local file <close> = assert(io.open(path, "w"))
  assert(file:write(PRELUDE, chunk))
  file:flush()
  if options.open_to_all then
    assert(uv.fs_chmod(directory, tonumber("755", 8)))
    assert(uv.fs_chmod(path, tonumber("644", 8)))
  end

  local command = table.move(options.prefix or {}, 1, #(options.prefix or {}), 1, {})
  for _, word in ipairs { os.getenv "KEEL_LUA" or "lua5.4", path } do command[#command + 1] = word end
  for _, argument in ipairs(arguments or {}) do command[#command + 1] = tostring(argument) end
  return M.start(command, options)
end

--- Starts any command, a list, in a new process. options: `env` (a table), `cwd`.
function M.start(command, options)
  options = options or {}
  local child = setmetatable({ output = "", errors = "", pipes = {} }, Child)
  for i = 1, 3 do child.pipes[i] = uv.new_pipe() end
  local handle, pid = uv.spawn(command[1], {
    args = table.move(command, 2, #command, 1, {}), stdio = child.pipes, env = environment(options.env),
    cwd = options.cwd,
  }, function(code, signal)
    child.code, child.signal = code, signal
  end)
  child.handle, child.pid = assert(handle, pid), pid
  collect(child, child.pipes[2], "output")
  collect(child, child.pipes[3], "errors")
  running[child] = true
  return child
end

function Child:fail(what)
  error(("child %d %s\n%s"):format(self.pid, what, self.errors), 3)
end

--- The next line the child says.
function Child:hear()
  M.turn_until(function() return self.output:find "\n" or self.output_ended end)
  local line, rest = self.output:match "^([^\n]*)\n(.*)$"
  if not line then self:fail "ended, or hung, before it said a line" end
  self.output = rest
  return line
end

--- Waits until the child says exactly `line`.
function Child:expect(line)
  local heard = self:hear()
  if heard ~= line then self:fail(("said %q instead of %q"):format(heard, line)) end
end

function Child:say(line)
  self.pipes[1]:write(line .. "\n")
  uv.run "nowait"
end

--- Waits for the end; gives exit code, signal, and what it said and was not yet heard.
function Child:wait()
  local ended = M.turn_until(function()
    return self.code and self.output_ended and self.errors_ended
  end)
  if not ended then self:fail "did not end" end
  return self.code, self.signal, self.output
end

--- Waits for a good end.
function Child:finish()
  local code, _, rest = self:wait()
  if code ~= 0 then self:fail("ended with code " .. code) end
  return rest
end

--- SIGKILL, and waits until the operating system says that the process is gone.
function Child:kill()
  self.handle:kill "sigkill"
  if not M.turn_until(function() return self.code end) then self:fail "could not be killed" end
end

--- Kills what is left and lets go of all handles.
function M.end_all()
  for child in pairs(running) do
    if not child.code then child:kill() end
    for _, pipe in ipairs(child.pipes) do pipe:close() end
    child.handle:close()
    running[child] = nil
  end
  uv.run "nowait"
end

return M
