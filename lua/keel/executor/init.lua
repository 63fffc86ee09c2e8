--- Runs handlers for runs: claims and starts them, drives them as coroutines on libuv, and writes how they ended.
---
--- `concurrency` workers, each a coroutine, take a run, call its handler and write its end, over and over; with nothing
--- to take they rest until somebody tells of news: the log, a tick, or a record that became live. What they write in a
--- turn of the loop shares a commit.
local Attachment = require "keel.manager.attachment"
local Claims = require "keel.executor.claims"
local Loop = require "keel.executor.loop"
local Queue = require "keel.executor.queue"
local Retry = require "keel.retry"
local SharedCommits = require "keel.store.shared_commits"
local Task = require "keel.executor.task"
local Watch = require "keel.executor.watch"
local check = require "keel.check"
local errors = require "keel.errors"
local kernel = require "keel.kernel"
local outcome = require "keel.executor.outcome"

---@class keel.Executor
local Executor = {}
Executor.__index = Executor
Executor.__name = "keel.executor"

require "keel.executor.stopping"(Executor)

local CONCURRENCY, CONCURRENCY_MAX = 16, 1000
local INTERVAL = 1        -- seconds between two ticks; with leases shorter, as two may come late
local POLL = 0.01         -- seconds between two looks at the log where nobody wakes
local GATHER = 0.01       -- seconds between two looks where news come one after the other
local KILL_GRACE = 5      -- seconds between SIGTERM and SIGKILL
local SWEPT = 256         -- threads looked at again with each tick
local DRAIN_LIMIT = 10000 -- runs of one drain: handlers may make runs for ever
local RESTART = 1         -- seconds until what keeps an eye on things is started again after it has failed

local known = { manager = "table", handlers = "function|table", concurrency = "integer", loop = "table",
  threads = "table", reconciler = "string|function", interval = "number", poll = "number", kill_grace = "number",
  backoff = "retry policy" }

-- --- Making one -----------------------------------------------------------------------------------------------------

local function find_luv()
  local found, luv = pcall(require, "luv")
  if found then return luv end
  error("keel.executor needs luv, the binding of libuv: install the Debian package lua-luv, or the rock luv ("
    .. tostring(luv):match "^[^\n]*" .. ")", 3)
end

local function check_needed(options)
  local problem = Attachment.problem_with(options.manager)
  if problem then error(("bad argument #1 to 'executor' (%s)"):format(problem), 3) end
  if not options.handlers then error("bad argument #1 to 'executor' (option 'handlers' is missing)", 3) end
  for name, handler in next, type(options.handlers) == "table" and options.handlers or {} do
    if type(name) ~= "string" or type(handler) ~= "function" then
      error(("bad argument #1 to 'executor' (option 'handlers' must map names to functions; '%s' is a %s)"):format(
        errors.text(name), type(handler)), 3)
    end
  end
  if options.loop and type(options.loop.new_idle) ~= "function" then
    error("bad argument #1 to 'executor' (option 'loop' must be luv, or a module with its functions)", 3)
  end
end

-- Numbers that make no sense are the caller's input, as for a manager.
local function out_of_range(options)
  local concurrency = options.concurrency or CONCURRENCY
  if concurrency < 1 then
    return errors.new("invalid_request", "concurrency must be at least 1", { field = "concurrency" })
  end
  if concurrency > CONCURRENCY_MAX then
    return errors.new("limit_too_large", ("concurrency is %d, at most %d"):format(concurrency, CONCURRENCY_MAX),
      { field = "concurrency", requested = concurrency, max = CONCURRENCY_MAX })
  end
  return check.duration(options.interval, "interval", true) or check.duration(options.poll, "poll", true)
    or check.duration(options.kill_grace, "kill_grace")
end

