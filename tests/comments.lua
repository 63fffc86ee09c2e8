--- Reads the comments above functions and types, as the language server knows them, for tests/reference.lua.
local check = dofile "tests/check.lua"

local M = {}

--- The type at the beginning of a text, and what is after it: brackets belong together, and so does what `|`, `:` and
-- `,` of a function's results join.
function M.take_type(text)
  local at, depth = 1, 0
  while at <= #text do
    local c = text:sub(at, at)
    if c:find "[%(%[{<]" then depth = depth + 1 end
    if c:find "[%)%]}>]" then depth = depth - 1 end
    if c == " " and depth == 0 then
      local before = text:sub(at - 1, at - 1)
      local joins = before == "|" or before == ":" or before == "," and text:find "^fun"
      if not joins then break end
    end
    at = at + 1
  end
  return text:sub(1, at - 1), text:sub(at + 1)
end

--- A comment's lines as { text, params = { { name, optional, type, text } }, returns = { { type, text } } }.
function M.parse(lines)
  local doc, last = { text = {}, params = {}, returns = {} }, nil
  for _, line in ipairs(lines) do
    local tag, rest = line:match "^@(%l+) ?(.*)$"
    if not tag then
      if last then last.raw = last.raw .. " " .. line:match "^%s*(.*)$" else doc.text[#doc.text + 1] = line end
    elseif tag == "param" or tag == "return" then
      last = { raw = rest }
      table.insert(doc[tag .. "s"], last)
    else
      last = { raw = "" }
    end
  end
  for _, param in ipairs(doc.params) do
    local name, optional, rest = param.raw:match "^([%w_%.]+)(%??) (.*)$"
    param.name, param.optional = name or param.raw, optional == "?"
    param.type, param.text = M.take_type(rest or "")
  end
  for _, result in ipairs(doc.returns) do
    result.type, result.text = M.take_type(result.raw)
    result.text = result.text:match "^# ?(.*)$" or result.text
  end
  doc.text = table.concat(doc.text, "\n")
  return doc
end

--- Calls fn(line of code, its number, the lines of `---` above it) for each line of a file.
function M.each_line(path, fn)
  local comment, number = {}, 0
  for line in (check.read(path) .. "\n"):gmatch "([^\n]*)\n" do
    number = number + 1
    local said = line:match "^%s*%-%-%- ?(.*)$"
    if said then comment[#comment + 1] = said
    else
      fn(line, number, comment)
      comment = {}
    end
  end
end

--- The types: name -> { name, text, fields = { { name, optional, type, text } }, parent }, and the names in order.
function M.types()
  local found, names = {}, {}
  for _, path in ipairs(check.lines "find lua/keel -name '*.lua' | sort") do
    local open, last
    local function add(name, text, parent)
      open, last = { name = name, text = text or "", parent = parent, fields = {} }, nil
      found[name], names[#names + 1] = open, name
    end
    local above = {}
    for line in io.lines(path) do
      local said = line:match "^%s*%-%-%-%s?(.*)$"
      if not said then open, last, above = nil, nil, {} end
      local kind, rest = (said or ""):match "^@(%l+) (.*)$"
      if kind == "class" then
        local name, parent, text = rest:match "^([%w_.]+):? ?([%w_., ]*)(.*)$"
        if not rest:find "^[%w_.]+:" then parent, text = nil, rest:match "^[%w_.]+ ?(.*)$" end
        add(name, table.concat(above, " ") .. text, parent)
      elseif kind == "alias" then
        local name, is = rest:match "^([%w_.]+) ?(.*)$"
        add(name, table.concat(above, " "))
        open.is, last = is, nil
      elseif kind == "field" and open then
        local name, optional, after = rest:match "^([%w_]+)(%??) (.*)$"
        last = name and { name = name, optional = optional == "?", raw = after }
        if last and not name:find "^_" then open.fields[#open.fields + 1] = last end
      elseif said and said:find "^|" and open then
        local value, text = said:match '^| ?("[^"]*") ?#? ?(.*)$'
        if value then open.fields[#open.fields + 1] = { name = value, raw = " " .. text } end
      elseif said and not kind then
        if last then last.raw = last.raw .. " " .. said:match "^%s*(.*)$"
        elseif not open then above[#above + 1] = said end
      end
    end
  end
  for _, one in pairs(found) do one.says = one.text:find "%S" or one.is or one.fields[1] end
  table.sort(names)
  return found, names
end

return M
