--- keel repl: a prompt for Lua with a store at hand.
local again = require "keel.cli.repl.again"
local chunk = require "keel.cli.repl.chunk"
local errors = require "keel.errors"
local keel_command = require "keel.command"
local kernel = require "keel.kernel"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local pager = require "keel.cli.repl.pager"
local show = require "keel.cli.repl.show"
local terminal = require "keel.cli.terminal"
local usage = require "keel.cli.usage"

local builtins = {
  { "runs", "a run manager on the store: runs:create_or_reject(thread, options), runs:list_by_thread(thread)" },
  { "store", "the open store: store:list_runs(), store:stats()" },
  { "events", "its log: events:last(20), events:wait(), events:follow()" },
  { "workers", "a worker runtime: workers:create_worker{…}. It is made when it is first used" },
  { "dispatcher", "the dispatcher of test runs" },
  { "keel", "require \"keel\"" },
  { "_", "the first result of the chunk before" },
  { "show", "show(value, depth): all of a value, of which results show what fits" },
  { "watch", "watch(seconds, fn): calls it again and again until Ctrl-C, and shows what it gives" },
  { "edit", "edit(): the chunk before in your $EDITOR; what is saved is run" },
  { "help", "help(), help(thing), help \"a section of the reference\"" },
}

local function open_store(given)
  if given.store ~= ":memory:" then return opening.store(given, "make") end
  return kernel.open(":memory:", { durability = given.durability })
end

-- The globals of what is typed, and of what that loads. They are a table of their own: a global called `type` or
-- `error`, as is soon made at a prompt, must not be what Keel's files find under that name.
local globals = {}

-- Gives these globals to all chunks that are loaded from now on; what the prompt needs has been loaded by then.
local function separate_globals()
  local GLOBALS = 2 -- LUA_RIDX_GLOBALS
  for _, name in ipairs { "describe", "shape" } do require("keel.cli." .. name) end
  for name, value in next, _G do globals[name] = value end
  globals._G, package.loaded._G = globals, globals
  debug.getregistry()[GLOBALS] = globals
end

-- --- Telling --------------------------------------------------------------------------------------------------------

local function report_failure(failure, as_json)
  io.stdout:flush()
  if as_json then
    local value = failure.value
    local fields = { code = "error", message = failure.message, transient = false }
    if errors.code(value) then -- anybody's error: its class may raise when it is looked at
      local own = {}
      for name, member in next, value do own[name] = member end
      local ok, text = pcall(kernel.json.encode, own)
      if ok and text then fields = own end
    end
    terminal.say(terminal.json { error = fields })
    return
  end
  terminal.say(failure.message)
  if #failure.frames > 0 then terminal.say("\t", table.concat(failure.frames, "\n\t")) end
end

local function json_of(value)
  if type(value) == "table" then
    local copy = require("keel.cli.shape").fields(value)
    if getmetatable(value) == nil and kernel.json.encode(copy) then return copy end
  end
  return kernel.json.encode(value) and value or show.text(value)
end

local function report_results(results, as_json)
  if not as_json then return pager(show.results, results) end
  if results.n == 0 then return end
  local values = kernel.array()
  for i = 1, results.n do values[i] = results[i] == nil and kernel.null or json_of(results[i]) end
  output.json { results = values }
end

-- --- Globals ---------------------------------------------------------------------------------------------------------

-- What was typed last, and what came before it; keeps what an editor has given.
local typed = { before = "", now = "", remember = function() end }

