--- The reservations that a manager holds end here; what the store did not let end is tried again with the next tick.
--- The end of the process does it at the latest.

---@class keel.Reservations
---@field private _client keel.StoreClient
---@field private _left table<string, string> those that could not be ended: id -> the status they are to get
local Reservations = {}
Reservations.__index = Reservations

---@param client keel.StoreClient
---@return keel.Reservations
function Reservations.new(client)
  return setmetatable({ _client = client, _left = {} }, Reservations)
end

-- Ends a reservation. False when the store failed; one that was ended by somebody else, since its lease or holder was
-- given up, has ended, too.
local function finish(self, run_id, status, problem)
  local done, err = self._client:call("update_status", run_id, status, { error = problem })
  if done ~= nil then return true end
  if err.code == "invalid_transition" then
    self._client:log("warn", "a reservation was lost before it ended", { run_id = run_id, error = tostring(err) })
    return true
  end
  return false, err
end

--- Ends a reservation.
---@param run_id string
---@param status "success"|"error"
---@param problem? string what its holder raised
function Reservations:release(run_id, status, problem)
  local done, err = finish(self, run_id, status, problem)
  if not done and problem then -- it may be no text that can be stored
    done, err = finish(self, run_id, status)
  end
  if done then return end
  self._left[run_id] = status
  self._client:log("error", "a reservation could not be ended; it is tried again at the next tick",
    { run_id = run_id, error = tostring(err) })
end

--- Tries again to end those that could not be ended.
function Reservations:release_left()
  for run_id, status in pairs(self._left) do
    if finish(self, run_id, status) then self._left[run_id] = nil end
  end
end

return Reservations