-- What the manager tells, and asks.
local function observer_of(self)
  return {
    on_add = function(record)
      if record.status ~= "pending" or record.operation_kind ~= "run" then return end
      self._queue:add(record)
      self:_look()
    end,
    on_claimable = function() self:_expect() end,
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
  client:use(SharedCommits.new(client.store, {
    defer = function(fn) loop:defer_to_end(fn) end,
    sleep = function(seconds) loop:sleep(seconds) end,
    shares = function(thread) return loop:drives(thread) end,
  }))
end

-- What the log tells.
local function told_of(self)
  return {
    made = function(run_id)
      if not self._live:get(run_id) then self:_expect() end -- else it is known here, or was claimed meanwhile
    end,
    given_back = function(delay) self:_expect(delay) end,
    made_room = function(thread_id)
      self._claims:expect_some()
      if thread_id then self._queue:ready(thread_id) end
      self:_look()
    end,
    concerns = function(run_id) if self._tasks[run_id] then self:_beat() end end,
  }
end

--- Makes an executor. It does nothing until `start`, `run` or `drain`.
--- Raises for unknown options and wrong types, when luv is missing, and when the manager has an executor already. Fails
--- with invalid_request and limit_too_large for numbers out of range.
---@param options { manager: keel.RunManager, handlers: keel.Handler|table<string, keel.Handler>, concurrency?: integer,
--- loop?: table, threads?: string[], reconciler?: string|function, interval?: number, poll?: number,
--- kill_grace?: number, backoff?: keel.RetryPolicy } concurrency: runs at once, default 16; loop: a module with luv's
--- functions, default luv; threads: claim only runs of these; reconciler: as RunManager:tick; interval: seconds between
--- ticks, default 1; poll: seconds between looks at the log where nobody wakes it, default 0.01; kill_grace: seconds
--- between SIGTERM and SIGKILL, default 5; backoff: the delays between attempts, default 1 s, doubling up to 300 s
---@return keel.Executor? executor
---@return keel.Error? err
function Executor.new(options)
  options = check.options(options, known, 1, "executor")
  check_needed(options)
  local err = out_of_range(options)
  if err then return nil, err end
  local uv = options.loop or find_luv()
  local manager = options.manager
  local concurrency = options.concurrency or CONCURRENCY
  local self = setmetatable({
    _manager = manager,
    _handlers = options.handlers,
    _concurrency = concurrency,
    _reconciler = options.reconciler,
    _poll = options.poll or POLL,
    _kill_grace = options.kill_grace or KILL_GRACE,
    _backoff = options.backoff or Retry.new { initial_delay = 1, max_delay = 300 },
    _claims = Claims.new(manager, { threads = options.threads,
      handlers = outcome.names(options.handlers), most = concurrency }),
    _state = "new",     -- new -> started -> stopping -> stopped
    _workers = 0,       -- coroutines
    _idle = {},         -- waiters of those that rest
    _active = 0,        -- coroutines that do something, or wait for something that comes by itself
    _sleepers = {},     -- waiters of handlers that sleep by a manual clock -> when they wake up
    _tasks = {},        -- run_id -> task
    _attempts = {},     -- all tasks whose handler or whose end goes on, as a set: one may outlive its run
    _news = 0,          -- counts what was told, so that no worker rests on old knowledge
    _moves = 0,         -- counts what happened, for drain
    _counts = { started = 0, ended = 0 },
  }, Executor)
  self._log = function(...) self._client:log(...) end
  self._loop = Loop.new(uv, self._log)
  attach(self)
  self._queue = Queue.new(manager, self._client, self._live)
  self._interval = options.interval or math.min(INTERVAL, (self._attachment.lease or math.huge) / 3)
  share(self)
  self._watch = Watch.new(self._client, told_of(self))
  self._queue.on_due = function() self:_wake_watch() end
  for _, record in ipairs(self._live:in_flight()) do
    if record.status == "pending" then self._queue:add(record) end
  end
  return self
end

-- --- Coroutines -----------------------------------------------------------------------------------------------------

function Executor:_now()
  return kernel.time_seconds(self._client:now())
end

-- Whether time is what the store's clock says and passes only there: before `start`.
function Executor:_is_manual()
  return self._state == "new"
end

function Executor:_is_over()
  return self._state == "stopped"
end

-- Whether it works, or still has handlers that do.
local function is_at_work(self)
  return self._state == "started" or self._state == "stopping"
end

-- Runs fn in a coroutine that counts as active until it ends.
local function go(self, fn)
  self._active = self._active + 1
  self._loop:go(function()
    local guarded = self._loop:guard(fn)
    guarded()
    self._active = self._active - 1
  end)
end

-- Waits without counting as active: until somebody calls wake_up with the waiter.
local function rest(self, waiter)
  self._active = self._active - 1
  waiter:wait()
end

local function wake_up(self, waiter)
  self._active = self._active + 1
  waiter:wake()
end

-- A handler sleeps, until its waiter is woken or the time is over.
function Executor:_rest(waiter, seconds)
  if not self:_is_manual() then return self._loop:wait_for(waiter, math.max(seconds, 0)) end
  -- Nothing comes by itself: somebody moves the clock and drains again.
  self._sleepers[waiter] = self:_now() + seconds
  self._active = self._active - 1
  waiter:wait()
  self._active = self._active + 1
  self._sleepers[waiter] = nil
end

-- --- Taking runs ----------------------------------------------------------------------------------------------------

-- Sets one more worker to work, if there is one.
local function call_worker(self)
  if self._state == "stopping" or self._state == "stopped" then return end
  local waiter = table.remove(self._idle)
  if waiter then return wake_up(self, waiter) end
  if self._workers >= self._concurrency then return end
  self._workers = self._workers + 1
  go(self, function()
    self._loop:guard(function() self:_work() end)()
    self._workers = self._workers - 1
  end)
end

-- Whether a worker would find something, or should look at least.
local function has_work(self)
  return self._queue:has_ready() or self._claims:is_worth_it()
end

-- There may be something to take.
function Executor:_look()
  self._news = self._news + 1
  if (self._state == "started" or self._draining) and has_work(self) then call_worker(self) end
end

-- There may be one more to claim, in so many seconds.
function Executor:_expect(delay)
  if delay and delay > 0 then return self._claims:expect_at(self:_now() + delay) end
  self._claims:expect()
  self:_look()
end

function Executor:_work()
  while self._state == "new" or self._state == "started" do
    local seen = self._news
    local record = self._queue:start() or self._claims:take()
    if record then
      self._moves = self._moves + 1
      -- Where there was one there may be more: twice as many look next.
      for _ = 1, 2 do
        if has_work(self) then call_worker(self) end
      end
      self:_drive(record)
    elseif seen == self._news then
      local waiter = self._loop:waiter()
      table.insert(self._idle, waiter)
      rest(self, waiter)
    end
  end
end

function Executor:_drive(record)
  local task, counts = Task.new(self, record), self._counts
  self._tasks[record.run_id], self._attempts[task] = task, true
  counts.started = counts.started + 1
  self._loop:guard(function() task:drive(self._handlers) end)()
  counts.ended = counts.ended + 1
  self._moves = self._moves + 1
  if self._tasks[record.run_id] == task then self._tasks[record.run_id] = nil end
  self._attempts[task] = nil
  if self._stop_step then self._stop_step:wake() end
  if self._queue:ready(record.thread_id) then self:_look() end
end

-- --- Keeping an eye on things ---------------------------------------------------------------------------------------

-- Renews, enforces deadlines, hears who is to stop; a tick recovers what the dead have left as well.
local function tend(self, method)
  local report
  if method == "tick" then
    report = self._manager:tick { reconciler = self._reconciler }
    self._queue:sweep(SWEPT)
    self._claims:expect_some()
    self:_look()
  else
    report = self._manager:heartbeat()
  end
  for _, name in ipairs { "lost", "cancel_requested", "expired", "recovered" } do
    self._moves = self._moves + #(report and report[name] or {})
  end
end

-- The delays that are over by now.
local function look_at_clock(self)
  local now = self:_now()
  if self._claims:is_due(now) then self:_expect() end
  self._queue:take_due(now)
  if self._queue:has_ready() then self:_look() end
end

-- Something concerns a run that works here: a heartbeat, at once.
function Executor:_beat()
  self._beaten = true
  if self._keeper then self._keeper:wake() end
end

local function keep(self)
  local next_tick = 0
  while is_at_work(self) do
    local now = kernel.monotonic()
    if now >= next_tick then
      next_tick, self._beaten = now + self._interval, false
      tend(self, self._state == "started" and "tick" or "heartbeat")
    elseif self._beaten then
      self._beaten = false
      tend(self, "heartbeat")
    end
    if not self._beaten and is_at_work(self) then
      self._keeper = self._loop:waiter()
      self._loop:wait_for(self._keeper, math.max(next_tick - kernel.monotonic(), 0))
    end
  end
end

function Executor:_wake_watch()
  if self._watcher then self._watcher:wake() end
end

local function watch_sleeps(self, seconds)
  self._watcher = self._loop:waiter()
  self._loop:wait_for(self._watcher, math.max(seconds, 0))
end

-- Seconds until a delay is over, and at most so many.
local function until_due(self, most)
  local due = math.min(self._queue:due() or math.huge, self._claims:due() or math.huge)
  return math.min(due - self:_now(), most)
end

local function watch(self)
  self._watch:listen(self._loop, function() self:_wake_watch() end)
  while is_at_work(self) do
    local looked = kernel.monotonic()
    self._watch:look()
    look_at_clock(self)
    if not is_at_work(self) then return end
    watch_sleeps(self, until_due(self, self._watch:pause(self._poll)))
    local early = looked + math.min(GATHER, self._poll) - kernel.monotonic()
    if early > 0 and is_at_work(self) then watch_sleeps(self, early) end
  end
end

-- Runs what keeps an eye on things, and starts it again when it falls: without it leases would run out, and nobody
-- would be heard.
local function go_on(self, body)
  go(self, function()
    while is_at_work(self) do
      if self._loop:guard(body)(self) or not is_at_work(self) then return end
      self._loop:sleep(RESTART)
    end
  end)
end

-- --- From outside ---------------------------------------------------------------------------------------------------

local function check_state(self, name)
  if self._state ~= "new" then
    error(("bad argument #1 to '%s' (the executor is %s)"):format(name, self._state), 3)
  end
end

--- Begins to work, in a loop that the host turns. Raises when it was started or stopped before.
function Executor:start()
  check_state(self, "start")
  self._state = "started"
  for waiter, at in pairs(self._sleepers) do -- of handlers that a drain has left asleep
    self._loop:after(math.max(at - self:_now(), 0), function() waiter:wake() end)
  end
  go_on(self, watch)
  go_on(self, keep)
  self:_look()
end

--- Begins to work and turns the loop until somebody stops it. Raises inside of a running loop.
---@return keel.ShutdownReport? report that of `stop`
---@return keel.Error? err
function Executor:run()
  if self._loop:runs() then error("bad argument #1 to 'run' (the loop runs already: use start)", 2) end
  if self._state == "new" then self:start() end
  self._loop:turn_until(function() return self._loop:has_closed() end)
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
    go(self, function() tend(self, "tick") end)
    self._loop:turn_until(function()
      too_many = self._counts.ended - before > limit
      stuck = self._active > 0 and self._loop:is_asleep()
      return too_many or stuck or self._active <= 0 and self._loop:is_quiet()
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

Executor._go = go

-- Those that rest have nothing to wait for any more.
function Executor:_dismiss()
  for _, waiter in ipairs(self._idle) do wake_up(self, waiter) end
  self._idle = {}
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
