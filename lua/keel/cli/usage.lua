--- The arguments of a subcommand, declared as data.
---
--- An option is { "--name", "-n", value = "WORD" (none: a flag), about, convert, choices, many, target }, an argument
--- { "name", about, optional, many, convert, choices }. reading.lua reads a command line by them; what help, completion
--- and the manual page say comes from the same. What completion offers follows from the WORD or name (complete.lua).

local usage = {}

--- What every subcommand takes.
usage.common = {
  { "--store", value = "FILE", about = "the store (default: $KEEL_STORE, else keel/keel.db in the state directory)" },
  { "--durability", value = "MODE", choices = { "full", "normal", "off" },
    about = "when a change counts as done: full (default) survives a power cut, normal a crash" },
  { "--json", about = "one JSON object a line instead of text, for errors too" },
  { "--quiet", "-q", about = "say nothing but what was asked for, and errors" },
  { "--help", "-h", about = "explain the command" },
}

--- The error of wrong input.
---@param message string
---@return keel.Error
function usage.error(message)
  return { code = "usage", message = message, transient = false }
end

--- What the exit codes mean; a command may have more.
usage.exit_codes = { { 0, "done" }, { 1, "failed" }, { 2, "wrong usage" }, { 75, "busy (try later)" },
  { 124, "timed out" } }

--- What the environment tells.
usage.environment = {
  { "KEEL_STORE", "the store, when `--store` names none" },
  { "XDG_STATE_HOME", "the state directory, in place of ~/.local/state" },
  { "NO_COLOR", "no colours, even on a terminal, when it is not empty" },
}

--- The option with a name, long or short.
---@param options table[]
---@param name string
---@return table? option
function usage.option_named(options, name)
  for _, option in ipairs(options) do
    if option[1] == name or option[2] == name then return option end
  end
end

--- Whether the word is an option of these whose value is the next word.
---@param options table[]
---@param word string
---@return boolean
function usage.takes_value(options, word)
  local option = usage.option_named(options, word)
  return option ~= nil and option.value ~= nil
end

--- The name of an option in what was read.
---@param option table
---@return string
function usage.target(option)
  return option.target or (option[1]:gsub("^%-+", ""):gsub("%-", "_"))
end

--- What an option is about, with the values it may have.
---@param option table
---@return string
function usage.meaning(option)
  if not option.choices then return option.about end
  return ("%s (%s: %s)"):format(option.about, option.value, table.concat(option.choices, ", "))
end

--- The words behind a command's name, as its usage line has them.
---@param command table
---@return string
function usage.synopsis(command)
  if command.usage then return command.usage end
  local words = { "[OPTION …]" }
  for _, argument in ipairs(command.arguments or {}) do
    local word = argument[1]:upper() .. (argument.many and " …" or "")
    words[#words + 1] = argument.optional and "[" .. word .. "]" or word
  end
  return table.concat(words, " ")
end

-- --- Values ---------------------------------------------------------------------------------------------------------

local seconds_of = { s = 1, m = 60, h = 3600, d = 86400 }

--- A duration: seconds, or a number with s, m, h or d behind it.
---@param text string
---@return number? seconds
---@return string? problem
function usage.duration(text)
  local number, unit = text:match "^([%d.]+)([smhd]?)$"
  number = tonumber(number)
  if not number then return nil, ("'%s' is no duration; write 30, 1.5s, 10m, 2h or 1d"):format(text) end
  return number * (seconds_of[unit] or 1)
end

--- A whole number that is not smaller than `least`.
---@param least integer
---@return fun(text: string): integer?, string?
function usage.integer(least)
  return function(text)
    local number = text:find "^%-?%d+$" and math.tointeger(tonumber(text))
    if number and number >= least then return number end
    return nil, ("'%s' is no whole number from %d up"):format(text, least)
  end
end

return usage
