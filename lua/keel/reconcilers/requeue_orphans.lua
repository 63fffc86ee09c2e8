-- A run whose owner is gone may be claimed by another, until max_losses owners (3) have died under it.
return function(run, context)
  if context.cause == "deadline" then
    return { status = "timeout", error = context.error or "the deadline of the run has passed",
      stop_reason = "deadline" }
  end
  if run.losses < (run.max_losses or 3) then return { requeue = true, error = context.error } end
  return { status = "error", error_code = "losses_exhausted", stop_reason = "orphan_recovered",
    error = context.error or ("the run lost its owner %d times"):format(run.losses + 1) }
end
