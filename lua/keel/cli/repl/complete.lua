--- Completion from live objects: what can stand behind a name that was begun.
---
--- Nothing of a user's is called: tables are read raw, and `__index` is followed where it is a table.
local options = require "keel.cli.repl.options"
local show = require "keel.cli.repl.show"

local LOOKED_AT = 5000 -- keys of a table
local LEVELS = 16      -- of __index
local SHOWN = 200

-- Calls visit(key, value) for each field that indexing a value could find, nearest first. `new` of an object is what
-- made it, and none of its methods.
local function each_field(value, visit)
  for level = 1, LEVELS do
    if type(value) == "table" then
      local count = 0
      for key, field in next, value do
        if level == 1 or key ~= "new" then visit(key, field) end
        count = count + 1
        if count > LOOKED_AT then break end
      end
    end
    local meta = debug.getmetatable(value)
    value = type(meta) == "table" and rawget(meta, "__index") or nil
    if type(value) ~= "table" then return end
  end
end

local function field_of(value, name)
  local found
  each_field(value, function(key, field)
    if found == nil and key == name then found = field end
  end)
  return found
end

-- What a chain of names stands for: "a.b.c". `placeholders` has what is made only when it is used.
local function resolve(chain, globals, placeholders)
  local value
  for name in chain:gmatch "[^.]+" do
    if value == nil then
      value = field_of(globals, name)
      if value == nil then value = placeholders[name] end
    else
      value = field_of(value, name)
    end
    if value == nil then return nil end
  end
  return value
end

-- The names that begin with `prefix`, in order, and what each stands for.
local function candidates(value, prefix, wanted)
  local names, seen = {}, {}
  each_field(value, function(key, field)
    local fits = show.is_name(key) and key:sub(1, #prefix) == prefix and seen[key] == nil
    if fits and (key:sub(1, 1) ~= "_" or prefix:sub(1, 1) == "_") and wanted(field) then
      seen[key] = field
      names[#names + 1] = key
    end
  end)
  return names, seen
end

local function is_callable(value)
  if type(value) == "function" then return true end
  local meta = debug.getmetatable(value)
  return type(meta) == "table" and rawget(meta, "__call") ~= nil
end

local function any() return true end

local function common_start(names)
  local start = names[1]
  for _, name in ipairs(names) do
    while name:sub(1, #start) ~= start do start = start:sub(1, -2) end
  end
  return start
end

-- Names in columns, in reading order.
local function columns(names, width)
  local widest, lines, line = 0, {}, ""
  for i = 1, math.min(#names, SHOWN) do widest = math.max(widest, #names[i]) end
  for i = 1, math.min(#names, SHOWN) do
    if #line > 0 and #line + widest > width then
      lines[#lines + 1] = line:gsub("%s+$", "")
      line = ""
    end
    line = line .. names[i] .. (" "):rep(widest - #names[i] + 2)
  end
  lines[#lines + 1] = line:gsub("%s+$", "")
  if #names > SHOWN then lines[#lines + 1] = ("… (%d more)"):format(#names - SHOWN) end
  return table.concat(lines, "\n")
end

-- When the cursor is in a string: what of it is typed, what stands before it, and its quote.
local function string_before(before)
  local quote, from, i = nil, 1, 1
  while i <= #before do
    local c = before:sub(i, i)
    if quote and c == "\\" then
      i = i + 1
    elseif c == quote then
      quote = nil
    elseif not quote and (c == '"' or c == "'") then
      quote, from = c, i
    elseif not quote and before:find("^%-%-", i) then
      return nil
    end
    i = i + 1
  end
  if quote then return before:sub(from + 1), before:sub(1, from - 1), quote end
end

-- Completes help "a title of the reference"; in other strings there is nothing to offer.
local function complete_string(text, front, quote, width)
  if not front:find "%f[%w_]help%s*%(?%s*$" then return end
  local titles = {}
  local documents = require "keel.cli.repl.documents"
  local known = documents.titles()
  table.move(documents.page_names(known), 1, 1000, #known + 1, known)
  for _, title in ipairs(known) do
    if title:sub(1, #text):lower() == text:lower() then titles[#titles + 1] = title end
  end
  if #titles == 0 then return end
  local rest = common_start(titles):sub(#text + 1)
  if #titles == 1 then return rest .. quote end
  if rest ~= "" then return rest end
  return nil, columns(titles, width() or 80)
end

-- Completes the name of an option.
local function complete_key(keys, prefix, width)
  local names = {}
  for _, key in ipairs(keys) do
    if key:sub(1, #prefix) == prefix then names[#names + 1] = key end
  end
  table.sort(names)
  if #names == 0 then return end
  local rest = common_start(names):sub(#prefix + 1)
  if #names == 1 then return rest .. " = " end
  if rest ~= "" then return rest end
  return nil, columns(names, width() or 80)
end

--- A function that completes.
---@param globals table
---@param placeholders table name → an object with the same methods, for globals that are made when they are first used
---@param width fun(): integer? columns of the terminal
---@return fun(before: string): string?, string? complete gives what to insert behind the text, and what to show below
return function(globals, placeholders, width)
  return function(before)
    if before:find "^%s+$" then return "  " end -- who indents wants no list of all there is
    local text, front, quote = string_before(before)
    if text then return complete_string(text, front, quote, width) end
    local keys, begun = options.at(before, function(chain) return resolve(chain, globals, placeholders) end)
    local inserted, shown = complete_key(keys or {}, begun, width)
    if inserted or shown then return inserted, shown end
    local chain, sign, prefix = before:match "([%a_][%w_.]*)([.:])([%w_]*)$"
    local names, values
    if chain then
      if before:sub(1, -#chain - #sign - #prefix - 1):find "[%w_.:]$" then return end
      local value = resolve(chain, globals, placeholders)
      if value == nil then return end
      names, values = candidates(value, prefix, sign == ":" and is_callable or any)
    else
      prefix = before:match "[%a_][%w_]*$" or ""
      if before:sub(1, -#prefix - 1):find "[%w_.:]$" then return end
      names, values = candidates(globals, prefix, any)
      for _, more in ipairs { placeholders, show.reserved } do
        for name in pairs(more) do
          if name:sub(1, #prefix) == prefix and values[name] == nil then
            names[#names + 1], values[name] = name, more[name]
          end
        end
      end
    end
    table.sort(names)
    if #names == 0 then return end
    local rest = common_start(names):sub(#prefix + 1)
    if #names == 1 then return rest .. (type(values[names[1]]) == "function" and "(" or "") end
    if rest ~= "" then return rest end
    return nil, columns(names, width() or 80)
  end
end
