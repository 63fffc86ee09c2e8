--- Limits by name, and pauses: what holds for slots, rates, threads and everything, in all processes of the store.
local check = require "keel.check"
local kernel = require "keel.kernel"

---@class keel.manager.Limiting: keel.ManagerCore
local Limiting = {}

--- Changes what is set for a name: what is not given stays, keel.null takes it away. A name of slots has a `max`; with
--- `per` it is a rate's. More places are filled at once; fewer take effect as runs end. Nothing that runs is stopped.
--- Raises for wrong types. Fails with invalid_request (name, max, per) and what writing fails with.
---@param name string
---@param limit keel.LimitChange
---@return true? done
---@return keel.Error? err
function Limiting:set_limit(name, limit)
  check.type(name, "string", 1, "set_limit")
  local checked = check.options(limit, { max = "number", per = "number", paused = "boolean", reason = "string" }, 2,
    "set_limit")
  local change = {}
  for field, value in next, checked do change[field] = value end
  for _, field in ipairs { "max", "per", "reason" } do -- null means something here, unlike in options
    if limit and limit[field] == kernel.null then change[field] = kernel.null end
  end
  local result, err = self.client:call("set_limit", name, change)
  return result, err
end

--- What is set for names, and for those that runs in flight want, by name; with how many hold each and wait for it.
--- Raises for wrong types. Fails with invalid_request, limit_too_large and what reading fails with.
---@param options? { after?: string, limit?: integer } after: go on behind this name; limit: 1 to 1000, the default
---@return keel.Limit[]? limits
---@return keel.Error? err
function Limiting:limits(options)
  options = check.options(options, { after = "string", limit = "integer" }, 1, "limits")
  local result, err = self.client:call("limits", options)
  return result, err
end

--- Lets nothing start of a name of slots or rates, of a thread ("thread:ID") or of everything ("*") until it is
--- resumed. What runs goes on. When it returns, nothing of it starts any more, in any process.
--- Raises for wrong types. Fails with invalid_request (name) and what writing fails with.
---@param name string
---@param options? { reason?: string } for people
---@return true? done
---@return keel.Error? err
function Limiting:pause(name, options)
  check.type(name, "string", 1, "pause")
  options = check.options(options, { reason = "string" }, 2, "pause")
  local result, err = self.client:call("pause", name, options)
  return result, err
end

--- Ends a pause: what waits may start.
--- Raises for wrong types. Fails with invalid_request (name) and what writing fails with.
---@param name string
---@return true? done
---@return keel.Error? err
function Limiting:resume(name)
  check.type(name, "string", 1, "resume")
  local result, err = self.client:call("resume", name)
  return result, err
end

return Limiting
