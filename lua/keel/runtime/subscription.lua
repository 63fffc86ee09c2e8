--- A subscription: the events of a runtime one after the other, what is stored first and then what is new.
---
--- It holds a page and a place in the log, and nothing else: no thread, no row, no lock. It can be left alone for as
--- long as one likes, and made again from its cursor in another process.
local check = require "keel.check"
local errors = require "keel.errors"
local kernel = require "keel.kernel"

---@class keel.Subscription
---@field private _read fun(cursor: keel.RuntimeCursor): keel.RuntimeEvents?, keel.Error?
---@field private _wait fun(cursor: keel.RuntimeCursor, timeout?: number): boolean?, keel.Error?
---@field private _cursor keel.RuntimeCursor where to go on behind the page
---@field private _page keel.Event[]
---@field private _next integer the place in the page
---@field private _closed boolean
local Subscription = { __name = "keel.subscription" }
Subscription.__index = Subscription

---@param cursor keel.RuntimeCursor
---@param read fun(cursor: keel.RuntimeCursor): keel.RuntimeEvents?, keel.Error?
---@param wait fun(cursor: keel.RuntimeCursor, timeout?: number): boolean?, keel.Error?
---@return keel.Subscription
function Subscription.new(cursor, read, wait)
  return setmetatable({ _read = read, _wait = wait, _cursor = cursor, _page = {}, _next = 1, _closed = false },
    Subscription)
end

local function copy(cursor, next_event_id)
  return { runtime_id = cursor.runtime_id, epoch = cursor.epoch, next_event_id = next_event_id or cursor.next_event_id }
end

--- Where to go on after the event that `next` gave last: a cursor for `read_events` or another subscription.
---@return keel.RuntimeCursor
function Subscription:cursor()
  local event = self._page[self._next]
  return copy(self._cursor, event and event.id)
end

-- Reads the next page. True when there is something in it.
local function fill(self)
  local page, err = self._read(self._cursor)
  if not page then return nil, err end
  self._cursor, self._page, self._next = page.cursor, page.events, 1
  if page.gap then
    return nil, errors.new("not_found",
      ("the events before %d were pruned"):format(page.cursor.next_event_id), { cursor = copy(page.cursor) })
  end
  return #page.events > 0
end

--- The next event, waiting for it if need be: through the store's `sleep`, which may yield, else blocking.
--- Raises for wrong types and when closed. Fails with invalid_request (timeout; no end on a store in memory without a
--- sleep), not_found once when events were pruned that it had not seen (`cursor`: where the next call goes on), and
--- what reading fails with.
---@param timeout? number seconds; nil: no end
---@return keel.Event? event nil without an error: the time is over
---@return keel.Error? err
function Subscription:next(timeout)
  if self._closed then error("the subscription is closed", 2) end
  if timeout ~= nil then check.type(timeout, "number", 1, "next") end
  if timeout and (timeout ~= timeout or timeout < 0) then
    return nil, errors.invalid("timeout", "must be a number of seconds, at least 0")
  end
  if timeout == math.huge then timeout = nil end
  local deadline = timeout and kernel.monotonic() + timeout
  while not self._page[self._next] do
    local found, err = fill(self)
    if err then return nil, err end
    if not found then
      local ready
      ready, err = self._wait(self._cursor, deadline and math.max(0, deadline - kernel.monotonic()))
      if err then return nil, err end
      if not ready then return nil end
    end
  end
  local event = self._page[self._next]
  self._next = self._next + 1
  return event
end

--- So that `for event in subscription, seconds do` gives events until none came for so long; without the seconds, until
--- it is left. A loop that ended could not tell why: it raises what `next` fails with.
---@param timeout? number
---@return keel.Event?
function Subscription:__call(timeout)
  local event, err = self:next(timeout)
  if err then error(err) end
  return event
end

--- Lets go of the page, but not of the place: `next` then raises, and `cursor` is what it was. Safe to call again.
--- Leaving the scope of a `local subscription <close>` does the same.
function Subscription:close()
  self._cursor = self:cursor()
  self._closed, self._page, self._next = true, {}, 1
end

Subscription.__close = Subscription.close

function Subscription:__tostring()
  return ("keel.subscription (%s, %s)"):format(self._cursor.runtime_id,
    self._closed and "closed" or "next " .. self:cursor().next_event_id)
end

return check.methods(Subscription, "_read")
