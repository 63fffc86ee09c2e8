--- What a report shows of a store, as JSON, a run a line: read in pages, given piece by piece, never all in memory.
local describe = require "keel.cli.describe"
local kernel = require "keel.kernel"
local opening = require "keel.cli.opening"
local terminal = require "keel.cli.terminal"
local which = require "keel.cli.which"
local width = require "keel.cli.width"

local rows = {}

local PAGE = 100       -- runs in flight that are read at a time
local LONG = 200       -- columns of what a run is about
local EXPLAINED = 100  -- pending runs, the oldest, of which is said what is in the way
local COURSES = 5000   -- runs with several attempts whose course is read from the log
local STEPS = 200      -- events of one of them

local kinds = { "run_started", "run_requeued", "run_finished" }
local WAITING, RUNNING, LOST = 0, 1, 2 -- as in page.js

-- A value for a script element: nothing in it ends the element.
local function json(value)
  return (terminal.json(value):gsub("<", "\\u003c"))
end

local function ms(time)
  return time and math.floor(kernel.time_seconds(time) * 1000) or kernel.null
end

-- Whether the last process that worked on a run was lost: it is gone, or recovery ended the run.
local function is_lost(store, run)
  return run.started_at ~= nil and (run.stop_reason == "orphan_recovered" or opening.is_orphan(store, run))
end

-- When a run waited, was worked on, and lost its owner, in the order of time: { kind, from, to }. Nil and the error
-- when the log cannot be read; nil alone when it does not have all of it, or it is too long.
local function course_of(store, run, lost)
  local page, err = store:read_events(nil, STEPS, { run_id = run.run_id, kinds = kinds })
  if not page then return nil, err end
  local parts, from, works = kernel.array(), run.created_at, false
  local function part(kind, to)
    parts[#parts + 1] = { kind, ms(from), math.max(ms(to), ms(from)) }
    from = to
  end
  for _, event in ipairs(page.events) do
    local data = type(event.data) == "table" and event.data or {}
    if event.kind == "run_started" and not works then
      part(WAITING, event.at)
      works = true
    elseif event.kind == "run_requeued" and works then
      part(data.losses and LOST or RUNNING, event.at)
      works = false
    end
  end
  if #parts == 0 or page.has_more then return nil end
  part(works and (lost and LOST or RUNNING) or WAITING, run.ended_at or store:now())
  return parts
end

-- The columns of a run, as page.js reads them.
local function row_of(run, course, lost)
  local null = kernel.null
  return { run.run_id, run.thread_id, run.status, ms(run.created_at), ms(run.started_at), ms(run.ended_at),
    run.user_id or null, run.handler or null, width.cut(describe.what(run), LONG), lost and 1 or 0, course }
end

-- Gives the runs to `write`, the newest first, then those in flight that are older. Returns how many, or nil and the
-- error.
local function write_runs(store, given, about, write)
  local count, courses, in_flight = 0, 0, {}
  local function add(run)
    local lost, course, err = is_lost(store, run), nil, nil
    if run.attempt > 1 or run.losses > 0 or run.snoozes > 0 then
      courses = courses + 1
      if courses <= COURSES then course, err = course_of(store, run, lost) end
      if err then return nil, err end
    end
    local ok
    ok, err = write((count > 0 and ",\n" or "") .. json(row_of(run, course, lost)))
    if ok then count = count + 1 end
    return ok, err
  end
  local problem
  local looked_at, err = which.each(store, { since = given.since, status = nil }, function(run)
    if count == given.limit then
      about.more = true
      return false
    end
    if not kernel.final[run.status] then in_flight[run.run_id] = true end
    local ok
    ok, problem = add(run)
    return ok and true or false
  end)
  if problem or not looked_at then return nil, problem or err end
  local query, added = { limit = PAGE }, 0
  while about.more and added < given.limit do
    local page, more = store:list_inflight(query)
    if not page then return nil, more end
    for _, run in ipairs(page) do
      if not in_flight[run.run_id] and (not given.since or run.created_at >= given.since) then
        in_flight[run.run_id], added = true, added + 1
        local ok
        ok, err = add(run)
        if not ok then return nil, err end
      end
    end
    if #page < PAGE and not more then break end
    query.after = page[#page].run_id
  end
  about.courses_left_out = courses > COURSES and courses - COURSES or nil
  return count
end

-- Why a run does not run, in sentences.
local function reasons_of(store, manager, run)
  local answer, err = manager:explain(run.run_id)
  if not answer then
    if err.code == "not_found" then return nil end
    return nil, err
  end
  local reasons = kernel.array()
  for i, reason in ipairs(answer.reasons or {}) do
    reasons[i] = reason.reason .. (reason.startable_at and (" (until %s)"):format(reason.startable_at) or "")
  end
  if #reasons == 0 then reasons[1] = answer.reason end
  if answer.note then reasons[#reasons + 1] = answer.note end
  if opening.is_orphan(store, run) then reasons[1] = "its process is gone: 'keel reconcile' recovers it" end
  return reasons
end

-- Gives to `write` what is in the way of the oldest runs that wait.
local function write_waits(store, manager, about, write)
  local count, query = 0, { limit = PAGE }
  while true do
    local page, more = store:list_inflight(query)
    if not page then return nil, more end
    for _, run in ipairs(page) do
      if run.status == "pending" and count == EXPLAINED then
        about.more_waits = true
        return true
      end
      local reasons, err
      if run.status == "pending" then reasons, err = reasons_of(store, manager, run) end
      if err then return nil, err end
      if reasons then
        local ok
        ok, err = write((count > 0 and ",\n" or "") .. json { run.run_id, run.thread_id, ms(run.created_at), reasons })
        if not ok then return nil, err end
        count = count + 1
      end
    end
    if #page < PAGE and not more then return true end
    query.after = page[#page].run_id
  end
end

--- Gives all of it to `write`, in pieces that are one JSON text together.
---@param store keel.Store
---@param manager keel.RunManager
---@param given { since?: string, limit: integer }
---@param write fun(piece: string): boolean?, keel.Error?
---@return { runs: integer, more?: boolean }? about
---@return keel.Error? err
function rows.write(store, manager, given, write)
  local about = { version = kernel.version, store = store:path(), at = ms(store:now()), limit = given.limit,
    since = given.since and ms(given.since) }
  local ok, err = write '{"runs":[\n'
  if not ok then return nil, err end
  about.runs, err = write_runs(store, given, about, write)
  if not about.runs then return nil, err end
  ok, err = write '\n],"waits":[\n'
  if ok then ok, err = write_waits(store, manager, about, write) end
  if ok then ok, err = write("\n],\"about\":" .. json(about) .. "}") end
  if not ok then return nil, err end
  return about
end

return rows
