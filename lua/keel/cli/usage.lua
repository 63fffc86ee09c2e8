--- The arguments of a subcommand: declared as data, read by argparse, complained about on one line.
---
--- An option is { "--name", value = "WORD" (none: a flag), about, convert, choices, many }, an argument
--- { "name", about, optional, many, convert }. `takes_command` is what the words behind the options are called, when
--- they are a command's own. What help, completion and the man page say comes from the same.
local kernel = require "keel.kernel"

local usage = {}

local WIDTH = 100 -- columns of help, where it is not told otherwise

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

--- The error of an option without the value it needs.
---@param option table
---@param name string as it was written
---@return keel.Error
function usage.lacks_value(option, name)
  return usage.error(("option '%s' needs a value; write: %s %s"):format(name, name, option.value))
end

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

-- The words up to the command that is to be run, and that command: behind "--", or from the first word that is neither
-- an argument of ours nor an option nor its value.
local function split_command(command, words)
  local options, wanted, i = command.options or {}, #(command.arguments or {}), 1
  while words[i] and words[i] ~= "--" do
    local takes
    if words[i]:find "^%-." then
      takes = usage.takes_value(options, words[i]) or usage.takes_value(usage.common, words[i])
    elseif wanted > 0 then
      wanted = wanted - 1
    else
      break
    end
    i = i + (takes and 2 or 1)
  end
  local first = words[i] == "--" and i + 1 or i
  return table.move(words, 1, math.min(i - 1, #words), 1, {}), table.move(words, first, #words, 1, {})
end

-- The words, with negative numbers joined to the options before them: argparse takes them for options.
local function join_negative(options, words)
  local joined = {}
  for _, word in ipairs(words) do
    local option = joined[#joined]
    local takes = option and (usage.takes_value(options, option) or usage.takes_value(usage.common, option))
    if takes and word:find "^%-%d" then
      joined[#joined] = option .. (option:find "^%-%-" and "=" or "") .. word
    else
      joined[#joined + 1] = word
    end
  end
  return joined
end

-- A value that is wrong is named with what it was for.
local function naming(option)
  local convert = option.convert
  if not convert then return nil end
  return function(text)
    local value, problem = convert(text)
    if value == nil and problem then return nil, ("option '%s': %s"):format(option[1], problem) end
    return value
  end
end

-- Declares one thing of a parser; what is nil stays as argparse has it.
local function declare(element, properties)
  for name, value in pairs(properties) do element[name](element, value) end
end

--- The parser of a subcommand.
---@param name string its full name
---@param command table
---@param columns? integer how wide its help is
---@return table parser
function usage.parser(name, command, columns)
  local found, argparse = pcall(require, "argparse")
  if not found then error("the command line needs argparse (Debian: lua-argparse, LuaRocks: argparse)", 0) end
  columns = columns or WIDTH
  local parser = argparse(name, command.about):add_help(false):usage_max_width(columns):help_max_width(columns)
  if command.usage then parser:usage(("Usage: %s %s"):format(name, command.usage)) end
  for _, argument in ipairs(command.arguments or {}) do
    declare(parser:argument(argument[1], argument[2]), { convert = argument.convert, choices = argument.choices,
      args = argument.many and (argument.optional and "*" or "+") or argument.optional and "?" or 1 })
  end
  local words = command.takes_command
  if words then parser:argument(words, ("the %s and its arguments"):format(words)):args "*" end
  for _, list in ipairs { command.options or {}, usage.common } do
    for _, option in ipairs(list) do
      local names = option[2] and option[1] .. " " .. option[2] or option[1]
      if option.value then
        declare(parser:option(names, option.about), { argname = option.value, convert = naming(option),
          choices = option.choices, count = option.many and "*" or "?" })
      else
        parser:flag(names, option.about)
      end
    end
  end
  return parser
end

--- The words behind a command's name, in short.
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

-- What to write instead of an option that there is not.
local function suggestion(name, command, unknown)
  local names = {}
  for _, list in ipairs { command.options or {}, usage.common } do
    for _, option in ipairs(list) do names[#names + 1] = option[1] end
  end
  local nearest = kernel.nearest(unknown, names)
  return nearest and ("did you mean '%s'?"):format(nearest) or
    ("'%s' tells what there is"):format((name:gsub("^keel", "keel help")))
end

-- One line that names the way out, of what argparse says. What our own converters say names it already.
local function explain(name, command, message)
  local text = message:gsub("\n.*", "")
  local unknown, lacking = text:match "^unknown option '(.-)'", text:match "^option '(.-)' requires an argument"
  if unknown then return text .. "; " .. suggestion(name, command, unknown) end
  if lacking then
    local option = usage.option_named(command.options or {}, lacking) or usage.option_named(usage.common, lacking)
    return usage.lacks_value(option, lacking).message
  end
  if text:find "^missing argument" or text:find "^too many arguments" then
    return ("%s; write: %s %s"):format(text, name, usage.synopsis(command))
  end
  return text
end

--- Reads the words behind a subcommand's name.
---@param name string its full name
---@param command table
---@param words string[]
---@return table? options by name, with "_" for "-"; `command` is the command to be run; `help` when that was asked for
---@return keel.Error? err
function usage.read(name, command, words)
  local rest
  if command.takes_command then words, rest = split_command(command, words) end
  for _, word in ipairs(words) do
    if word == "--help" or word == "-h" then return { help = true } end -- whatever else is missing
  end
  local parser = usage.parser(name, command)
  local ok, result = parser:pparse(join_negative(command.options or {}, words))
  if not ok then return nil, usage.error(explain(name, command, result)) end
  if rest then result.command = rest end
  return result
end

-- What fields of the interface are called on the command line.
local words_of = { thread_id = "thread", user_id = "user", idempotency_key = "key", run_id = "run",
  runtime_id = "runtime", worker_id = "worker", ["worker_ref.worker_id"] = "worker", path = "file",
  slots = "slot", rates = "rate", scheduled_at = "at" }

--- An error that is about what was typed, in the words of who typed it; another as it is.
---@param command table
---@param err keel.Error
---@return keel.Error
function usage.reword(command, err)
  local field = err.code == "invalid_request" and err.field
  local from, to = (field and err.message or ""):find(field or "", 1, true)
  if not field or not from then return err end
  local word, shown = words_of[field] or field, nil
  if usage.option_named(command.options or {}, "--" .. word) then shown = "--" .. word end
  for _, argument in ipairs(command.arguments or {}) do
    if argument[1] == word then shown = word:upper() end
  end
  return shown and usage.error(err.message:sub(1, from - 1) .. shown .. err.message:sub(to + 1)) or err
end

-- --- Values ---------------------------------------------------------------------------------------------------------

local seconds_of = { w = 604800, d = 86400, h = 3600, m = 60, s = 1 }

-- What is wrong with a duration, at one of its characters.
local function no_duration(text, at, problem)
  return nil, ("'%s' is no duration: character %d %s; write 30, 1.5s, 10m, 1h30m, 1d or 2w"):format(text, at, problem)
end

--- A duration: seconds, or numbers with w, d, h, m or s behind them, the longest first.
---@param text string
---@return number? seconds
---@return string? problem names the character where it is wrong
function usage.duration(text)
  local seconds, at, last = 0, 1, math.huge
  if text == "" then return no_duration(text, 1, "should be a digit") end
  while at <= #text do
    local number, unit_at, unit = text:match("^(%d*%.?%d*)()(.?)", at)
    if not tonumber(number) then return no_duration(text, at, "should be a digit") end
    if unit == "" and at == 1 then unit = "s" end
    local factor = seconds_of[unit]
    if not factor then return no_duration(text, unit_at, "should be a unit: w, d, h, m or s") end
    if factor >= last then return no_duration(text, unit_at, "should be a smaller unit than the one before") end
    seconds, at, last = seconds + tonumber(number) * factor, unit_at + 1, factor
  end
  if seconds < math.huge then return seconds end
  return nil, ("'%s' is longer than can be counted"):format(text)
end

--- A point in time: RFC 3339, the beginning of a day (UTC), or so long ago. A number alone is seconds elsewhere; who
--- means days here would be told of, or lose, nearly everything.
---@param text string
---@return string? time
---@return string? problem
function usage.moment(text)
  for _, time in ipairs { text, text .. "T00:00:00Z" } do
    local seconds = kernel.time_seconds(time)
    if seconds then return kernel.time_text(seconds) end
  end
  local seconds, problem
  if text:find "^[%d.]+%a" then seconds, problem = usage.duration(text) end
  if problem then return nil, problem end
  if not seconds then
    return nil, ("'%s' is no time; write 30d, 12h, 2026-01-31 or 2026-01-31T00:00:00Z"):format(text)
  end
  local is_time, time = pcall(kernel.time_text, kernel.time_seconds(kernel.now()) - seconds)
  if not is_time then return nil, ("'%s' is longer ago than there are years"):format(text) end
  return time
end

--- A whole number that is not smaller than `least`, and not larger than `most`.
---@param least integer
---@param most? integer
---@return fun(text: string): integer?, string?
function usage.integer(least, most)
  return function(text)
    local number = text:find "^%-?%d+$" and math.tointeger(tonumber(text))
    if number and most and number > most then return nil, ("'%s' is more than %d"):format(text, most) end
    if number and number >= least then return number end
    local from = least > math.mininteger and " from " .. least .. " up" or ""
    return nil, ("'%s' is no whole number%s"):format(text, from)
  end
end

return usage
