--- Checks that what is written down about the project is complete: run by tests/lint.sh.
-- The tour in kernel/README.md names every file of the kernel; kernel/BEHAVIOURS.md and the specs name the same ids.
local check = dofile "tests/check.lua"
local lfs = require "lfs"

local function files(...)
  local list, listed = {}, "git ls-files --cached --others --exclude-standard -- " .. table.concat({ ... }, " ")
  for _, name in ipairs(check.lines(listed)) do
    if lfs.attributes(name) then list[name] = check.read(name) end -- a deleted one is listed until it is committed
  end
  return list
end

-- --- The tour ----------------------------------------------------------------------------------------------------

-- The files of a row: `run/put.c`, `list.c` are both of run/. A `.c` file stands for the header beside it.
local function check_tour()
  local kernel, number, named = files("'kernel/*.c'", "'kernel/*.h'", "'kernel/*.lua'"), 0, {}
  local in_table = false
  for line in io.lines "kernel/README.md" do
    number = number + 1
    if line:find "^## " then in_table = line == "## File by file" end
    local first = in_table and line:match "^| (`[^|]+`) |"
    local folder = ""
    for name in (first or ""):gmatch "`([^`]+)`" do
      folder = name:match "^(.*/)" or folder
      local path = "kernel/" .. (name:find "/" and "" or folder) .. name
      if not kernel[path] then check.complain("kernel/README.md", number, "there is no file %s", path) end
      named[path] = true
    end
  end
  for path in pairs(kernel) do
    local source = path:gsub("%.h$", ".c")
    if not named[path] and not (source ~= path and kernel[source]) then
      check.complain(path, 1, "the tour in kernel/README.md does not name it")
    end
  end
end

-- --- Behaviours --------------------------------------------------------------------------------------------------

local function check_behaviours()
  local listed, section, number = {}, nil, 0
  for line in io.lines "kernel/BEHAVIOURS.md" do
    number = number + 1
    section = line:match "^## (%u+):" or section
    local item = section and line:match "^(%d+)%. "
    if item then listed[section .. "-" .. item] = number end
  end
  local sections, shown = {}, {}
  for id in pairs(listed) do sections[id:match "^%u+"] = true end
  for path, text in pairs(files("spec", "tests", "examples")) do
    for id, kind in text:gmatch "%f[%w]((%u+)%-%d+)%f[%D]" do
      if sections[kind] then
        shown[id] = true
        if not listed[id] then check.complain(path, 1, "kernel/BEHAVIOURS.md lists no %s", id) end
      end
    end
  end
  for id, line in pairs(listed) do
    if not shown[id] then check.complain("kernel/BEHAVIOURS.md", line, "no specification names %s", id) end
  end
end

check_tour()
check_behaviours()
check.finish()
