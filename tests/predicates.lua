--- Checks that the conditions of partial indexes stand in one place, in the words of the schema: run by tests/lint.sh.
-- A query that says a condition in other words is right, and reads everything.
local check = dofile "tests/check.lua"

local HEADER = "kernel/run/predicates.h"

-- What the schema has: conditions of partial indexes, but for those that any comparison implies.
local conditions, names = {}, {}
for _, path in ipairs(check.lines "ls kernel/schema/sqlite/*.sql") do
  for name, condition in check.read(path):gmatch "CREATE U?N?I?Q?U?E? ?INDEX ([%w_]+) ON [^;]-%) WHERE ([^;]+);" do
    if not condition:find "^[%w_]+ IS NOT NULL$" then conditions[name] = condition end
  end
end

-- What the header says: the names of the indexes above each condition.
for indexes, condition in check.read(HEADER):gmatch "Indexes: ([^*]-)%. %*/\n#define [%w_]+ \"([^\"]+)\"" do
  for name in indexes:gmatch "[%w_]+" do
    names[name] = true
    if conditions[name] ~= condition then
      check.complain(HEADER, 1, "the index %s has not the condition '%s'", name, condition)
    end
  end
end
for name in pairs(conditions) do
  if not names[name] then check.complain(HEADER, 1, "it lacks the condition of the index %s", name) end
end

-- Nobody says them by hand. "status = 0" is said of other tables too: there only queries of workers count.
local said = {}
for condition in check.read(HEADER):gmatch "#define [%w_]+ \"([^\"]+)\"" do
  said[#said + 1] = condition == "status = 0" and "FROM workers%f[%W][^;]-%f[%w]status = 0" or
    condition:gsub("%p", "%%%0")
end
for _, path in ipairs(check.lines "find kernel -name '*.c' | LC_ALL=C sort") do
  local number = 0
  for line in io.lines(path) do
    number = number + 1
    for _, pattern in ipairs(said) do
      if line:find(pattern) then check.complain(path, number, "it says a condition of %s by hand", HEADER) end
    end
  end
end
check.finish()
