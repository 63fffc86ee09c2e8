--- keel help: what there is, and what a command does.
local commands = require "keel.cli.commands"
local keel_command = require "keel.command"
local kernel = require "keel.kernel"
local terminal = require "keel.cli.terminal"
local usage = require "keel.cli.usage"
local width = require "keel.cli.width"

local WIDEST, NARROWEST = 100, 50 -- columns

local options = { { "--man", about = "print the manual page, keel(1), in the language of man(7)" } }

local function print_list(name, known)
  local widest = 0
  for _, entry in ipairs(known) do widest = math.max(widest, #entry.name) end
  terminal.print(("Usage: %s COMMAND …\n"):format(name))
  for _, entry in ipairs(known) do terminal.print(("  %-" .. widest .. "s  %s"):format(entry.name, entry.summary)) end
  terminal.print(("\n'%s COMMAND' explains one."):format((name:gsub("^keel", "keel help"))))
  local codes = {}
  for i, code in ipairs(usage.exit_codes) do codes[i] = ("%d %s"):format(code[1], code[2]) end
  terminal.print(("Exit codes: %s."):format(table.concat(codes, ", ")))
end

local function complain(message)
  terminal.say(("keel help: %s"):format(message))
  return 2
end

-- A text with its paragraphs filled to so many columns.
local function filled(text, columns)
  local paragraphs = {}
  for paragraph in (text .. "\n\n"):gmatch "(.-)\n\n+" do
    paragraphs[#paragraphs + 1] = width.fill(paragraph, columns)
  end
  return table.concat(paragraphs, "\n\n")
end

-- The words without the options that every command has: they change nothing here.
local function without_common(words)
  local kept, i = {}, 1
  while words[i] do
    local option = usage.option_named(usage.common, words[i]:match "^[^=]*")
    if not option then kept[#kept + 1] = words[i] end
    i = i + (usage.takes_value(usage.common, words[i]) and 2 or 1)
  end
  return kept
end

--- Prints the help for the command that the words name, or what an option asks for.
---@param words string[]
---@param find fun(words: string[]): table?, string, keel.Error?
---@return integer exit_code
local function show(words, find)
  words = without_common(words)
  if words[1] == "--man" then
    io.stdout:write(require "keel.cli.manual"())
    return 0
  end
  if words[1] and words[1]:find "^%-" then
    local nearest = kernel.nearest(words[1], { "--man", "--help" })
    return complain(("unknown option '%s'; %s"):format(words[1], nearest and ("did you mean '%s'?"):format(nearest) or
      "'keel help help' tells what there is"))
  end
  local rest = table.move(words, 1, #words, 1, {})
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
  local entry, found, err = find(rest)
  if not entry then return complain(err.message) end
  if rest[1] and not rest[1]:find "^%-" then return complain(("%s has no command '%s'"):format(found, rest[1])) end
  local command = require(entry.module)
  local columns = math.max(math.min(keel_command.size() or WIDEST, WIDEST), NARROWEST)
  terminal.print(usage.parser(found, command, columns):get_help())
  if command.more then terminal.print("\n" .. filled(command.more, columns)) end
  return 0
end

return {
  about = "Explains a command, or lists them.",
  arguments = { { "command", "what to explain", optional = true, many = true } },
  options = options,
  show = show,
}
