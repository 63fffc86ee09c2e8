--- Checks that what is written down about the project is complete: run by tests/lint.sh.
-- The tour in kernel/README.md names every file of the kernel; kernel/BEHAVIOURS.md and the specs name the same ids;
-- the links of the pages lead somewhere.
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

-- --- Links -------------------------------------------------------------------------------------------------------

-- What one may link to in a page: its headings, as GitHub names them. Code is left out, of headings and of texts.
local function look_at(page)
  local anchors, links, number, fenced = {}, {}, 0, false
  for line in (page .. "\n"):gmatch "([^\n]*)\n" do
    number = number + 1
    if line:find "^%s*```" then fenced = not fenced end
    local title = not fenced and line:match "^#+ (.*)$"
    if title then
      anchors[title:gsub("%[([^%]]*)%]%b()", "%1"):lower():gsub("[^%w%s_\128-\255-]", ""):gsub(" ", "-")] = true
    end
    for target in (fenced and "" or line:gsub("`[^`]*`", "")):gmatch "%]%(([^%s)]+)%)" do
      links[#links + 1] = { line = number, target = target }
    end
  end
  return anchors, links
end

-- A path without its "..".
local function plain(path)
  local parts = {}
  for part in path:gmatch "[^/]+" do
    if part == ".." then parts[#parts] = nil elseif part ~= "." then parts[#parts + 1] = part end
  end
  return table.concat(parts, "/")
end

local function check_links()
  local anchors, links = {}, {}
  for path, text in pairs(files "'*.md'") do anchors[path], links[path] = look_at(text) end
  for path, list in pairs(links) do
    for _, link in ipairs(list) do
      local file, anchor = link.target:match "^([^#]*)#?(.*)$"
      local target = file == "" and path or plain((path:match "^(.*/)" or "") .. file)
      if not link.target:find "^%a+:" then
        if not lfs.attributes(target == "" and "." or target) then
          check.complain(path, link.line, "there is no %s to link to", target)
        elseif anchor ~= "" and anchors[target] and not anchors[target][anchor] then
          check.complain(path, link.line, "%s has no heading #%s", target, anchor)
        end
      end
    end
  end
end

check_tour()
check_behaviours()
check_links()
check.finish()
