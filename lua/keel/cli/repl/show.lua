--- Values as people read them: as the Lua text that makes them, bounded in depth, width and length.
---
--- Penlight's pretty.write was tried. It has no bounds (a page of a thousand runs is sixty thousand lines), it reads
--- tables through their metatables, so that one with an `__index` function that always answers never ends, and it shows
--- keel.null and errors as what they are made of.
local keel_command = require "keel.command"
local kernel = require "keel.kernel"
local output = require "keel.cli.output"
local terminal = require "keel.cli.terminal"

local show = {}

local DEPTH, ITEMS, NODES, TEXT, WIDTH = 4, 100, 2000, 500, 100
local SORTED = 1000 -- keys of a table that are looked at to put them in order

local reserved = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return then true
  until while]]):gmatch "%a+" do reserved[word] = true end

--- Whether a text can be written as a name: `t.text`.
---@param text any
---@return boolean
function show.is_name(text)
  return type(text) == "string" and text:find "^[%a_][%w_]*$" ~= nil and not reserved[text]
end

show.reserved = reserved

-- A text as a literal of Lua on one line; what is not printable as an escape.
local function quoted(text, limit)
  local cut = #text > limit and #text - limit
  if cut then text = text:sub(1, utf8.offset(text, 0, limit + 1) - 1) end
  local escapes = { ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r", ['"'] = '\\"', ["\\"] = "\\\\" }
  text = text:gsub('[%c\127"\\]', function(c) return escapes[c] or ("\\x%02x"):format(c:byte()) end)
  text = text:gsub("\xC2([\x80-\x9F])", function(c) return ("\\u{%x}"):format(c:byte()) end) -- control characters, too
  if not utf8.len(text) then text = text:gsub("[\128-\255]", function(c) return ("\\x%02x"):format(c:byte()) end) end
  return cut and ('"%s"… (%d bytes more)'):format(text, cut) or '"' .. text .. '"'
end

-- What a value says of itself. A `__tostring` is a user's: it may raise.
local function named(value)
  if value == kernel.null then return "keel.null" end
  local ok, text = pcall(tostring, value)
  if not ok then text = type(value) .. " (its __tostring fails)" end
  return output.plain(text)
end

local array_metatable = getmetatable(kernel.array {})

-- Whether a table is shown by its contents, and not by its name.
local function is_plain(value)
  local meta = debug.getmetatable(value)
  if type(meta) ~= "table" or meta == array_metatable then return true end
  return rawget(meta, "__tostring") == nil and type(rawget(meta, "__name")) ~= "string"
end

local function before(a, b)
  local kind = type(a)
  if kind ~= type(b) then return kind < type(b) end
  if kind == "number" or kind == "string" then return a < b end
  return tostring(a) < tostring(b)
end

-- The keys behind the list part, in order, and how many there are that are not among them.
local function keys_of(value, size)
  local keys, more = {}, 0
  for key in next, value do
    if not (math.type(key) == "integer" and key >= 1 and key <= size) then
      if #keys < SORTED then keys[#keys + 1] = key else more = more + 1 end
    end
  end
  table.sort(keys, before)
  return keys, more
end

local text_of

local function key_text(key, state)
  if show.is_name(key) then return key end
  return "[" .. (type(key) == "table" and "{…}" or text_of(key, "", state)) .. "]"
end

local function table_text(value, indent, state)
  if not is_plain(value) then return named(value) end
  if state.above[value] then return "{… itself}" end
  if next(value) == nil then return "{}" end
  if state.depth >= state.max_depth then return "{…}" end
  state.above[value], state.depth = true, state.depth + 1
  local inner, parts, size = indent .. "  ", {}, rawlen(value)
  local function add(text)
    parts[#parts + 1] = text
    return #parts < state.max_items and state.nodes > 0
  end
  local shown, room = 0, true
  while room and shown < size do
    shown = shown + 1
    room = add(text_of(rawget(value, shown), inner, state))
  end
  local keys, more = keys_of(value, size)
  local i = 0
  while room and i < #keys do
    i = i + 1
    room = add(key_text(keys[i], state) .. " = " .. text_of(rawget(value, keys[i]), inner, state))
  end
  more = more + size - shown + #keys - i
  state.above[value], state.depth = nil, state.depth - 1
  local line = "{ " .. table.concat(parts, ", ") .. " }"
  if more == 0 and #indent + #line <= WIDTH and not line:find "\n" then return line end
  if more > 0 then parts[#parts + 1] = ("… (%d more)"):format(more) end
  return "{\n" .. inner .. table.concat(parts, ",\n" .. inner) .. "\n" .. indent .. "}"
end

function text_of(value, indent, state)
  state.nodes = state.nodes - 1
  local kind = type(value)
  if kind == "string" then return quoted(value, state.max_text) end
  if kind == "table" then return table_text(value, indent, state) end
  return named(value)
end

--- The text of a value. A table with a name or a `__tostring` of its own is that, one with an `__index` what is really
--- in it.
---@param value any
---@param depth? integer tables in tables that are shown; default 4. With one given, nothing else is cut off
---@return string
function show.text(value, depth)
  return text_of(value, "", { above = {}, depth = 0, max_depth = depth or DEPTH, nodes = depth and math.huge or NODES,
    max_items = depth and math.huge or ITEMS, max_text = depth and math.huge or TEXT })
end

-- --- Results --------------------------------------------------------------------------------------------------------

local function is_list_of(value, ...)
  if type(value) ~= "table" or not is_plain(value) or rawlen(value) < 1 then return false end
  for i = 1, rawlen(value) do
    local item = rawget(value, i)
    if type(item) ~= "table" then return false end
    for _, name in ipairs { ... } do
      if type(rawget(item, name)) ~= "string" then return false end
    end
  end
  return true
end

-- Lists of what the other commands list look as they do there.
local function print_list(list)
  local describe = require "keel.cli.describe"
  if is_list_of(list, "run_id", "thread_id", "status") then
    describe.print_runs(list, kernel.now())
  elseif is_list_of(list, "kind", "at") and math.type(list[1].id) == "integer" then
    for _, event in ipairs(list) do terminal.print(describe.event(event, true)) end
  else
    return false
  end
  if keel_command.is_terminal(1) then terminal.print(("(a list of %d: show(_) tells all of it)"):format(#list)) end
  return true
end

-- A text is shown as it is if that does a terminal no harm.
local function result_text(value)
  if type(value) ~= "string" then return show.text(value) end
  local harms = value:gsub("[\n\t]", ""):find "[%c\127]" or value:find "\xC2[\x80-\x9F]" or not utf8.len(value)
  return harms and quoted(value, math.huge) or value
end

--- Prints what a chunk gave, without the nils at its end: the error that there was not.
---@param results table from table.pack
function show.results(results)
  local count = results.n
  while count > 1 and results[count] == nil do count = count - 1 end
  if count == 1 and print_list(results[1]) then return end
  local texts, lines = {}, false
  for i = 1, count do
    texts[i] = result_text(results[i])
    lines = lines or texts[i]:find "\n" ~= nil
  end
  if count > 0 then terminal.print(table.concat(texts, lines and "\n" or "\t")) end
end

return show
