-- One run a thread: while one is in flight, newcomers are refused. One that was stopped may still come to rest.
return function(request, inflight)
  if #inflight == 0 then return { admit = true, after = request.finalizing } end
  return { admit = false, reason = "the thread has a run in flight" }
end
