--- Counts the lines of lua/keel that the specs run: busted loads it as its helper. Processes that specs start are not
--- counted. The counts go to the file that KEEL_COVERAGE names, FILE:LINE a line.
local path = assert(os.getenv "KEEL_COVERAGE", "KEEL_COVERAGE names the file for the counts")
local hits, wanted = {}, {}

local function hook(_, line)
  local source = debug.getinfo(2, "S").source
  local file = wanted[source]
  if file == nil then
    file = source:match "(lua/keel/.*%.lua)$" or false
    wanted[source] = file
    if file then hits[file] = hits[file] or {} end
  end
  if file then hits[file][line] = true end
end

-- A hook belongs to a coroutine: each new one gets it as well, unless it has one, as in the budget of a policy.
local create, wrap = coroutine.create, coroutine.wrap
local function hooked(fn)
  return function(...)
    if not debug.gethook() then debug.sethook(hook, "l") end
    return fn(...)
  end
end
function coroutine.create(fn) return create(hooked(fn)) end
function coroutine.wrap(fn) return wrap(hooked(fn)) end
debug.sethook(hook, "l")

require("busted").subscribe({ "exit" }, function()
  debug.sethook()
  local file <close> = assert(io.open(path, "a"))
  for name, lines in pairs(hits) do
    for line in pairs(lines) do file:write(name, ":", line, "\n") end
  end
  return nil, true
end)
