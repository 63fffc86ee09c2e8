--- What a policy of any kind may return, checked: tables of known fields, and lists. All is read without metamethods,
--- as what comes out of a sandbox is: they would run outside of the policy's budget.
local contract = {}

--- Reads a table of known fields.
---@param answer any
---@param what string what it is, for the problem: "the decision"
---@param known table<string, string|true> name -> type, or true for any
---@return table<string, any>? given the same in a table of its own
---@return string? problem
function contract.fields(answer, what, known)
  if type(answer) ~= "table" then return nil, ("%s must be a table, got %s"):format(what, type(answer)) end
  local given = {}
  for name, value in next, answer do
    local expected = known[name]
    if not expected then return nil, ("%s has the unknown field '%s'"):format(what, tostring(name)) end
    if expected ~= true and type(value) ~= expected then
      return nil, ("%s must be a %s, got %s"):format(name, expected, type(value))
    end
    if expected == "string" and not utf8.len(value) then return nil, name .. " is not valid UTF-8" end
    given[name] = value
  end
  return given
end

--- Reads a list without holes.
---@param answer table
---@param what string what it is, for the problem
---@return any[]? items in a table of their own
---@return string? problem
function contract.list(answer, what)
  local items, count, size = {}, 0, rawlen(answer)
  for key, item in next, answer do
    if math.type(key) ~= "integer" or key < 1 or key > size then return nil, what .. " must be a list" end
    items[key], count = item, count + 1
  end
  -- The length of a list with a hole may be that of all of it; what is behind the hole must not go unnoticed.
  if count < size then return nil, what .. " must be a list without holes" end
  return items
end

return contract
