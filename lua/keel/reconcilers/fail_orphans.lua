-- A run whose owner is gone has failed; one whose deadline has passed has timed out.
return function(_, context)
  if context.cause == "deadline" then
    return { status = "timeout", error = context.error or "the deadline of the run has passed",
      stop_reason = "deadline" }
  end
  return { status = "error", error = context.error or "the owner of the run is gone",
    stop_reason = "orphan_recovered" }
end
