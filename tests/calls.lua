--- Checks that calls go down only: run by tests/lint.sh.
--
-- Usage: lua5.4 tests/calls.lua [FOLDER]
--
-- A file of the kernel may call files of its own folder, if none of them leads back to it, and those of the folders
-- below. Prints FILE:LINE: RULE for each call that breaks this. With a FOLDER it draws who calls whom in there instead.
--
-- What counts as a call is that a function, a table or a macro is named that another file defines. A header and the
-- source beside it are one file.

local check = dofile "tests/check.lua"

-- From the bottom up. What is public is called through include/keel, so includes alone do not show it. The sandbox is
-- between the floor of the binding and its roof: the two are one storey.
local storeys = {
  { "base" }, { "sql" }, { "schema" }, { "store" }, { "event" }, { "run" }, { "worker" }, { "housekeeping" }, { "." },
  { "binding", "binding/sandbox", "binding/postgres" }, { "command" },
}
local storey = {}
for number, folders in ipairs(storeys) do
  for _, folder in ipairs(folders) do storey[folder] = number end
end

-- --- Reading C ---------------------------------------------------------------------------------------------------

-- The text without comments and what is in quotes; lines stay lines.
local function bare(text)
  local function lines_of(piece) return (piece:gsub("[^\n]", "")) end
  local result, at = {}, 1
  while true do
    local from = text:find("[/\"']", at)
    if not from then break end
    result[#result + 1] = text:sub(at, from - 1)
    local sign, last = text:sub(from, from + 1), from
    if sign == "/*" then
      last = select(2, text:find("*/", from + 2, true)) or #text
    elseif sign == "//" then
      last = (text:find("\n", from, true) or #text + 1) - 1
    elseif sign:sub(1, 1) ~= "/" then
      last = from + 1
      while text:sub(last, last) ~= sign:sub(1, 1) do
        last = last + (text:sub(last, last) == "\\" and 2 or 1)
      end
    end
    result[#result + 1] = last > from and " " .. lines_of(text:sub(from, last)) or sign:sub(1, 1)
    at = last + 1
  end
  return table.concat(result) .. text:sub(at)
end

-- The macros of a text as { name, body, line }, and the text without its directives.
local function split_macros(text)
  local macros, code, line = {}, {}, 0
  local rest = text:gsub("\\\n", "\1") .. "\n"
  for piece in rest:gmatch "([^\n]*)\n" do
    line = line + 1
    local name, body = piece:match "^%s*#%s*define%s+([%w_]+)(.*)"
    if name then macros[#macros + 1] = { name = name, body = body, line = line } end
    local _, continued = piece:gsub("\1", "")
    code[#code + 1] = (piece:find "^%s*#" and "" or piece:gsub("\1", "\n")) ..
      (piece:find "^%s*#" and ("\n"):rep(continued) or "")
    line = line + continued
  end
  return macros, table.concat(code, "\n")
end

-- What a declaration that ends in a body or a value defines: name, whether only this file sees it.
local function defined(head)
  local own = head:find "%f[%w_]static%f[^%w_]" ~= nil
  local before = head:match "^(.-)=" or head:match "^(.-)%(" or ""
  return before:gsub("%b[]", ""):match "([%a_][%w_]*)%s*$", own
end

-- Walks the code: what it defines, and each name in it with its line. What is only declared names nothing.
local function scan(code, on_definition, on_name)
  local depth, line, at, previous = 0, 1, 1, nil
  local head, named = {}, {} -- of the declaration at hand
  local function close(is_definition)
    local name, own = defined(table.concat(head))
    if is_definition and name then on_definition(name, own) end
    for _, item in ipairs(is_definition and named or {}) do
      if item[1] ~= name then on_name(item[1], item[2]) end
    end
    head, named = {}, {}
  end
  while at <= #code do
    local from, last, token = code:find("^([%a_][%w_]*)", at)
    if not from then from, last, token = code:find("^(.)", at) end
    if token == "{" then
      if depth == 0 then
        local untyped = table.concat(head):match "static[^(=]*$" -- static struct { … } name = …
        close(true)
        if untyped then head = { "static " } end
      end
      depth = depth + 1
    elseif token == "}" then
      depth = depth - 1
    elseif token == ";" and depth == 0 then
      close(table.concat(head):gsub("%b()", ""):find "=" ~= nil)
    else
      if token == "\n" then
        line, token = line + 1, " "
      elseif token:find "^[%a_]" and previous ~= "struct" and previous ~= "enum" and previous ~= "union" then
        if depth == 0 then named[#named + 1] = { token, line } else on_name(token, line) end
      end
      if depth == 0 then head[#head + 1] = token end
    end
    if not token:find "^%s$" then previous = token end
    at = last + 1
  end
end

local units, owner = {}, {} -- name of a file without its ending -> what is known; name -> the file that defines it

local function take_in(path)
  local name = path:gsub("%.[ch]$", "")
  local unit = units[name] or { name = name, folder = name:match "^kernel/(.*)/[^/]*$" or ".", own = {}, names = {} }
  units[name] = unit
  local macros, code = split_macros(bare(check.read(path)))
  local function define(what, own)
    if own then unit.own[what] = true end
    if not own or path:find "%.h$" then owner[what] = owner[what] or name end
  end
  local function mention(what, line) unit.names[#unit.names + 1] = { what = what, path = path, line = line } end
  for _, macro in ipairs(macros) do
    define(macro.name, path:find "%.c$" ~= nil)
    for what in macro.body:gmatch "[%a_][%w_]*" do mention(what, macro.line) end
  end
  scan(code, define, mention)
end

for _, path in ipairs(check.lines "find kernel -name '*.[ch]' | LC_ALL=C sort") do take_in(path) end

-- --- Who calls whom ----------------------------------------------------------------------------------------------

local sorted = {}
for _, unit in pairs(units) do
  sorted[#sorted + 1] = unit
  unit.calls = {} -- name of a file -> the first place
  for _, name in ipairs(unit.names) do
    local target = not unit.own[name.what] and owner[name.what]
    if target and target ~= unit.name and not unit.calls[target] then unit.calls[target] = name end
  end
end
table.sort(sorted, function(a, b) return a.name < b.name end)

local function each_call(unit)
  local list = {}
  for target, place in pairs(unit.calls) do list[#list + 1] = { units[target], place } end
  table.sort(list, function(a, b) return a[1].name < b[1].name end)
  local i = 0
  return function()
    i = i + 1
    if list[i] then return list[i][1], list[i][2] end
  end
end

if arg[1] then
  local folder = arg[1]:gsub("^kernel/", ""):gsub("/$", "")
  for _, unit in ipairs(sorted) do
    if unit.folder == folder then
      for target, place in each_call(unit) do
        if target.folder == folder then
          print(("%s -> %s  (%s, line %d)"):format(unit.name, target.name, place.what, place.line))
        end
      end
    end
  end
  return
end

-- The shortest way from one file to another, as a list of names; nil: none.
local function way(from, to)
  local came, queue, at = { [from] = from }, { from }, 1
  while queue[at] do
    for target in each_call(units[queue[at]]) do
      if not came[target.name] then
        came[target.name] = queue[at]
        queue[#queue + 1] = target.name
      end
    end
    if came[to] then break end
    at = at + 1
  end
  if not came[to] then return nil end
  local list = { to }
  while list[1] ~= from do table.insert(list, 1, came[list[1]]) end
  return list
end

for _, unit in ipairs(sorted) do
  if not storey[unit.folder] then error("tests/calls.lua does not know the folder " .. unit.folder) end
  for target, place in each_call(unit) do
    local back = way(target.name, unit.name)
    if storey[target.folder] > storey[unit.folder] then
      check.complain(place.path, place.line, "calls go down only: %s is of %s, above", place.what, target.name)
    elseif back then
      check.complain(place.path, place.line, "calls go in a circle: %s leads back by %s", place.what,
        table.concat(back, ", "))
    end
  end
end
check.finish()
