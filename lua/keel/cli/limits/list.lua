--- keel limits list: what is set for names, and who holds them and waits.
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"

local function shown(limit)
  if not limit.max then return "" end
  return limit.per and ("%d/%s"):format(limit.max, output.span(limit.per)) or tostring(limit.max)
end

return {
  about = "Lists what is set for the names of slots and rates, pauses, and the names that runs in flight want:"
    .. " how many hold each, and how many wait for it.",
  run = function(given)
    local store <close>, err = opening.store(given, "read")
    if not store then return nil, err end
    local rows, after = {}, nil
    repeat
      local page
      page, err = store:limits { after = after }
      if not page then return nil, err end
      for _, limit in ipairs(page) do
        if given.json then output.json(limit) end
        rows[#rows + 1] = { limit.name, shown(limit), limit.holding, limit.waiting, limit.paused and "paused" or "",
          limit.reason or "" }
      end
      after = page[#page] and page[#page].name
    until not after
    if given.json then return end
    if #rows == 0 then return output.note(given, "nothing is set, and no run wants a slot or a rate") end
    output.table({ "~NAME", "LIMIT", ">HELD", ">WAITING", "?STATE", "REASON" }, rows)
  end,
}
