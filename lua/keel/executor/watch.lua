--- What an executor is told by the log: what may start now, and what others want of its runs.
local PAGE = 1000 -- events of one look's page

local kinds = { "run_created", "run_requeued", "run_rescheduled", "run_finished", "run_settled", "run_deleted",
  "run_cancel_requested" }

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

--- `told` has the functions that are called: made(run_id), given_back(delay?), made_room(thread_id?), concerns(run_id).
---@param client keel.StoreClient
---@param told table
function Watch.new(client, told)
  local can = client:has "read_events" and client:has "wait_events" and client:has "epoch"
  return setmetatable({ _client = client, _told = told, _can = can, _cursor = nil }, Watch)
end

local function tell(self, event)
  local told, kind = self._told, event.kind
  if kind == "run_created" or kind == "run_rescheduled" then
    told.made(event.run_id)
  elseif kind == "run_requeued" then
    told.given_back(event.data and event.data.delay)
  end
  if kind ~= "run_created" and kind ~= "run_rescheduled" then
    if kind ~= "run_cancel_requested" then told.made_room(event.thread_id) end
    told.concerns(event.run_id)
  end
end

--- Reads what is new, and tells. Fails silently: the next look goes on, and the ticks find all of it as well.
function Watch:look()
  if not self._can then return end
  if not self._cursor then
    self._cursor = end_of_log(self._client)
    return
  end
  repeat
    local page = self._client:call("read_events", self._cursor, PAGE, { kinds = kinds })
    if not page then return end
    self._cursor = page.cursor
    for _, event in ipairs(page.events) do tell(self, event) end
  until not page.has_more
end

return Watch
