--- `events` at the prompt: the log of the store, to look at and to wait for.
local describe = require "keel.cli.describe"

local Events = { __name = "keel.cli.events" }
Events.__index = Events

local PAGE, LAST = 1000, 20
local STEP_MOST = 64000 -- how many events are looked at at once, going back

---@param store keel.Store
function Events.new(store)
  return setmetatable({ _store = store }, Events)
end

function Events:__tostring()
  return ("the events of %s: %d so far"):format(self._store:path(), self._store:event_high_water() or 0)
end

local function read_from(self, id, filter, limit)
  local store = self._store
  return store:read_events({ next_event_id = math.max(id, 1), epoch = store:epoch() }, limit or PAGE, filter)
end

--- The last events that pass a filter, oldest first. It looks back as far as it takes to find them.
---@param count? integer at most so many; default 20
---@param filter? keel.EventFilter
---@return keel.Event[]? events
---@return keel.Error? err
function Events:last(count, filter)
  count = count or LAST
  local store = self._store
  local from, low, step = (store:event_high_water() or 0) + 1, store:event_low_water() or 1, math.max(count, 64)
  local found = {}
  while from > low and #found < count do
    local till = from
    from = math.max(low, from - step)
    local part, id = {}, from
    repeat
      local page, err = read_from(self, id, filter)
      if not page then return nil, err end
      for _, event in ipairs(page.events) do
        if event.id < till then part[#part + 1] = event end
      end
      id = page.cursor.next_event_id
    until not page.has_more or id >= till
    table.move(found, 1, #found, #part + 1, part)
    found, step = part, math.min(step * 4, STEP_MOST)
  end
  return table.move(found, math.max(1, #found - count + 1), #found, 1, {})
end

--- Waits for the next event that passes a filter, from now on or behind the one that it gave last.
---@param filter? keel.EventFilter
---@param timeout? number seconds; nil: no end
---@return keel.Event? event nil without an error: the time is over
---@return keel.Error? err
function Events:wait(filter, timeout)
  local kernel = require "keel.kernel"
  local deadline = timeout and kernel.monotonic() + timeout
  self._next = self._next or (self._store:event_high_water() or 0) + 1
  while true do
    local page, err = read_from(self, self._next, filter, 1)
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
  while true do
    local event, err = self:wait(filter)
    if not event then return nil, err end
    print(describe.event(event, true))
  end
end

return Events
