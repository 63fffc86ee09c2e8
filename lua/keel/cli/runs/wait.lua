--- keel runs wait: until runs have ended.
local kernel = require "keel.kernel"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local shape = require "keel.cli.shape"
local terminal = require "keel.cli.terminal"
local usage = require "keel.cli.usage"
local which = require "keel.cli.which"

local STEP = 0.5 -- seconds between looks at whether its owner is there; its end comes at once

-- Waits for one run. Returns it, or nil and why not.
local function wait(manager, store, run_id, deadline)
  while true do
    local left = deadline - kernel.monotonic()
    local run, err = manager:wait(run_id, { timeout = math.max(0, math.min(left, STEP)) })
    if run then return run end
    if err.code == "not_found" then return nil, opening.no_run(run_id) end
    local in_vain = err.code == "orphan"
    if not in_vain and (err.code ~= "timeout" or left <= STEP) then return nil, err end
    local row = store:get(run_id)
    if row and opening.is_orphan(store, row) then
      return nil, { code = "orphan", run_id = run_id, transient = false,
        message = ("run %s is %s, but its process is gone; 'keel reconcile' recovers it"):format(run_id, row.status) }
    end
  end
end

-- The ids of the runs that are meant: of a filter those in flight, and where it says which work is meant, by its batch
-- or time, those too that have ended.
local function find(store, given)
  local filter = which.filter(given)
  if not filter then return which.runs(store, given.run) end
  if not filter.batch_id and not filter.since then return which.in_flight(store, filter) end
  local ids = {}
  local looked_at, err = which.each(store, filter, function(run) table.insert(ids, 1, run.run_id) end)
  if not looked_at then return nil, err end
  return ids
end

local options = which.options { "pending", "running" }
options[#options + 1] = { "--timeout", value = "TIME", convert = usage.duration,
  about = "how long, for all of them" }

return {
  about = "Waits until runs have ended: 0 when all ended as success, 1 when one did not, 124 when the time is over.",
  more = [[
Of the runs that a filter means it waits for those in flight. With --batch or --since what has ended counts too.]],
  arguments = { { "run", which.about_many, many = true, optional = true } },
  options = options,
  run = function(given)
    local misuse = which.misuse(given)
    if misuse then return nil, misuse end
    local store <close>, manager = opening.manager(given, "read")
    if not store then return nil, manager end
    local deadline, code = given.timeout and kernel.monotonic() + given.timeout or math.huge, 0
    local ids, failure = find(store, given)
    if not ids then return nil, failure end
    if #ids == 0 then output.note(given, "there is no such run") end
    for _, run_id in ipairs(ids) do
      local run, err = wait(manager, store, run_id, deadline)
      if not run then return nil, err end
      if run.status ~= "success" then code = 1 end
      if given.json then
        output.json(shape.fields(run))
      elseif not given.quiet then
        local text = ("%s  %s  %s"):format(run_id, output.paint(run.status), output.plain(run.error))
        terminal.print((text:gsub(" +$", "")))
      end
    end
    return code
  end,
}
