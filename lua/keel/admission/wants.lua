--- The slots and rates of a newcomer: those that its caller asked for, and those that its strategy adds.
local kernel = require "keel.kernel"

local wants = {}

-- Those that were asked for, each in its place; one that is decided takes the place of that of the same name.
local function joined(asked, decided)
  local list, place = {}, {}
  for _, some in ipairs { asked or {}, decided } do
    for _, want in ipairs(some) do
      local at = place[want.name] or #list + 1
      list[at], place[want.name] = want, at
    end
  end
  return list
end

--- Makes the slots and rates of a decision all that the newcomer wants.
---@param decision table as policy/decision.lua has it; its slots and rates are replaced
---@param request { slots?: table[], rates?: table[] } what the caller asked for
---@return string? problem
function wants.add(decision, request)
  for _, name in ipairs { "slots", "rates" } do
    if decision[name] and request[name] then
      decision[name] = joined(request[name], decision[name])
      local is_sound, err = kernel.check_wants(decision[name], name)
      if not is_sound then return "with those of the request: " .. err.message end
    end
  end
end

return wants
