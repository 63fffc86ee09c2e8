--- Looking at runs: live records stand for their rows.
local LiveRuns = require "keel.manager.live_runs"
local check = require "keel.check"

local DEFAULT_LIMIT = 100

local function visible(record, user_id)
  return user_id == nil or record.user_id == user_id
end

-- Newest first. Times of this form sort as text; at equal times the order of the store holds.
local function newest_first(place)
  return function(a, b)
    if a.created_at ~= b.created_at then return a.created_at > b.created_at end
    return place[a] < place[b]
  end
end

---@class keel.manager.Reading: keel.ManagerCore
local Reading = {}

--- A run: the live record of this process, the same table each time, or one from the store (`store_only`), or nil.
--- Raises for wrong types. When the store fails: nil and the error.
---@param run_id string
---@param options? { user_id?: string } another user's run is not there
---@return keel.Run? run
---@return keel.Error? err
function Reading:get(run_id, options)
  check.type(run_id, "string", 1, "get")
  options = check.options(options, { user_id = "string" }, 2, "get")
  local record = self.live:get(run_id)
  if record then return visible(record, options.user_id) and record or nil end
  local row, err = self.client:call("get", run_id, { user_id = options.user_id })
  if not row then return nil, err end
  return LiveRuns.equip(row, true)
end

--- The runs of a thread, newest first, equal times in order of insertion.
--- Raises for wrong types. Fails with invalid_request and limit_too_large; when the store fails, the live runs come
--- back with the error as second value.
---@param thread_id string
---@param options? { user_id?: string, limit?: integer } limit: 1 to 1000, default 100
---@return keel.Run[]? runs
---@return keel.Error? err
---@return boolean? is_cut there are more, but these have 4 MiB of texts
function Reading:list_by_thread(thread_id, options)
  check.type(thread_id, "string", 1, "list_by_thread")
  options = check.options(options, { user_id = "string", limit = "integer" }, 2, "list_by_thread")
  local limit = options.limit or DEFAULT_LIMIT
  local rows, err = self.client:call("list_by_thread", thread_id, { user_id = options.user_id, limit = limit })
  local is_cut = rows and err
  if is_cut then err = nil end
  if err and (err.code == "invalid_request" or err.code == "limit_too_large") then return nil, err end
  local runs, place, seen = {}, {}, {}
  local function add(run)
    runs[#runs + 1] = run
    place[run] = #runs
    seen[run.run_id] = true
  end
  for _, row in ipairs(rows or {}) do add(self.live:get(row.run_id) or LiveRuns.equip(row, true)) end
  -- A live run is older than what fits the limit, or its row has vanished, or the store has failed.
  for run_id, record in pairs(self.live:of_thread(thread_id)) do
    if not seen[run_id] and visible(record, options.user_id) then add(record) end
  end
  table.sort(runs, newest_first(place))
  for i = #runs, limit + 1, -1 do runs[i] = nil end
  return runs, err, is_cut
end

--- The runs of the store or of a batch, the last inserted first, or those of a thread, newest first; live records
--- stand for their rows. What status and user leave out is passed over one by one.
--- Raises for unknown options and wrong types. Fails with invalid_request, limit_too_large, not_found (`after`) and
--- what reading fails with.
---@param query? keel.RunQuery
---@return keel.Run[]? runs
---@return keel.Error|true|nil err or true: there are more, though the limit is not reached: these have 4 MiB of texts
function Reading:list_runs(query)
  query = check.options(query, { status = "string", thread_id = "string", user_id = "string", batch_id = "string",
    after = "string", limit = "integer" }, 1, "list_runs")
  local rows, err = self.client:call("list_runs", query)
  if not rows then return nil, err end
  for i, row in ipairs(rows) do rows[i] = self.live:get(row.run_id) or LiveRuns.equip(row, true) end
  return rows, err
end

--- How many runs of a batch have each status, all of them (`total`), and how many have ended (`done`). Nothing is kept
--- about a batch but its runs: they are counted.
--- Raises for wrong types. Fails with invalid_request and what reading fails with.
---@param batch_id string
---@return keel.BatchCounts? counts all 0 where there is no run
---@return keel.Error? err
function Reading:batch(batch_id)
  check.type(batch_id, "string", 1, "batch")
  local counts, err = self.client:call("count_batch", batch_id)
  return counts, err
end

-- Whether the thread has a run that ended and is not settled, by an owner who is there.
local function has_finalizing(self, thread_id)
  local rows, err = self.client:call("list_inflight", { thread_id = thread_id, finalizing = true, limit = 256,
    brief = true })
  for _, row in ipairs(rows or {}) do
    if row.session_id and self.client:is_alive(row.session_id) then return true end
  end
  if not rows then return false, err end
  return false
end

--- Whether a thread has a run that is pending, running or finalizing; reservations do not count. When the store
--- fails, the live runs answer, with the error as second value.
---@param thread_id string
---@return boolean
---@return keel.Error? err
function Reading:has_inflight(thread_id)
  check.type(thread_id, "string", 1, "has_inflight")
  -- A thread with a reservation has no run admitted; a few may have been made past the guard.
  local rows, err = self.client:call("list_inflight", { thread_id = thread_id, limit = 256, brief = true })
  if not rows then
    for _, record in pairs(self.live:of_thread(thread_id)) do
      if not LiveRuns.is_final(record.status) or record.finalizing then return true, err end
    end
    return false, err
  end
  for _, row in ipairs(rows) do
    if row.operation_kind == "run" then return true end
  end
  return has_finalizing(self, thread_id)
end

return Reading
