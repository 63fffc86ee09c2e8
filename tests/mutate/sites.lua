--- Where code can be broken by one operator or constant, and the breaking of it. Comments, strings and lines of the
--- preprocessor are left alone.
local M = {}

--- What stands between spaces, and what it becomes.
local COMMON = {
  ["=="] = "!=", ["<"] = "<=", ["<="] = "<", [">"] = ">=", [">="] = ">", ["+"] = "-", ["-"] = "+", ["*"] = "+",
}
local OPERATORS = {
  c = setmetatable({ ["!="] = "==", ["&&"] = "||", ["||"] = "&&", ["&"] = "|", ["|"] = "&" }, { __index = COMMON }),
  lua = setmetatable({ ["=="] = "~=", ["~="] = "==", ["and"] = "or", ["or"] = "and", ["//"] = "*" },
    { __index = COMMON }),
}
local WORDS = { ["true"] = "false", ["false"] = "true" }

--- The text with comments, strings and preprocessor lines blanked: every byte keeps its place.
---@param text string
---@param language "c"|"lua"
---@return string
function M.code(text, language)
  local out, at = {}, 1
  local function keep(to) out[#out + 1] = text:sub(at, to) at = to + 1 end
  local function blank(to)
    out[#out + 1] = text:sub(at, to):gsub("[^\n]", " ")
    at = to + 1
  end
  local function ends(pattern, from)
    local _, to = text:find(pattern, from)
    return to or #text
  end
  while at <= #text do
    local two, one = text:sub(at, at + 1), text:sub(at, at)
    if language == "c" and two == "/*" then blank(ends("%*/", at + 2))
    elseif language == "c" and two == "//" then blank(ends("[^\n]*", at))
    elseif language == "c" and one == "#" and text:sub(1, at - 1):match "[^\n]*$":match "^%s*$" then
      local to = ends("[^\n]*", at)
      while text:sub(to, to) == "\\" do to = ends("[^\n]*", to + 2) end
      blank(to)
    elseif language == "lua" and (two == "--" and text:match("^%[=*%[", at + 2) or text:match("^%[=*%[", at)) then
      local equals = text:match("^%-?%-?%[(=*)%[", at)
      blank(ends("%]" .. equals .. "%]", at))
    elseif language == "lua" and two == "--" then blank(ends("[^\n]*", at))
    elseif one == '"' or one == "'" then
      local to = at + 1
      while to < #text and text:sub(to, to) ~= one do to = to + (text:sub(to, to) == "\\" and 2 or 1) end
      blank(to)
    else keep(at) end
  end
  return table.concat(out)
end

--- Every place where the text can be broken, in order.
---@param text string
---@param language "c"|"lua"
---@return { at: integer, was: string, becomes: string }[]
function M.find(text, language)
  local code, sites = M.code(text, language), {}
  local function add(at, was, becomes) sites[#sites + 1] = { at = at, was = was, becomes = becomes } end
  for at, was in code:gmatch "()(%S+)" do
    local becomes = OPERATORS[language][was]
    if becomes and code:sub(at - 1, at - 1) == " " then add(at, was, becomes) end
  end
  for at, word in code:gmatch "()%f[%w_]([%a_][%w_]*)" do
    if WORDS[word] then add(at, word, WORDS[word]) end
  end
  for at, number in code:gmatch "()%f[%w_.](%d+)%f[^%w_.]" do
    local value = math.tointeger(number) -- a number of C may be beyond those of Lua
    if value then add(at, number, tostring(value + 1)) end
  end
  if language == "c" then
    for at in code:gmatch "()![%w_(*]" do add(at, "!", " ") end
  else
    for at in code:gmatch "()%f[%w_]not " do add(at, "not ", "") end
  end
  table.sort(sites, function(a, b) return a.at < b.at end)
  return sites
end

--- The text with one place broken.
function M.broken(text, site) return text:sub(1, site.at - 1) .. site.becomes .. text:sub(site.at + #site.was) end

--- The line a place is on, and the text of that line.
function M.line(text, site)
  local _, before = text:sub(1, site.at - 1):gsub("\n", "")
  return before + 1, text:sub(1, site.at - 1):match "[^\n]*$" .. text:match("^[^\n]*", site.at)
end

return M
