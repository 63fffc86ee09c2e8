-- The dispatcher of a test run is gone, and nobody knows how the test ended: the run is interrupted, its machine free.
return function(_, context)
  if context.cause == "deadline" then
    return { status = "timeout", error = context.error or "the deadline of the run has passed",
      stop_reason = "deadline" }
  end
  return { status = "interrupted", error_code = "dispatcher_died", stop_reason = "orphan_recovered",
    error = context.error or "the dispatcher of the run is gone" }
end
