--- The times of a schedule that a policy says, `function(last, now) → next`: as those of a cron, by asking it again and
--- again. It may jump: it is told the time.
local contract = require "keel.schedule.times"
local policies = require "keel.policy"

local ByPolicy = {}
ByPolicy.__index = ByPolicy

local ASKED = 2000 -- times in one look: more is gone on with at the next

--- The occurrences of a policy.
---@param policy keel.Policy
---@param budget keel.PolicyBudget
---@param now integer microseconds since the epoch
---@return keel.Occurrences
function ByPolicy.new(policy, budget, now)
  return setmetatable({ _policy = policy, _budget = budget, _now = now }, ByPolicy)
end

--- The first that is later. Fails with policy_failed, policy_budget and no_memory.
---@param last integer
---@return integer? time
---@return keel.Error? err
function ByPolicy:after(last)
  local now = self._now
  local answer, err = policies.call(self._policy, self._budget, contract.text(last), contract.text(now))
  if err then return nil, err end
  local time, problem = contract.answer(answer, now)
  if time and time <= last then
    problem = ("it gave %s, which is not later than %s"):format(contract.text(time), contract.text(last))
  end
  if problem then return nil, policies.failed(self._policy, problem) end
  return time
end

--- The first from a time on, of those from `from` on, which is one.
---@param from integer
---@param time integer
---@return integer? found
---@return keel.Error? err
---@return boolean? unfinished there was too much before it: found is how far it came
function ByPolicy:first_from(from, time)
  local found = from
  for _ = 1, ASKED do
    if found >= time then return found end
    local later, err = self:after(found)
    if not later then return nil, err end
    found = later
  end
  return found, nil, found < time
end

--- As keel.Occurrences has it.
---@param from integer
---@param till integer
---@param count integer
---@return integer[]? list
---@return boolean|keel.Error more
---@return boolean? unfinished there may be newer ones
function ByPolicy:newest(from, till, count)
  local list, time = {}, from
  for _ = 1, ASKED do
    if time > till then break end
    list[#list + 1] = time
    local later, err = self:after(time)
    if not later then return nil, err end
    time = later
  end
  local more = #list > count
  return table.move(list, math.max(#list - count, 0) + 1, #list, 1, {}), more, time <= till
end

return ByPolicy
