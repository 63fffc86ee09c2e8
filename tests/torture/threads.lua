--- The threads that processes fight for: each has one strategy, so that what must hold on it can be said.
--
-- `most` is how many may be active (running, or ended and not settled) at once, `queue` says that runs start in the
-- order of the queue, `waiting` how many may be pending, `alone` that nothing may be in flight when one is admitted.
local threads = {
  { id = "reject", strategy = "reject", most = 1, alone = true },
  { id = "interrupt", strategy = "interrupt", most = 1 },
  { id = "rollback", strategy = "rollback", most = 1 },
  { id = "enqueue", strategy = "enqueue", options = { max_waiting = 20 }, most = 1, queue = true, waiting = 21 },
  { id = "limit", strategy = "limit", options = { max = 3, max_waiting = 20 }, most = 3, queue = true, waiting = 23 },
  { id = "preempt", strategy = "preempt", most = 1, priorities = 3, queue = true },
  { id = "replace_pending", strategy = "replace_pending", most = 1, waiting = 1 },
  { id = "debounce", strategy = "debounce", options = { wait = 0.02, max_wait = 0.1 }, waiting = 1 },
  { id = "reuse", strategy = "reuse", fingerprints = 2, most = 1, alone = true },
  { id = "claimed", strategy = "enqueue", options = { max_waiting = 50 }, most = 1, queue = true, claimable = true },
  { id = "claimed-by-three", strategy = "limit", options = { max = 3, max_waiting = 50 }, most = 3, queue = true,
    claimable = true },
}

for _, thread in ipairs(threads) do threads[thread.id] = thread end

return threads
