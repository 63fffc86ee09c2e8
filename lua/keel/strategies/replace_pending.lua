-- One runs and one waits: the newcomer takes the place of whoever waits.
return function(_, inflight)
  local waiting = {}
  for _, run in ipairs(inflight) do
    if run.status == "pending" then waiting[#waiting + 1] = run end
  end
  local newest = table.remove(waiting)
  return { admit = true, replace = newest, cancel = waiting, concurrency = 1 }
end
