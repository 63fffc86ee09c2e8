--- Names of options inside of a call: `runs:create("t", { mul`. They are those that the documentation of the function
--- names, in the table of its last parameters or in the classes of it.
local documents = require "keel.cli.repl.documents"
local strategies = require "keel.policy.options"
local policies = require "keel.policy"

local options = {}

-- The brackets that are open at the end of a text, from the outside in: { bracket, place }. Nil: it ends in a comment
-- or a string.
local function open_brackets(text)
  local stack, i, quote = {}, 1, nil
  while i <= #text do
    local c = text:sub(i, i)
    if quote then
      if c == "\\" then i = i + 1 elseif c == quote then quote = nil end
    elseif c == '"' or c == "'" then
      quote = c
    elseif text:find("^%-%-", i) then
      return nil
    elseif c:find "[%({%[]" then
      stack[#stack + 1] = { c, i }
    elseif c:find "[%)}%]]" then
      stack[#stack] = nil
    end
    i = i + 1
  end
  return not quote and stack or nil
end

-- The chain of names that ends at a place: "runs:create".
local function callee_before(text, place)
  return text:sub(1, place - 1):match "([%a_][%w_.]*:?[%w_]*)%s*$"
end

local function add_names(found, list)
  for name in list:gmatch "([%a_][%w_]*)%??%s*:" do found[#found + 1] = name end
end

-- The names of the fields of a class, those it inherits too.
local function add_class(found, name)
  local fields, parent = documents.class(name)
  for _, field in ipairs(fields or {}) do found[#found + 1] = field end
  if parent then add_class(found, parent) end
end

--- The names that the tables among the parameters of a function may have.
---@param fn function
---@return string[]
function options.of(fn)
  local doc, found = documents.of(fn), {}
  for _, parameter in ipairs(doc and doc.parameters or {}) do
    local fields = parameter:match "%b{}"
    local class = parameter:match "^%w+%?? (keel%.[%w_]+)"
    if fields then add_names(found, fields:sub(2, -2):gsub("%b{}", "table"):gsub("%b()", "")) end
    if class then add_class(found, class) end
  end
  return found
end

-- The options of the strategy that the text names, else of all.
local function of_strategies(text)
  local named, found, seen = text:match "strategy%s*=%s*[\"']([%w_]+)[\"']", {}, {}
  for _, strategy in ipairs(named and { named } or policies.built_in "strategies") do
    for _, name in ipairs(strategies.names(strategy)) do
      if not seen[name] then found[#found + 1], seen[name] = name, true end
    end
  end
  return found
end

--- What can stand where a key of a table is typed, in a call.
---@param before string the text up to the cursor
---@param resolve fun(chain: string): any what a chain of names stands for
---@return string[]? names nil: no key of such a table stands there
---@return string? prefix what of it is typed
function options.at(before, resolve)
  local stack = open_brackets(before)
  local inner, outer = stack and stack[#stack], stack and stack[#stack - 1]
  if not inner or inner[1] ~= "{" then return nil end
  -- What stands between the last comma on this level, or the bracket, and the cursor.
  local prefix = before:sub(inner[2] + 1):gsub("%b{}", ""):gsub("%b()", ""):match "^%s*([%a_]?[%w_]*)$" or
    before:sub(inner[2] + 1):match "[,;]%s*([%a_]?[%w_]*)$"
  if not prefix then return nil end
  if before:sub(1, inner[2] - 1):find "strategy_options%s*=%s*$" then
    return of_strategies(before:sub(outer and outer[2] or 1)), prefix
  end
  local callee = callee_before(before, inner[2])
  if not callee or callee == "" or callee:find "^return$" then
    callee = outer and outer[1] == "(" and callee_before(before, outer[2])
  end
  local fn = callee and resolve((callee:gsub(":", ".")))
  if type(fn) ~= "function" then return nil end
  return options.of(fn), prefix
end

return options
