--- Says when a time is over: by the clock on the wall, or by what was slept, whichever comes first.
---@class keel.Timer
---@field spent fun(): number seconds since it was made
---@field left fun(): number seconds until it is over
---@field sleep fun(step: number) as the store sleeps

---@param client keel.StoreClient
---@param seconds number
---@return keel.Timer
return function(client, seconds)
  local started, slept = client.monotonic(), 0
  local function spent() return math.max(slept, client.monotonic() - started) end
  return {
    spent = spent,
    left = function() return seconds - spent() end,
    sleep = function(step)
      slept = slept + step
      client:sleep(step)
    end,
  }
end
