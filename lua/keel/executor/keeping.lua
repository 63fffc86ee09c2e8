--- Keeping an eye on things: ticks and heartbeats, the log, and the delays that end. Adds its methods to the executor.
local kernel = require "keel.kernel"

local GATHER = 0.01 -- seconds between two looks where news come one after the other
local SWEPT = 256   -- threads looked at again with each tick
local RESTART = 1   -- seconds until what keeps an eye on things is started again after it has failed

-- Whether it works, or still has handlers that do.
local function is_at_work(self)
  return self._state == "started" or self._state == "stopping"
end

-- The delays that are over by now.
local function look_at_clock(self)
  local now = self:_now()
  if self._claims:is_due(now) then self:_expect() end
  self._queue:take_due(now)
  if self._queue:has_ready() then self:_look() end
end

-- Seconds until the next tick: as many as there are between two, or until something becomes due by time.
local function until_tick(self)
  if self._state ~= "started" then return self._interval end
  return math.min(self._manager:next_due() or math.huge, self._interval)
end

local function keep(self)
  local next_tick = 0
  while is_at_work(self) do
    local now = kernel.monotonic()
    if now >= next_tick then
      self._beaten = false
      self:_tend(self._state == "started" and "tick" or "heartbeat")
      next_tick, self._due_changed = now + until_tick(self), false
    elseif self._due_changed then
      next_tick, self._due_changed = math.min(next_tick, now + until_tick(self)), false
    elseif self._beaten then
      self._beaten = false
      self:_tend "heartbeat"
    end
    if not self._beaten and not self._due_changed and is_at_work(self) then
      self._keeper = self._loop:waiter()
      self._loop:wait_for(self._keeper, math.max(next_tick - kernel.monotonic(), 0))
    end
  end
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
  self:_go(function()
    while is_at_work(self) do
      if self._loop:call(body, self) or not is_at_work(self) then return end
      self._loop:sleep(RESTART)
    end
  end)
end

---@param Executor keel.Executor
return function(Executor)
  -- Renews, enforces deadlines, hears who is to stop; a tick recovers what the dead have left as well.
  function Executor:_tend(method)
    local report
    for task in pairs(self._attempts) do
      if task:is_over() then task:time_out() end
    end
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

  -- Something concerns a run that works here: a heartbeat, at once.
  function Executor:_beat()
    self._beaten = true
    if self._keeper then self._keeper:wake() end
  end

  -- What is due by time has changed.
  function Executor:_tick_anew()
    self._due_changed = true
    if self._keeper then self._keeper:wake() end
  end

  function Executor:_wake_watch()
    if self._watcher then self._watcher:wake() end
  end

  -- Does all that until the executor has stopped.
  function Executor:_keep_going()
    go_on(self, watch)
    go_on(self, keep)
  end
end
