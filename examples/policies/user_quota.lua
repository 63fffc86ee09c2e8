-- A strategy: at most options.per_user runs (2) of one user in flight, over all threads and processes. What others have
-- does not count, so nobody is held up by somebody else's backlog. A run of nobody in particular is refused.
--
--   strategies = { user_quota = keel.load_policy("user_quota.lua", { reload = true }) }
--   runs:create_or_reject("reports", { multitask_strategy = "user_quota", user_id = "ada",
--     strategy_options = { per_user = 3 } })
return {
  reads = function(request)
    if not request.user_id then return {} end -- without a filter all runs would be counted
    return { mine = { count = "inflight", user_id = request.user_id } }
  end,
  decide = function(request, _, read)
    local quota, mine = request.options.per_user or 2, read.mine
    if not mine then return { admit = false, reason = "the run has no user_id: whose quota is it?" } end
    if mine < quota then return { admit = true } end
    return { admit = false, reason = ("%s has %d of %d runs in flight"):format(request.user_id, mine, quota) }
  end,
}
