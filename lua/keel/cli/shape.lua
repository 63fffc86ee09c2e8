--- The JSON of what is printed with --json: one object a line, with the names of the reference.
local shape = {}

-- What of a record is of this process only.
local process_local = { abort_event = true, abort_action = true, task = true, store_only = true }

--- The fields of a run that are stored.
---@param run table a record or a row
---@return table
function shape.fields(run)
  local fields = {}
  for name, value in pairs(run) do
    if not process_local[name] then fields[name] = value end
  end
  return fields
end

return shape
