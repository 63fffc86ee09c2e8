--- Checks that the conditions of partial indexes stand in one place, in the words of the schema: run by tests/lint.sh.
-- A query that says a condition in other words is right, and reads everything.

local HEADER = "kernel/run/predicates.h"

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "a"
  file:close()
  return text
end

local failed = false
local function complain(...)
  failed = true
  print(string.format(...))
end

-- What the schema has: conditions of partial indexes, but for those that any comparison implies.
local conditions, names = {}, {}
local pipe = assert(io.popen "ls kernel/schema/*.sql")
for path in pipe:lines() do
  for name, condition in read(path):gmatch "CREATE U?N?I?Q?U?E? ?INDEX ([%w_]+) ON [^;]-%) WHERE ([^;]+);" do
    if not condition:find "^[%w_]+ IS NOT NULL$" then conditions[name] = condition end
  end
end
pipe:close()

-- What the header says: the names of the indexes above each condition.
for indexes, condition in read(HEADER):gmatch "Indexes: ([^*]-)%. %*/\n#define [%w_]+ \"([^\"]+)\"" do
  for name in indexes:gmatch "[%w_]+" do
    names[name] = true
    if conditions[name] ~= condition then
      complain("%s:1: the index %s has not the condition '%s'", HEADER, name, condition)
    end
  end
end
for name in pairs(conditions) do
  if not names[name] then complain("%s:1: it lacks the condition of the index %s", HEADER, name) end
end

-- Nobody says them by hand. "status = 0" is said of other tables too: there only queries of workers count.
local said = {}
for condition in read(HEADER):gmatch "#define [%w_]+ \"([^\"]+)\"" do
  said[#said + 1] = condition == "status = 0" and "FROM workers%f[%W][^;]-%f[%w]status = 0" or
    condition:gsub("%p", "%%%0")
end
pipe = assert(io.popen "find kernel -name '*.c' | LC_ALL=C sort")
for path in pipe:lines() do
  local number = 0
  for line in io.lines(path) do
    number = number + 1
    for _, pattern in ipairs(said) do
      if line:find(pattern) then complain("%s:%d: it says a condition of %s by hand", path, number, HEADER) end
    end
  end
end
pipe:close()
os.exit(not failed)
