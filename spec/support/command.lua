--- The keel command as a process, on a store of the test's own.
local process = require "support.process"
local support = require "support"

local M = {}

local library = assert(package.searchpath("keel.kernel", package.cpath))
local ROOT = debug.getinfo(1, "S").source:match "^@(.-)spec/support/[^/]*$"

local function absolute(path)
  return path:find "^/" and path or require("lfs").currentdir() .. "/" .. path
end

--- The program, built beside the module that the specs use.
M.program = os.getenv "KEEL_PROGRAM" or absolute((library:gsub("lua/keel/kernel%.so$", "keel")))

--- The source tree.
M.root = absolute(ROOT == "" and "." or ROOT)

-- It finds its files by itself; the specs' search paths must not help it.
local clean = { LUA_PATH = ";;", LUA_CPATH = ";;", KEEL_STORE = "", NO_COLOR = "", XDG_STATE_HOME = "" }

--- Starts it: `keel(words…)`. options: `env`, `cwd`, `prefix` (words in front of the program).
function M.start(words, options)
  options = options or {}
  local env = {}
  for name, value in pairs(clean) do env[name] = value end
  for name, value in pairs(options.env or {}) do env[name] = value end
  local command = { table.unpack(options.prefix or {}) }
  command[#command + 1] = M.program
  table.move(words, 1, #words, #command + 1, command)
  return process.start(command, { env = env, cwd = options.cwd })
end

--- Runs it to its end: { code, output, errors }. `input` is what it reads.
function M.run(words, options, input)
  local child = M.start(words, options)
  if input then child.pipes[1]:write(input) end
  child.pipes[1]:shutdown()
  local code = child:wait()
  return { code = code, output = child.output, errors = child.errors }
end

--- A function that runs it with words, on one store that vanishes after the test; and the store's path.
function M.on_store(env)
  local path = support.path()
  local given = { KEEL_STORE = path }
  for name, value in pairs(env or {}) do given[name] = value end
  return function(...) return M.run({ ... }, { env = given }) end, path, given
end

return M
