--- The events of a runtime: its own view of the one log, with cursors that know whose they are. Adds its methods.
local Subscription = require "keel.runtime.subscription"
local check = require "keel.check"
local errors = require "keel.errors"

local WAIT_STEP = 0.01 -- seconds between two looks at a store that cannot wait

local function invalid(field, problem)
  return nil, errors.invalid(field, problem)
end

local function name_of(runtime_id, epoch)
  return ("%s (epoch %s)"):format(runtime_id, epoch)
end

local function cursor_at(self, next_event_id)
  return { runtime_id = self._id, epoch = self._epoch, next_event_id = next_event_id }
end

-- The cursor to read from: one that was given must be this runtime's, in this store; without one, the start.
local function place_of(self, cursor)
  if cursor == nil then return self:event_cursor_from_start() end
  if type(cursor.runtime_id) ~= "string" or type(cursor.epoch) ~= "string" then
    return invalid("cursor", "must have runtime_id and epoch, texts")
  end
  local next_event_id = type(cursor.next_event_id) == "number" and math.tointeger(cursor.next_event_id)
  if not next_event_id or next_event_id < 1 then
    return invalid("cursor", "must have next_event_id, a whole number from 1")
  end
  if cursor.runtime_id == self._id and cursor.epoch == self._epoch then return cursor_at(self, next_event_id) end
  local expected, actual = name_of(self._id, self._epoch), name_of(cursor.runtime_id, cursor.epoch)
  return nil, errors.new("wrong_runtime", ("the cursor is of %s, this is %s"):format(actual, expected),
    { expected = expected, actual = actual })
end

-- One page, with the cursor in this runtime's form.
local function read(self, cursor, limit)
  local page, err = self._client:call("read_events", { next_event_id = cursor.next_event_id, epoch = cursor.epoch },
    limit, { runtime_id = self._id })
  if not page then return nil, err end
  page.runtime_id = self._id
  page.cursor = cursor_at(self, page.cursor.next_event_id)
  return page
end

-- Waits until there may be something for a cursor.
local function wait(self, cursor, timeout)
  local client = self._client
  if client:has "wait_events" then
    return client:call("wait_events", { next_event_id = cursor.next_event_id, epoch = cursor.epoch },
      { timeout = timeout })
  end
  if timeout == 0 then return false end
  client:sleep(math.min(timeout or WAIT_STEP, WAIT_STEP))
  return true
end

---@param Runtime keel.Runtime
return function(Runtime)
  --- A cursor at the oldest event there is. It can be made before anything happened.
  ---@return keel.RuntimeCursor? cursor
  ---@return keel.Error? err
  function Runtime:event_cursor_from_start()
    local low, err = self._client:call "event_low_water"
    if not low then return nil, err end
    return cursor_at(self, low)
  end

  --- A cursor at the next event there will be.
  ---@return keel.RuntimeCursor? cursor
  ---@return keel.Error? err
  function Runtime:event_cursor_now()
    local newest, err = self._client:call "event_high_water"
    if not newest then return nil, err end
    return cursor_at(self, newest + 1)
  end

  --- One page of the runtime's events and its workers', oldest first. A cursor beyond the end gives an empty one; one
  --- whose next events were pruned gives `gap = true`, no events, and the cursor to go on with.
  --- Raises for wrong types. Fails with wrong_runtime for a cursor of another runtime or store, invalid_request,
  --- limit_too_large.
  ---@param cursor? keel.RuntimeCursor nil: from the start
  ---@param limit? integer 1 to the runtime's max_event_batch_items, the default
  ---@return keel.RuntimeEvents? batch
  ---@return keel.Error? err
  function Runtime:read_events(cursor, limit)
    if cursor ~= nil then check.type(cursor, "table", 1, "read_events") end
    if limit ~= nil then check.type(limit, "integer", 2, "read_events") end
    local place, err = place_of(self, cursor)
    if not place then return nil, err end
    local summary
    summary, err = self:summary()
    if not summary then return nil, err end
    local max = summary.limits.max_event_batch_items
    if limit and limit < 1 then return invalid("limit", "must be at least 1") end
    if limit and limit > max then
      return nil, errors.new("limit_too_large", ("limit: %d is more than the maximum of %d"):format(limit, max),
        { field = "limit", requested = limit, max = max })
    end
    return read(self, place, limit or max)
  end

  --- A subscription to the runtime's events from a cursor on; see keel.Subscription.
  --- Raises for wrong types. Fails with wrong_runtime for a cursor of another runtime or store, and invalid_request.
  ---@param cursor? keel.RuntimeCursor nil: from the start
  ---@return keel.Subscription? subscription
  ---@return keel.Error? err
  function Runtime:subscribe_events(cursor)
    if cursor ~= nil then check.type(cursor, "table", 1, "subscribe_events") end
    local place, err = place_of(self, cursor)
    if not place then return nil, err end
    return Subscription.new(cursor_at(self, place.next_event_id),
      function(from) return self:read_events(from) end,
      function(from, timeout) return wait(self, from, timeout) end)
  end

end
