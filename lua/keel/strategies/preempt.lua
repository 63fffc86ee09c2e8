-- One run at a time, the most important first: the newcomer interrupts what runs only if its priority is higher than
-- that of all in flight it would stop; else it waits in its place.
return function(request, inflight)
  local cancel = {}
  for _, run in ipairs(inflight) do
    local waits = run.status == "pending" and run.concurrency
    if not waits then
      if (run.priority or 0) >= request.priority then return { admit = true, concurrency = 1 } end
      cancel[#cancel + 1] = run
    end
  end
  return { admit = true, cancel = cancel, concurrency = 1 }
end
