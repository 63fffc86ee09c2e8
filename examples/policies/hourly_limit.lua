-- A strategy: so many starts an hour. Each user, or with options.shared all of them together, may have options.max runs
-- (10) started in any 3600 seconds. When these are used up, newcomers are refused, and what was let in before waits for
-- its turn: the rate is kept for those who wait, too.
--
--   runs:create_or_reject("mails", { multitask_strategy = "hourly_limit", user_id = "ada",
--     strategy_options = { max = 100 } })
local HOUR = 3600

local function name_of(request)
  return request.options.shared and "hour:all" or "hour:" .. (request.user_id or "nobody")
end

return {
  reads = function(request)
    return { started = { count = "started", rate = name_of(request), per = HOUR } }
  end,
  decide = function(request, _, read)
    local max = request.options.max or 10
    if read.started >= max then
      return { admit = false, reason = ("%d runs have started in this hour, of %d"):format(read.started, max) }
    end
    return { admit = true, rates = { { name = name_of(request), max = max, per = HOUR } } }
  end,
}
