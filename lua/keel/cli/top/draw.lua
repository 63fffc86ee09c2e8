--- A picture of a store as lines of text, for a screen or for a pipe.
local describe = require "keel.cli.describe"
local output = require "keel.cli.output"
local which = require "keel.cli.which"
local width = require "keel.cli.width"

local draw = {}

local SHORT = 24   -- columns of a name, where others come behind it
local NARROW = 100 -- columns from which on there is room for whole ids

-- At most so many of the rows, under their titles.
local function block(titles, rows, columns, most)
  if #rows == most + 1 then most = #rows end -- it takes no more room than saying that there is one more
  local shown = table.move(rows, 1, math.min(#rows, most), 1, {})
  local lines = output.lines(titles, shown, columns)
  if #rows > most then lines[#lines + 1] = output.paint(("… %d more"):format(#rows - most), "grey") end
  return lines
end

-- A value that must not take all of a row.
local function short(value)
  return width.cut(output.plain(value), SHORT)
end

local function since(shot, time)
  return output.duration(output.between(time, shot.at))
end

-- Who owns what a session runs.
local function owner_of(run, names)
  local name = names[run.session_id] or run.session_id and "session " .. run.session_id or "nobody"
  return run.owner_alive and name or name .. " (gone)"
end

local function thread_rows(shot, names)
  local rows = {}
  for i, thread in ipairs(shot.threads) do
    local owner = ""
    if thread.run_id then owner = owner_of(thread, names) end
    rows[i] = { short(thread.thread_id), thread.running, thread.pending, since(shot, thread.oldest_at),
      since(shot, thread.waiting_since), owner }
  end
  return rows
end

-- What a run waits for, in a few words.
local function waits_for(shot, run)
  local gate = run.waits_for
  if not gate then return "" end
  if run.startable_at then return ("%s %s"):format(gate, output.duration(output.between(shot.at, run.startable_at))) end
  local what = run.waits_for_name or gate == "after" and run.waits_for_run
  return short(what and ("%s %s"):format(gate, what) or gate)
end

local CELLS = 10

-- How far a run is, as a bar; "" when it does not say so in numbers.
local function bar_of(run)
  local progress = type(run.progress) == "table" and run.progress or {}
  local done, total = progress.done, progress.total
  if type(done) ~= "number" or type(total) ~= "number" or total <= 0 then return "" end
  local full = math.floor(math.min(math.max(done / total, 0), 1) * CELLS)
  return ("[%s%s] "):format(("#"):rep(full), ("."):rep(CELLS - full))
end

local function run_row(shot, run, mark, look)
  return { mark, run.status, look.ids[run.run_id], short(run.thread_id),
    since(shot, run.started_at or run.created_at),
    short(run.claimable and "anybody" or owner_of(run, look.names)), waits_for(shot, run),
    (run.status == "running" and bar_of(run) or "") .. describe.what(run) }
end

-- What is set for a name, in a few words: 4, 10 in 60s, paused.
local function limit_rows(shot)
  local rows = {}
  for i, limit in ipairs(shot.limits) do
    local set = limit.max and tostring(limit.max) or ""
    if limit.max and limit.per then set = ("%s in %s"):format(set, output.duration(limit.per)) end
    rows[i] = { short(limit.name), set, limit.holding, limit.waiting, limit.paused and "paused" or "",
      limit.reason or "" }
  end
  return rows
end

local function session_rows(shot)
  local rows = {}
  for i, session in ipairs(shot.sessions) do
    rows[i] = { session.session_id, session.pid, session.alive and "alive" or "gone", session.running,
      session.pending, since(shot, session.started_at), session.owner }
  end
  return rows
end

local function ended_row(shot, run, mark, look)
  return { mark, run.status, look.ids[run.run_id], short(run.thread_id), since(shot, run.ended_at),
    output.duration(output.between(run.started_at, run.ended_at)), describe.what(run) }
end

local thread_titles = { "~THREAD", ">RUNNING", ">WAITING", "?>AGE", "?>QUEUED", "OWNER" }
local run_titles = { " ", "STATUS", "<RUN", "~THREAD", "?>FOR", "?~OWNER", "?WAITS FOR", "WHAT" }
local limit_titles = { "~NAME", "LIMIT", ">HELD", ">WAITING", "?STATE", "REASON" }
local ended_titles = { " ", "ENDED", "<RUN", "~THREAD", "?>AGO", "?>TOOK", "WHAT" }
local session_titles = { ">SESSION", ">PID", "PROCESS", "?>RUNNING", "?>WAITING", "?>UP", "NAME" }

local function head(shot)
  local more, alive = shot.has_more and " or more" or "", 0
  for _, session in ipairs(shot.sessions) do alive = alive + (session.alive and 1 or 0) end
  return ("keel top  %s  %s"):format(shot.at:match "T(%d+:%d+:%d+)", output.plain(shot.store)),
    ("%d running, %d waiting%s, %d of them for anybody; %s; event %d"):format(shot.running, shot.pending,
      more, shot.claimable, output.count(alive, "process"), shot.event_id)
end

-- How many rows each block gets: what it needs, and when that is too much, a fair part.
local function share(room, needs)
  local given, open = {}, #needs
  for i = 1, #needs do given[i] = 0 end
  while room > 0 and open > 0 do
    open = 0
    for i, need in ipairs(needs) do
      if given[i] < need and room > 0 then given[i], room, open = given[i] + 1, room - 1, open + 1 end
    end
  end
  return given
end

-- Ids as they are shown, by id.
local function shown_ids(shot, newest)
  local ids, shown = {}, {}
  for _, list in ipairs { shot.runs, shot.ended } do
    for _, run in ipairs(list) do ids[#ids + 1] = run.run_id end
  end
  if newest then return which.ends(ids, newest) end
  for _, id in ipairs(ids) do shown[id] = id end
  return shown
end

-- The rows of runs, from one on that lets the chosen one be seen among so many.
local function rows_of(shot, runs, look, count, row)
  local rows, first = {}, 1
  for i, run in ipairs(runs) do
    if run.run_id == look.selected then first = math.max(1, i - count + 1) end
  end
  for i = first, #runs do
    rows[#rows + 1] = row(shot, runs[i], runs[i].run_id == look.selected and ">" or " ", look)
  end
  return rows
end

--- The ids of the newest runs, when there is no room for whole ids.
---@param store keel.Store
---@param columns integer
---@return string[]? ids nil: there is room, or they cannot be read
function draw.newest(store, columns)
  return columns < NARROW and which.newest(store) or nil
end

--- The lines of a picture.
---@param shot table
---@param columns integer
---@param height? integer lines there is room for; nil: as many as it takes
---@param selected? string the run that is marked
---@param newest? string[] as of draw.newest
---@return string[]
function draw.lines(shot, columns, height, selected, newest)
  local names = {}
  for _, session in ipairs(shot.sessions) do names[session.session_id] = session.owner end
  local look = { names = names, ids = shown_ids(shot, newest), selected = selected }
  local threads, sessions = thread_rows(shot, names), session_rows(shot)
  local limits = limit_rows(shot)
  local blocks = #limits > 0 and 5 or 4
  local room = height and math.max(height - 2 - blocks * 3, 4) or math.huge -- a title, an empty line, "more" a block
  local needs = { #threads, #shot.runs, #shot.ended, #sessions, #limits }
  local rows = height and share(room, needs) or needs
  local runs = rows_of(shot, shot.runs, look, rows[2], run_row)
  local ended = rows_of(shot, shot.ended, look, rows[3], ended_row)
  local title, counts = head(shot)
  local lines = { output.paint(width.cut(title, columns), "bold"), width.cut(counts, columns) }
  local parts = { { thread_titles, threads }, { run_titles, runs }, { ended_titles, ended },
    { session_titles, sessions }, { limit_titles, limits } }
  for i, part in ipairs(table.move(parts, 1, blocks, 1, {})) do
    lines[#lines + 1] = ""
    table.move(block(part[1], part[2], columns, rows[i]), 1, rows[i] + 2, #lines + 1, lines)
  end
  for i = #lines, (height or math.huge) + 1, -1 do lines[i] = nil end
  return lines
end

return draw
