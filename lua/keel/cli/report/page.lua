--- The page that a report is: page.html, with page.css and page.js in their places. Where the data goes, it is in two.
local page = {}

local MODULE = "keel.cli.report.page"

-- What a program that carries Keel's files says of itself: a function that gives one of them.
local carried = package.loaded["keel.carried"]

-- A file beside this one.
local function read(name)
  local text = carried and carried("keel/cli/report/" .. name)
  if text then return text end
  local path = assert(package.searchpath(MODULE, package.path)):gsub("[^/]*$", name)
  local file <close> = assert(io.open(path, "rb"))
  return assert(file:read "a")
end

-- A text in two, where a mark stands in it.
local function halves(text, mark)
  local first, last = text:find(mark, 1, true)
  return text:sub(1, first - 1), text:sub(last + 1)
end

--- What stands before the data and behind it.
---@return string front
---@return string back
function page.halves()
  local front, rest = halves(read "page.html", "<!-- data -->")
  local head, body = halves(front, "<!-- style -->")
  local middle, back = halves(rest, "<!-- script -->")
  return head .. read "page.css" .. body, middle .. read "page.js" .. back
end

return page
