--- keel reconcile: recovers what dead processes have left.
local exec = require "keel.cli.exec"
local describe = require "keel.cli.describe"
local errors = require "keel.errors"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local shape = require "keel.cli.shape"
local usage = require "keel.cli.usage"

local PAGE = 1000 -- runs read at once

-- Adds to `found` the runs of a session whose lease has ended by the clock, but which this process has not seen
-- unrenewed for as long as it lasts.
local function add_unwatched(store, session_id, found)
  local after, more
  repeat
    local rows
    rows, more = store:list_inflight { session_id = session_id, brief = true, limit = PAGE, after = after }
    if not rows then return more end
    local now = store:now()
    for _, run in ipairs(rows) do
      local left, err = 0, nil
      if run.lease_expires_at and run.lease_expires_at <= now then left, err = store:lease_left(run.run_id) end
      if err then return err end
      if left and left > 0 then found.count, found.longest = found.count + 1, math.max(found.longest, left) end
    end
    after = (#rows == PAGE or more) and rows[#rows].run_id or nil
  until not after
end

-- What was left to owners that may live, and what to do about it.
local function tell_unwatched(store, given)
  local sessions, err = store:sessions()
  if not sessions then return err end
  local found = { count = 0, longest = 0 }
  for _, session in ipairs(sessions) do
    err = err or session.alive and add_unwatched(store, session.session_id, found) or nil
  end
  if err or found.count == 0 then return err end
  output.note(given, ("%s left: the lease has ended by the clock, but the process is there, and this command has not "
    .. "watched the lease for %s; a program that ticks for so long takes over what is not renewed; or end the process, "
    .. "which 'keel doctor' names"):format(output.count(found.count, "run"), output.duration(found.longest)))
end

return {
  about = "Recovers the runs whose processes are gone, or whose time is over. What is alive is left alone.",
  options = {
    { "--reconciler", value = "NAME|FILE", about = "what becomes of runs that name none, or one that is not known here:"
      .. " recover_orphans (default), fail_orphans, requeue_orphans, expire_deadlines, or a script" },
    { "--session", value = "N", convert = usage.integer(1), about = "end session N first: for one that is dead where "
      .. "nothing here can tell ('keel doctor' names such sessions)" },
    { "--error", value = "TEXT", about = "the error they get" },
  },
  run = function(given)
    local store <close>, manager = opening.manager(given, "change")
    if not store then return nil, manager end
    local reconciler, problem = exec.strategy_of(given.reconciler)
    if problem then return nil, problem end
    if given.session then
      local ended, failure = store:end_session(given.session)
      if failure then return nil, failure end
      if not ended then
        return nil, errors.new("not_found", ("there is no session %d; 'keel doctor' names those that nothing can judge")
          :format(given.session))
      end
    end
    local recovered, err = manager:reconcile_orphaned_inflight_runs { reconciler = reconciler,
      error = given.error }
    if not recovered then return nil, err end
    if given.json then
      for _, run in ipairs(recovered) do output.json(shape.fields(run)) end
    elseif #recovered > 0 then
      local shown, failure = describe.print_runs(recovered, store:now(), store)
      if not shown then return nil, failure end
    else
      output.note(given, "there was nothing to recover")
    end
    err = err or tell_unwatched(store, given)
    if err then return nil, err end
  end,
}
