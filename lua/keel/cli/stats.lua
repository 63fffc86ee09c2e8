--- keel stats: how much is in the store.
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local terminal = require "keel.cli.terminal"
local usage = require "keel.cli.usage"

local order = { "path", "bytes", "runs", "pending_runs", "running_runs", "delayed_runs", "blocked_runs", "limited_runs",
  "oldest_waiting", "oldest_waiting_age", "limits", "pauses", "runtimes", "workers", "active_workers",
  "transcript_entries", "diagnostics", "leases", "schedules", "sessions", "alive_sessions", "events", "event_low_water",
  "event_high_water" }

-- How a figure is shown that is no plain number.
local shown = { bytes = output.size, oldest_waiting_age = function(age) return age and output.duration(age) end }

-- For a monitoring system.
local function print_metrics(given)
  if given.json then return nil, usage.error "--prometheus is a format of its own: leave --json out" end
  local store <close>, manager = opening.manager(given, "read")
  if not store then return nil, manager end
  local metrics, err = manager:metrics()
  if not metrics then return nil, err end
  terminal.print((require "keel.cli.prometheus"(metrics):gsub("\n$", "")))
end

return {
  about = "Counts what is in the store. It takes time in proportion.",
  options = { { "--prometheus", about = "what goes on, as text for Prometheus" } },
  run = function(given)
    if given.prometheus then return print_metrics(given) end
    local store <close>, err = opening.store(given, "read")
    if not store then return nil, err end
    local stats, sessions
    stats, err = store:stats()
    if not stats then return nil, err end
    sessions, err = store:sessions()
    if not sessions then return nil, err end
    stats.path, stats.alive_sessions = store:path(), 0
    for _, session in ipairs(sessions) do
      if session.alive then stats.alive_sessions = stats.alive_sessions + 1 end
    end
    if given.json then return output.json(stats) end
    local rows = {}
    for i, name in ipairs(order) do
      rows[i] = { (name:gsub("_", " ")), shown[name] and shown[name](stats[name]) or stats[name] }
    end
    output.fields(rows)
  end,
}
