-- A run whose deadline has passed has timed out; any other is left alone.
return function(_, context)
  if context.cause ~= "deadline" then return nil end
  return { status = "timeout", error = context.error or "the deadline of the run has passed", stop_reason = "deadline" }
end
