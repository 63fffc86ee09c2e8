--- Which runs a command is about: a RUN as people type it, and the filters that stand in place of RUNs.
---
--- A RUN is a whole id; a part of an id that fits one run among the newest thousand, or is the end of just one; `@`,
--- the newest run; or `@KEY`, the newest of a thread. Where runs are changed or deleted, a part must be one that is no
--- whole id of a run that is gone: see may_be_changed.
local kernel = require "keel.kernel"
local opening = require "keel.cli.opening"
local usage = require "keel.cli.usage"

local which = {}

local NEWEST = 1000 -- runs among which a part of an id is looked for
local PAGE = 100    -- runs that are read at a time
local SHOWN = 5     -- candidates that are named
local LONG = 20     -- bytes of an id that is shown whole
local LEAST = 8     -- bytes that are shown of a longer one
local FEW = 4       -- bytes of a UUID that are enough to change a run
local UUID = "^" .. ("%x"):rep(8) .. ("%-" .. ("%x"):rep(4)):rep(4) .. ("%x"):rep(8) .. "$"

-- --- Ids ------------------------------------------------------------------------------------------------------------

-- The end of an id from a place on, or from the nearest one before it where it can be typed: not within a character,
-- nor where it would look like an option or like "@".
local function end_from(id, from)
  while from > 1 and id:find("^[-@\128-\191]", from) do from = from - 1 end
  return id:sub(from)
end

