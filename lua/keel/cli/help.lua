--- keel help: what there is, and what a command does.
local commands = require "keel.cli.commands"
local suggest = require "keel.cli.suggest"
local usage = require "keel.cli.usage"

local WIDTH, COLUMN = 100, 28

local options = { { "--man", about = "print the manual page, keel(1), in the language of man(7)" } }

local function print_list(name, known)
  local width = 0
  for _, entry in ipairs(known) do width = math.max(width, #entry.name) end
  print(("usage: %s COMMAND …\n"):format(name))
  for _, entry in ipairs(known) do print(("  %-" .. width .. "s  %s"):format(entry.name, entry.summary)) end
  print(("\n'%s COMMAND' explains one."):format((name:gsub("^keel", "keel help"))))
  local codes = {}
  for i, code in ipairs(usage.exit_codes) do codes[i] = ("%d %s"):format(code[1], code[2]) end
  print(("Exit codes: %s."):format(table.concat(codes, ", ")))
end

-- A text in lines that are not wider than a width.
local function wrap(text, width)
  local lines, line = {}, nil
  for word in text:gmatch "%S+" do
    if line and utf8.len(line) + 1 + utf8.len(word) > width then
      lines[#lines + 1], line = line, nil
    end
    line = line and line .. " " .. word or word
  end
  lines[#lines + 1] = line
  return lines
end

-- Names on the left, what they mean beside them.
local function print_terms(title, terms)
  if #terms == 0 then return end
  print("\n" .. title .. ":")
  for _, term in ipairs(terms) do
    local left = "   " .. term[1]
    local lines = wrap(term[2] or "", WIDTH - COLUMN)
    if #left > COLUMN - 2 then
      print(left)
      left = ""
    end
    for _, line in ipairs(lines) do
      print(left .. (" "):rep(COLUMN - #left) .. line)
      left = ""
    end
  end
end

local function print_command(name, command)
  print(("Usage: %s %s\n"):format(name, usage.synopsis(command)))
  print(table.concat(wrap(command.about, WIDTH), "\n"))
  local arguments, terms = {}, {}
  for i, argument in ipairs(command.arguments or {}) do arguments[i] = { argument[1]:upper(), argument[2] } end
  print_terms("Arguments", arguments)
  for _, list in ipairs { command.options or {}, usage.common } do
    for _, option in ipairs(list) do
      local names = option[2] and option[1] .. ", " .. option[2] or option[1]
      terms[#terms + 1] = { option.value and names .. " " .. option.value or names, usage.meaning(option) }
    end
  end
  print_terms("Options", terms)
  if command.more then print("\n" .. command.more) end
end

local function complain(message)
  io.stderr:write(("keel help: %s\n"):format(message))
  return 2
end

--- Prints the help for the command that the words name, or what an option asks for.
---@param words string[]
---@param find fun(words: string[]): table?, string, keel.Error?
---@return integer exit_code
local function show(words, find)
  if words[1] == "--man" then
    io.stdout:write(require "keel.cli.manual"())
    return 0
  end
  if words[1] and words[1]:find "^%-" and not usage.option_named(usage.common, words[1]) then
    local nearest = suggest.nearest(words[1], { "--man", "--help" })
    return complain(("unknown option '%s'; %s"):format(words[1], nearest and ("did you mean '%s'?"):format(nearest) or
      "'keel help help' tells what there is"))
  end
  local name, known = "keel", commands
  while words[1] and known do -- a group is explained by what is in it
    local group
    for _, entry in ipairs(known) do
      if entry.name == words[1] and entry.commands then group = entry end
    end
    if not group then break end
    name, known = name .. " " .. table.remove(words, 1), group.commands
  end
  if not words[1] then
    print_list(name, known)
    return 0
  end
  local full = {}
  for word in name:gmatch "%S+" do full[#full + 1] = word end
  table.move(words, 1, #words, #full + 1, full)
  local entry, found, err = find(table.move(full, 2, #full, 1, {}))
  if not entry then return complain(err.message) end
  print_command(found, require(entry.module))
  return 0
end

return {
  about = "Explains a command, or lists them.",
  arguments = { { "command", "what to explain", optional = true, many = true } },
  options = options,
  show = show,
}
