--- Runs and events in words: a line, a row of a table.
local output = require "keel.cli.output"
local width = require "keel.cli.width"
local words = require "keel.cli.exec.words"

local describe = {}

-- --- Runs -----------------------------------------------------------------------------------------------------------

-- How far a run is that runs: "3/7 files". What a store says may be anything.
local function progress_of(run)
  local progress = run.status == "running" and type(run.progress) == "table" and run.progress or {}
  local parts = {}
  if type(progress.done) == "number" then
    local total = type(progress.total) == "number" and "/" .. output.plain(progress.total) or ""
    parts[1] = output.plain(progress.done) .. total
  end
  if type(progress.message) == "string" then parts[#parts + 1] = progress.message end
  return table.concat(parts, " ")
end

--- What a run is about, in a few words: how far it is, its command, and how it ended.
---@param run table
---@param is_orphan? boolean
---@return string
function describe.what(run, is_orphan)
  local text = words.is_kept(run.kwargs) and words.quoted(words.restored(run.kwargs)) or ""
  if is_orphan then return "its process is gone" .. (text ~= "" and ": " .. text or "") end
  if run.error and run.status ~= "success" then return run.error .. (text ~= "" and ": " .. text or "") end
  local progress = progress_of(run)
  return progress .. (progress ~= "" and text ~= "" and ": " or "") .. text
end

-- The titles of a table of runs.
local run_titles = { "STATUS", "<RUN", "~THREAD", "?>AGE", "?>TOOK", "?>CODE", "WHAT" }

-- A run as a row under them.
local function run_row(run, now, is_orphan)
  return { run.status, run.run_id, run.thread_id, output.duration(output.between(run.created_at, now)),
    output.duration(output.between(run.started_at, run.ended_at or now)), run.exit_code,
    describe.what(run, is_orphan) }
end

--- Prints a table of runs.
---@param runs table[]
---@param now string
---@param orphans? table<string, boolean> by id
function describe.print_runs(runs, now, orphans)
  local rows = {}
  for i, run in ipairs(runs) do rows[i] = run_row(run, now, orphans and orphans[run.run_id]) end
  output.table(run_titles, rows)
end

-- --- Events ---------------------------------------------------------------------------------------------------------

-- The fields of an event's data that say most, in this order.
local telling = { "status", "error", "stop_reason", "strategy", "reason", "action", "attempt", "exit_code", "delay",
  "replaced" }
-- Long lists, told as a number; and what only programs care for.
local counted = { "cancelled", "queued_behind" }
local left_out = { "strategy_version", "fence", "session_id" }

local function details(event)
  local data, parts, seen = event.data, {}, {}
  if type(data) ~= "table" then return "" end
  for _, name in ipairs(telling) do
    seen[name] = true
    if data[name] ~= nil then
      local text = output.plain(data[name])
      parts[#parts + 1] = (name == "status" or name == "error") and output.paint(text) or name .. "=" .. text
    end
  end
  for _, name in ipairs(counted) do
    seen[name] = true
    if type(data[name]) == "table" then parts[#parts + 1] = ("%s=%d"):format(name, #data[name]) end
  end
  for _, name in ipairs(left_out) do seen[name] = true end
  local rest = {}
  for name, value in pairs(data) do
    if not seen[name] then rest[#rest + 1] = output.plain(name) .. "=" .. output.plain(value) end
  end
  table.sort(rest)
  table.move(rest, 1, #rest, #parts + 1, parts)
  return table.concat(parts, "  ")
end

--- An event in a line: id, time (UTC), kind, whom it is about, details.
---@param event table
---@param with_subject boolean
---@return string
function describe.event(event, with_subject)
  local clock = event.at:sub(1, 10) .. " " .. event.at:sub(12, 19) .. (event.at:match "%.%d%d%d" or ".000")
  local subject = ""
  if with_subject then
    subject = ("%s  %s  "):format(width.pad(output.plain(event.thread_id or event.runtime_id or "-"), 24),
      output.plain(event.run_id or event.worker_ref and event.worker_ref.worker_id or "-"))
  end
  local line = ("%6d  %s  %-20s  %s%s"):format(event.id, clock, output.plain(event.kind), subject, details(event))
  if event.message then line = line .. "  " .. output.plain(event.message) end
  return (line:gsub(" +$", ""))
end

return describe