--- How ids are shown: those that are long by the end in which they differ, which means the same run again when it is
--- typed. An id that is not among the newest, where an end is looked for, is shown whole.
---@param ids string[]
---@param newest string[] as of which.newest
---@return table<string, string> shown by id
function which.ends(ids, newest)
  local all, is_new, shown, left, size = table.move(newest, 1, #newest, 1, {}), {}, {}, {}, LEAST
  for _, id in ipairs(newest) do is_new[id] = true end
  for _, id in ipairs(ids) do
    if not is_new[id] then all[#all + 1], shown[id] = id, id else left[#left + 1] = id end
  end
  while #left > 0 do
    local count, rest = {}, {}
    local function end_of(id)
      return (#id <= LONG or #id <= size) and id or end_from(id, #id - size + 1)
    end
    for _, id in ipairs(all) do
      local last = id:sub(-size) -- also of those that are shown whole: they are somebody's end, too
      count[last] = (count[last] or 0) + 1
    end
    for _, id in ipairs(left) do
      if end_of(id) == id or count[id:sub(-size)] == 1 then
        shown[id] = end_of(id)
      else
        rest[#rest + 1] = id
      end
    end
    left, size = rest, size + 1
  end
  return shown
end

-- The page of runs behind the last one of the page before. That may have been deleted meanwhile, so that the listing
-- goes on behind one before it. Returns nil and the error when reading fails.
local function next_page(store, query, before)
  local page, more = nil, { code = "not_found" }
  local i = #before
  while i > 0 and not page and more.code == "not_found" do
    query.after = before[i].run_id
    page, more = store:list_runs(query)
    i = i - 1
  end
  if not page and more.code == "not_found" then
    return nil, { code = "conflict", message = "what was being listed is being deleted: try again", transient = true }
  end
  return page, more
end

-- Calls visit(run) for the runs that a query of list_runs finds, until it gives false. Returns how many were read, or
-- nil and the error.
local function walk(store, query, visit)
  local count = 0
  local page, more = store:list_runs(query)
  while page do
    for _, run in ipairs(page) do
      count = count + 1
      if visit(run) == false then return count end
    end
    if #page == 0 or #page < query.limit and not more then return count end
    page, more = next_page(store, query, page)
  end
  return nil, more
end

-- The last run of all, or of a thread.
local function last(store, thread)
  local page, err = store:list_runs { thread_id = thread, limit = 1 }
  if not page then return nil, err end
  if page[1] then return page[1].run_id end
  return nil, { code = "not_found", transient = false, message = thread and
    ("thread %s has no run; 'keel runs list' lists what there is"):format(thread) or
    "there is no run yet; 'keel exec' makes one" }
end

--- The ids of the newest runs, among which a part of an id is looked for.
---@param store keel.Store
---@return string[]? ids
---@return keel.Error? err
function which.newest(store)
  local ids = {}
  local done, err = walk(store, { limit = PAGE }, function(run)
    ids[#ids + 1] = run.run_id
    return #ids < NEWEST
  end)
  if not done then return nil, err end
  return ids
end

--- How ids are shown in the tables of a store.
---@param store keel.Store
---@param ids string[]
---@return table<string, string>? shown by id
---@return keel.Error? err
function which.shown(store, ids)
  local is_any_long = false
  for _, id in ipairs(ids) do is_any_long = is_any_long or #id > LONG end
  if not is_any_long then return which.ends(ids, ids) end
  local newest, err = which.newest(store)
  if not newest then return nil, err end
  local shown = which.ends(ids, newest)
  for id, ending in pairs(shown) do
    if ending ~= id then
      local other, problem = store:get(ending)
      if other or problem then shown[id] = id end -- the end is the whole id of another, maybe an old one
    end
  end
  return shown
end

-- What fits a text, on one line. Returns the error.
local function ambiguous(store, text, fitting, newest)
  local named, ends = {}, which.ends(fitting, newest)
  for i = 1, math.min(#fitting, SHOWN) do
    local run = store:get(fitting[i])
    named[i] = run and ("%s (%s on %s)"):format(ends[fitting[i]], run.status, run.thread_id) or ends[fitting[i]]
  end
  if #fitting > SHOWN then named[SHOWN + 1] = ("%d more"):format(#fitting - SHOWN) end
  return usage.error(("'%s' fits %d runs: %s; write more of the one you mean"):format(text, #fitting,
    table.concat(named, ", ")))
end

-- The newest ids, those of them that have a text in them, and those that end with it; or nil and the error.
local function look_for(store, text)
  local newest, err = which.newest(store)
  if not newest then return nil, err end
  local fitting, ending = {}, {}
  for _, id in ipairs(newest) do
    if id:find(text, 1, true) then fitting[#fitting + 1] = id end
    if id:sub(-#text) == text then ending[#ending + 1] = id end
  end
  return newest, fitting, ending
end

-- Whether a text that fits a run may stand for it where runs are changed or deleted: the whole id of one that is gone
-- must not become another run. No whole id but a UUID fits into a UUID but by chance; ids of the host's own may contain
-- each other, so of these only the end counts, as tables show it.
local function may_be_changed(text, run_id)
  if text:find(UUID) then return false end
  if run_id:find(UUID) then return #text >= FEW end
  return #run_id > LONG and #text >= LEAST and run_id:sub(-#text) == text
end

-- The run among the newest whose id has the text in it.
local function by_part(store, text, change)
  local newest, fitting, ending = look_for(store, text)
  if not newest then return nil, fitting end
  local one = #ending == 1 and ending[1] or #fitting == 1 and fitting[1]
  if one and (not change or may_be_changed(text, one)) then return one end
  if one or #fitting == 0 then return nil, opening.no_run(text) end
  return nil, ambiguous(store, text, fitting, newest)
end

--- The id of the run that a RUN means.
---@param store keel.Store
---@param text string as it was typed
---@param change? boolean the run is to be changed or deleted
---@return string? run_id
---@return keel.Error? err not_found; usage: it fits several, which are named; and what reading fails with
function which.run(store, text, change)
  -- As a narrow table has it, which may have cut the whole id of an older run, too: to change that, it is too little.
  if not change then text = text:gsub("^…", "") end
  if text == "" then return nil, usage.error "RUN must not be empty: give an id, a part of one, '@' or '@THREAD'" end
  local row, err = store:get(text)
  if row then return text end
  if err then return nil, err end
  if text == "@" then return last(store) end
  if text:find "^@" then return last(store, text:sub(2)) end
  return by_part(store, text, change)
end

--- The ids of the runs that RUNs mean, each once, in their order. A whole id that is not there is taken as it is when
--- `keeps_missing` is true: it is for the caller to say so, and to do the rest.
---@param store keel.Store
---@param texts string[]
---@param keeps_missing? boolean
---@param change? boolean as for which.run
---@return string[]? run_ids
---@return keel.Error? err as of which.run
function which.runs(store, texts, keeps_missing, change)
  local ids, seen = {}, {}
  for _, text in ipairs(texts) do
    local id, err = which.run(store, text, change)
    if not id and keeps_missing and err.code == "not_found" and not text:find "^@" then id = text end
    if not id then return nil, err end
    if not seen[id] then ids[#ids + 1], seen[id] = id, true end
  end
  return ids
end

-- --- Filters --------------------------------------------------------------------------------------------------------

--- The options that say which runs, in place of RUNs.
---@param statuses string[] those that may be asked for
---@return table[] options
function which.options(statuses)
  return {
    { "--thread", "-t", value = "KEY", about = "only those of this thread" },
    { "--status", value = "STATUS", choices = statuses, about = "only those in this status" },
    { "--user", value = "U", about = "only those for this user" },
    { "--batch", value = "BATCH", about = "only those of this batch" },
    { "--since", value = "TIME", convert = usage.moment, about = "only those made since: so long ago (2h), or a time" },
  }
end

--- What the options ask for, as the manager's cancel_all and retry_all take it; nil: none was given.
---@param given table
---@return keel.RunFilter? filter
function which.filter(given)
  local filter = { thread_id = given.thread, status = given.status, user_id = given.user, batch_id = given.batch,
    since = given.since }
  return next(filter) and filter or nil
end

--- Checks that either RUNs or a filter was given.
---@param given table
---@return keel.Error? err
function which.misuse(given)
  local is_named, is_filtered = given.run and #given.run > 0, which.filter(given) ~= nil
  if is_named and is_filtered then return usage.error "give RUNs, or a filter in place of them, not both" end
  if not is_named and not is_filtered then
    return usage.error "which runs? Give a RUN ('@' is the last one), or a filter such as --thread KEY"
  end
end

--- Whether a run is one that a filter means.
---@param filter keel.RunFilter
---@param run table
---@return boolean
function which.passes(filter, run)
  return (not filter.thread_id or run.thread_id == filter.thread_id)
    and (not filter.user_id or run.user_id == filter.user_id)
    and (not filter.status or run.status == filter.status)
    and (not filter.since or run.created_at >= filter.since)
end

--- Calls visit(run) for the runs that a filter means, the newest first, until it gives false. Those of a time are over
--- when a whole page is older: a clock may have been wrong for a while.
---@param store keel.Store
---@param filter keel.RunFilter with `after`: the run to go on behind
---@param visit fun(run: table): boolean?
---@param page? integer how many are read at a time, 100 at most, the default
---@return integer? looked_at
---@return keel.Error? err
function which.each(store, filter, visit, page)
  local older = 0
  return walk(store, { status = filter.status, user_id = filter.user_id, batch_id = filter.batch_id,
    thread_id = not filter.batch_id and filter.thread_id or nil, after = filter.after,
    limit = math.min(page or PAGE, PAGE) }, function(run)
    older = filter.since and run.created_at < filter.since and older + 1 or 0
    if which.passes(filter, run) then return visit(run) end
    return older < PAGE
  end)
end

--- The ids of the runs in flight that a filter means, the oldest first.
---@param store keel.Store
---@param filter keel.RunFilter
---@return string[]? run_ids
---@return keel.Error? err
function which.in_flight(store, filter)
  local ids, seen = {}, {}
  local query = { batch_id = filter.batch_id, thread_id = not filter.batch_id and filter.thread_id or nil,
    limit = PAGE, brief = true }
  repeat
    local rows, more = store:list_inflight(query)
    if not rows then return nil, more end
    for _, row in ipairs(rows) do
      -- The listing starts over when the run to go on behind was deleted.
      if row.operation_kind == "run" and which.passes(filter, row) and not seen[row.run_id] then
        ids[#ids + 1], seen[row.run_id] = row.run_id, true
      end
    end
    query.after = (#rows == PAGE or more) and rows[#rows].run_id or nil
  until not query.after
  return ids
end

--- What is said of RUN, where one or several may be named.
which.about = "an id, a part of one that fits a single run, @ (the last), or @KEY (the last of a thread)"
which.about_many = "ids, parts of ids that fit a single run each, @ (the last), or @KEY (the last of a thread)"
which.about_changed = "whole ids, ends of ids as tables show them, @ (the last), or @KEY (the last of a thread)"

--- The statuses a run may have.
which.statuses = { "pending", "running", "success", "error", "timeout", "interrupted" }

--- Those in which it has ended.
which.final_statuses = {}
for _, status in ipairs(which.statuses) do
  if kernel.final[status] then table.insert(which.final_statuses, status) end
end

return which
