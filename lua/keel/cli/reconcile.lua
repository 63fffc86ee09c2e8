--- keel reconcile: recovers what dead processes have left.
local exec = require "keel.cli.exec"
local describe = require "keel.cli.describe"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local shape = require "keel.cli.shape"
local usage = require "keel.cli.usage"

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
      if not ended then output.note(given, ("there is no session %d"):format(given.session)) end
    end
    local recovered, err = manager:reconcile_orphaned_inflight_runs { reconciler = reconciler,
      error = given.error }
    if not recovered then return nil, err end
    if given.json then
      for _, run in ipairs(recovered) do output.json(shape.fields(run)) end
    elseif #recovered > 0 then
      describe.print_runs(recovered, store:now())
    else
      output.note(given, "there was nothing to recover")
    end
    if err then return nil, err end
  end,
}
