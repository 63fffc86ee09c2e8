--- What an executor learns from the log: what may start now, and what others want of its runs.
---
--- What its own coroutines write it does not read: nearly all of the log would be that. A commit of theirs whose calls
--- are all such that it is known here what they came to is passed over; one with any other call is read like anybody's.
local PAGE = 1000 -- events of one look's page

local kinds = { "run_created", "run_requeued", "run_rescheduled", "run_started", "run_finished", "run_settled",
  "run_deleted", "run_cancel_requested", "schedule_changed", "limit_changed" }

local BACKSTOP = 0.25 -- seconds between two looks of one who is woken: a wake-up can be lost

---@class keel.ExecutorWatch
local Watch = {}
Watch.__index = Watch

-- The cursor behind the last event there is. Asking whether there is one from some id on costs the same for any id, so
-- the end is found by halving.
local function end_of_log(client)
  local epoch = client.store:epoch()
  local function is_there(id)
    local ready, err = client:call("wait_events", { epoch = epoch, next_event_id = id }, { timeout = 0 })
    return ready, err
  end
  local low, high = 0, 1 -- there is an event from low on, there is none from high on
  while true do
    local ready, err = is_there(high)
    if err then return nil, err end
    if not ready then break end
    low, high = high, high * 2
  end
  while high - low > 1 do
    local middle = (low + high) // 2
    local ready, err = is_there(middle)
    if err then return nil, err end
    if ready then low = middle else high = middle end
  end
  return { epoch = epoch, next_event_id = high }
end

--- `observer` has the functions that are called: made(run_id), given_back(delay?), has_dependents(),
--- made_room(thread_id, ready?), ended(run_id, ready?), freed(names), limits_changed(), concerns(run_id),
--- rescheduled(). `ready` is what the event says of who may find something to start.
---@param client keel.StoreClient
---@param live keel.LiveRuns the manager's
---@param observer table
function Watch.new(client, live, observer)
  local can = client:has "read_events" and client:has "wait_events" and client:has "epoch"
  return setmetatable({
    _client = client,
    _live = live,
    _observer = observer,
    _can = can,
    _cursor = nil,
    _known_from = 0, _known_to = 0, -- ids of the newest events that need not be read, without the last
    _rooms = {},                    -- threads on which a run has ended that was not read of, as a set
  }, Watch)
end

-- --- What was written here ------------------------------------------------------------------------------------------

-- By method: whether it is known what a call came to that has written something, that is, whether all that the log says
-- of it was said already or is noted here; true: always. What a manager makes it tells its observer when the call
-- returns. What is not named here has to be read.
local knows = { admit = true, claim_next = true, update_run_progress = true, append_event = true, renew_runs = true }

-- It may have ended the run in place of starting it, or have let others start.
function knows.start(_, call, written)
  return call.third == nil and (written.status == nil or written.status == "running")
end

function knows.update_run_completion(self, call, written)
  if written.status == nil and written.finalizing == nil then return true end
  local record = self._live:get(call[1])
  if not record then return false end
  -- Whom that lets start is read, like anybody's.
  if record.slots or self._observer.has_dependents() then return false end
  self._rooms[record.thread_id] = true
  return true
end

--- Calls of the executor's coroutines were committed, with events from an id on and below another.
---@param calls table[]
---@param from integer
---@param to integer
function Watch:wrote(calls, from, to)
  for _, call in ipairs(calls) do
    if call.ok and call.first then -- else it has failed, or found nothing, and nothing is written
      local know = knows[call.method]
      if know ~= true and not (know and know(self, call, call.second)) then return end
    end
  end
  if self._known_to ~= from then self._known_from = from end
  self._known_to = to
end

-- Passes over what is known, and tells of the threads that have room by it.
local function take_known(self)
  local cursor = self._cursor
  if cursor.next_event_id >= self._known_from and cursor.next_event_id < self._known_to then
    self._cursor = { epoch = cursor.epoch, next_event_id = self._known_to }
  end
  if next(self._rooms) == nil then return end
  local rooms = self._rooms
  self._rooms = {}
  for thread_id in next, rooms do self._observer.made_room(thread_id, { all = true }) end
end

-- --- The log --------------------------------------------------------------------------------------------------------

-- What the log says is looked at as anybody's: a row may have been written by hand.
local function delay_of(data)
  local delay = type(data) == "table" and data.delay
  return type(delay) == "number" and delay > 0 and delay < math.huge and delay or nil
end

local function list_of_texts(value)
  local list = {}
  for _, item in ipairs(type(value) == "table" and value or {}) do
    if type(item) == "string" then list[#list + 1] = item end
  end
  return list
end

local function notify(self, event)
  local observer, kind = self._observer, event.kind
  local data = type(event.data) == "table" and event.data or {}
  if kind == "schedule_changed" then return observer.rescheduled() end
  if kind == "limit_changed" then return observer.limits_changed() end
  if data.freed then observer.freed(list_of_texts(data.freed)) end
  if kind == "run_created" or kind == "run_rescheduled" then
    observer.made(event.run_id)
  elseif kind == "run_requeued" then
    observer.given_back(delay_of(event.data))
  end
  if kind == "run_started" then -- whoever is behind it may start by that
    observer.made_room(event.thread_id, data.ready)
  elseif kind ~= "run_created" and kind ~= "run_rescheduled" then
    if kind ~= "run_cancel_requested" then
      observer.made_room(event.thread_id, data.ready)
      observer.ended(event.run_id, data.ready)
    end
    observer.concerns(event.run_id)
  end
end

--- Has wake called, in a callback of the loop, when there may be something new: where the store can tell.
---@param loop keel.ExecutorLoop
---@param wake fun()
function Watch:listen(loop, wake)
  self:close() -- called again, after a fall: the loop must not go on with a descriptor whose waiter is collected
  self._loop, self._wake = loop, wake
  if not (self._can and self._client:has "event_waiter") then return end
  self._client:session_id() -- with the store's first session comes the file that wakes
  self._waiter = self._client:call "event_waiter"
end

-- The waiter's descriptor in the loop, as soon as there is one.
local function subscribe(self)
  if not self._waiter or self._readable then return end
  local ok, descriptor = pcall(self._waiter.descriptor, self._waiter)
  if ok and descriptor then self._readable = self._loop:readable(descriptor) end
end

--- How long to wait for the next look, if nothing comes. What comes calls wake, once.
---@param poll number seconds between two looks where nobody wakes
---@return number seconds
function Watch:pause(poll)
  if not self._readable then return poll end
  self._readable.arm(self._wake)
  return math.max(poll, BACKSTOP)
end

--- Ends the subscription.
function Watch:close()
  if self._readable then self._readable.close() end
  if self._waiter then self._waiter:close() end
  self._readable, self._waiter = nil, nil
end

-- Whether the waiter says that there is nothing new. One that is of no use any more is given up.
local function has_none(self)
  if not self._waiter then return false end
  local ok, ready = pcall(self._waiter.look, self._waiter, self._cursor)
  if not ok then self:close() end
  return ok and ready == false
end

--- Reads what is new, and notifies the observer. Fails silently: the next look goes on, and the ticks find all of it as
--- well.
function Watch:look()
  if not self._can then return end
  subscribe(self) -- before the look, so that nothing comes between the two
  if not self._cursor then
    self._cursor = end_of_log(self._client)
    return
  end
  take_known(self)
  if has_none(self) then return end
  repeat
    local page = self._client:call("read_events", self._cursor, PAGE, { kinds = kinds })
    if not page then return end
    self._cursor = page.cursor
    for _, event in ipairs(page.events) do notify(self, event) end
  until not page.has_more
end

return Watch
