--- The order of the runs of a batch: by plan entry, and numbers in it by their value.
local plan = {}

-- A text whose bytes sort as the entry does: each number with its number of digits before it.
local function key_of(entry)
  return (entry:gsub("%d+", function(digits)
    digits = digits:match "^0*(%d.-)$"
    return ("%010d%s"):format(#digits, digits)
  end))
end

--- Sorts runs that are in the order of insertion, which decides between equal entries; runs without one come last.
---@param runs keel.TestRun[]
function plan.sort(runs)
  local place, key = {}, {}
  for i, run in ipairs(runs) do
    place[run] = i
    key[run] = run.plan_entry and key_of(run.plan_entry)
  end
  table.sort(runs, function(a, b)
    local of_a, of_b = key[a], key[b]
    if of_a == of_b then return place[a] < place[b] end
    if not of_a or not of_b then return of_a ~= nil end
    return of_a < of_b
  end)
end

return plan
