--- `events` at the prompt: the log of the store, to look at and to wait for.
local check = require "keel.check"
local describe = require "keel.cli.describe"
local log = require "keel.cli.log"
local terminal = require "keel.cli.terminal"

local Events = { __name = "keel.cli.events" }
Events.__index = Events

local PAGE, LAST = 1000, 20

local filters = { runtime_id = "string", run_id = "string", thread_id = "string", kinds = "table" }

---@param store keel.Store
function Events.new(store)
  return setmetatable({ _store = store }, Events)
end

function Events:__tostring()
  return ("the events of %s: %d so far"):format(self._store:path(), self._store:event_high_water() or 0)
end

--- The last events that pass a filter, oldest first. It looks back as far as it takes to find them.
---@param count? integer at most so many; default 20
---@param filter? keel.EventFilter
---@return keel.Event[]? events
---@return keel.Error? err
function Events:last(count, filter)
  count = math.tointeger(count or LAST) or count
  check.type(count, "integer", 1, "last")
  check.options(filter, filters, 2, "last")
  local cursor, err = log.cursor_before_last(self._store, count, filter)
  if not cursor then return nil, err end
  local found = {}
  while true do
    local page, failure = self._store:read_events(cursor, PAGE, filter)
    if not page then return nil, failure end
    table.move(page.events, 1, math.min(#page.events, count - #found), #found + 1, found)
    if not page.has_more or #found >= count then return found end
    cursor = page.cursor
  end
end

--- Waits for the next event that passes a filter, from now on or behind the one that it gave last.
---@param filter? keel.EventFilter
---@param timeout? number seconds; nil: no end
---@return keel.Event? event nil without an error: the time is over
---@return keel.Error? err
function Events:wait(filter, timeout)
  local kernel = require "keel.kernel"
  check.options(filter, filters, 1, "wait")
  check.type(timeout or 0, "number", 2, "wait")
  local deadline = timeout and kernel.monotonic() + timeout
  self._next = self._next or (self._store:event_high_water() or 0) + 1
  while true do
    local page, err = self._store:read_events(log.cursor_at(self._store, self._next), 1, filter)
    if not page then return nil, err end
    self._next = page.cursor.next_event_id
    if page.events[1] then return page.events[1] end
    local left = deadline and deadline - kernel.monotonic()
    if left and left <= 0 then return nil end
    local ready, failure = self._store:wait_events(page.cursor, { timeout = left })
    if ready == nil then return nil, failure end
  end
end

--- Prints the events that pass a filter as they happen, in all processes, until Ctrl-C.
---@param filter? keel.EventFilter
---@return nil
---@return keel.Error? err
function Events:follow(filter)
  check.options(filter, filters, 1, "follow")
  while true do
    local event, err = self:wait(filter)
    if not event then return nil, err end
    terminal.print(describe.event(event, true))
  end
end

return Events
