-- A run that others can run, since it was made claimable, is given back until max_losses owners (3) have died under it;
-- one that only its owner could run has failed.
return function(run, context)
  if context.cause == "deadline" then
    return { status = "timeout", error = context.error or "the deadline of the run has passed",
      stop_reason = "deadline" }
  end
  if not (run.shared or run.claimable) then
    return { status = "error", error = context.error or "the owner of the run is gone",
      stop_reason = "orphan_recovered" }
  end
  if (run.losses or 0) < (run.max_losses or 3) then return { requeue = true, error = context.error } end
  return { status = "error", error_code = "losses_exhausted", stop_reason = "orphan_recovered",
    error = context.error or ("the run lost its owner %d times"):format(run.losses + 1) }
end
