--- The metrics of a store in the text format of Prometheus.
local kernel = require "keel.kernel"
local output = require "keel.cli.output"
local terminal = require "keel.cli.terminal"

-- What names and handlers beyond those that are told are counted under; one of this name is counted with them.
local OTHER = "other"

-- A list of { labels, value } by what one label can be: of a table by its keys, in order.
local function by_key(label, counts)
  local keys, list = {}, {}
  for key in pairs(counts) do keys[#keys + 1] = key end
  table.sort(keys)
  for i, key in ipairs(keys) do list[i] = { { label, key }, counts[key] } end
  return list
end

-- The same of a list of tables that have a name, and of the rest.
local function by_name(label, items, name, field, rest)
  local list, other = {}, rest
  for _, item in ipairs(items) do
    if rest and item[name] == OTHER then
      other = other + item[field]
    else
      list[#list + 1] = { { label, item[name] }, item[field] }
    end
  end
  if rest and (other > 0 or other ~= rest) then list[#list + 1] = { { label, OTHER }, other } end
  return list
end

-- Of limits, what is set for their names.
local function set_of(limits, value_of)
  local list = {}
  for _, limit in ipairs(limits) do
    local value = value_of(limit)
    if value then list[#list + 1] = { { "name", limit.name }, value } end
  end
  return list
end

local gauge, counter = "gauge", "counter"

-- { name, type, help, value or samples } of all metrics.
local function families(m)
  local recent, limits = m.recent, m.limits
  local lately = " in the last keel_recent_seconds, by the log"
  return {
    { "build_info", gauge, "The version of keel that tells this", { { { "version", kernel.version }, 1 } } },
    { "runs", gauge, "Runs that there are, by status", by_key("status", m.runs) },
    { "runs_delayed", gauge, "Pending runs that are not due", m.delayed_runs },
    { "runs_blocked", gauge, "Pending runs that wait for other runs", m.blocked_runs },
    { "runs_limited", gauge, "Pending runs that are due and want slots or rates", m.limited_runs },
    { "runs_waiting", gauge, "Pending runs, by handler",
      by_name("handler", m.handlers, "handler", "waiting", m.other_handlers.waiting) },
    { "runs_running", gauge, "Running runs, by handler",
      by_name("handler", m.handlers, "handler", "running", m.other_handlers.running) },
    { "oldest_waiting_seconds", gauge, "How long the run has waited whose time came first; 0: none waits",
      m.oldest_waiting_age },
    { "recent_seconds", gauge, "How far the recent figures look back: 300, or as far as the log goes", recent.seconds },
    { "recent_runs_created", gauge, "Runs made" .. lately, recent.created },
    { "recent_runs_started", gauge, "Attempts started" .. lately, recent.started },
    { "recent_runs_requeued", gauge, "Runs given back" .. lately, recent.requeued },
    { "recent_runs_ended", gauge, "Runs that have ended in the last keel_recent_seconds and are there, by status",
      by_key("status", recent.ended) },
    { "limit_max", gauge, "How many may hold a slot, or start with a rate, as it is set",
      set_of(limits, function(limit) return limit.max end) },
    { "limit_window_seconds", gauge, "The time in which so many may start with a rate",
      set_of(limits, function(limit) return limit.per end) },
    { "limit_paused", gauge, "Whether a name is paused", set_of(limits, function(limit)
      return limit.paused and 1 or 0
    end) },
    { "limit_holding", gauge, "Runs that hold a name",
      by_name("name", limits, "name", "holding", m.other_limits.holding) },
    { "limit_waiting", gauge, "Pending runs that want a name",
      by_name("name", limits, "name", "waiting", m.other_limits.waiting) },
    { "limits_left_out", gauge, "Names that are counted as other", m.other_limits.names },
    { "pauses", gauge, "Names that are paused", m.pauses },
    { "sessions", gauge, "Processes that have the store open, and dead ones that are not tidied away",
      by_key("state", m.sessions) },
    { "leases", gauge, "Names that were leased", m.leases },
    { "schedules", gauge, "Schedules", m.schedules },
    { "runtimes", gauge, "Worker runtimes", m.runtimes },
    { "workers", gauge, "Workers", m.workers },
    { "workers_active", gauge, "Workers that are active", m.active_workers },
    { "events_total", counter, "Events that there have ever been in the log, pruned ones too", m.events_total },
    { "log_events", gauge, "Events that are in the log", m.events },
    { "store_bytes", gauge, "Size of the database", m.bytes },
    { "store_log_bytes", gauge, "Size of the log beside the file", m.log_bytes },
  }
end

local escapes = { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n" }

-- A name as a label has it. What a terminal would obey, and what is no text, is escaped as a shell has it in $'…'; so
-- is a name that looks like an escaped one. Two names never become one: Prometheus would refuse all for that.
local function label_of(name)
  return terminal.escaped(name) or name:find "\\[\\'nrtux]" and name:gsub("[\\']", "\\%0") or name
end

local function line(name, labels, value)
  local shown = labels and ('{%s="%s"}'):format(labels[1], label_of(labels[2]):gsub('[\\"\n]', escapes)) or ""
  return ("keel_%s%s %s"):format(name, shown, output.number(value))
end

--- Metrics as text, the last line ended.
---@param metrics keel.Metrics
---@return string
return function(metrics)
  local lines = {}
  for _, family in ipairs(families(metrics)) do
    local name, kind, help, value = table.unpack(family, 1, 4)
    local samples = type(value) == "table" and value or { { nil, value } }
    if value ~= nil and #samples > 0 then
      lines[#lines + 1] = ("# HELP keel_%s %s"):format(name, help)
      lines[#lines + 1] = ("# TYPE keel_%s %s"):format(name, kind)
      for _, sample in ipairs(samples) do lines[#lines + 1] = line(name, sample[1], sample[2]) end
    end
  end
  return table.concat(lines, "\n") .. "\n"
end
