--- keel runs wait: until runs have ended.
local kernel = require "keel.kernel"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local shape = require "keel.cli.shape"
local terminal = require "keel.cli.terminal"
local usage = require "keel.cli.usage"

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

return {
  about = "Waits until runs have ended: 0 when all ended as success, 1 when one did not, 124 when the time is over.",
  arguments = { { "run", "ids", many = true } },
  options = { { "--timeout", value = "TIME", convert = usage.duration, about = "how long, for all of them" } },
  run = function(given)
    local store <close>, manager = opening.manager(given, "read")
    if not store then return nil, manager end
    local deadline, code = given.timeout and kernel.monotonic() + given.timeout or math.huge, 0
    for _, run_id in ipairs(given.run) do
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
