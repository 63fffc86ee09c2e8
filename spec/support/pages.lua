--- The pages of the documentation, their examples, and what these promise to print.
-- Before an example may stand `<!-- not run: why -->`, or `<!-- file: NAME -->`: then the commands of the page find it
-- under that name.
local files = require "support.files"

local lfs = require "lfs"

local M = {}

M.root = debug.getinfo(1, "S").source:match "^@(.-)spec/support/[^/]*$"

--- Paths from the top of the tree: the front page, the reference, the pages of the command and of the examples, those
--- on tasks.
function M.all()
  local pages = { "README.md", "lua/keel/README.md", "lua/keel/cli/README.md", "examples/README.md" }
  for name in lfs.dir(M.root .. "lua/keel/doc") do
    if name:find "%.md$" then pages[#pages + 1] = "lua/keel/doc/" .. name end
  end
  table.sort(pages)
  return pages
end

--- The examples of a page in a language, but for those that are not run: a list of { line = of its fence, code, file }.
function M.examples(path, language)
  local examples, current, number, note = {}, nil, 0, nil
  for line in files.read(M.root .. path):gmatch "([^\n]*)\n" do
    number = number + 1
    if current and line == "```" then
      if current.language == language and not current.skip then examples[#examples + 1] = current end
      current = nil
    elseif current then
      current.code = current.code .. line .. "\n"
    elseif line:find "^```%l" then
      current = { language = line:sub(4), line = number, code = "", skip = note and note:find "^not run: ",
        file = note and note:match "^file: (.*)$" }
    end
    if line ~= "" then note = line:match "^<!%-%- (.*) %-%->$" end
  end
  return examples
end

local function one_line(text)
  return (text:gsub("%s+", " "):gsub("^ ", ""):gsub(" $", ""))
end

-- What stands after "-->" in a code, as patterns in order; "…" stands for anything.
local function promised(code)
  local patterns = {}
  for line in code:gmatch "[^\n]+" do
    local text = line:match "%-%->(.*)$"
    if text then
      patterns[#patterns + 1] = "^" .. one_line(text):gsub("%p", "%%%0"):gsub("%%?…", ".*") .. "$"
    end
  end
  return patterns
end

--- Raises unless an output has a line for each thing that a code promises, in order.
function M.check_output(code, output)
  local lines = output:gmatch "[^\n]*"
  for _, pattern in ipairs(promised(code)) do
    local found
    repeat
      local line = lines()
      found = line and one_line(line):find(pattern)
    until found or not line
    assert(found, ("nothing matches %s, in its place, of what was printed:\n%s"):format(pattern, output))
  end
end

return M
