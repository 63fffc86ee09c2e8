-- One run at a time, in the order of admission. options.max_waiting bounds how many may wait. A retry that is put off
-- lets others go first, unless options.strict is set.
return function(request)
  local waiting = math.max(request.inflight_count - 1, 0)
  local max = request.options.max_waiting
  if max and request.inflight_count > 0 and waiting >= max then
    return { admit = false, position = waiting + 1, reason = "the queue is full" }
  end
  return { admit = true, concurrency = 1, strict = request.options.strict }
end
