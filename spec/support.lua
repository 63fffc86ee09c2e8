--- What the specs share: stores that vanish after a test, a clock under control, refusals, events, children.
-- A spec writes `after_each(support.clean_up)` (each_store does it) and forgets about the rest.
local busted = require "busted"
local lfs = require "lfs"
local keel = require "keel"
local kernel = require "keel.kernel"
local process = require "support.process"
local schemas = require "support.schemas"

local support = {
  wrap = require("support.wrap").wrap,
  fail = require("support.wrap").fail,
}

local stores, directories, made, first = {}, {}, 0, {}

--- Has a function called first when a test is cleaned up: what it ends may stand in the test's directories.
function support.before_clean_up(fn) first[#first + 1] = fn end

--- A fresh directory, removed after the test.
function support.dir()
  local base = os.getenv "TMPDIR" or "/tmp"
  local name
  repeat
    made = made + 1
    name = ("%s/keel-spec-%d-%d"):format(base, process.pid(), made)
  until lfs.mkdir(name)
  directories[#directories + 1] = name
  return name
end

--- A path where no store is yet; with KEEL_TEST_STORE=postgres, as tests/run.sh --server has it, a uri on the server.
function support.path()
  if os.getenv "KEEL_TEST_STORE" == "postgres" then return support.server_uri() end
  return support.dir() .. "/keel.db"
end

--- Opens a store that is closed after the test.
function support.open(uri, options)
  local store = assert(keel.open(uri, options))
  stores[#stores + 1] = store
  return store
end

-- A server learns of a process's death a moment after the operating system.
local function wait_for_servers(pid)
  local until_then = kernel.monotonic() + 20
  for _, store in ipairs(stores) do
    local ok, sessions = pcall(function() return store:backend() == "postgres" and store:sessions() end)
    for _, session in ipairs(ok and sessions or {}) do
      while session.pid == pid and store:session_alive(session.session_id) do
        assert(kernel.monotonic() < until_then, "the server does not notice that a process has died")
        kernel.sleep(0.001)
      end
    end
  end
end

--- A child process that is gone after the test; see support/process.lua.
function support.spawn(chunk, arguments, options)
  local child = process.spawn(support.dir(), chunk, arguments, options)
  local kill = child.kill
  function child:kill()
    kill(self)
    wait_for_servers(self.pid)
  end
  return child
end

local function remove(path)
  if lfs.symlinkattributes(path, "mode") == "directory" then
    for name in lfs.dir(path) do
      if name ~= "." and name ~= ".." then remove(path .. "/" .. name) end
    end
  end
  os.remove(path)
end

function support.clean_up()
  for _, fn in ipairs(first) do fn() end
  process.end_all()
  for i = #stores, 1, -1 do
    stores[i]:close()
    stores[i] = nil
  end
  for i = #directories, 1, -1 do
    remove(directories[i])
    directories[i] = nil
  end
  schemas.give_back()
end

--- The uri of a store on the server that tests/postgres.sh has started, in a schema that nobody has used.
function support.server_uri()
  local server = os.getenv "KEEL_TEST_POSTGRES"
  assert(server ~= "", "KEEL_TEST_POSTGRES is empty: the server has not started")
  local random <close> = assert(io.open("/proc/sys/kernel/random/uuid"))
  return ("%s&schema=spec_%s"):format(server, (random:read():gsub("%-", "_")))
end

--- Runs the same specs on a store in memory, on one in a file and, where KEEL_TEST_POSTGRES names a server, on one
--- there. `body(open, backend)`; `open(options)` gives a store.
function support.each_store(body)
  local uris = { memory = function() return ":memory:" end, sqlite = support.path,
    postgres = function() return schemas.take(support.server_uri) end }
  for _, backend in ipairs { "memory", "sqlite", os.getenv "KEEL_TEST_POSTGRES" and "postgres" or nil } do
    busted.describe("[#" .. backend .. "]", function()
      busted.after_each(support.clean_up)
      body(function(options) return support.open(uris[backend](), options) end, backend)
    end)
  end
end

--- Runs the same specs on a store in a file and, where there is a server, on one there: what is about several handles
--- or processes. `body(place, backend)`; `place()` gives a path or uri where no store is yet.
function support.each_shared(name, body)
  local places = { sqlite = support.path, postgres = support.server_uri }
  for _, backend in ipairs { "sqlite", os.getenv "KEEL_TEST_POSTGRES" and "postgres" or nil } do
    busted.describe(("%s [#%s]"):format(name, backend), function()
      busted.after_each(support.clean_up)
      body(places[backend], backend)
    end)
  end
end

--- A clock that stands still until it is moved: { read = function, advance = function(seconds) }.
support.clock = keel.testing.clock

--- A retry policy that never really waits; the delays it asked for are in the second result.
function support.retry(max_attempts)
  local waits = {}
  local policy = keel.retry_policy {
    max_attempts = max_attempts or 5, initial_delay = 0.001, max_delay = 0.001,
    sleep = function(seconds) waits[#waits + 1] = seconds end,
  }
  return policy, waits
end

--- A manager on the store whose retries do not wait.
function support.manager(store, options)
  local given = { store = store, retry = support.retry() }
  for name, value in pairs(options or {}) do given[name] = value end
  return keel.run_manager(given)
end

--- A store of `open`'s, which flushes nothing, with a manager on it, and the clock of the store, which stands still.
function support.managed(open)
  local clock = support.clock()
  local store = open { durability = "off", clock = clock.read }
  return store, support.manager(store), clock
end

--- A log function and what it was told: a list of { level, message, fields }.
function support.log()
  local lines = {}
  return function(level, message, fields)
    lines[#lines + 1] = { level = level, message = message, fields = fields }
  end, lines
end

--- The error of a locked database, and one that no retry mends.
function support.busy()
  return { code = "busy", message = "database is locked", transient = true }
end

function support.broken()
  return { code = "store_corrupt", message = "no such table: runs", transient = false }
end

--- Raises for the spec, with the line of the spec that asked.
local function demand(ok, message)
  if ok then return end
  local level = 2
  while debug.getinfo(level, "S").source:find "support%.lua$" do level = level + 1 end
  error(message, level)
end

--- Asserts that a call was refused with `code`; gives the error. Use: refused("conflict", manager:create(…)).
function support.refused(code, result, err, ...)
  demand(result == nil, "expected nil, err; the call gave " .. tostring(result))
  demand(type(err) == "table", "expected an error table, got " .. tostring(err))
  demand(err.code == code, ("expected %s, got %s: %s"):format(code, err.code, err.message))
  demand(select("#", ...) == 0, "an error comes alone")
  return err
end

--- Asserts that a call was refused as invalid_request for `field`.
function support.invalid(field, ...)
  local err = support.refused("invalid_request", ...)
  demand(err.field == field, ("expected field %s, got %s: %s"):format(field, tostring(err.field), err.message))
  return err
end

--- Asserts that fn raises a text that contains one of `names` (a text or a list); gives the text.
function support.raises(names, fn, ...)
  names = type(names) == "table" and names or { names }
  local ok, message = pcall(fn, ...)
  local wanted = table.concat(names, " or ")
  demand(not ok, "nothing was raised that names " .. wanted)
  message = tostring(message)
  for _, name in ipairs(names) do
    if message:find(name, 1, true) then return message end
  end
  demand(false, ("the error does not name %s: %s"):format(wanted, message))
end

--- Every event of the store, or of a filter, read page by page.
function support.events(store, filter)
  local all, cursor = {}, nil
  repeat
    local page = assert(store:read_events(cursor, 1000, filter))
    table.move(page.events, 1, #page.events, #all + 1, all)
    cursor = page.cursor
  until not page.has_more
  return all
end

--- The values of one field of each item of a list.
function support.pluck(list, field)
  local values = {}
  for i, item in ipairs(list) do values[i] = item[field] end
  return values
end

--- The names in a table, in order.
function support.sorted_keys(map)
  local keys = {}
  for name in pairs(map) do keys[#keys + 1] = name end
  table.sort(keys)
  return keys
end

--- The run ids of a list of runs as a set.
function support.ids(list)
  local set = {}
  for _, run in ipairs(list) do set[run.run_id] = true end
  return set
end

--- Ids for things that need a valid one that nobody uses.
function support.unknown_id()
  return "00000000-0000-7000-8000-000000000000"
end

return support
