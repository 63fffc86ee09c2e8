--- The log of a store, from its end: where its last events begin.
local log = {}

local PAGE = 1000                        -- events that are read at once
local STEP_LEAST, STEP_MOST = 64, 64000 -- ids that are gone back over at once

--- A cursor before an event.
---@param store keel.Store
---@param id integer
---@return keel.Cursor
function log.cursor_at(store, id)
  return { next_event_id = math.max(id, 1), epoch = store:epoch() }
end

-- The ids of the events that pass the filter, from an id on and before another.
local function ids_between(store, from, till, filter)
  local ids, cursor = {}, log.cursor_at(store, from)
  repeat
    local page, err = store:read_events(cursor, PAGE, filter)
    if not page then return nil, err end
    for _, event in ipairs(page.events) do
      if event.id < till then ids[#ids + 1] = event.id end
    end
    cursor = page.cursor
  until not page.has_more or cursor.next_event_id >= till
  return ids
end

--- A cursor before the last `count` events that pass a filter: it goes back as far as it takes to find them, in steps
--- that grow.
---@param store keel.Store
---@param count integer
---@param filter? keel.EventFilter
---@return keel.Cursor? cursor
---@return keel.Error? err
function log.cursor_before_last(store, count, filter)
  local first, problem = store:event_low_water()
  if not first then return nil, problem end
  local last
  last, problem = store:event_high_water()
  if not last then return nil, problem end
  local from, step = last + 1, math.max(math.min(count, STEP_MOST), STEP_LEAST)
  while count > 0 and from > first do
    local till = from
    from = math.max(from - step, first)
    local ids, err = ids_between(store, from, till, filter)
    if not ids then return nil, err end
    if #ids >= count then return log.cursor_at(store, ids[#ids - count + 1]) end
    count, step = count - #ids, math.min(step * 4, STEP_MOST)
  end
  return log.cursor_at(store, from)
end

return log
