-- A reconciler: a run whose owner is gone may be claimed again, each time after a longer wait: 10 s, 20 s, 40 s … up to
-- an hour. What kills its owners is then not tried again at full speed. After max_losses of them (5) it fails.
--
--   reconcilers = { requeue_slower = keel.load_policy "requeue_slower.lua" }
--   runs:create("reports", { reconciler = "requeue_slower" })
local FIRST, LONGEST, LOSSES = 10, 3600, 5

return function(run, context)
  if context.cause == "deadline" then
    return { status = "timeout", error = "the deadline of the run has passed", stop_reason = "deadline" }
  end
  if run.losses >= (run.max_losses or LOSSES) then
    return { status = "error", error_code = "losses_exhausted", stop_reason = "orphan_recovered",
      error = ("the run lost its owner %d times"):format(run.losses + 1) }
  end
  return { requeue = true, delay = math.min(FIRST * 2 ^ run.losses, LONGEST), error = context.error }
end
