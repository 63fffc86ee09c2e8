--- Waits that Ctrl-C can end. For the program of the prompt only: it changes the modules it is given.
local keel_command = require "keel.command"
local kernel = require "keel.kernel"

local LOOK_MS = 50 -- how often a loop that has nothing to do looks whether it was interrupted

local waits = {}

-- Leaves a loop of libuv in good order: an error must not pass through its callbacks, which would end the process.
local function wrap_loop(uv)
  local run = uv.run
  local timer = uv.new_timer()
  timer:unref()
  uv.run = function(...)
    if uv.loop_mode() then return run(...) end -- let it say that it runs already
    local before = keel_command.hold_interrupts(true)
    timer:start(LOOK_MS, LOOK_MS, function()
      if keel_command.is_interrupted() then uv.stop() end
    end)
    local results = table.pack(pcall(run, ...))
    timer:stop()
    keel_command.hold_interrupts(before)
    if keel_command.is_interrupted() then error("interrupted", 0) end
    if not results[1] then error(results[2], 0) end
    return table.unpack(results, 2, results.n)
  end
  return uv
end

-- The searcher that would find a module, without those that package.preload has.
local function load_found(name)
  local path = assert(package.searchpath(name, package.cpath))
  return assert(package.loadlib(path, "luaopen_" .. name:gsub("%.", "_")))(name, path)
end

--- Makes stores wait in short steps and the event loop look up now and then.
function waits.prepare()
  local open = kernel.open
  kernel.sleep = keel_command.sleep
  function kernel.open(uri, options)
    local given = { sleep = keel_command.sleep }
    if options ~= nil and type(options) ~= "table" then return open(uri, options) end
    for name, value in pairs(options or {}) do given[name] = value end
    return open(uri, given)
  end
  if package.searchpath("luv", package.cpath) then
    package.preload.luv = function(name) return wrap_loop(load_found(name)) end
  end
end

return waits
