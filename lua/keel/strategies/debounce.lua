-- Wait for quiet: a newcomer takes the place of the one that still waits, and starts options.wait seconds (1) later,
-- but no later than options.max_wait seconds (10 times wait) after the first of them came. What has started goes on; as
-- long as options.max (1) of them do, the newcomer waits.
return function(request, inflight)
  local wait = request.options.wait or 1
  local within = request.options.max_wait or 10 * wait
  local waiting
  for _, run in ipairs(inflight) do
    if run.status == "pending" and run.multitask_strategy == request.multitask_strategy then waiting = run end
  end
  if waiting and waiting.start_within then within = waiting.start_within end
  return { admit = true, concurrency = request.options.max or 1, replace = waiting, delay = math.min(wait, within),
    within = within }
end
