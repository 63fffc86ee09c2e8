--- Runs handlers for runs: claims and starts them, drives them as coroutines on libuv, and writes how they ended.
---
--- `concurrency` workers, each a coroutine, take a run, call its handler and write its end, over and over; with nothing
--- to take they rest until somebody tells of news: the log, a tick, or a record that became live. What they write in a
--- iteration of the loop shares a commit.
local Attachment = require "keel.manager.attachment"
local Claims = require "keel.executor.claims"
local Loop = require "keel.executor.loop"
local Queue = require "keel.executor.queue"
local SharedCommits = require "keel.store.shared_commits"
local Watch = require "keel.executor.watch"
local check = require "keel.check"
local checked = require "keel.executor.options"
local errors = require "keel.errors"
local kernel = require "keel.kernel"
local outcome = require "keel.executor.outcome"

---@class keel.Executor
local Executor = {}
Executor.__index = Executor
Executor.__name = "keel.executor"

require "keel.executor.workers"(Executor)
require "keel.executor.keeping"(Executor)
require "keel.executor.stopping"(Executor)

local DRAIN_LIMIT = 10000 -- runs of one drain: handlers may make runs for ever

-- --- Making one -----------------------------------------------------------------------------------------------------

-- What the manager tells, and asks.
local function observer_of(self)
  return {
    on_add = function(record)
      if record.status ~= "pending" or record.operation_kind ~= "run" then return end
      self._queue:add(record)
      self:_look()
    end,
    on_claimable = function() self:_expect() end,
    on_schedule = function() self:_tick_anew() end,
    holds = function(record) return self:_holds(record) end,
  }
end

local function attach(self)
  local attachment = Attachment.new(self._manager, observer_of(self))
  self._attachment, self._client, self._live = attachment, attachment.client, attachment.live
end

-- The store that the manager talks to from now on: what the executor's coroutines write is shared, and waits on the
-- loop; all other calls are as they were.
local function share(self)
  local client, loop = self._client, self._loop
  self._store = client.store
  if SharedCommits.is(client.store) then return end
  local shared = SharedCommits.new(client.store, {
    defer = function(fn) loop:defer_to_end(fn) end,
    sleep = function(seconds) loop:sleep(seconds) end,
    shares = loop:driver(),
  })
  SharedCommits.tell_commits(shared, function(...) self._watch:wrote(...) end)
  client:use(shared)
end

-- Whether an event says that a session may find something to start.
local function is_among(ready, session_id)
  if type(ready) ~= "table" then return false end
  if ready.all then return true end
  for _, id in ipairs(type(ready.sessions) == "table" and ready.sessions or {}) do
    if id == session_id then return true end
  end
  return false
end

-- What is done about what the log says.
local function log_observer_of(self)
  return {
    made = function(run_id)
      if not self._live:get(run_id) then self:_expect() end -- else it is known here, or was claimed meanwhile
    end,
    given_back = function(delay) self:_expect(delay) end,
    has_dependents = function() return self._live:has_dependents() end,
    made_room = function(thread_id, ready)
      if self._claims:is_meant(ready) then self._claims:expect_some() end
      if thread_id then self._queue:ready(thread_id) end
      self:_look()
    end,
    ended = function(run_id, ready)
      self._queue:ended(run_id, is_among(ready, self._client:session_id()))
      self:_look()
    end,
    freed = function(names)
      self._queue:freed(names)
      self:_look()
    end,
    limits_changed = function()
      self._claims:expect_some()
      self._queue:ready_all()
      self:_look()
    end,
    concerns = function(run_id) if self._tasks[run_id] then self:_beat() end end,
    rescheduled = function() self:_tick_anew() end,
  }
end

--- Makes an executor. It does nothing until `start`, `run` or `drain`.
--- Raises for unknown options and wrong types, when luv is missing, and when the manager has an executor already. Fails
--- with invalid_request (numbers out of range, threads and names of handlers that are no ids, an unknown reconciler)
--- and limit_too_large (concurrency, threads).
---@param options { manager: keel.RunManager, handlers: keel.Handler|table<string, keel.Handler>, concurrency?: integer,
--- loop?: table, threads?: string[], reconciler?: string|keel.AnyReconciler, interval?: number, poll?: number,
--- kill_grace?: number, backoff?: keel.RetryPolicy } concurrency: runs at once, default 16; loop: a module with luv's
--- functions, default luv; threads: claim only runs of these; reconciler: as RunManager:tick; interval: seconds between
--- ticks, default 1; poll: seconds between looks at the log where nobody wakes it, default 0.01; kill_grace: seconds
--- between SIGTERM and SIGKILL, default 5; backoff: the delays between attempts, default 1 s, doubling up to 300 s
---@return keel.Executor? executor
---@return keel.Error? err
function Executor.new(options)
  local err
  options, err = checked(options)
  if not options then return nil, err end
  local manager = options.manager
  local self = setmetatable({
    _manager = manager,
    _handlers = options.handlers,
    _concurrency = options.concurrency,
    _reconciler = options.reconciler,
    _interval = options.interval,
    _poll = options.poll,
    _kill_grace = options.kill_grace,
    _backoff = options.backoff,
    _state = "new",     -- new -> started -> stopping -> stopped
    _workers = 0,       -- coroutines
    _idle = {},         -- waiters of those that rest
    _busy = 0,          -- coroutines that do something, or wait for something that comes by itself
    _sleepers = {},     -- waiters of handlers that sleep by a manual clock -> when they wake up
    _tasks = {},        -- run_id -> task
    _attempts = {},     -- all tasks whose handler or whose end goes on, as a set: one may outlive its run
    _news = 0,          -- counts what was told, so that no worker rests on old knowledge
    _moves = 0,         -- counts what happened, for drain
    _counts = { started = 0, ended = 0 },
  }, Executor)
  self._log = function(...) self._client:log(...) end
  self._claims = Claims.new(manager, { threads = options.threads, handlers = outcome.names(options.handlers),
    most = options.concurrency, log = self._log })
  self._loop = Loop.new(options.loop, self._log)
  attach(self)
  self._queue = Queue.new(manager, self._client, self._live)
  share(self)
  self._watch = Watch.new(self._client, self._live, log_observer_of(self))
  self._queue.on_due = function() self:_wake_watch() end
  self._claims.on_later = function(seconds)
    self:_expect(seconds)
    self:_wake_watch()
  end
  for _, record in ipairs(self._live:in_flight()) do
    if record.status == "pending" then self._queue:add(record) end
  end
  return self
