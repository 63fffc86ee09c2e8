--- Writing to a process that may not read: SIGPIPE would end the whole program, where a failed write is enough.
---
--- The signal is caught only as long as something is being written, and not at all when the host ignores or catches it
--- itself: libuv would put it back to ending the program.
local broken_pipe = {}

local SIGPIPE = 13

local writers, catcher = 0, nil -- the signal is the whole program's, whichever loop writes

-- Whether the signal would end the program.
local function is_fatal()
  local file <close> = io.open "/proc/self/status"
  for line in (file and file:lines() or function() end) do
    local mask = line:match "^SigIgn:%s*(%x+)" or line:match "^SigCgt:%s*(%x+)"
    if mask and tonumber(mask, 16) >> (SIGPIPE - 1) & 1 == 1 then return false end
  end
  return true
end

--- Lets writing into a closed pipe fail, until the function it returns is called, once.
---@param uv table luv, or a module with its functions
---@return fun() release
function broken_pipe.catch(uv)
  if writers == 0 and is_fatal() then
    catcher = uv.new_signal()
    catcher:start "sigpipe"
  end
  writers = writers + 1
  return function()
    writers = writers - 1
    if writers > 0 or not catcher then return end
    catcher:close()
    catcher = nil
  end
end

return broken_pipe
