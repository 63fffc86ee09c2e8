-- The same work asked for twice runs once: an equal fingerprint gets the run in flight, any other work is refused.
-- No fingerprint equals nothing.
return function(request, inflight)
  for _, run in ipairs(inflight) do
    if request.fingerprint and run.fingerprint == request.fingerprint then
      return { admit = false, reuse = run, reason = "the same work is in flight" }
    end
  end
  if #inflight == 0 then return { admit = true, after = request.finalizing } end
  return { admit = false, reason = "the thread has other work in flight" }
end
