--- A signal that is given once: stop what you are doing. It lives in the process only.

---@class keel.AbortEvent
local AbortEvent = {}
AbortEvent.__index = AbortEvent
AbortEvent.__name = "keel.manager.abort_event"

---@return keel.AbortEvent
function AbortEvent.new()
  -- Nearly all have one listener at most: a function is that one, a table is a list of several.
  return setmetatable({ _set = false, _listeners = nil }, AbortEvent)
end

--- Whether the signal was given.
---@return boolean
function AbortEvent:is_set()
  return self._set
end

--- Gives the signal, and calls all its listeners. Again: nothing. A listener that raises does not keep the others from
--- being called: `report` gets its error; without `report` the first error is raised after the last listener.
---@param report? fun(err: any)
function AbortEvent:set(report)
  if self._set then return end
  self._set = true
  local listeners, failure = self._listeners, nil
  self._listeners = nil
  if type(listeners) ~= "table" then listeners = { listeners } end
  for _, listener in ipairs(listeners) do
    local ok, err = pcall(listener)
    if not ok and report then report(err) end
    if not ok then failure = failure or table.pack(err) end
  end
  if failure and not report then error(failure[1], 0) end
end

--- Calls fn() when the signal is given; at once when it was.
---@param fn fun()
function AbortEvent:on_set(fn)
  if type(fn) ~= "function" then
    error("bad argument #1 to 'on_set' (function expected, got " .. type(fn) .. ")", 2)
  end
  if self._set then return fn() end
  local listeners = self._listeners
  if listeners == nil then
    self._listeners = fn
  elseif type(listeners) == "function" then
    self._listeners = { listeners, fn }
  else
    table.insert(listeners, fn)
  end
end

function AbortEvent:__tostring()
  return "keel.abort_event (" .. (self._set and "set" or "not set") .. ")"
end

return AbortEvent
