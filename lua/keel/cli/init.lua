--- The keel command: finds the subcommand, reads its arguments, runs it, and makes an exit code of what comes back.
---
--- A subcommand is a module of its own, { summary, about, options, arguments, run }. `run(options)` gives an exit code
--- (nothing: 0), or nil and an error; `is_host` says that it runs code of the user's. Nothing is loaded before it is
--- known to be needed: `keel exec` starts a command, and should take no longer than that.
local commands = require "keel.cli.commands"
local kernel = require "keel.kernel"
local terminal = require "keel.cli.terminal"
local usage = require "keel.cli.usage"

local EXIT_FAILED, EXIT_USAGE = 1, 2

-- What other errors than a plain failure are to the shell. 75 is EX_TEMPFAIL: try later.
local exit_codes = { usage = EXIT_USAGE, invalid_request = EXIT_USAGE, unsupported_strategy = EXIT_USAGE,
  limit_too_large = EXIT_USAGE, conflict = 75, busy = 75, lease_held = 75, timeout = 124 }

-- Tells what went wrong, on one line. There may be anything in it, such as the reason of a policy.
local function complain(name, err, as_json)
  if as_json then
    terminal.say(terminal.json { error = setmetatable(err, nil) })
  else
    terminal.say(terminal.plain(("%s: %s"):format(name, err.message:gsub("%s*\n%s*", "; "))))
  end
  return exit_codes[err.code] or EXIT_FAILED
end

local common_names = { "--version" }
for i, option in ipairs(usage.common) do common_names[i + 1] = option[1] end

-- Options that every subcommand has may stand in front of it. Returns them, and the words behind; or nil and the error.
local function split_common(words)
  local front, i = {}, 1
  while words[i] and words[i]:find "^%-" and words[i] ~= "--" do
    front[#front + 1] = words[i]
    local name = words[i]:match "^(%-%-[^=]+)=" or words[i]
    if name ~= "--version" and not usage.option_named(usage.common, name) then
      local nearest = kernel.nearest(name, common_names)
      return nil, usage.error(("unknown option '%s'; %s"):format(name, nearest and
        ("did you mean '%s'?"):format(nearest) or "the options of a command stand behind it"))
    end
    if usage.takes_value(usage.common, words[i]) then
      if not words[i + 1] then return nil, usage.lacks_value(usage.option_named(usage.common, name), name) end
      i = i + 1
      front[#front + 1] = words[i]
    end
    i = i + 1
  end
  return front, table.move(words, i, #words, 1, {})
end

local function asks(words, ...)
  for _, word in ipairs(words) do
    if word == "--" then return false end
    for _, wanted in ipairs { ... } do
      if word == wanted then return true end
    end
  end
  return false
end

local function names_of(entries)
  local names = {}
  for i, entry in ipairs(entries) do names[i] = entry.name end
  return names
end

-- Finds the subcommand that words name, and takes its name off them. Returns the entry and its full name, or nil, the
-- name as far as it is one, and the error.
local function find(words)
  local name, known, default = "keel", commands, nil
  while true do
    local word, entry = words[1], nil
    if not word or word:find "^%-" then
      if default and not asks(words, "-h", "--help") then
        table.insert(words, 1, default)
        word = default
      end
    end
    if not word or word:find "^%-" then
      local early = word and usage.option_named(usage.common, word:match "^[^=]*")
      local what = early and ("Write: %s COMMAND %s; there are"):format(name, word) or "There are"
      return nil, name, usage.error(("which command? %s: %s"):format(what, table.concat(names_of(known), ", ")))
    end
    for _, candidate in ipairs(known) do
      if candidate.name == word then entry = candidate end
    end
    if not entry then
      local nearest = kernel.nearest(word, names_of(known))
      return nil, name, usage.error(("there is no command '%s'; %s"):format(word, nearest and
        ("did you mean '%s'?"):format(nearest) or "there are: " .. table.concat(names_of(known), ", ")))
    end
    table.remove(words, 1)
    name, known, default = name .. " " .. word, entry.commands, entry.default
    if not known then return entry, name end
  end
end

-- Prints the help for a command.
local function print_help(name)
  local words = {}
  for word in name:gmatch "%S+" do words[#words + 1] = word end
  return require "keel.cli.help".show(words, find)
end

-- What nobody has thought of is told like any other error. Where it comes from is for those who mend it.
local function unforeseen(err)
  if type(err) == "table" and type(err.code) == "string" and type(err.message) == "string" then return err end
  local message = tostring(err)
  if os.getenv "KEEL_DEBUG" then message = debug.traceback(message, 2) end
  return { code = "io", message = message, transient = false }
end

---@param words string[] what stands behind the name of the program
---@return integer exit_code
---@return boolean? is_host whether objects of a user's are left, which want to be finalized
return function(words)
  if words[1] == "__complete" then -- what a shell asks when Tab was pressed
    return require "keel.cli.complete"(table.move(words, 2, #words, 1, {}))
  end
  if words[1] == "__attempt" then return require "keel.cli.work.attempt"() end -- of `keel work`
  local as_json = asks(words, "--json")
  local front, rest = split_common(words)
  if not front then return complain("keel", rest, as_json) end
  if asks(front, "--version") then front, rest = {}, { "version", as_json and "--json" or nil } end
  if #rest == 0 and (#front == 0 or asks(front, "-h", "--help")) then rest = { "help" } end
  if rest[1] == "help" or asks(front, "-h", "--help") then
    return print_help(table.concat(rest, " ", rest[1] == "help" and 2 or 1))
  end
  local entry, name, err = find(rest)
  if not entry and name ~= "keel" and asks(rest, "-h", "--help") then return print_help(name:sub(#"keel " + 1)) end
  if not entry then return complain(name, err, as_json) end
  local command = require(entry.module)
  local options
  options, err = usage.read(name, command, table.move(rest, 1, #rest, #front + 1, front))
  if not options then return complain(name, err, as_json) end
  if options.help then return print_help(name:sub(#"keel " + 1)) end
  local ran, code
  if command.is_host then -- what is raised there is the user's own
    code, err = command.run(options)
  else
    ran, code, err = xpcall(command.run, unforeseen, options)
    if not ran then code, err = nil, code end
  end
  if err then code = complain(name, usage.reword(command, err), options.json) end
  return code or 0, command.is_host
end
