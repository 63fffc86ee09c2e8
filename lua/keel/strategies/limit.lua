-- At most options.max runs at once (1), the others wait in the order of admission, at most options.max_waiting of them.
return function(request)
  local max = request.options.max or 1
  local waiting = math.max(request.inflight_count - max, 0)
  local max_waiting = request.options.max_waiting
  if max_waiting and request.inflight_count >= max and waiting >= max_waiting then
    return { admit = false, position = waiting + 1, reason = "the queue is full" }
  end
  return { admit = true, concurrency = max }
end
