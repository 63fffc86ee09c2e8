--- What a run has said, as it is kept in a folder: one file for all, or one for each of the two streams, with the parts
--- behind it of one that is bounded (kept.h).
local keel_command = require "keel.command"
local terminal = require "keel.cli.terminal"

local said = {}

local CHUNK = 64 * 1024
local ENOENT = 2

---@class keel.SaidSource
---@field path string
---@field to file* where it is shown
---@field number? integer the part that was read last; nil: nothing was found yet
---@field file? file*

--- What there is in a folder, to be shown.
---@param folder string
---@return keel.SaidSource[] sources
function said.sources(folder)
  if keel_command.stat(folder .. "/output") then return { { path = folder .. "/output", to = io.stdout } } end
  return { { path = folder .. "/stdout", to = io.stdout }, { path = folder .. "/stderr", to = io.stderr } }
end

-- The oldest part behind `number` that is there; nil: none.
local function next_part(source, number)
  local folder, name = source.path:match "^(.*)/([^/]*)$"
  local next_number
  for _, entry in ipairs(keel_command.entries(folder) or {}) do
    local part = entry:sub(1, #name + 1) == name .. "." and math.tointeger(tonumber(entry:sub(#name + 2)))
    if part and part > number and part < (next_number or math.huge) then next_number = part end
  end
  return next_number
end

-- Opens a part of a source; false: it is not there. What another user has written is not for our terminal.
local function open(source, number)
  local path = number == 0 and source.path or ("%s.%d"):format(source.path, number)
  local file, user, errno = keel_command.open_file(path)
  if not file then
    if errno == ENOENT then return false end
    return nil, ("cannot read %s: %s"):format(path, user)
  end
  if user ~= keel_command.user_id() and keel_command.is_terminal(source.to == io.stderr and 2 or 1) then
    file:close()
    return nil, ("%s belongs to user %d, who may have written anything: add '2>&1 | less'"):format(path, user)
  end
  source.file, source.number = file, number
  return true
end

-- Copies what is there of the open part. False: nobody reads it.
local function copy(source)
  source.file:seek("cur", 0) -- what has been written since it ended
  for chunk in function() return source.file:read(CHUNK) end do
    if not source.to:write(chunk) then return false end
  end
  return source.to:flush() ~= nil
end

--- Shows what there is of a source, and was not shown yet.
---@param source keel.SaidSource
---@return boolean? is_read false: nobody reads it; nil: it cannot be shown
---@return string? problem
function said.show(source)
  while true do
    if not source.file then
      local opened, problem = open(source, source.number or 0)
      if not opened then return opened == false or nil, problem end
    end
    local after = next_part(source, source.number)
    if not copy(source) then return false end -- after the look: what is followed by a part has all it will have
    if not after then return true end
    source.file:close()
    source.file = nil
    if after > source.number + 1 then
      terminal.say(("keel: %d parts of the output were not kept"):format(after - source.number - 1))
    end
    source.number = after
  end
end

return said
