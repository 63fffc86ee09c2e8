--- A picture of a store for diagnostic rules: what is in it now, as far as a rule can be shown it.
local kernel = require "keel.kernel"

local MOST = 1000     -- of each list
local DOCUMENT = 1024 -- bytes of JSON of a document; a longer one is left out

-- What a rule sees of a run.
local function seen(run)
  local copy = {}
  for name, value in next, run do
    local text = type(value) == "table" and kernel.json.encode(value)
    if type(value) ~= "table" or text and #text <= DOCUMENT then copy[name] = value end
  end
  return copy
end

-- The oldest runs in flight, and whether there are more.
local function in_flight(call)
  local list, query = {}, { limit = 100 }
  repeat
    local rows, more = call("list_inflight", query)
    if not rows then return nil, more end
    for _, row in ipairs(rows) do
      if #list == MOST then return list, true end
      if row.operation_kind == "run" then list[#list + 1] = seen(row) end
    end
    query.after = (#rows == query.limit or more) and rows[#rows].run_id or nil
  until not query.after
  return list, false
end

-- The newest runs that have ended, and whether there are more.
local function ended(call)
  local list, query = {}, { limit = MOST }
  repeat
    local rows, more = call("list_runs", query)
    if not rows then return nil, more end
    for _, row in ipairs(rows) do
      if kernel.final[row.status] then
        if #list == MOST then return list, true end
        list[#list + 1] = seen(row)
      end
    end
    query.after = (#rows == query.limit or more) and rows[#rows].run_id or nil
  until not query.after
  return list, false
end

-- All sessions that go into the picture, and whether there are more.
local function sessions(call)
  local list, err = call "sessions"
  if not list then return nil, err end
  return table.move(list, 1, math.min(#list, MOST), 1, {}), #list > MOST
end

-- Reads what is listed by name, and whether there is more.
local function by_name(method)
  return function(call)
    local list, err = call(method, { limit = MOST })
    if not list then return nil, err end
    if #list < MOST then return list, false end
    local next_one
    next_one, err = call(method, { limit = 1, after = list[#list].name })
    if not next_one then return nil, err end
    return list, #next_one > 0
  end
end

local parts = { runs = in_flight, ended = ended, sessions = sessions, limits = by_name "limits",
  schedules = by_name "list_schedules" }

--- What rules are told: `cause`, `now`, `stats`; the oldest runs in flight as `runs`, the newest that have ended as
--- `ended`; `sessions`, `limits`, `schedules`; `has_more` names the lists that are not whole.
---@param cause string who asks
---@param call fun(method: string, ...: any): any, any an operation of the store
---@return table? snapshot
---@return keel.Error? err
return function(cause, call)
  local snapshot = { cause = cause, has_more = {} }
  for name, read in next, parts do
    local list, more = read(call)
    if not list then return nil, more end
    snapshot[name], snapshot.has_more[name] = list, more or nil
  end
  local err
  snapshot.stats, err = call "stats"
  if not snapshot.stats then return nil, err end
  return snapshot
end
