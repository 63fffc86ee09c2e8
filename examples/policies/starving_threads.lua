-- A diagnostic: threads on which a run has waited for too long. It is shown { now, runs, patience }: a time, runs in
-- flight (store:list_inflight), and the seconds a run may wait (600), and says of each thread that starves how long its
-- oldest run has waited: a warning while something runs there, an error when nothing does, so that nothing will change
-- by itself.
--
--   for _, problem in ipairs(keel.testing.diagnose("starving_threads.lua", { now = store:now(),
--     runs = store:list_inflight { limit = 1000 } })) do print(problem.severity, problem.message) end

-- Days since 1970-01-01 of a date of the Gregorian calendar; a year begins in March here, so that leap days come last.
local function days(year, month, day)
  if month <= 2 then year, month = year - 1, month + 12 end
  return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 719469
end

-- A time of Keel's, which is in UTC, in seconds.
local function seconds(text)
  local year, month, day, hour, minute, second = text:match "^(%d+)-(%d+)-(%d+)T(%d+):(%d+):(%d+%.?%d*)"
  return days(year // 1, month // 1, day // 1) * 86400 + hour * 3600 + minute * 60 + second
end

return function(snapshot)
  local now, threads, found = seconds(snapshot.now), {}, {}
  for _, run in ipairs(snapshot.runs) do
    local thread = threads[run.thread_id] or { waited = 0, waiting = 0, running = 0 }
    threads[run.thread_id] = thread
    if run.status == "pending" then
      thread.waiting = thread.waiting + 1
      -- A run that is put off does not wait before its time.
      thread.waited = math.max(thread.waited, now - seconds(run.scheduled_at or run.created_at))
    else
      thread.running = thread.running + 1
    end
  end
  for id, thread in pairs(threads) do
    if thread.waited > (snapshot.patience or 600) then
      found[#found + 1] = { severity = thread.running > 0 and "warning" or "error", code = "thread_starving",
        subject = id, message = ("%d runs wait on thread %s, the oldest for %.0f s, and %d run"):format(thread.waiting,
          id, thread.waited, thread.running) }
    end
  end
  return found
end
