--- What an owner does with its runs besides finishing them: renewing, giving back, settling.
local check = require "keel.check"
local errors = require "keel.errors"
local LiveRuns = require "keel.manager.live_runs"
local reading = require "keel.manager.reading"

local PAGE = 1000 -- runs of this session read at once

local is_final = LiveRuns.is_final

-- The rows this session has in flight, by id.
local function read_own(self, session_id)
  local rows, after, more = {}
  repeat
    local page
    page, more = self.client:call("list_inflight", { session_id = session_id, limit = PAGE, after = after })
    if not page then return nil, more end
    more = more or #page == PAGE
    for _, row in ipairs(page) do
      if rows[row.run_id] then return rows end -- it starts over: the run to go on behind was deleted
      rows[row.run_id] = row
      after = row.run_id
    end
  until not more
  return rows
end

-- What became of a run that is not in flight here any more, by the look of its row. Returns whether it was lost.
local function is_lost(self, record)
  local aborted = record.abort_event:is_set()
  local row, err = self.writer:refresh(record)
  if err then return false end
  if row then return self.live:is_lost(record.run_id) or is_final(record.status) end
  -- It vanished from the store altogether. What its end is to be can still be recorded.
  self.writer:abort(record, record.cancel_action)
  return not aborted
end

-- Compares runs that were in flight here with their rows: what was lost, and what others asked to cancel.
local function look_at_own(self, records, rows)
  local lost, asked = {}, {}
  for _, record in ipairs(records) do
    local row = rows[record.run_id]
    local is_ours = self.live:get(record.run_id) == record and not is_final(record.status) -- still, not only before
    if is_ours and not (row and row.fence == record.fence) then
      if is_lost(self, record) then lost[#lost + 1] = record end
    elseif is_ours then
      record.lease_expires_at = row.lease_expires_at
      if row.cancel_action and not record.abort_event:is_set() then
        self.live:update(record, { cancel_action = row.cancel_action, cancel_requested_at = row.cancel_requested_at,
          revision = row.revision, updated_at = row.updated_at })
        self.writer:abort(record, row.cancel_action)
        asked[#asked + 1] = record
      end
    end
  end
  return lost, asked
end

-- Ends the own runs whose deadline has passed. Returns the first failure as well.
local function expire_own(self)
  local expired, now, failure = {}, self.client:now(), nil
  for _, record in ipairs(self.live:in_flight()) do
    if record.deadline and record.deadline <= now then
      local done, err = self.writer:change_status(record, "timeout",
        { error = "the deadline of the run has passed", stop_reason = "deadline" })
      if done then
        self.writer:abort(record)
        expired[#expired + 1] = record
      elseif err.code ~= "stale_owner" and err.code ~= "invalid_transition" then
        failure = failure or err
      end
    end
  end
  return expired, failure
end

---@class keel.manager.Owning: keel.ManagerCore
local Owning = {}

--- Renews the leases of all own runs that have one, ends those whose deadline has passed, and learns what became
--- of them elsewhere. Runs that were lost are fenced: their abort events are set, and later writes are refused. Runs
--- that another process asked to stop have their abort events set; finishing them is up to whoever does the work.
--- Fails with what the store fails with; when only ending a run does, the error is the second value.
---@return { renewed: integer, lost: keel.Run[], cancel_requested: keel.Run[], expired: keel.Run[] }? report
---@return keel.Error? err
function Owning:heartbeat()
  local session_id, err = self.client:session_id()
  if err then return nil, err end
  local report = { renewed = 0, lost = {}, cancel_requested = {}, expired = {} }
  if not session_id then return report end
  local records = self.live:in_flight()
  if self.context.lease or self.own_leases then -- reservations have leases, too
    report.renewed, err = self.client:call("renew_runs", not self.own_leases and self.context.lease or nil)
    if not report.renewed then return nil, err end
  end
  if #records == 0 then return report end
  local rows
  rows, err = read_own(self, session_id)
  if not rows then return nil, err end
  report.lost, report.cancel_requested = look_at_own(self, records, rows)
  report.expired, err = expire_own(self)
  return report, err
end

--- Gives a run of this process back: pending, owned by nobody, with one attempt more; anybody may claim it after the
--- delay. With `attempt = false` it was no try: no attempt is spent. When max_attempts are used up it ends with the
--- error; when it was asked to stop, it is interrupted.
--- Raises for wrong types. Fails with not_found, invalid_request (delay), invalid_transition, stale_owner, and what
--- writing fails with.
---@param run_id string
---@param options? { delay?: number, error?: string, attempt?: boolean } delay in seconds; attempt: default true
---@return keel.Run? run
---@return keel.Error? err
function Owning:requeue(run_id, options)
  check.type(run_id, "string", 1, "requeue")
  options = check.options(options, { delay = "number", error = "string", attempt = "boolean" }, 2, "requeue")
  local bad = check.duration(options.delay, "delay")
  if bad then return nil, bad end
  local row, record, err = self.writer:to_write(run_id)
  if not row then return nil, err end
  local found, written = self.client:call("requeue", run_id,
    { fence = row.fence, delay = options.delay, error = options.error, attempt = options.attempt })
  if found == false then return nil, errors.no_run(run_id) end
  if found == nil then
    if record then self.writer:refresh(record) end
    return nil, written
  end
  if record then
    if not is_final(written.status) then self.live:lose(record) end -- before anything yields: it is nobody's
    self.writer:refresh(record, true)
  end
  return reading.get(self, run_id)
end

--- Says that the work of an interrupted run has come to rest: ends its finalizing, so that what waits for it may
--- start.
--- Fails with not_found, stale_owner (it was taken over) and what writing fails with.
---@param run_id string
---@return boolean? settled false when it was not finalizing
---@return keel.Error? err
function Owning:settle(run_id)
  check.type(run_id, "string", 1, "settle")
  local row, record, err = self.writer:to_write(run_id)
  if not row then return nil, err end
  local settled
  settled, err = self.client:call("settle", run_id, { fence = row.fence })
  if settled == nil then
    if record then self.writer:refresh(record) end
    return nil, err
  end
  if record then self.live:update(record, { finalizing = false }) end
  return settled
end

return Owning
