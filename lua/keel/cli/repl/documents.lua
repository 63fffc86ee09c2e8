--- The documentation as text: the comments above functions, and the sections of the reference. Both are read from the
--- files that run, so that what help() says is of this version.
local check = require "keel.check"
local kernel = require "keel.kernel"

local documents = {}

local files = {} -- name of a file → its lines, false when it cannot be read

local function lines_of(path)
  if files[path] == nil then
    local file = io.open(path, "r")
    local lines = file and {}
    if file then
      for line in file:lines() do lines[#lines + 1] = line end
      file:close()
    end
    files[path] = lines or false
  end
  return files[path]
end

-- A comment of these lines as { signature, text, parameters = {}, returns = {} }.
local function parse(comment, signature)
  local doc = { signature = signature, text = "", parameters = {}, returns = {} }
  local list
  for _, line in ipairs(comment) do
    local tag, rest = line:match "^%s?@(%l+)%s*(.*)$"
    if tag == "param" or tag == "return" then
      list = tag == "param" and doc.parameters or doc.returns
      list[#list + 1] = rest
    elseif tag then
      list = {}
    elseif list and #list > 0 then
      list[#list] = list[#list] .. " " .. line:gsub("^%s+", "")
    elseif not list then
      doc.text = doc.text .. line:gsub("^%s", "") .. "\n"
    end
  end
  return doc
end

-- The comment of --- lines that ends above line `number`.
local function comment_above(lines, number)
  local comment = {}
  for i = number - 1, 1, -1 do
    local line = lines[i]:match "^%s*%-%-%-(.*)$"
    if not line then break end
    table.insert(comment, 1, line)
  end
  return #comment > 0 and comment or nil
end

local function signature_of(line)
  local name, arguments = line:match "([%a_][%w_]*)%s*=%s*function%s*(%b())"
  if not name then name, arguments = line:match "function%s+[%w_.:]-([%a_][%w_]*)%s*(%b())" end
  return name and name .. arguments or line:match "^%s*(.-)%s*$"
end

-- The file that a function of Lua is from. What the program carries compiled has names as seen from the Lua folder.
local function file_of(source)
  local path = source:match "^@(.*)$"
  if not path or lines_of(path) then return path end
  return package.searchpath(path:gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", "."), package.path)
end

--- What stands above the definition of a function of Lua.
---@param fn function
---@return { signature: string, text: string, parameters: string[], returns: string[] }?
function documents.of_function(fn)
  local info = debug.getinfo(check.written(fn), "S")
  local path = file_of(info.source)
  local lines = path and lines_of(path)
  local comment = lines and lines[info.linedefined] and comment_above(lines, info.linedefined)
  return comment and parse(comment, signature_of(lines[info.linedefined])) or nil
end

--- What the types of the C module say of one of its functions.
---@param names string[] full names it may have there: "Store:put"
---@return { signature: string, text: string, parameters: string[], returns: string[] }?
function documents.of_type(names)
  local path = package.searchpath("keel._meta.kernel", package.path)
  local lines = path and lines_of(path)
  for _, name in ipairs(names) do
    for i, line in ipairs(lines or {}) do
      if line:find("function " .. name .. "(", 1, true) == 1 then
        local comment = comment_above(lines, i)
        return comment and parse(comment, signature_of(line)) or nil
      end
    end
  end
end

-- The names that a function of C may have in the types.
local function type_names(fn)
  local transaction = debug.getregistry()["keel.transaction"]
  local tables = { { kernel.store_methods, { "Store:", "Operations:" } },
    { transaction and transaction.__index or {}, { "Transaction:", "Operations:" } },
    { kernel.json, { "json." } }, { kernel, { "kernel." } } }
  local names = {}
  for _, entry in ipairs(tables) do
    local found
    for name, value in pairs(entry[1]) do
      if value == fn then found = name end
    end
    for _, prefix in ipairs(found and entry[2] or {}) do names[#names + 1] = prefix .. found end
  end
  return names
end

--- What there is to read of a function, of Lua or of the C module.
---@param fn function
---@return { signature: string, text: string, parameters: string[], returns: string[] }?
function documents.of(fn)
  if debug.getinfo(fn, "S").what == "C" then return documents.of_type(type_names(fn)) end
  return documents.of_function(fn) or documents.of_type(type_names(fn))
end

--- The fields of a class of the types.
---@param name string
---@return string[]? fields nil: there is no such class
---@return string? parent the class whose fields it has, too
function documents.class(name)
  local path = package.searchpath("keel._meta.kernel", package.path)
  local fields, parent
  for _, line in ipairs(path and lines_of(path) or {}) do
    local class, rest = line:match "^%-%-%-@class (keel%.[%w_]+)(.*)$"
    local field = line:match "^%-%-%-@field ([%a_][%w_]*)"
    if class == name then
      fields, parent = {}, rest:match "^: (keel%.[%w_]+)"
    elseif fields and field then
      fields[#fields + 1] = field
    elseif fields and not line:find "^%-%-%-" then
      return fields, parent
    end
  end
  return fields, parent
end

local function folder()
  local init = package.searchpath("keel", package.path)
  return init and init:match "^(.*)/[^/]*$"
end

-- The pages of the reference that are installed.
local function pages()
  local here = folder()
  return here and { here .. "/README.md", here .. "/cli/README.md" } or {}
end

--- The sections of the reference whose title has a word in it; one whose title is that word alone.
---@param word string
---@return { title: string, text: string }[] sections
---@return boolean is_there whether the reference is
function documents.sections(word)
  local found, exact, is_there = {}, nil, false
  word = word:lower()
  for _, path in ipairs(pages()) do
    local lines, section, level, in_code = lines_of(path), nil, 0, false
    is_there = is_there or lines ~= false
    for _, line in ipairs(lines or {}) do
      in_code = in_code ~= (line:find "^```" ~= nil)
      local marks, title = line:match "^(##+) (.*)$"
      if marks and not in_code and (not section or #marks <= level) then
        section = nil
        if title:lower():find(word, 1, true) then
          section, level = { title = title, text = "" }, #marks
          found[#found + 1] = section
          if title:lower() == word then exact = section end
        end
      end
      if section then section.text = section.text .. line .. "\n" end
    end
  end
  if exact then found = { exact } end
  return found, is_there
end

--- The page on a task: the text of doc/NAME.md.
---@param name string in whatever case
---@return string? text
function documents.page(name)
  local here = folder()
  local lines = here and name:find "^[%w-]+$" and lines_of(("%s/doc/%s.md"):format(here, name:lower()))
  return lines and table.concat(lines, "\n") or nil
end

--- The names of the pages that the reference leads to and that are there, but for those that a section is called by.
---@param titles string[] of sections
---@return string[] names in the order in which the reference names them
function documents.page_names(titles)
  local names, known = {}, {}
  for _, title in ipairs(titles) do known[title:lower()] = true end
  for _, line in ipairs(lines_of(pages()[1] or "") or {}) do
    for name in line:gmatch "%]%(doc/([%w-]+)%.md%)" do
      if not known[name] and documents.page(name) then names[#names + 1] = name end
      known[name] = true
    end
  end
  return names
end

-- Counts how often a line has a word; `seen` is the first that has it, one that is no code if there is one.
local function count_in(entry, line, word, in_code)
  local from, lowered = 1, line:lower():gsub("%]%b()", "]") -- where links lead is nothing that is read
  while true do
    local first, last = lowered:find(word, from, true)
    if not first then return end
    entry.count, from = entry.count + 1, last + 1
    if not entry.seen or entry.is_code and not in_code then
      entry.seen, entry.is_code = line:gsub("^%s+", ""), in_code
    end
  end
end

--- Where a word is mentioned: in which sections of the reference, and on which pages on tasks; those that have it most
--- often first.
---@param word string
---@return { title: string, count: integer, seen: string }[] entries help "title" gives each; seen: the first line
function documents.search(word)
  local entries, titles = {}, documents.titles()
  word = word:lower()
  local function add(title) entries[#entries + 1] = { title = title, count = 0, place = #entries } end
  for _, path in ipairs(pages()) do
    local in_code, is_section = false, false
    for _, line in ipairs(lines_of(path) or {}) do
      in_code = in_code ~= (line:find "^```" ~= nil)
      local title = not in_code and line:match "^##+ (.*)$"
      if title then add(title) end
      is_section = is_section or title
      if is_section then count_in(entries[#entries], line, word, in_code) end
    end
  end
  for _, name in ipairs(documents.page_names(titles)) do
    local in_code = false
    add(name)
    for line in documents.page(name):gmatch "[^\n]+" do
      in_code = in_code ~= (line:find "^```" ~= nil)
      count_in(entries[#entries], line, word, in_code)
    end
  end
  local found = {}
  for _, entry in ipairs(entries) do
    if entry.count > 0 then found[#found + 1] = entry end
  end
  table.sort(found, function(a, b)
    if a.count ~= b.count then return a.count > b.count end
    return a.place < b.place
  end)
  return found
end

--- The titles of the sections there are.
---@return string[]
function documents.titles()
  local titles = {}
  for _, path in ipairs(pages()) do
    local in_code = false
    for _, line in ipairs(lines_of(path) or {}) do
      in_code = in_code ~= (line:find "^```" ~= nil)
      local title = not in_code and line:match "^## (.*)$"
      if title then titles[#titles + 1] = title end
    end
  end
  return titles
end

return documents
