--- Reads the words behind a subcommand's name, by its tables of options and arguments; complains on one line.
---
--- As for other programs: --name VALUE or --name=VALUE, -n VALUE or -nVALUE, flags of one letter together, and nothing
--- is an option behind "--". What belongs to an option is its value, whatever it looks like: `--priority -5`.
local suggest = require "keel.cli.suggest"
local usage = require "keel.cli.usage"

local function option_of(reading, name)
  for _, options in ipairs(reading.options) do
    local option = usage.option_named(options, name)
    if option then return option end
  end
end

-- What a text means to an option or an argument. `name` is how it is complained about.
local function value_of(spec, name, text)
  if spec.choices then
    local known
    for _, choice in ipairs(spec.choices) do known = known or choice == text end
    if not known then return nil, ("%s must be one of '%s'"):format(name, table.concat(spec.choices, "', '")) end
  end
  if not spec.convert then return text end
  local value, problem = spec.convert(text)
  if value == nil then return nil, problem or ("malformed argument '%s'"):format(text) end
  return value
end

-- Sets an option. Returns nothing, or what is wrong.
local function set(reading, option, name, text)
  local target = usage.target(option)
  if not option.value then
    reading.given[target] = true
    return
  end
  if not text then return ("option '%s' requires an argument"):format(name) end
  local value, problem = value_of(option, ("argument for option '%s'"):format(name), text)
  if problem then return problem end
  if option.many then
    table.insert(reading.given[target], value)
  else
    reading.given[target] = value
  end
end

-- The word behind the one that is read, as the value of an option: unless it is an option itself.
local function next_word(reading)
  local word = reading.words[reading.at + 1]
  if not word or word:find "^%-%-" and option_of(reading, word) then return nil end
  reading.at = reading.at + 1
  return word
end

local function read_long(reading, word)
  local name, value = word:match "^([^=]+)=(.*)$"
  name = name or word
  local option = option_of(reading, name)
  if not option then return ("unknown option '%s'"):format(name), name end
  if value and not option.value then return ("option '%s' does not take arguments"):format(name) end
  if option.value and not value then value = next_word(reading) end
  return set(reading, option, name, value)
end

local function read_short(reading, word)
  for i = 2, #word do
    local name = "-" .. word:sub(i, i)
    local option = option_of(reading, name)
    if not option then return ("unknown option '%s'"):format(name), name end
    if option.value then
      return set(reading, option, name, i < #word and word:sub(i + 1) or next_word(reading))
    end
    set(reading, option, name)
  end
end

-- Options and what is none, in `given` and in the list that it returns.
local function read_words(reading, takes_command)
  local plain, words = {}, reading.words
  while words[reading.at] do
    local word, problem, unknown = words[reading.at], nil, nil
    if word == "--" or not word:find "^%-." then
      local first = word == "--" and reading.at + 1 or reading.at
      if takes_command or word == "--" then return table.move(words, first, #words, #plain + 1, plain) end
      plain[#plain + 1] = word
    elseif word:find "^%-%-" then
      problem, unknown = read_long(reading, word)
    else
      problem, unknown = read_short(reading, word)
    end
    if problem then return nil, problem, unknown end
    reading.at = reading.at + 1
  end
  return plain
end

-- Deals the words that are no options out to the arguments. Returns what is wrong.
local function deal(given, arguments, plain)
  local at = 1
  for _, argument in ipairs(arguments) do
    local name, list = ("argument '%s'"):format(argument[1]), {}
    if not plain[at] and not argument.optional then return "missing " .. name end
    for i = at, argument.many and #plain or math.min(at, #plain) do
      local value, problem = value_of(argument, name, plain[i])
      if problem then return problem end
      list[#list + 1], at = value, i + 1
    end
    given[argument[1]] = argument.many and list or list[1]
  end
  if plain[at] then return "too many arguments" end
end

-- The complaint, with the way out.
local function explain(reading, name, problem, unknown)
  local names = {}
  for _, options in ipairs(reading.options) do
    for _, option in ipairs(options) do names[#names + 1] = option[1] end
  end
  local nearest = unknown and suggest.nearest(unknown, names)
  return usage.error(("%s; %s"):format(problem, nearest and ("did you mean '%s'?"):format(nearest) or
    ("'%s' tells what there is"):format((name:gsub("^keel", "keel help")))))
end

--- Reads the words behind a subcommand's name.
---@param name string its full name
---@param command table
---@param words string[]
---@return table? given by name, with "_" for "-"; `command` is the command to be run; `help` when that was asked for
---@return keel.Error? err
return function(name, command, words)
  local reading = { words = words, at = 1, given = {}, options = { command.options or {}, usage.common } }
  for _, options in ipairs(reading.options) do
    for _, option in ipairs(options) do
      if option.many then reading.given[usage.target(option)] = {} end
    end
  end
  local plain, problem, unknown = read_words(reading, command.takes_command)
  if reading.given.help then return { help = true } end -- whatever else is wrong
  if plain and command.takes_command then
    reading.given.command = plain
  elseif plain then
    problem = deal(reading.given, command.arguments or {}, plain)
  end
  if problem then return nil, explain(reading, name, problem, unknown) end
  return reading.given
end
