--- Breaks the code in one place at a time and sees whether the tests notice. tests/mutate/run.sh calls it in a copy of
--- the tree.
---
--- Usage: lua5.4 tests/mutate/mutate.lua [--seed N] [--count N] [--near] [FOLDER ...]
local near = dofile "tests/mutate/near.lua"
local sites = dofile "tests/mutate/sites.lua"

local seed, count, near_only, folders = os.time(), 20, false, {}
local i = 1
while arg[i] do
  if arg[i] == "--seed" then seed = assert(math.tointeger(arg[i + 1]), "--seed takes a whole number") i = i + 1
  elseif arg[i] == "--count" then count = assert(math.tointeger(arg[i + 1]), "--count takes a whole number") i = i + 1
  elseif arg[i] == "--near" then near_only = true
  else folders[#folders + 1] = arg[i] end
  i = i + 1
end
if #folders == 0 then folders = { "kernel", "lua/keel" } end

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end
local function write(path, text)
  local file <close> = assert(io.open(path, "wb"))
  assert(file:write(text))
end

--- Runs a command of the shell; its output goes to a file.
local function runs(command) return (os.execute(("{ %s; } >mutate.log 2>&1 </dev/null"):format(command))) end

--- What notices a broken file, the quickest first: the tests that are nearest to it, then all.
local BUILD = { "the build", "cmake --build --preset dev --parallel" }
local ALL = {
  { "the C tests", "timeout 400 ctest --preset dev -L 'unit|fault|crash' --stop-on-failure --parallel 2" },
  { "the specs", "timeout 600 $BUSTED --no-keep-going spec" },
}

local all = {}
local list = assert(io.popen("git ls-files -- " .. table.concat(folders, " ")))
for path in list:lines() do
  local language = path:match "%.[ch]$" and "c" or path:match "%.lua$" and "lua"
  if language and not path:find "/_meta/" then
    local text = read(path)
    for _, site in ipairs(sites.find(text, language)) do all[#all + 1] = { path = path, text = text, site = site } end
  end
end
list:close()
assert(#all > 0, "no code in these folders")

--- The test that fails, or nil.
local function failing(tests)
  for _, test in ipairs(tests) do
    if not runs(test[2]) then return test[1] end
  end
end
local function noticed(path)
  return failing { BUILD } or failing(near.tests(path)) or not near_only and failing(ALL) or nil
end

math.randomseed(seed)
local chosen, first, is_known = {}, { BUILD }, {}
for n = 1, count do
  chosen[n] = all[math.random(#all)]
  for _, test in ipairs(near_only and near.tests(chosen[n].path) or ALL) do
    if not is_known[test[1]] then first[#first + 1] = test end
    is_known[test[1]] = true
  end
end
local broken = failing(first)
if broken then
  print(broken .. " fails as the code stands; see mutate.log:")
  print(read "mutate.log")
  os.exit(1)
end
print(("seed %d: %d of %d places"):format(seed, count, #all))
local caught, survived = 0, {}
for n, one in ipairs(chosen) do
  local line, text = sites.line(one.text, one.site)
  write(one.path, sites.broken(one.text, one.site))
  local by = noticed(one.path)
  write(one.path, one.text)
  local what = ("%s:%d: %s -> %s"):format(one.path, line, one.site.was, one.site.becomes)
  if by then caught = caught + 1 else survived[#survived + 1] = what end
  print(("%d %s: %s | %s"):format(n, by and "caught by " .. by or "SURVIVED", what, text:match "^%s*(.-)%s*$"))
  io.stdout:flush()
end
print(("%d of %d caught"):format(caught, count))
for _, what in ipairs(survived) do print("survived " .. what) end
os.exit(#survived == 0)
