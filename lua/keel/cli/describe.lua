--- Runs and events in words: a line, a row of a table.
local output = require "keel.cli.output"
local terminal = require "keel.cli.terminal"
local which = require "keel.cli.which"
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

local SHORT = 60 -- columns that are shown of what is kept with a run

-- What people call a run: its label, a text in its metadata.
local function label_of(run)
  local label = type(run.metadata) == "table" and run.metadata.label
  return type(label) == "string" and label ~= "" and label or nil
end

-- What a run that is no command is about: whose it is, and what is kept with it.
local function subject_of(run)
  local parts = { run.assistant_id }
  local rest = {}
  for name, value in pairs(type(run.metadata) == "table" and run.metadata or {}) do
    if name ~= "label" or type(value) ~= "string" then rest[name] = value end
  end
  if next(rest) ~= nil then parts[#parts + 1] = width.cut(terminal.json(rest), SHORT) end
  return table.concat(parts, " ")
end

--- What a run is about, in a few words: how far it is, how it ended, its label, its command; of one that is no command
--- its assistant and metadata.
---@param run table
---@param is_orphan? boolean
---@return string
function describe.what(run, is_orphan)
  local text = words.is_kept(run.kwargs) and words.quoted(words.restored(run.kwargs)) or subject_of(run)
  local state = is_orphan and "its process is gone" or run.error and run.status ~= "success" and run.error or
    progress_of(run)
  local parts = {}
  for _, part in ipairs { state, label_of(run) or "", text } do
    if part ~= "" then parts[#parts + 1] = part end
  end
  return table.concat(parts, ": ")
end

-- The folder a command is run in, as a shell would show it.
local function folder_of(run)
  if not words.is_kept(run.kwargs) then return nil end
  local _, folder = words.restored(run.kwargs)
  local home = os.getenv "HOME"
  if folder and home and home ~= "" and (folder .. "/"):sub(1, #home + 1) == home .. "/" then
    folder = "~" .. folder:sub(#home + 1)
  end
  return folder
end

local Table = {}
Table.__index = Table

--- A table of runs, which keeps of each no more than it shows.
---@param now string
function describe.table_of_runs(now)
  return setmetatable({ _now = now, _rows = {} }, Table)
end

--- Takes a run.
---@param run table
---@param is_orphan? boolean
function Table:add(run, is_orphan)
  self._rows[#self._rows + 1] = { id = run.run_id, handler = run.handler, folder = folder_of(run),
    status = run.status, thread = run.thread_id, code = run.exit_code, what = describe.what(run, is_orphan),
    age = output.duration(output.between(run.created_at, self._now)),
    took = output.duration(output.between(run.started_at, run.ended_at or self._now)) }
end

-- The columns, with what of a row is in them. Those with `optional` are left out when no run has any.
local columns = { { "STATUS", "status" }, { "<RUN", "shown" }, { "~THREAD", "thread" }, { "?>AGE", "age" },
  { "?>TOOK", "took" }, { "?>CODE", "code" }, { "?~HANDLER", "handler", optional = true },
  { "?~FOLDER", "folder", optional = true }, { "WHAT", "what" } }

--- Prints it.
---@param store? keel.Store where the runs are; nil: ids are shown whole
---@return true? done
---@return keel.Error? err
function Table:show(store)
  local ids, has, titles, rows = {}, {}, {}, {}
  for i, row in ipairs(self._rows) do
    ids[i] = row.id
    for name in pairs(row) do has[name] = true end
  end
  local ends, err = {}, nil
  if store then ends, err = which.shown(store, ids) end
  if not ends then return nil, err end
  for i, row in ipairs(self._rows) do
    row.shown, rows[i] = ends[row.id] or row.id, {}
  end
  for _, column in ipairs(columns) do
    if not column.optional or has[column[2]] then
      titles[#titles + 1] = column[1]
      for i, row in ipairs(self._rows) do rows[i][#titles] = row[column[2]] end
    end
  end
  output.table(titles, rows)
  return true
end

--- Prints a table of runs.
---@param runs table[]
---@param now string
---@param store? keel.Store where they are; nil: ids are shown whole
---@return true? done
---@return keel.Error? err
function describe.print_runs(runs, now, store)
  local list = describe.table_of_runs(now)
  for _, run in ipairs(runs) do list:add(run) end
  return list:show(store)
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
