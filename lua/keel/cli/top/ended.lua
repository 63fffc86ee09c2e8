--- The runs that have ended last, by when they ended: what the log has of it, and the newest runs that have ended, as
--- the log may have been pruned.
local log = require "keel.cli.log"

local ENDED = 20  -- runs
local BACK = 1000 -- events that are looked back over

-- The ids of the runs that have ended in the last events.
local function ids_in_log(store, newest)
  local ids, cursor = {}, log.cursor_at(store, newest - BACK + 1)
  repeat
    local page, err = store:read_events(cursor, BACK, { kinds = { "run_finished" } })
    if not page then return nil, err end
    for _, event in ipairs(page.events) do ids[#ids + 1] = event.run_id end
    cursor = page.cursor
  until not page.has_more
  return ids
end

local function later(a, b)
  if a.ended_at ~= b.ended_at then return a.ended_at > b.ended_at end
  return a.run_id > b.run_id
end

--- The runs, the one that ended last first.
---@param store keel.Store
---@param newest integer the id of the newest event
---@return keel.Run[]? runs
---@return keel.Error? err
return function(store, newest)
  local runs, seen = {}, {}
  local latest, err = store:list_runs { limit = ENDED }
  if not latest then return nil, err end
  for _, run in ipairs(latest) do
    seen[run.run_id] = true
    if run.ended_at then runs[#runs + 1] = run end
  end
  local ids
  ids, err = ids_in_log(store, newest)
  if not ids then return nil, err end
  local count = 0
  for i = #ids, 1, -1 do
    if not seen[ids[i]] and count < ENDED then
      seen[ids[i]], count = true, count + 1
      local run
      run, err = store:get(ids[i])
      if err then return nil, err end
      if run and run.ended_at then runs[#runs + 1] = run end
    end
  end
  table.sort(runs, later)
  return table.move(runs, 1, math.min(#runs, ENDED), 1, {})
end
