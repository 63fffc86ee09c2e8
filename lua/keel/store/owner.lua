--- Whether anybody looks after a run in flight.
local owner = {}

--- Whether the session that has a run is gone, or nobody has it though it is not there to be claimed.
---@param run table in flight
---@param is_alive fun(session_id: integer): boolean
---@return boolean
function owner.is_gone(run, is_alive)
  if run.session_id == nil then return not run.claimable end
  return not is_alive(run.session_id)
end

return owner