--- Sets the globals of chunks.
local function set_globals(store, given)
  local keel = require "keel"
  local runs, err = keel.run_manager { store = store }
  if not runs then return nil, err end
  globals.keel, globals.store, globals.runs = keel, store, runs
  globals.events = require("keel.cli.repl.events").new(store)
  globals.dispatcher = assert(keel.dispatcher { store = store })
  globals.help = require "keel.cli.repl.help"(builtins, globals)
  --- Prints all of a value, of which results show what fits.
  ---@param value any
  ---@param depth? integer tables in tables that are shown; default 4
  function globals.show(value, depth) pager(terminal.print, show.text(value, depth or 4)) end
  --- Calls a function again and again until Ctrl-C, and shows what it gives. On a terminal the screen is cleared
  --- before: watch(2, function() return runs:list_by_thread "gpu" end).
  ---@param seconds number between two calls, from 0.1 up
  ---@param fn function
  function globals.watch(seconds, fn)
    again.watch(seconds, fn, function(results)
      if keel_command.is_terminal(1) and not given.json then io.stdout:write "\27[H\27[2J" end
      report_results(results, given.json)
    end)
  end
  --- Opens $VISUAL or $EDITOR with the chunk before, or a text, and runs what was saved.
  ---@param text? string
  ---@return any ... what it gives
  function globals.edit(text) return again.edit(text or typed.before, typed.remember) end
  -- Looking at a store writes nothing; a runtime is a row of it.
  setmetatable(globals, { __index = function(t, name)
    if name ~= "workers" then return nil end
    local workers = assert(keel.runtime { store = store, runtime_id = given.runtime or "default" })
    rawset(t, name, workers)
    return workers
  end })
  return { workers = require "keel.runtime" }
end

-- --- Reading --------------------------------------------------------------------------------------------------------

-- Lines from what is no terminal, or one that cannot be edited on.
local function plain_reader(prompts)
  local reader = { remember = function() end, line = not prompts and 0 or nil }
  function reader.read(_, text)
    if prompts then io.stderr:write(text) end
    local line = io.read "l"
    if line then
      reader.line = reader.line and reader.line + 1
      return line
    end
    return nil, keel_command.is_interrupted() and "interrupt" or "end"
  end
  return reader
end

-- Lines of a text: those that an iterator gives. `name` is what they are from.
local function text_reader(lines, name, is_file)
  local reader = { remember = function() end, line = 0, name = name }
  function reader.read()
    local line = lines()
    if not line then return nil, "end" end
    reader.line = reader.line + 1
    return is_file and reader.line == 1 and line:gsub("^#.*", "") or line -- as of a script that the system runs
  end
  return reader
end

