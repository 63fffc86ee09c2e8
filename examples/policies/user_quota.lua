-- A strategy: at most options.per_user runs (2) of one user in flight on a thread. What others have there does not
-- count, so nobody is held up by somebody else's backlog. Those who gave no user_id share one quota.
--
--   strategies = { user_quota = keel.load_policy("user_quota.lua", { reload = true }) }
--   runs:create_or_reject("reports", { multitask_strategy = "user_quota", user_id = "ada",
--     strategy_options = { per_user = 3 } })
--
-- A strategy is shown the 256 oldest runs of a thread; beyond that it refuses rather than guess.
return function(request, inflight)
  local quota, mine = request.options.per_user or 2, 0
  for _, run in ipairs(inflight) do
    if run.user_id == request.user_id then mine = mine + 1 end
  end
  local who = request.user_id or "nobody in particular"
  if mine >= quota then
    return { admit = false, reason = ("%s has %d of %d runs in flight"):format(who, mine, quota) }
  elseif request.inflight_count > #inflight then
    return { admit = false, reason = ("%d runs are in flight: too many to tell whose"):format(request.inflight_count) }
  end
  return { admit = true }
end
