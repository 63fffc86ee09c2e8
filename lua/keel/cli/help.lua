--- keel help: what there is, and what a command does.
local commands = require "keel.cli.commands"
local usage = require "keel.cli.usage"

local function print_list(name, known)
  local width = 0
  for _, entry in ipairs(known) do width = math.max(width, #entry.name) end
  print(("usage: %s COMMAND …\n"):format(name))
  for _, entry in ipairs(known) do print(("  %-" .. width .. "s  %s"):format(entry.name, entry.summary)) end
  print(("\n'%s COMMAND' explains one."):format((name:gsub("^keel", "keel help"))))
  print "Exit codes: 0 done, 1 failed, 2 wrong usage, 75 busy (try later), 124 timed out."
end

--- Prints the help for the command that the words name.
---@param words string[]
---@param find fun(words: string[]): table?, string, keel.Error?
---@return integer exit_code
return function(words, find)
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
  if not entry then
    io.stderr:write(("keel help: %s\n"):format(err.message))
    return 2
  end
  if entry.module == "keel.cli.help" then
    print "usage: keel help [COMMAND]\n\nExplains a command, or lists them."
    return 0
  end
  local command = require(entry.module)
  print(usage.parser(found, command):get_help())
  if command.more then print("\n" .. command.more) end
  return 0
end