end

-- --- Time -----------------------------------------------------------------------------------------------------------

function Executor:_now()
  return kernel.time_seconds(self._client:now())
end

-- Whether time is what the store's clock says and passes only there: before `start`.
function Executor:_is_manual()
  return self._state == "new"
end

function Executor:_has_stopped()
  return self._state == "stopped"
end

-- --- From outside ---------------------------------------------------------------------------------------------------

local function check_state(self, name)
  if self._state ~= "new" then
    error(("bad argument #1 to '%s' (the executor is %s)"):format(name, self._state), 3)
  end
end

--- Begins to work, in a loop that the host runs. Raises when it was started or stopped before.
function Executor:start()
  check_state(self, "start")
  self._state = "started"
  for waiter, at in pairs(self._sleepers) do -- of handlers that a drain has left asleep
    self._loop:after(math.max(at - self:_now(), 0), function() waiter:wake() end)
  end
  self:_keep_going()
  self:_look()
end

--- Begins to work and runs the loop until somebody stops it. Raises inside of a running loop.
---@return keel.ShutdownReport? report that of `stop`
---@return keel.Error? err
function Executor:run()
  if self._loop:runs() then error("bad argument #1 to 'run' (the loop runs already: use start)", 2) end
  if self._state == "new" then self:start() end
  self._loop:run_until(function() return self._loop:has_closed() end)
  return self._report, self._failure
end

--- For tests: runs all that is due by the store's clock, at once, and returns when nothing is left but what waits for
--- the clock. Handlers that sleep go on in the drain after the clock was moved. Processes are waited for.
--- Raises when the executor was started, inside of a running loop, and when a handler has yielded by itself and nothing
--- in the loop can go on with it. Fails with limit_too_large after so many runs that it looks endless.
---@param options? { limit?: integer } limit: runs, default 10000
---@return integer? attempts how many handlers have ended
---@return keel.Error? err
function Executor:drain(options)
  options = check.options(options, { limit = "integer" }, 1, "drain")
  check_state(self, "drain")
  if self._loop:runs() then error("bad argument #1 to 'drain' (the loop runs already)", 2) end
  local limit, before = options.limit or DRAIN_LIMIT, self._counts.ended
  local moves, too_many, stuck
  self._draining = true
  repeat
    moves = self._moves
    local now = self:_now()
    for waiter, at in pairs(self._sleepers) do
      if at <= now then
        self._moves = self._moves + 1
        waiter:wake()
      end
    end
    self._queue:sweep(math.huge)
    self:_go(function() self:_tend "tick" end)
    self._loop:run_until(function()
      too_many = self._counts.ended - before > limit
      stuck = self._busy > 0 and self._loop:is_asleep()
      return too_many or stuck or self._busy <= 0 and self._loop:is_quiet()
    end)
  until too_many or stuck or moves == self._moves
  self._draining = false
  if stuck then error("a handler waits for what nobody in the loop can tell it: did it yield by itself?", 2) end
  if too_many then
    return nil, errors.new("limit_too_large", ("more than %d runs came due"):format(limit),
      { field = "limit", requested = limit + 1, max = limit })
  end
  return self._counts.ended - before
end

-- The attempt whose handler this coroutine is.
function Executor:_task_of(thread)
  for task in pairs(self._attempts) do
    if task._thread == thread then return task end
  end
end

-- Whether a handler works on a run here, so that nobody else must.
function Executor:_holds(record)
  for task in pairs(self._attempts) do
    if task._record == record then return true end
  end
  return false
end

--- What it does: `running` handlers now; since it was made, attempts `started` and `ended`.
---@return { running: integer, started: integer, ended: integer }
function Executor:stats()
  local counts = self._counts
  return { running = counts.started - counts.ended, started = counts.started, ended = counts.ended }
end

return check.methods(Executor, "_state")
