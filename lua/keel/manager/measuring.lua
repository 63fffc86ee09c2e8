--- Metrics: what goes on in a store, as figures for who watches over it. However many names and handlers there are, a
--- bounded number of them is told, and the rest as one.
local errors = require "keel.errors"
local kernel = require "keel.kernel"

local NAMES = 100  -- that are told of handlers, and of limits
local PAGES = 10   -- of 1000 limits, that are looked at
local WINDOW = 300 -- seconds

-- Bytes of the log that a database in a file has beside it.
local function log_bytes_of(store)
  local path = type(store.path) == "function" and store:path()
  if type(path) ~= "string" or path == "" then return nil end
  local file <close> = io.open(path .. "-wal", "rb")
  return file and file:seek "end" or nil
end

-- Alive and dead ones.
local function sessions_of(client)
  local list, err = client:call "sessions"
  if not list then return nil, err end
  local counts = { alive = 0, dead = 0 }
  for _, session in ipairs(list) do
    local state = session.alive and "alive" or "dead"
    counts[state] = counts[state] + 1
  end
  return counts
end

-- Those for which something is set stand first, then those with the most runs.
local function comes_first(a, b)
  local a_set, b_set = a.max ~= nil or a.paused, b.max ~= nil or b.paused
  if a_set ~= b_set then return a_set end
  local a_runs, b_runs = a.holding + a.waiting, b.holding + b.waiting
  if a_runs ~= b_runs then return a_runs > b_runs end
  return a.name < b.name
end

-- Limits by name, and what is left out: how many names there are of it, and runs.
local function limits_of(client)
  local list, after = {}, nil
  for _ = 1, PAGES do
    local page, err = client:call("limits", { after = after })
    if not page then return nil, err end
    table.move(page, 1, #page, #list + 1, list)
    after = page[#page] and page[#page].name
    if not after then break end
  end
  table.sort(list, comes_first)
  local other = { names = 0, holding = 0, waiting = 0 }
  for i = #list, NAMES + 1, -1 do
    other.names = other.names + 1
    other.holding, other.waiting = other.holding + list[i].holding, other.waiting + list[i].waiting
    list[i] = nil
  end
  return list, other
end

-- What runs and waits by handler, and what of it is left out.
local function handlers_of(measured)
  local other = { waiting = measured.runs.pending, running = measured.runs.running }
  for _, one in ipairs(measured.handlers) do
    other.waiting, other.running = other.waiting - one.waiting, other.running - one.running
  end
  -- Runs go on between two questions.
  return measured.handlers, { waiting = math.max(other.waiting, 0), running = math.max(other.running, 0) }
end

-- What happened in the last minutes.
local function recent_of(measured, now)
  return { seconds = math.max(kernel.time_seconds(now) - kernel.time_seconds(measured.since), 0),
    created = measured.created, started = measured.started, requeued = measured.requeued, ended = measured.ended }
end

---@class keel.Metrics
---@field at string when
---@field runs table<keel.Status, integer> there are
---@field delayed_runs integer of the pending ones: not due
---@field blocked_runs integer of the pending ones: wait for other runs
---@field limited_runs integer of the pending ones: want slots or rates
---@field oldest_waiting? string id of the pending run whose time came first
---@field oldest_waiting_age number seconds that it has waited; 0: nothing waits
---@field handlers keel.HandlerCount[] at most 100, those with the most runs in flight
---@field other_handlers { waiting: integer, running: integer } the rest
---@field limits keel.Limit[] at most 100: those that are set first, then those with the most runs
---@field other_limits { names: integer, holding: integer, waiting: integer } the rest
---@field pauses integer names that are paused
---@field recent { seconds: number, created: integer, started: integer, requeued: integer,
--- ended: table<keel.Status, integer> } in the last five minutes: fewer `seconds` where the log has no more of them
---@field events integer in the log
---@field events_total integer that there have ever been
---@field sessions { alive: integer, dead: integer }
---@field leases integer
---@field schedules integer
---@field runtimes integer
---@field workers integer
---@field active_workers integer
---@field bytes integer of the database
---@field log_bytes? integer of the log beside a file; nil: there is none

---@class keel.manager.Measuring: keel.ManagerCore
local Measuring = {}

--- What goes on, as figures; `keel stats --prometheus` shows them. Takes time in proportion to the runs there are: ask
--- a few times a minute, not more.
--- Fails with not_supported (a store that cannot tell), and what reading fails with.
---@return keel.Metrics? metrics
---@return keel.Error? err
function Measuring:metrics()
  local client = self.client
  for _, method in ipairs { "metrics", "stats", "limits", "sessions" } do
    if not client:has(method) then
      return nil, errors.new("not_supported", ("this store has no method '%s'"):format(method))
    end
  end
  local measured, stats, limits, other_limits, sessions, err
  measured, err = client:call("metrics", { handlers = NAMES, window = WINDOW })
  if not measured then return nil, err end
  stats, err = client:call "stats"
  if not stats then return nil, err end
  limits, other_limits = limits_of(client)
  if not limits then return nil, other_limits end
  sessions, err = sessions_of(client)
  if not sessions then return nil, err end
  local now = client:now()
  local handlers, other_handlers = handlers_of(measured)
  local metrics = { at = now, runs = measured.runs, handlers = handlers, other_handlers = other_handlers,
    limits = limits, other_limits = other_limits, recent = recent_of(measured, now), sessions = sessions,
    oldest_waiting = stats.oldest_waiting, oldest_waiting_age = stats.oldest_waiting_age or 0,
    events_total = stats.event_high_water, log_bytes = log_bytes_of(client.store) }
  for _, name in ipairs { "delayed_runs", "blocked_runs", "limited_runs", "pauses", "events", "leases", "schedules",
    "runtimes", "workers", "active_workers", "bytes" } do
    metrics[name] = stats[name]
  end
  return metrics
end

return Measuring