-- What is to be run in the place of what is typed: texts, a file. Nil: nothing of that; or the error.
local function given_readers(given)
  local readers = {}
  for _, text in ipairs(given.execute or {}) do
    readers[#readers + 1] = text_reader((text .. "\n"):gmatch "(.-)\n", "-e")
  end
  if given.file and given.file ~= "-" then
    local file, problem = io.open(given.file, "r")
    local first = file and file:read(0) == nil and select(2, file:read(0)) -- a folder can be opened, and not read
    if not file or first then return nil, usage.error(("cannot read %s"):format(problem or first)) end
    readers[#readers + 1] = text_reader(file:lines(), given.file, true)
  elseif given.file then
    readers[#readers + 1] = plain_reader(false)
  end
  return readers
end

-- A line editor with what was typed before.
local function editing_reader(placeholders, given)
  local complete = require "keel.cli.repl.complete"(globals, placeholders, keel_command.size)
  local prompt = keel_command.prompt(complete)
  if not prompt then return plain_reader(true) end
  local history = require("keel.cli.repl.history").open()
  for _, entry in ipairs(history.entries) do prompt:remember(entry) end
  -- Of a line that goes over several rows, those below the cursor are left when it is dropped.
  local reader = { read = function(_, text) return prompt:read(text) end, clear = "\27[J" }
  local told = false
  function reader.remember(_, entry)
    local kept, problem = history:add(entry)
    if kept ~= false then prompt:remember(entry) end
    if problem and not told then output.note(given, "keel repl: " .. problem) end
    told = told or problem ~= nil
  end
  return reader
end

local function ends(text)
  local word = text:match "^%s*(%l+)%s*;?%s*$"
  return (word == "exit" or word == "quit") and rawget(globals, word) == nil
end

-- Reads lines until they are a chunk. Returns it; else nil, what is wrong with it ("" when it was dropped), and whether
-- that was all.
local function read_chunk(reader)
  local text, what = reader:read "keel> "
  if not text then return nil, "", what == "end" end
  if ends(text) then return nil, "", true end
  local begins = reader.line
  while true do
    local compiled, problem, is_incomplete = chunk.compile(text, begins, reader.name)
    if compiled or not is_incomplete then
      typed.remember = function(entry)
        typed.now = entry
        reader:remember(entry)
      end
      typed.before = typed.now
      typed.remember(text)
      return compiled, problem, false
    end
    local more
    more, what = reader:read "   >> "
    if not more then
      if what == "end" then return nil, problem, true end
      return nil, "", false
    end
    text = text .. "\n" .. more
  end
end

-- Runs chunks until there are no more. Returns whether all went well.
local function converse(reader, given)
  local all_well = true
  while true do
    keel_command.begin()
    local compiled, problem, is_last = read_chunk(reader)
    local results, failure
    if compiled then
      results, failure = chunk.run(compiled)
    elseif problem ~= "" then
      failure = { message = problem, frames = {} }
    end
    if failure then
      report_failure(failure, given.json)
      all_well = false
    elseif results then
      rawset(globals, "_", results[1])
      local _, why = chunk.run(function() report_results(results, given.json) end)
      if why then report_failure({ message = why.message, frames = {} }, given.json) end
    elseif given.on_terminal then
      io.stdout:write("\n", reader.clear or "") -- behind the ^C, and before the shell's prompt
    end
    if is_last then return all_well end
  end
end

-- Says what the prompt leaves behind when it ends.
local function tell_orphans(store, given)
  if not pcall(store.path, store) then return end -- the user has closed it
  local stat <close> = store:path() ~= "" and io.open "/proc/self/stat" or nil
  local pid, count = stat and stat:read "n", 0
  for _, session in ipairs(pid and store:sessions() or {}) do
    if session.pid == pid and session.alive then
      count = count + #(store:list_inflight { session_id = session.session_id, limit = 1000, brief = true } or {})
    end
  end
  if count > 0 then
    output.note(given, ("%s of this prompt in flight: nobody owns %s now, and 'keel reconcile' recovers %s"):format(
      output.count(count, "run"), count == 1 and "it" or "them", count == 1 and "it" or "them"))
  end
end

return {
  about = "A prompt for Lua with the store at hand, as `runs`, `store`, `events`, `workers` and `dispatcher`. What is"
    .. " no terminal, or in a file, is read as chunks, whose results are printed.",
  more = "Tab completes, the arrow keys find what was typed before, Ctrl-C ends what runs, Ctrl-D ends the prompt."
    .. " `help()` tells more. The exit code is 1 when a chunk of what is no terminal has failed.",
  is_host = true,
  arguments = { { "file", "chunks to run in the place of what is typed; - is standard input", optional = true } },
  options = {
    { "--execute", "-e", value = "CODE", many = true,
      about = "run this in the place of what is typed, before FILE; repeatable" },
    { "--runtime", value = "ID", about = "the worker runtime that `workers` is (default: default)" },
  },
  run = function(given)
    local readers, unread = given_readers(given)
    if not readers then return nil, unread end
    given.on_terminal = #readers == 0 and keel_command.is_terminal(0)
    if given.on_terminal then
      require("keel.cli.repl.waits").prepare()
      keel_command.catch_interrupts()
    end
    local store <close>, err = open_store(given)
    if not store then return nil, err end
    local placeholders
    placeholders, err = set_globals(store, given)
    if not placeholders then return nil, err end
    if not given.on_terminal then
      separate_globals()
      if #readers == 0 then readers[1] = plain_reader(false) end
      local all_well = true
      for _, reader in ipairs(readers) do all_well = converse(reader, given) and all_well end
      return all_well and 0 or 1
    end
    local can_edit = keel_command.prompt and keel_command.is_terminal(1) and os.getenv "TERM" ~= "dumb"
    local reader = can_edit and editing_reader(placeholders, given) or plain_reader(true)
    local path = store:path()
    output.note(given, ("keel %s on %s. help() tells what is at hand, Ctrl-D ends."):format(kernel.version,
      path ~= "" and path or "a store in memory"))
    separate_globals()
    converse(reader, given)
    tell_orphans(store, given)
    return 0
  end,
}
