--- What cancel_all and retry_all are given: which runs they are about.
local check = require "keel.check"
local errors = require "keel.errors"
local kernel = require "keel.kernel"

---@class keel.RunFilter
---@field thread_id? string
---@field user_id? string
---@field status? keel.Status
---@field batch_id? string
---@field handler? string a run without one has "default"
---@field before? string|number time: created then or earlier
---@field since? string|number time: created then or later

local filter = {}

local known = { thread_id = "string", user_id = "string", status = "string", batch_id = "string", handler = "string",
  before = "time", since = "time" }

--- Checks a filter. `before` is a time then: what is made meanwhile is not meant.
--- Raises for unknown names and wrong types.
---@param given keel.RunFilter
---@param statuses table<string, boolean> those that may be asked for
---@param now string
---@param name string the public function's, which calls this
---@return keel.RunFilter? filter
---@return keel.Error? err invalid_request (status, before, since, an id)
function filter.check(given, statuses, now, name)
  if given == nil then error(("bad argument #1 to '%s' (table expected, got nil)"):format(name), 3) end
  given = check.options(given, known, 1, name, 1)
  local checked = {}
  for field in next, known do checked[field] = given[field] end
  if checked.status and not statuses[checked.status] then
    local names = {}
    for status in next, statuses do names[#names + 1] = status end
    table.sort(names)
    return nil, errors.invalid("status", "must be one of: " .. table.concat(names, ", "))
  end
  local err
  for _, field in ipairs { "thread_id", "user_id", "batch_id", "handler" } do
    err = err or check.id(checked[field], field)
  end
  if err then return nil, err end
  checked.before, err = errors.time(checked.before or now, "before", now)
  if err then return nil, err end
  if checked.since then
    checked.since, err = errors.time(checked.since, "since", now)
    if err then return nil, err end
    checked.since = kernel.time_text(kernel.time_seconds(checked.since)) -- as rows have it, to be compared as text
  end
  return checked
end

--- Whether a run is one that a filter means; statuses apart.
---@param wanted keel.RunFilter
---@param row table
---@return boolean
function filter.passes(wanted, row)
  return row.operation_kind == "run" and (not wanted.thread_id or row.thread_id == wanted.thread_id)
    and (not wanted.user_id or row.user_id == wanted.user_id)
    and (not wanted.handler or (row.handler or "default") == wanted.handler)
    and (not wanted.since or row.created_at >= wanted.since)
end

return filter
