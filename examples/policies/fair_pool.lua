-- A strategy: a pool that users share, with places of which nobody takes more than his own. A run starts when one of
-- options.max places (4) of the pool options.pool ("gpu") is free, and one of the options.per_user (1) of its user. One
-- user's hundred runs wait for one another, and hold up nobody else.
--
--   runs:create_or_reject("training", { multitask_strategy = "fair_pool", user_id = "ada", claimable = true })
--
-- What is set for a name goes before the numbers here: runs:set_limit("gpu", { max = 8 }) when a machine is added,
-- runs:set_limit("user:ada", { max = 3 }) for somebody who may have more, runs:pause "gpu" while a driver is changed.
return function(request)
  local options = request.options
  local pool = { name = options.pool or "gpu", max = options.max or 4 }
  local own = { name = "user:" .. (request.user_id or "nobody"), max = options.per_user or 1 }
  return { admit = true, slots = { pool, own } }
end
