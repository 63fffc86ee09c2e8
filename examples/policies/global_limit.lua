-- A strategy: at most options.max runs (100) in flight in the whole store, whoever's and wherever; what comes then is
-- refused, so that a backlog does not grow without an end. What has the priority options.urgent, or more, comes in all
-- the same.
--
--   runs:create_or_reject("reports", { multitask_strategy = "global_limit", strategy_options = { max = 20 } })
--
-- To let runs wait instead, give them a slot of one name, from a strategy or the caller: { name = "any", max = 20 }.
return {
  reads = function() return { all = { count = "inflight" } } end,
  decide = function(request, _, read)
    local max, urgent = request.options.max or 100, request.options.urgent
    if read.all < max or urgent and request.priority >= urgent then return { admit = true } end
    return { admit = false, reason = ("%d runs are in flight, of %d"):format(read.all, max) }
  end,
}
