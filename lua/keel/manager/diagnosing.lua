--- Diagnostics: what rules of the host's remark about the runs of a store, asked when somebody wants to know.
local kernel = require "keel.kernel"
local policies = require "keel.policy"

-- What a rule may take, unless policy_budget says. It reads thousands of runs, none of which waits for it.
local BUDGET = { instructions = 50000000, seconds = 2, bytes = 64 << 20 }

-- What one rule remarks. One that fails is a remark, too: the others are asked all the same.
local function ask(rule, budget, snapshot)
  local answer, err = policies.call(rule, budget, kernel.json.copy(snapshot))
  local remarks, problem = {}, nil
  if not err and answer ~= nil then remarks, problem = require("keel.policy.diagnostic").check(answer) end
  if problem then err = policies.failed(rule, problem) end
  if err then return { { severity = "error", code = err.code, message = err.message } } end
  return remarks
end

---@class keel.Remark
---@field rule string which rule says it
---@field severity "info"|"warning"|"error"
---@field code string
---@field message string
---@field subject? string|keel.WorkerRef id of a run, or a worker

---@class keel.manager.Diagnosing: keel.ManagerCore
local Diagnosing = {}

--- Asks the manager's rules, in the order of their names, about the store as it is now. Nothing is written. A rule that
--- fails or overruns is a remark itself, with the code of the error. A rule is called with a copy of { cause =
--- "diagnostics", now, runs, ended, sessions, limits, schedules, stats, has_more }: the 1000 oldest runs in flight, the
--- 1000 newest that have ended, without documents of more than 1 KiB; 1000 of the others; `has_more` names the lists
--- that are not whole.
--- Fails with what reading fails with.
---@return keel.Remark[]? remarks
---@return keel.Error? err
function Diagnosing:diagnostics()
  local rules, names = self.context.diagnostics or {}, {}
  for name in next, rules do names[#names + 1] = name end
  if #names == 0 then return {} end
  table.sort(names)
  policies.refresh_all(rules, self.context.log)
  local snapshot, err = require "keel.store.picture"("diagnostics", function(...) return self.client:call(...) end)
  if not snapshot then return nil, err end
  snapshot.now = self.client:now()
  local list = {}
  for _, name in ipairs(names) do
    local rule = policies.find("diagnostics", name, rules)
    for _, remark in ipairs(ask(rule, self.context.diagnostics_budget or BUDGET, snapshot)) do
      remark.rule = name
      list[#list + 1] = remark
    end
  end
  return list
end

return Diagnosing
