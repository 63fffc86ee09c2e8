--- Stopping a run: one's own at once, another's by asking, an orphan by taking it over.
local LiveRuns = require "keel.manager.live_runs"
local check = require "keel.check"
local errors = require "keel.errors"
local filters = require "keel.manager.filter"

local PAGE = 64 -- runs that are looked at, and stopped, in one transaction

local REASON = "cancelled" -- the stop_reason of what was stopped here; who was asked to stop gives his own

-- What cancelling a run that has ended comes to.
local function of_final(status)
  if status == "interrupted" then return true, "cancelled" end
  return false, "not_cancellable"
end

-- Stops a run in an open transaction. Returns what was done.
local function stop(tx, run_id, own, action)
  local row, err = tx:get(run_id)
  if err then return nil, err end
  if not row then return "unknown" end
  if LiveRuns.is_final(row.status) then
    local _, verdict = of_final(row.status)
    return verdict
  end
  local done
  if row.session_id ~= own then
    done, err = tx:claim_for_takeover(run_id,
      { status = "interrupted", stop_reason = REASON, cancel_action = action })
    if done == nil then return nil, err end
    if done then return "taken_over" end
  end
  if row.status == "pending" or row.session_id == own then
    done, err = tx:update_status(run_id, "interrupted",
      { stop_reason = REASON, cancel_action = action, finalizing = true })
    if not done then return nil, err end
    return "cancelled"
  end
  done, err = tx:request_cancel(run_id, { action = action })
  if not done then return nil, err end
  return "requested"
end

-- A run that is not live here: decided and written in one transaction. Returns what was done.
local function cancel_stored(self, run_id, action)
  local own, problem = self.client:session_id()
  if problem then return nil, problem end -- whose the run is could not be told
  return self.client:transaction_on({ run_id = run_id }, "cancel", stop, run_id, own, action)
end

local function cancel_others(self, run_id, action)
  local verdict, err = cancel_stored(self, run_id, action)
  if not verdict then return nil, err end
  if verdict == "cancelled" or verdict == "taken_over" then self.writer:follow(run_id) end
  return verdict ~= "unknown" and verdict ~= "not_cancellable", verdict
end

local function check_action(action)
  if action == "interrupt" or action == "rollback" then return true end
  return nil, errors.new("invalid_request", "action must be interrupt or rollback", { field = "action" })
end

---@class keel.manager.Cancelling: keel.ManagerCore
local Cancelling = {}

--- Stops a run. Its own process ends it at once and sets its abort event; the running run of another live session is
--- asked to stop, and the first action asked for wins; that of a dead owner is taken over. What ended here has the
--- stop_reason "cancelled".
--- Raises for wrong types. Fails with invalid_request (an unknown action) and what writing fails with.
---@param run_id string
---@param options? { action?: "interrupt"|"rollback" }
---@return boolean? done
---@return "cancelled"|"requested"|"taken_over"|"not_cancellable"|"unknown"|keel.Error verdict
function Cancelling:cancel(run_id, options)
  check.type(run_id, "string", 1, "cancel")
  options = check.options(options, { action = "string" }, 2, "cancel")
  local action = options.action or "interrupt"
  local right, wrong = check_action(action)
  if not right then return nil, wrong end
  local record = self.live:get(run_id)
  if not record then return cancel_others(self, run_id, action) end
  if LiveRuns.is_final(record.status) then return of_final(record.status) end
  local done, err = self.writer:change_status(record, "interrupted",
    { stop_reason = REASON, cancel_action = action, finalizing = true })
  if not done then
    -- Somebody was first: the record has been brought up to date and says what holds.
    if LiveRuns.is_final(record.status) then return of_final(record.status) end
    if err.code == "stale_owner" then return cancel_others(self, run_id, action) end -- it is theirs to stop now
    return nil, err
  end
  self.writer:abort(record, record.cancel_action or action)
  return true, "cancelled"
end

-- Stops a page of runs, in one transaction. Returns the ids of those that are stopped, or asked to.
local function cancel_page(self, ids, action)
  local own, problem = self.client:session_id()
  if problem then return nil, problem end
  local stopped, err = self.client:transaction("cancel_all", function(tx)
    local list = {}
    for _, run_id in ipairs(ids) do
      local verdict, failure = stop(tx, run_id, own, action)
      if not verdict then return nil, failure end
      if verdict ~= "unknown" and verdict ~= "not_cancellable" then list[#list + 1] = run_id end
    end
    return list
  end)
  if not stopped then return nil, err end
  self.writer:refresh_all(stopped)
  return stopped
end

local in_flight = { pending = true, running = true }

-- The ids of the runs in flight that a filter means, and that were not asked to stop before: all of them before the
-- first is stopped, as that stops others. Nil and the error.
local function find(self, wanted)
  local query = { batch_id = wanted.batch_id, thread_id = not wanted.batch_id and wanted.thread_id or nil,
    before = wanted.before, limit = PAGE, brief = true }
  local ids, known = {}, {}
  repeat
    local rows, more = self.client:call("list_inflight", query)
    if not rows then return nil, more end
    for _, row in ipairs(rows) do
      local is_meant = filters.passes(wanted, row) and (not wanted.status or row.status == wanted.status)
      -- The listing starts over when the run to go on behind was deleted.
      if is_meant and not row.cancel_action and not known[row.run_id] then
        ids[#ids + 1], known[row.run_id] = row.run_id, true
      end
    end
    query.after = (#rows == PAGE or more) and rows[#rows].run_id or nil
  until not query.after
  return ids
end

--- Cancels all runs in flight that a filter means, and their children: in pages, each atomic. When it fails in between,
--- or the process dies, a second call goes on. What is made after the call began is not meant, nor are runs of
--- machines, reservations, and what was asked to stop before.
--- Raises for unknown options and wrong types. Fails with invalid_request (status, before, since, an id, action) and
--- what reading and writing fail with; `done` in the error is how many were stopped before.
---@param filter keel.RunFilter {} means all
---@param options? { action?: "interrupt"|"rollback" } as of cancel
---@return integer? count of runs that the filter means and that are stopped, or asked to stop, with another of them
--- too
---@return keel.Error? err
function Cancelling:cancel_all(filter, options)
  local wanted, err = filters.check(filter, in_flight, self.client:now(), "cancel_all")
  if not wanted then return nil, err end
  options = check.options(options, { action = "string" }, 2, "cancel_all")
  local action = options.action or "interrupt"
  local right, wrong = check_action(action)
  if not right then return nil, wrong end
  local count, ids = 0
  ids, err = find(self, wanted)
  for first = 1, ids and #ids or 0, PAGE do
    local stopped
    stopped, err = cancel_page(self, table.move(ids, first, math.min(first + PAGE - 1, #ids), 1, {}), action)
    if not stopped then break end
    count = count + #stopped
  end
  if err then
    err.done = count
    return nil, err
  end
  return count
end

return Cancelling
