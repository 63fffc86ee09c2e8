-- One run a thread: while one is in flight, newcomers are refused.
return function(_, inflight)
  if #inflight == 0 then return { admit = true } end
  return { admit = false, reason = "the thread has a run in flight" }
end
