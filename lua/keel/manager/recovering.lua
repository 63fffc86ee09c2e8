--- Recovering what the dead have left: now and then a page of it, or all there is.
local check = require "keel.check"
local clearing = require "keel.manager.clearing"
local errors = require "keel.errors"
local owning = require "keel.manager.owning"
local reading = require "keel.manager.reading"
local recovery = require "keel.recovery"
local retention = require "keel.manager.retention"

local TICK_PAGE = 64   -- runs that one tick looks at for recovery
local LIMIT_MAX = 1000 -- of a tick

-- What is left in the store when nobody comes by; a store in other clothes may have none of it.
local function catch_up(self)
  if not self.client:has "catch_up" then return nil end
  local place, err = self.client:call("catch_up", self.caught_up)
  self.caught_up = place
  return err
end

local function sweep_context(self, options)
  return self.context:for_sweep(options, function(run, context, recovered)
    return clearing.clear_way(self, run, context, recovered)
  end)
end

-- The records of runs that were recovered. Returns the first failure as well.
local function records_of(self, ids)
  local records, failure = {}, nil
  for _, run_id in ipairs(ids) do
    local record, err = reading.get(self, run_id)
    if record and not record.store_only then self.writer:refresh(record) else self.writer:follow(run_id) end
    records[#records + 1] = record
    failure = failure or err
  end
  return records, failure
end

local function check_limit(limit)
  if not limit then return nil end
  if limit < 1 then return errors.invalid("limit", "must be at least 1") end
  if limit <= LIMIT_MAX then return nil end
  return errors.new("limit_too_large", ("limit: %d is more than the maximum of %d"):format(limit, LIMIT_MAX),
    { requested = limit, max = LIMIT_MAX })
end

---@class keel.manager.Recovering: keel.ManagerCore
local Recovering = {}

--- One step of what a host should do now and then: a heartbeat, recovery of what the dead left, a page of runs a call,
--- what is left to do of runs that wait for others and of children of stopped runs, the runs of schedules that are due,
--- and some steps of retention. Call it from a loop or a timer, every second or so;
--- `next_due` says when it is worth while.
--- Raises for wrong types. Fails with invalid_request (reconciler, limit), limit_too_large and what the store fails
--- with.
---@param options? { reconciler?: string|function, limit?: integer } reconciler: as in
--- reconcile_orphaned_inflight_runs; limit: runs that it looks at for recovery, and occurrences of schedules that it
--- makes or passes over, 1 to 1000; by default 64 and 256. The next call goes on.
---@return { renewed: integer, lost: keel.Run[], cancel_requested: keel.Run[], expired: keel.Run[],
--- recovered: keel.Run[], scheduled: keel.Run[] }? report
---@return keel.Error? err
function Recovering:tick(options)
  options = check.options(options, { reconciler = "string|function|policy", limit = "integer" }, 1, "tick")
  local err = self.context:check_reconciler(options.reconciler) or check_limit(options.limit)
  if err then return nil, err end
  local began = self.client:now()
  local report, failure = owning.heartbeat(self)
  if not report then
    self.behind, self.undone = false, true -- what has become due stays so, and is not to be asked for at once
    return nil, failure
  end
  self.reservations:release_left()
  local context = sweep_context(self, options)
  context.page, context.position = options.limit or TICK_PAGE, self.swept
  local ids
  ids, err, self.swept = recovery.sweep(context)
  report.recovered = records_of(self, ids)
  require("keel.manager.occurrences").work_off(self, report, options.limit) -- not before: see scheduling.lua
  self.ticked, self.behind, self.undone = began, report.behind, report.undone ~= nil
  failure = failure or err or report.undone or catch_up(self) or retention.work_off(self)
  report.behind, report.undone = nil, nil
  return report, failure
end

--- Recovers the runs in flight whose owners are gone, or whose lease or deadline has passed, each in a transaction of
--- its own. Other runs of sessions that are there, in this process or another, are not touched, nor are claimable ones.
--- Raises for wrong types. Fails with invalid_request for a time that is none and an unknown reconciler. When something
--- else fails, the runs it was about stay as they are, and the error is the second value.
---@param options? { error?: string, before?: string|number, reconciler?: string|function }
--- error: the text the runs get; before: a time, only runs created then or earlier; reconciler: decides over runs that
--- do not name their own, and over those that name one that is not known here
---@return keel.Run[]? recovered
---@return keel.Error? err
function Recovering:reconcile_orphaned_inflight_runs(options)
  options = check.options(options, { error = "string", before = "time", reconciler = "string|function|policy" }, 1,
    "reconcile_orphaned_inflight_runs")
  local ids, before
  local err = self.context:check_reconciler(options.reconciler)
  if not err and options.before then before, err = errors.time(options.before, "before", self.client:now()) end
  if err then return nil, err end
  -- Who calls this with a reconciler decides over what no other would, too.
  ids, err = recovery.sweep(sweep_context(self, { error = options.error, before = before,
    reconciler = options.reconciler, over_unknown = options.reconciler ~= nil }))
  local records, failure = records_of(self, ids)
  return records, err or failure
end

return Recovering
