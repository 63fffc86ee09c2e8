--- An attempt as `keel work` has it: a process (attempt.lua), told what to run, and heard when it has ended.
local kernel = require "keel.kernel"
local keel_command = require "keel.command"

local child = {}
child.__index = child

-- What has come of the answer, when the process has ended and said all.
local function settle(self)
  if not (self._has_ended and self._is_silent) or self.settled then return end
  self.settled = true
  self._channel:close()
  local text = table.concat(self._said)
  local outcome = text ~= "" and kernel.json.decode(text)
  self._on_end(type(outcome) == "table" and outcome or nil)
end

--- Starts one. Nil and the system's text when that is not possible.
---@param uv table
---@param order table the words of the command, where it is to run, and so on: attempt.lua
---@param descriptors { null: integer, lock?: integer }
---@param on_end fun(outcome?: table) called once, from the loop; nil: it was killed before it could say
---@return table? child
---@return string? problem
function child.start(uv, order, descriptors, on_end)
  local channel = uv.new_pipe(false)
  local self = setmetatable({ _channel = channel, _said = {}, _on_end = on_end, settled = false }, child)
  local handle, problem
  handle, problem = uv.spawn("/proc/self/exe", { args = { "__attempt" },
    stdio = { descriptors.null, 2, 2, channel }, detached = true }, function()
      self._has_ended = true
      handle:close()
      settle(self)
    end)
  if not handle then
    channel:close()
    return nil, problem
  end
  channel:read_start(function(_, data)
    if data then
      self._said[#self._said + 1] = data
      return
    end
    self._is_silent = true
    settle(self)
  end)
  if descriptors.lock then self:hold(descriptors.lock) end
  channel:write(kernel.json.encode(order) .. "\n")
  return self
end

--- Has a descriptor, the session's lock, kept open for as long as anything of the command is there.
---@param descriptor integer
function child:hold(descriptor)
  if self.settled or self._is_silent or self._channel:is_closing() then return end
  keel_command.pass(self._channel:fileno(), "hold\n", descriptor) -- one that cannot take it is gone
end

--- Asks for its end: SIGTERM, and SIGKILL after the grace; SIGKILL at once with `at_once`.
---@param at_once? boolean
function child:stop(at_once)
  if self.settled or self._is_silent or self._channel:is_closing() then return end
  self._channel:write(at_once and "kill\n" or "end\n")
end

return child
