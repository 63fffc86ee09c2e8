--- What is left of a picture of keel top by a text in thread, handler or status, in capitals or not.
local kernel = require "keel.kernel"

local function fits(run, text)
  for _, place in ipairs { run.thread_id, run.handler or "", run.status } do
    if place:lower():find(text, 1, true) then return true end
  end
  return false
end

local function kept(list, is_kept)
  local rest = kernel.array()
  for _, item in ipairs(list) do
    if is_kept(item) then rest[#rest + 1] = item end
  end
  return rest
end

--- The picture with the runs that fit, and their threads. The counts stay: they are of all.
---@param shot table
---@param text string "": all of it
---@return table shot
return function(shot, text)
  if text == "" then return shot end
  text = text:lower()
  local rest, threads = {}, {}
  for name, value in pairs(shot) do rest[name] = value end
  rest.runs = kept(shot.runs, function(run) return fits(run, text) end)
  rest.ended = kept(shot.ended, function(run) return fits(run, text) end)
  for _, run in ipairs(rest.runs) do threads[run.thread_id] = true end
  rest.threads = kept(shot.threads, function(thread) return threads[thread.thread_id] end)
  return rest
end
