--- All about one run, as lines for the screen of keel top.
local about = require "keel.cli.about"
local describe = require "keel.cli.describe"
local log = require "keel.cli.log"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local terminal = require "keel.cli.terminal"

local EVENTS = 10
local LONGEST = 8 * 1024 -- bytes of a field that are shown: a document may have megabytes

-- The last events of a run, as lines.
local function events_of(store, run_id)
  local filter = { run_id = run_id }
  local cursor, page, err
  cursor, err = log.cursor_before_last(store, EVENTS, filter)
  if not cursor then return nil, err end
  page, err = store:read_events(cursor, EVENTS, filter)
  if not page then return nil, err end
  local lines = {}
  for i, event in ipairs(page.events) do lines[i] = describe.event(event, false) end
  return lines
end

-- Without colours, as a line may have to be broken, and not longer than somebody would read on a screen.
local function fitting(lines, run_id)
  for i, line in ipairs(lines) do
    if #line > LONGEST then
      local whole = utf8.offset(line, 0, LONGEST + 1) or LONGEST + 1 -- no character is taken apart
      line = ("%s … %d bytes more: keel runs show %s"):format(line:sub(1, whole - 1), #line - whole + 1, run_id)
    end
    lines[i] = terminal.finished(line):gsub("\27%[%d+m", "")
  end
  return lines
end

--- The lines.
---@param store keel.Store
---@param manager keel.RunManager
---@param run_id string
---@return string[]? lines
---@return keel.Error? err not_found, when the run was deleted; and what reading fails with
return function(store, manager, run_id)
  local run, err = store:get(run_id)
  if not run then return nil, err or opening.no_run(run_id) end
  local answer, events
  answer, err = about.explain(store, manager, run)
  if not answer then return nil, err end
  events, err = events_of(store, run_id)
  if not events then return nil, err end
  local lines = output.field_lines(about.fields(run, answer))
  lines[#lines + 1] = ""
  table.move(events, 1, #events, #lines + 1, lines)
  lines[#lines + 1] = ""
  lines[#lines + 1] = run.logs_path and ("what it said: keel runs output " .. run_id) or "what it said was not kept"
  return fitting(lines, run_id)
end
