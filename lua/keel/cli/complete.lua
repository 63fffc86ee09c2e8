--- What could stand where Tab was pressed. The functions in completion/ beside this file, for bash, zsh and fish, ask
--- `keel __complete WORD …` with the words up to the cursor, the last one as far as it is typed.
---
--- The first line of the answer says what else goes there: "words" (nothing), "files", "folders", or "command N": the
--- N-th word, from 0, begins a command of its own. The lines behind it are words, each with a tab and what it means.
--- Of a word "--name=value" they are values. Nothing that goes wrong here is worth a word: then there is no answer.
local commands = require "keel.cli.commands"
local terminal = require "keel.cli.terminal"
local usage = require "keel.cli.usage"

local function list_of(names, about)
  local list = {}
  for i, name in ipairs(names) do list[i] = { name, about } end
  return list
end

local function built_in(kind)
  return list_of(require "keel.policy".built_in(kind), "built in")
end

local RECENT = 100 -- runs that are looked at

-- The store that the words name so far; nil when it cannot be read.
local function store_of(given)
  local path = given["--store"]
  if path then path = path:gsub("^~/", (os.getenv "HOME" or "~") .. "/") end
  path = require "keel.cli.opening".path { store = path }
  return path and require "keel.kernel".open(path, { readonly = true, create = false }) or nil
end

-- Its newest runs.
local function recent_runs(given)
  local store <close> = store_of(given)
  return store and store:list_runs { limit = RECENT } or {}
end

