--- keel runs show: all about one run, and why it is not running.
local describe = require "keel.cli.describe"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local shape = require "keel.cli.shape"
local terminal = require "keel.cli.terminal"
local which = require "keel.cli.which"

-- In the order of interest; the rest follows by name.
local first = { "run_id", "thread_id", "status", "error", "error_code", "exit_code", "stop_reason", "cancel_action",
  "created_at", "started_at", "ended_at", "multitask_strategy", "attempt", "max_attempts", "user_id", "logs_path",
  "artifacts_path", "metadata", "kwargs" }

-- What says nothing when it has this value.
local silent = { priority = 0, losses = 0, claimable = false, finalizing = false, operation_kind = "run",
  on_disconnect = "cancel", fence = 1 }

local function shown(name, value)
  local is_counter = name:find "_count$" or name:find "tokens$"
  if value == nil or value == silent[name] or is_counter and value == 0 then return nil end
  if type(value) ~= "table" then return value end
  return next(value) ~= nil and value or nil
end

-- Why it is not running, as the manager tells, and what it does not.
local function explain(store, manager, run)
  local answer, err = manager:explain(run.run_id)
  if not answer then return nil, err end
  if answer.note then answer.reason = answer.reason .. "; " .. answer.note end
  local is_known = answer.waits_for ~= "recovery" or answer.reason:find("owner is gone: it waits", 1, true)
  if opening.is_orphan(store, run) and is_known then
    answer.reason = "its process is gone: 'keel reconcile' recovers it"
  end
  return answer
end

local function print_run(run, answer)
  local fields, rows, seen = shape.fields(run), {}, {}
  for _, name in ipairs(first) do
    rows[#rows + 1], seen[name] = { name, shown(name, fields[name]) }, true
  end
  local rest = {}
  for name in pairs(fields) do
    if not seen[name] then rest[#rest + 1] = name end
  end
  table.sort(rest)
  for _, name in ipairs(rest) do rows[#rows + 1] = { name, shown(name, fields[name]) } end
  rows[#rows + 1] = { "why", answer.reason }
  for i, reason in ipairs(answer.reasons or {}) do
    local at = reason.startable_at and (" (until %s)"):format(reason.startable_at) or ""
    if i == 1 and reason.reason == answer.reason then
      rows[#rows] = { "why", answer.reason .. at }
    else
      rows[#rows + 1] = { "and", reason.reason .. at }
    end
  end
  rows[#rows + 1] = { "waited", answer.waited and output.duration(answer.waited) }
  output.fields(rows)
end

return {
  about = "Shows a run with all its fields, why it is not running, and what happened to it.",
  arguments = { { "run", which.about } },
  run = function(given)
    local store <close>, manager = opening.manager(given, "read")
    if not store then return nil, manager end
    local run_id, run, err
    run_id, err = which.run(store, given.run)
    if not run_id then return nil, err end
    run, err = store:get(run_id)
    if not run then return nil, err or opening.no_run(run_id) end
    local answer
    answer, err = explain(store, manager, run)
    if not answer then return nil, err end
    if given.json then
      local fields = shape.fields(run)
      fields.explanation = answer
      return output.json(fields)
    end
    print_run(run, answer)
    terminal.print()
    local page, cursor
    repeat
      page, err = store:read_events(cursor, 1000, { run_id = run.run_id })
      if not page then return nil, err end
      for _, event in ipairs(page.events) do terminal.print(describe.event(event, false)) end
      cursor = page.cursor
    until not page.has_more
  end,
}
