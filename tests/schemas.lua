--- Checks that the migrations of one number do the same for every driver: run by tests/lint.sh.
-- Tables and columns are compared, and whether a column may be null; types and indexes are a driver's own matter.
local check = dofile "tests/check.lua"

local SQLITE, POSTGRES = "kernel/schema/sqlite", "kernel/schema/postgres"

-- What only one of them has: "table" or "table.column".
local own = { schema_version = POSTGRES, ["sessions.server"] = POSTGRES, ["events.written_at"] = POSTGRES }

-- Of a script: { ["table.column"] = "NOT NULL" or "" }, in the columns' order.
local function columns_of(path)
  local found, order = {}, {}
  local text = check.read(path):gsub("%-%-[^\n]*", "")
  for name, body in text:gmatch "CREATE TABLE ([%w_]+) (%b())" do
    for line in body:sub(2, -2):gmatch "[^\n]+" do
      local column, rest = line:match "^%s*([%l_]+)%s+(.-),?%s*$"
      if column then
        local place = name .. "." .. column
        local is_key = rest:find "PRIMARY KEY"
        found[place] = (is_key or rest:find "NOT NULL") and "NOT NULL" or ""
        order[#order + 1] = place
      end
    end
  end
  return found, order
end

local function names(folder)
  local list = {}
  for _, path in ipairs(check.lines(("ls %s/*.sql"):format(folder))) do list[#list + 1] = path:match "[^/]+$" end
  return list
end

local ours, theirs = names(SQLITE), names(POSTGRES)
for i = 1, math.max(#ours, #theirs) do
  if ours[i] ~= theirs[i] then
    check.complain(POSTGRES, 1, "migration %d is %s here and %s in %s", i, tostring(theirs[i]), tostring(ours[i]),
      SQLITE)
  end
end

for _, name in ipairs(ours) do
  local here, there = SQLITE .. "/" .. name, POSTGRES .. "/" .. name
  local left, left_order = columns_of(here)
  local right, right_order = columns_of(there)
  local function compare(order, one, other, path, other_folder)
    for _, place in ipairs(order) do
      local is_own = own[place] or own[place:match "^[^.]+"]
      if not is_own and other[place] == nil then
        check.complain(path, 1, "%s is not in %s", place, other_folder)
      elseif not is_own and one[place] ~= other[place] and path == here then
        check.complain(path, 1, "%s may be null in one of the two", place)
      end
    end
  end
  compare(left_order, left, right, here, POSTGRES)
  compare(right_order, right, left, there, SQLITE)
end

check.finish()
