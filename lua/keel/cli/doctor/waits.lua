--- What can be wrong with what runs wait for: names that have been paused for long, places and starts that there never
--- are, and runs that start after one that does not get on.
local about_file = require "keel.cli.doctor.file"
local due_since = require "keel.due_since"
local kernel = require "keel.kernel"
local output = require "keel.cli.output"

local LONG_PAUSE = 3600 -- seconds
local LONG_WAIT = 600   -- seconds that a run has waited for another
local DEEPEST = 100     -- runs of a chain that are followed
local FOLLOWED = 1000   -- runs that wait for others, the oldest: more are not looked at
local SHOWN = 3         -- runs that are named
local PAGE = 1000

local Waits = {}
Waits.__index = Waits

function Waits.new()
  return setmetatable({ wanting = {}, dependent = {} }, Waits)
end

--- Takes note of a run in flight.
---@param run table its row
---@param now string
function Waits:note(run, now)
  if run.status ~= "pending" then return end
  if run.slots or run.rates then self.wanting[#self.wanting + 1] = run end
  local is_dependent = run.after or run.waits_for
  if is_dependent and #self.dependent < FOLLOWED and output.between(due_since(run), now) > LONG_WAIT then
    self.dependent[#self.dependent + 1] = run
  end
end

-- The runs, as a text and for JSON.
local function named(runs)
  local ids, shown = {}, {}
  for i, run in ipairs(runs) do
    ids[i] = run.run_id
    if i <= SHOWN then shown[i] = run.run_id end
  end
  if #runs > SHOWN then shown[SHOWN + 1] = "…" end
  return table.concat(shown, ", "), kernel.array(ids)
end

-- How long the oldest of the runs has waited.
local function longest(runs, now)
  local most = 0
  for _, run in ipairs(runs) do most = math.max(most, output.between(due_since(run), now)) end
  return output.duration(most)
end

-- What is set for names.
local function limits_of(store)
  local limits, after = {}, nil
  repeat
    local page, err = store:limits { limit = PAGE, after = after }
    if not page then return nil, err end
    for _, limit in ipairs(page) do limits[#limits + 1], limits[limit.name] = limit, limit end
    after = page[PAGE] and page[PAGE].name
  until not after
  return limits
end

-- Since when each name is paused, as far as the log goes back.
local function pauses_of(store)
  local since, cursor = {}, nil
  repeat
    local page, err = store:read_events(cursor, PAGE, { kinds = { "limit_changed" } })
    if not page then return nil, err end
    for _, event in ipairs(page.events) do
      local name = event.data.name
      since[name] = event.data.paused and (since[name] or event.at) or nil
    end
    cursor = page.cursor
  until not page.has_more
  return since
end

local function report_pauses(store, findings, limits, now)
  local since, err
  for _, limit in ipairs(limits) do
    if limit.paused and not since then
      since, err = pauses_of(store)
      if not since then return err end
    end
    local from = limit.paused and since[limit.name]
    if limit.paused and (not from or output.between(from, now) > LONG_PAUSE) then
      local what = limit.name == "*" and "everything" or limit.name
      findings:add("warning", "paused", ("%s is paused %s%s: %s"):format(what, from and "since " .. from
        or "since before the log begins", limit.reason and (" (%s)"):format(limit.reason) or "",
        limit.waiting == 1 and "1 run waits" or limit.waiting .. " runs wait"),
        ("if that is over, have a program resume it: runs:resume '%s'"):format(limit.name),
        { name = limit.name, count = limit.waiting, since = from })
    end
  end
end

-- The name for which a run waits for ever, as nothing of it may hold or start; and whether that is set for the name.
local function never(run, limits)
  for _, kind in ipairs { "slots", "rates" } do
    for _, want in ipairs(run[kind] or {}) do
      local limit = limits[want.name]
      local is_set = limit and limit.max and (limit.per ~= nil) == (kind == "rates")
      local max = is_set and limit.max or want.max
      if max == 0 then return want.name, kind, is_set end
    end
  end
end

-- Runs by what they wait for in vain. Adds them to those that do not get on.
local function report_never(self, findings, limits, stuck, now)
  local found, order = {}, {}
  for _, run in ipairs(self.wanting) do
    local name, kind, is_set = never(run, limits)
    if name then
      local one = found[name]
      if not one then
        one = { name = name, kind = kind, is_set = is_set, runs = {} }
        found[name], order[#order + 1] = one, one
      end
      one.runs[#one.runs + 1] = run
      stuck[run.run_id] = ("waits for '%s', of which it never gets one"):format(name)
    end
  end
  for _, one in ipairs(order) do
    local text, ids = named(one.runs)
    findings:add("warning", one.kind == "slots" and "no_place" or "no_start",
      ("%s for '%s', %s %s: %s"):format(#one.runs == 1 and "1 run waits" or #one.runs .. " runs wait", one.name,
        one.kind == "slots" and "which has no place (max 0), for" or "with which nothing may start (max 0), for",
        longest(one.runs, now), text),
      one.is_set and ("give it more with runs:set_limit '%s', or stop them with 'keel runs cancel'"):format(one.name)
        or "they were made so: stop them with 'keel runs cancel', or set a limit for the name, which goes first",
      { name = one.name, count = #ids, run_ids = ids })
  end
end

-- The run at the end of the chain that a run waits for.
local function root_of(store, run_id)
  local id = run_id
  for _ = 1, DEEPEST do
    local gate, err = store:gate(id)
    if err then return nil, err end
    if not gate or gate.gate ~= "after" or not gate.run_id then break end
    id = gate.run_id
  end
  return id ~= run_id and id or nil
end

local function report_dependents(self, store, findings, stuck, now)
  local found, order = {}, {}
  for _, run in ipairs(self.dependent) do
    local root, err = root_of(store, run.run_id)
    if err then return err end
    if root and stuck[root] then
      if not found[root] then
        found[root] = {}
        order[#order + 1] = root
      end
      table.insert(found[root], run)
    end
  end
  for _, root in ipairs(order) do
    local text, ids = named(found[root])
    findings:add("warning", "stuck_source", ("%s for run %s, which %s, for %s: %s"):format(
      #ids == 1 and "1 run waits" or #ids .. " runs wait", root, stuck[root], longest(found[root], now), text),
      "mend what holds that run up, or end it: 'keel runs cancel " .. root .. "'",
      { source = root, count = #ids, run_ids = ids })
  end
end

--- Adds findings.
---@param store keel.Store
---@param findings table
---@param now string
---@param stuck table<string, string> of runs that do not get on, why; written to
function Waits:report(store, findings, now, stuck)
  local limits, err = limits_of(store)
  if limits then err = report_pauses(store, findings, limits, now) end
  if limits and not err then
    report_never(self, findings, limits, stuck, now)
    err = report_dependents(self, store, findings, stuck, now)
  end
  if err then
    findings:add("error", err.code, "what runs wait for cannot be read: " .. err.message, about_file.advice(err.code))
  end
end

return Waits
