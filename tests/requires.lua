-- Checks that the parts of lua/keel require what is below them only, and that no files require each other in a circle.
--
-- Usage, in the root of the tree: lua5.4 tests/requires.lua
--
-- Prints FILE:LINE: RULE for each violation.
local check = dofile "tests/check.lua"

-- From the bottom up. A part is a file or a folder of lua/keel; parts of one floor do not require each other.
local floors = {
  { "due_since", "errors" },
  { "check" },
  { "retry", "store" },
  { "policy" },
  { "schedule" },
  { "recovery" },
  { "admission" },
  { "manager" },
  { "dispatcher", "executor", "runtime" },
  { "testing" },
  { "init" }, -- keel itself
  { "cli" },
}
local pure = { strategies = true, reconcilers = true, diagnostics = true, _meta = true } -- they require nothing
local in_c = { kernel = true, command = true, host = true }

local floor_of = {}
for floor, parts in ipairs(floors) do
  for _, part in ipairs(parts) do floor_of[part] = floor end
end

local function module_of(file)
  return (file:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", "."))
end

local function part_of(module)
  return module == "keel" and "init" or module:match "^keel%.([%w_]+)"
end

-- The modules of Keel that a line of code requires; of "keel.manager." .. part, all of the folder.
local function required_by(line, modules)
  local names = {}
  for name, more in line:gmatch "require *%(? *[\"'](keel[%w_.]*)[\"'] *(%.?%.?)" do
    if more == ".." then
      for module in pairs(modules) do
        if module:sub(1, #name) == name then names[#names + 1] = module end
      end
    else
      names[#names + 1] = name
    end
  end
  return names
end

local files = check.lines "find lua/keel -name '[!.]*.lua' | LC_ALL=C sort"
local modules, requires = {}, {}
for _, file in ipairs(files) do
  if not pure[part_of(module_of(file))] then modules[module_of(file)] = file end
end

local function check_direction(file, number, from, to)
  local below, above = part_of(to), part_of(from)
  if in_c[below] or below == above then return end
  if not floor_of[below] then
    check.complain(file, number, "%s is on no floor (tests/requires.lua)", to)
  elseif floor_of[above] and floor_of[below] >= floor_of[above] then
    check.complain(file, number, "%s does not require %s: it is not below it (tests/requires.lua)", above, below)
  end
end

for module, file in pairs(modules) do
  requires[module] = {}
  local number = 0
  if not floor_of[part_of(module)] then check.complain(file, 1, "%s is on no floor (tests/requires.lua)", module) end
  for line in io.lines(file) do
    number = number + 1
    for _, name in ipairs(required_by(line:gsub("%-%-.*", ""), modules)) do
      check_direction(file, number, module, name)
      if modules[name] and name ~= module then requires[module][name] = number end
    end
  end
end

-- Circles, each told of where it closes.
local state = {} -- module -> "open" while it is on the way, then "done"
local function visit(module)
  state[module] = "open"
  local names = {}
  for name in pairs(requires[module]) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    if state[name] == "open" then
      check.complain(modules[module], requires[module][name], "a circle: %s requires %s, which requires it", module,
        name)
    elseif not state[name] then
      visit(name)
    end
  end
  state[module] = "done"
end
local sorted = {}
for module in pairs(modules) do sorted[#sorted + 1] = module end
table.sort(sorted)
for _, module in ipairs(sorted) do
  if not state[module] then visit(module) end
end
check.finish()
