--- The coroutines of an executor: its workers, which take runs and rest when there are none, and what runs beside them.
--- Adds its methods to the executor.
local Task = require "keel.executor.task"

-- Runs fn in a coroutine that counts as busy until it ends.
local function go(self, fn)
  self._busy = self._busy + 1
  self._loop:go(function()
    self._loop:call(fn)
    self._busy = self._busy - 1
  end)
end

-- Waits without counting as busy: until somebody calls wake_up with the waiter.
local function rest(self, waiter)
  self._busy = self._busy - 1
  waiter:wait()
end

local function wake_up(self, waiter)
  self._busy = self._busy + 1
  waiter:wake()
end

-- Sets one more worker to work, if there is one.
local function call_worker(self)
  if self._state == "stopping" or self._state == "stopped" then return end
  local waiter = table.remove(self._idle)
  if waiter then return wake_up(self, waiter) end
  if self._workers >= self._concurrency then return end
  self._workers = self._workers + 1
  go(self, function()
    self._loop:call(self._work, self)
    self._workers = self._workers - 1
  end)
end

-- Whether a worker would find something, or should look at least.
local function has_work(self)
  return self._queue:has_ready() or self._claims:is_worth_it()
end

---@param Executor keel.Executor
return function(Executor)
  Executor._go = go

  -- A handler sleeps, until its waiter is woken or the time is over.
  function Executor:_rest(waiter, seconds)
    if not self:_is_manual() then return self._loop:wait_for(waiter, math.max(seconds, 0)) end
    -- Nothing comes by itself: somebody moves the clock and drains again.
    self._sleepers[waiter] = self:_now() + seconds
    self._busy = self._busy - 1
    waiter:wait()
    self._busy = self._busy + 1
    self._sleepers[waiter] = nil
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
        self._queue:ready(record.thread_id) -- whoever is behind it may start by that
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
    self._loop:call(task.drive, task, self._handlers)
    counts.ended = counts.ended + 1
    self._moves = self._moves + 1
    if self._tasks[record.run_id] == task then self._tasks[record.run_id] = nil end
    self._attempts[task] = nil
    if self._stop_step then self._stop_step:wake() end
    if self._queue:ready(record.thread_id) then self:_look() end
  end

  -- Those that rest have nothing to wait for any more.
  function Executor:_dismiss()
    for _, waiter in ipairs(self._idle) do wake_up(self, waiter) end
    self._idle = {}
  end
end
