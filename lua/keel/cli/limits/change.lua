--- What the commands have in common that change what is set for a name: they say what came of it.
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"

local change = {}

--- What is set for a name, and how many hold it and wait for it.
---@param manager keel.RunManager
---@param name string
---@return keel.Limit? limit nil without an error: nothing is set for it, and nobody wants it
---@return keel.Error? err
function change.find(manager, name)
  local after
  repeat
    local page, err = manager:limits { after = after }
    if not page then return nil, err end
    for _, limit in ipairs(page) do
      if limit.name == name then return limit end
    end
    after = page[#page] and page[#page].name
  until not after
end

-- How many runs there are of a name: who has mistyped it sees it by that.
local function told(limit)
  if limit.holding == 0 and limit.waiting == 0 then return "nothing of it runs or waits" end
  return ("%d running, %d waiting"):format(limit.holding, limit.waiting)
end

--- Opens the store, which is made if need be, changes something, and says what came of it.
---@param given table the options; `name`
---@param how "make"|"change"
---@param said string
---@param write fun(manager: keel.RunManager): any?, keel.Error?
---@return nil
---@return keel.Error? err
function change.apply(given, how, said, write)
  local store <close>, manager = opening.manager(given, how)
  if not store then return nil, manager end
  local done, err = write(manager)
  if not done then return nil, err end
  local limit
  limit, err = change.find(manager, given.name)
  if err then return nil, err end
  limit = limit or { name = given.name, paused = false, holding = 0, waiting = 0 }
  if given.json then return output.json(limit) end
  output.note(given, ("%s %s: %s"):format(output.plain(given.name), said, told(limit)))
end

return change
