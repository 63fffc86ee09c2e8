--- Trying runs again that have ended: each by a new run of the same work, which waits to be claimed.
local LiveRuns = require "keel.manager.live_runs"
local check = require "keel.check"
local errors = require "keel.errors"
local filters = require "keel.manager.filter"
local kernel = require "keel.kernel"
local reading = require "keel.manager.reading"

local PAGE = 64 -- runs that are tried again in one transaction

-- What a new run takes over of the old one besides what its caller gave: the conditions of its start, and its key.
local taken_over = { "multitask_strategy", "concurrency", "strict", "idempotency_hash", "idempotency_expires_at" }
for name, giver in pairs(kernel.run_givers) do
  if giver == "caller" and name ~= "claimable" and name ~= "scheduled_at" and name ~= "deadline" and name ~= "after"
    and name ~= "parent_run_id" then
    taken_over[#taken_over + 1] = name
  end
end

-- The same time after `now` as it was after the run was made.
local function moved(time, made_at, now)
  if not time then return nil end
  return kernel.time_text(kernel.time_seconds(now) + kernel.time_seconds(time) - kernel.time_seconds(made_at))
end

-- The newest try of a run, else the run itself; nil, without an error: it is not there any more.
local function newest_of(tx, run_id)
  local retry, err = tx:newest_retry(run_id)
  if retry or err then return retry, err end
  local row
  row, err = tx:get(run_id)
  return row and run_id, err
end

-- What the new run is after: of a run that was tried again its newest try; what is not there any more is nothing to
-- wait for. Returns nil and the error when reading fails.
local function sources_of(tx, old)
  local sources = kernel.array {}
  for _, source in ipairs(old.after or {}) do
    local kept, err = { batch_id = source.batch_id, on = source.on }
    if source.batch_id then
      local rows
      rows, err = tx:list_runs { batch_id = source.batch_id, limit = 1 }
      if rows then kept, err = rows[1] and kept, nil end
    else
      kept.run_id, err = newest_of(tx, source.run_id)
      kept = kept.run_id and kept
    end
    if err then return nil, err end
    sources[#sources + 1] = kept or nil
  end
  return sources
end

-- The fields of the new run.
local function fields_of(tx, old, now)
  local fields = { thread_id = old.thread_id, operation_kind = "run", status = "pending", claimable = true, attempt = 1,
    retry_of = old.run_id, deadline = moved(old.deadline, old.created_at, now) }
  for _, name in ipairs(taken_over) do fields[name] = old[name] end
  if old.finalizing then fields.waits_for = { old.run_id } end -- what it did has not come to rest
  local sources, err = sources_of(tx, old)
  if not sources then return nil, err end
  if #sources > 0 then fields.after = sources end
  if old.parent_run_id then
    fields.parent_run_id, err = newest_of(tx, old.parent_run_id)
    if err then return nil, err end
  end
  return fields
end

local function in_the_way(old, run_id, why)
  return errors.new("conflict", ("run %s %s"):format(old.run_id, why), { thread_id = old.thread_id, run_id = run_id })
end

-- Why a run cannot be tried again.
local function refusal(tx, run_id, old)
  if not old then return errors.no_run(run_id) end
  if old.operation_kind ~= "run" then
    return errors.invalid("run_id", "is of a " .. old.operation_kind .. ": only its maker can make it again")
  end
  if not LiveRuns.is_final(old.status) then return in_the_way(old, run_id, "is " .. old.status) end
  local retry, err = tx:newest_retry(run_id)
  if err then return err end
  return retry and in_the_way(old, retry, "was tried again: the newest try is " .. retry) or nil
end

-- Makes the new run, in an open transaction. Returns its id.
local function retry(tx, run_id, now)
  local old, err = tx:get(run_id)
  err = err or refusal(tx, run_id, old)
  if err then return nil, err end
  local fields, id, ok
  fields, err = fields_of(tx, old, now)
  if not fields then return nil, err end
  id, err = kernel.new_id()
  if not id then return nil, err end
  ok, err = tx:put(id, fields, { retry_of = run_id })
  if not ok then return nil, err end
  return id
end

-- What makes one of many a run that is passed over: it was tried again or deleted meanwhile, or its parent cancelled.
local passing = { conflict = true, not_found = true }

-- Tries a page of runs again, in one transaction. Returns the ids of the new ones.
local function retry_page(self, ids)
  local now = self.client:now()
  return self.client:transaction("retry_all", function(tx)
    local made = {}
    for _, run_id in ipairs(ids) do
      local id, err = retry(tx, run_id, now)
      if not id and not passing[err.code] then return nil, err end
      made[#made + 1] = id
    end
    return made
  end)
end

---@class keel.manager.Retrying: keel.ManagerCore
local Retrying = {}

--- Tries a run again that has ended: makes a new run of the same work, which anybody may claim, with `retry_of`. It has
--- what the caller gave for the old one, its idempotency key too, which then gives the new run; a deadline is moved; an
--- `after` or `parent_run_id` that names a run that was tried again names the newest try. No strategy is asked, as with
--- create: it starts under the conditions of the old one.
--- Raises for wrong types. Fails with not_found, conflict (run_id: it is in flight, or was tried again already, or its
--- parent was cancelled), invalid_request (it is of a machine, or a reservation) and what writing fails with.
---@param run_id string
---@return keel.Run? run
---@return keel.Error? err
function Retrying:retry(run_id)
  check.type(run_id, "string", 1, "retry")
  local now = self.client:now()
  local id, err = self.client:transaction("retry", retry, run_id, now)
  if not id then return nil, err end
  self.live:notify("on_claimable")
  return reading.get(self, id)
end

--- Tries all runs again that a filter means and that nobody has tried again: without a `status` those that ended as
--- error or timeout. The oldest first, in pages, each atomic: when it fails in between, or the process dies, a second
--- call goes on, and tries nothing twice. What was made after the call began is not meant.
--- Raises for unknown options and wrong types. Fails with invalid_request (status, before, since, an id) and what
--- reading and writing fail with; `done` in the error is how many were tried again before.
---@param filter keel.RunFilter
---@return integer? count of new runs
---@return keel.Error? err
function Retrying:retry_all(filter)
  local wanted, err = filters.check(filter, kernel.final, self.client:now(), "retry_all")
  if not wanted then return nil, err end
  local query = { statuses = wanted.status and { wanted.status } or { "error", "timeout" }, before = wanted.before,
    user_id = wanted.user_id, handler = wanted.handler, batch_id = wanted.batch_id,
    thread_id = not wanted.batch_id and wanted.thread_id or nil, limit = PAGE }
  local made, count = {}, 0
  while true do
    local rows, more = self.client:call("list_retriable", query)
    if not rows and more.code == "not_found" and query.after then -- it was deleted: from the start once more
      query.after = nil
      rows, more = self.client:call("list_retriable", query)
    end
    if not rows then
      more.done = count
      return nil, more
    end
    local ids, is_own = {}, false
    for _, row in ipairs(rows) do
      is_own = is_own or made[row.run_id] ~= nil -- a try that has failed at once: what follows is newer
      if not is_own and filters.passes(wanted, row) then ids[#ids + 1] = row.run_id end
    end
    local new = {}
    if #ids > 0 then new, err = retry_page(self, ids) end
    if not new then
      err.done = count
      return nil, err
    end
    for _, id in ipairs(new) do made[id] = true end
    count = count + #new
    if #new > 0 then self.live:notify("on_claimable") end
    if is_own or #rows < PAGE and not more then return count end
    query.after = rows[#rows].run_id
  end
end

return Retrying