-- Runs are offered by their ids, and by the ends that are shown of those when something else was typed. Who begins with
-- "@" gets threads.
local function runs_of(given, typed)
  local list, begun, ids, what = {}, false, {}, require "keel.cli.describe".what
  for i, run in ipairs(recent_runs(given)) do
    ids[i] = run.run_id
    begun = begun or run.run_id:sub(1, #typed) == typed
    list[i] = { run.run_id, ("%s on %s: %s"):format(run.status, run.thread_id, what(run)), run.thread_id }
  end
  if typed:find "^@" then
    local threads, seen = {}, {}
    for _, run in ipairs(list) do
      if not seen[run[3]] then threads[#threads + 1], seen[run[3]] = { "@" .. run[3], run[2] }, true end
    end
    return threads
  end
  if begun then return list end
  local ends = require "keel.cli.which".ends(ids, ids)
  for _, run in ipairs(list) do run[1] = ends[run[1]] end
  return list
end

-- Of a list with commas, the last word is completed.
local function run_list_of(given, last)
  local front = last:match "^.*," or ""
  local list = runs_of(given, last:sub(#front + 1))
  for _, run in ipairs(list) do run[1] = front .. run[1] end
  return list
end

local function threads_of(given)
  local list, seen = {}, {}
  for _, run in ipairs(recent_runs(given)) do
    if not seen[run.thread_id] then list[#list + 1] = { run.thread_id } end
    seen[run.thread_id] = true
  end
  return list
end

-- What is set for names, and what runs want.
local function limits_of(given, is_meant)
  local store <close> = store_of(given)
  local list = {}
  for _, limit in ipairs(store and store:limits() or {}) do
    if is_meant(limit) then list[#list + 1] = { limit.name, limit.paused and "paused" or nil } end
  end
  return list
end

local function schedules_of(given)
  local store <close> = store_of(given)
  local list = {}
  for i, row in ipairs(store and store:list_schedules {} or {}) do
    list[i] = { row.name, require "keel.cli.cron.definition".shown(row.definition) }
  end
  return list
end

-- What an option's value, or an argument, is by what is said of it, or by its name in the tables.
local by_name = {
  FILE = function() return {}, "files" end,
  FROM = function() return {}, "files" end,
  TO = function() return {}, "files" end,
  DIR = function() return {}, "folders" end,
  ["FILE|DIR"] = function() return {}, "files" end,
  KEY = threads_of,
  NAME = function() return built_in "reconcilers" end,
  ["NAME|FILE"] = function() return built_in "strategies", "files" end,
  SIGNAL = function() return list_of(require "keel.cli.exec".stop_signals) end,
  RUN = runs_of,
  schedules = schedules_of,
  limits = function(given) return limits_of(given, function(limit) return limit.max end) end,
  paused = function(given) return limits_of(given, function(limit) return limit.paused end) end,
  pausable = function(given)
    local list = limits_of(given, function(limit) return not limit.paused and limit.name ~= "*" end)
    for _, thread in ipairs(threads_of(given)) do list[#list + 1] = { "thread:" .. thread[1] } end
    list[#list + 1] = { "*", "everything" }
    return list
  end,
  ["RUN,…"] = run_list_of,
}

local function values_of(option, given, last)
  if option.choices then return list_of(option.choices) end
  local known = by_name[option.complete or option.value]
  if known then return known(given, last) end
  return {}
end

local function named(known, name)
  for _, entry in ipairs(known or {}) do
    if entry.name == name then return entry end
  end
end

-- Follows the words before the last. Returns what is known by then: the commands that may follow or the command that
-- was named, its positional words, the option that waits for its value, and where a command of its own begins.
local function follow(words)
  local at = { known = commands, positional = 0, given = {}, options = { usage.common } }
  for i = 1, #words - 1 do
    local word = words[i]
    if at.pending then
      at.given[at.pending[1]], at.pending = word, nil
    elseif word == "--" and at.command then
      if at.command.takes_command then at.start = i + 1 end
      at.no_options = true
    elseif word:find "^%-." and not at.no_options then
      local name, value = word:match "^(%-%-[^=]+)=(.*)$"
      for _, options in ipairs(at.options) do
        local option = usage.option_named(options, name or word)
        if option and value then at.given[option[1]] = value end
        if option and option.value and not value then at.pending = option end
      end
    elseif at.known then
      local entry = named(at.known, word)
      if not entry then return nil end
      if entry.name == "help" then
        at.explains = true -- the words behind it are commands again
      elseif entry.commands or at.explains then
        at.known = entry.commands or {}
      else
        at.known, at.command = nil, require(entry.module)
        at.options = { at.command.options or {}, usage.common }
      end
    elseif at.command.takes_command and at.positional >= #(at.command.arguments or {}) then
      at.start = i
    else
      at.positional = at.positional + 1
    end
    if at.start then return at end
  end
  return at
end

local function options_of(at)
  local list = {}
  for _, options in ipairs(at.options) do
    for _, option in ipairs(options) do
      list[#list + 1] = { option[1], option.about }
    end
  end
  return list
end

local function candidates(words)
  local at, last = follow(words), words[#words]
  if not at then return {} end
  if at.start then return {}, ("command %d"):format(at.start) end
  if at.pending then return values_of(at.pending, at.given, last) end
  if last:find "^%-" and not at.no_options then
    local name, value = last:match "^(%-%-[^=]+)=(.*)$"
    if not name then return options_of(at) end
    for _, options in ipairs(at.options) do
      local option = usage.option_named(options, name)
      if option and option.value then return values_of(option, at.given, value) end
    end
    return {}
  end
  if at.known then
    local list = {}
    for i, entry in ipairs(at.known) do list[i] = { entry.name, entry.summary } end
    return list
  end
  local arguments = at.command.arguments or {}
  if at.command.takes_command and (at.positional >= #arguments or at.no_options) then
    return {}, ("command %d"):format(#words)
  end
  local argument = arguments[at.positional + 1] or #arguments > 0 and arguments[#arguments].many and
    arguments[#arguments]
  if not argument then return {} end
  return values_of({ value = argument[1]:upper(), choices = argument.choices, complete = argument.complete },
    at.given, last)
end

--- Answers on standard output.
---@param words string[] those behind the name of the program, up to the cursor
---@return integer exit_code
return function(words)
  if #words == 0 then return 2 end
  local done, list, kind = pcall(candidates, words)
  if not done then return 1 end
  local lines = { kind or "words" }
  for _, candidate in ipairs(list) do
    -- The shell shows them. A name in which something would act on the terminal cannot be offered as it is.
    if terminal.plain(candidate[1]) == candidate[1] then
      lines[#lines + 1] = candidate[1] .. "\t" .. terminal.plain(candidate[2])
    end
  end
  terminal.print(table.concat(lines, "\n"))
  return 0
end
