--- keel work: works off commands that were made with `keel runs create`, and by schedules.
local claimable = require "keel.cli.exec.claimable"
local kept = require "keel.cli.kept"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local terminal = require "keel.cli.terminal"
local usage = require "keel.cli.usage"

local GRACE, DRAIN = 5, 30
local SESSION_STEP = 200 -- milliseconds between looks at whether the session is another
local LAST_WORDS = 2 -- seconds that an attempt has, after SIGKILL, to say how it ended

local function refuse(message)
  return nil, { code = "io", message = message, transient = false }
end

local function find_luv()
  local found, luv = pcall(require, "luv")
  if found then return luv end
  return refuse "keel work needs luv, the binding of libuv: install the Debian package lua-luv, or the rock luv"
end

-- What goes wrong in the executor, for who reads the log.
local function log(level, message, fields)
  if level ~= "error" and level ~= "warn" then return end
  local parts = {}
  for name, value in pairs(fields or {}) do parts[#parts + 1] = ("%s=%s"):format(name, terminal.plain(value)) end
  table.sort(parts)
  terminal.say("keel work: ", message, #parts > 0 and ": " or "", table.concat(parts, "  "))
end

local NUMBERS = { sighup = 1, sigint = 2, sigterm = 15 }

-- The signals that were ignored when we were started, by name.
local function ignored_signals()
  local found, file <close> = {}, io.open "/proc/self/status"
  local mask = tonumber((file and file:read "a" or ""):match "SigIgn:%s*(%x+)" or "0", 16)
  for name, number in pairs(NUMBERS) do found[name] = mask >> (number - 1) & 1 == 1 end
  return found
end

-- The first signal ends the claiming, the second asks the commands to end, the third kills them.
local function stop_by_signals(work, executor)
  local count, given, ignored = 0, work.given, ignored_signals()
  local function on_signal()
    count = count + 1
    local running = executor:stats().running
    if count >= 3 then
      for process in pairs(work.children) do process:stop(true) end
    else
      executor:stop { timeout = given.drain or DRAIN }
    end
    if count == 1 and running > 0 then
      output.note(given, ("keel work: stopping: %s may end within %s; again ends it now"):format(
        output.count(running, "command"), output.duration(given.drain or DRAIN)))
    end
  end
  for _, name in ipairs { "sigterm", "sigint", "sighup" } do
    if not ignored[name] then -- as by nohup
      local handle = work.uv.new_signal()
      handle:start(name, on_signal)
      handle:unref()
    end
  end
  -- Nobody may read what we say, and a helper may be gone when it is written to: a failed write is enough.
  local pipe = work.uv.new_signal()
  pipe:start("sigpipe", function() end)
  pipe:unref()
end

-- A connection to a server that was lost and made anew is another session: the commands' guardians hold that one, then.
local function watch_session(work)
  local held
  local timer = work.uv.new_timer()
  timer:start(SESSION_STEP, SESSION_STEP, function()
    local session = work.store:session_id()
    if not session or session == held then return end
    local lock = work.store:session_descriptor()
    for process in pairs(lock and work.children or {}) do process:hold(lock) end
    held = session
  end)
  timer:unref()
end

local function work_off(work)
  local given = work.given
  local manager, err = require("keel.manager").new { store = work.store, log = log }
  if not manager then return nil, err end
  local executor
  executor, err = require "keel.executor".new { manager = manager, concurrency = work.concurrency,
    handlers = { [claimable.HANDLER] = require "keel.cli.work.handler"(work) },
    reconciler = "recover_orphans", kill_grace = work.grace + LAST_WORDS, loop = work.uv }
  if not executor then return nil, err end
  stop_by_signals(work, executor)
  if opening.is_on_server(work.path) then watch_session(work) end
  output.note(given, ("keel work: working off commands, up to %d at a time"):format(work.concurrency))
  local report
  report, err = executor:run()
  if not report then return nil, err end
  if report.running then return refuse "not all commands have ended" end
  return 0
end

return {
  about = "Works off commands: those of 'keel runs create' and of 'keel cron', and makes the runs of schedules that are"
    .. " due. Each runs in the folder it was made in, with the environment that 'keel work' has, watched over as by"
    .. " 'keel exec'; 'keel runs output' shows what it says.",
  more = [[
It goes on until it is stopped. SIGTERM, SIGINT or SIGHUP: it takes no more, and leaves those that run the time of
--drain; then, or at a second signal, they get SIGTERM, and SIGKILL after the grace or at a third. What has not
succeeded by then is given back, for the next 'keel work'. Several may work on one store.]],
  options = {
    { "--concurrency", "-c", value = "N", convert = usage.integer(1, 1000),
      about = "commands at a time (default: as many as there are processors)" },
    { "--grace", value = "TIME", convert = usage.duration, about = "seconds between SIGTERM and SIGKILL (default 5)" },
    { "--drain", value = "TIME", convert = usage.duration,
      about = "how long commands may go on when it is stopped (default 30)" },
  },
  run = function(given)
    local uv, err = find_luv()
    if not uv then return nil, err end
    local store <close>, failure = opening.store(given, "make")
    if not store then return nil, failure end
    local path = opening.path(given)
    local is_ours, refusal = opening.check_writers(path)
    if not is_ours then return nil, refusal end
    local parent
    parent, err = kept.prepare(store, path)
    if not parent then return nil, err end
    local null = uv.fs_open("/dev/null", "r", 0)
    return work_off { store = store, path = path, uv = uv, null = null, parent = parent, given = given, children = {},
      grace = given.grace or GRACE, concurrency = given.concurrency or math.max(#(uv.cpu_info() or {}), 1) }
  end,
}
