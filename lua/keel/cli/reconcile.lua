--- keel reconcile: recovers what dead processes have left.
local describe = require "keel.cli.describe"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local shape = require "keel.cli.shape"

return {
  about = "Recovers the runs whose processes are gone, or whose time is over. What is alive is left alone.",
  options = {
    { "--reconciler", value = "NAME", about = "what becomes of runs that name none: fail_orphans (default), "
      .. "requeue_orphans, expire_deadlines" },
    { "--error", value = "TEXT", about = "the error they get" },
  },
  run = function(given)
    local store <close>, manager = opening.manager(given, "change")
    if not store then return nil, manager end
    local recovered, err = manager:reconcile_orphaned_inflight_runs { reconciler = given.reconciler,
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
