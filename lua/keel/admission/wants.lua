--- The slots and rates of a newcomer: those that its caller asked for, and those that its strategy adds.
local errors = require "keel.errors"
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

local kinds = { "slots", "rates" }

--- Looks at what a caller asked for. No strategy is to be asked about what is none.
---@param asked { slots?: table[], rates?: table[] }
---@return keel.Error? err invalid_request (slots, rates)
function wants.check(asked)
  if not asked.slots and not asked.rates then return nil end -- as nearly all
  for _, kind in ipairs(kinds) do
    if asked[kind] then
      local is_sound, err = kernel.check_wants(asked[kind], kind)
      if not is_sound then return err end
    end
  end
end

--- Makes the slots and rates of a decision all that the newcomer wants. Both have been checked: together they may still
--- be too many, and then the caller asked for too many.
---@param decision table as policy/decision.lua has it; its slots and rates are replaced
---@param request { slots?: table[], rates?: table[] } what the caller asked for
---@return keel.Error? err invalid_request (slots, rates)
function wants.add(decision, request)
  for _, kind in ipairs(kinds) do
    if decision[kind] and request[kind] then
      decision[kind] = joined(request[kind], decision[kind])
      local is_sound, err = kernel.check_wants(decision[kind], kind)
      if not is_sound then
        return errors.new("invalid_request", err.message .. ", with those of the strategy", { field = kind })
      end
    end
  end
end

return wants
