-- A run whose owner is gone has failed.
return function(_, context)
  return { status = "error", error = context.error or "the owner of the run is gone", stop_reason = "orphan_recovered" }
end
