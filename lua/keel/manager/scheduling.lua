--- Periodic runs: schedules are rows, and what they say is made by the ticks of any process.
local check = require "keel.check"
local errors = require "keel.errors"
local kernel = require "keel.kernel"
local policies = require "keel.policy"
local times = require "keel.schedule.times"

local TRIES = 16         -- of a change, when others change the same schedule
local PAGE = 1000        -- schedules read at once
local AGAIN = 1          -- seconds until what a tick could not do is tried again
local NEVER = "0001-01-01T00:00:00Z"

-- What knows calendars and zones is an eighth of all that a manager brings: most processes make no schedules and never
-- tick, so it comes when it is needed.
local function occurrences() return require "keel.manager.occurrences" end

---@class keel.Schedule: keel.ScheduleDefinition
---@field name string
---@field next_at string time of the next occurrence; with `problem`, when that is asked again
---@field last_at? string time of the last one, whatever became of it; nil: there was none
---@field problem? string why it is not known when it happens next
---@field created_at string
---@field updated_at string

-- A row as callers see it.
local function shown(row)
  local record = {}
  for name, value in next, row.definition or {} do record[name] = value end
  record.name, record.next_at, record.problem = row.name, row.next_at, row.problem
  record.last_at = row.last_at > row.created_at and row.last_at or nil
  record.created_at, record.updated_at = row.created_at, row.updated_at
  return record
end

-- The row of a name: nil when there is none.
local function read(self, name)
  local rows, err = self.client:call("list_schedules", { name = name, limit = 1 })
  if not rows then return nil, err end
  return rows[1]
end

local function same(a, b)
  local left, right = kernel.json.encode(a), kernel.json.encode(b)
  return left ~= nil and left == right
end

-- The first occurrence after it was made, and never again one that was.
local function first_of(self, definition, row, now)
  local source, err = occurrences().of(self, definition, now)
  if not source then return nil, err end
  local base = row and math.max(now, times.micros(row.last_at)) or now
  local first
  first, err = source:after(base)
  if first then return { definition = definition, next_at = times.text(first), period = (first - base) / times.SECOND,
    last_at = row and row.last_at or times.text(base) } end
  if not err then return nil, errors.invalid("every", "has no occurrence before the year 10000") end
  if not definition.policy then return nil, err end
  return nil, errors.new("invalid_request", err.message, { field = "policy" })
end

-- Makes the row of a run, which is not kept: what the kernel refuses it would refuse at every occurrence.
local function rehearse(tx, request)
  local ok, err = tx:put(request.run_id, request.fields)
  return ok, err
end

-- Writes a schedule, on what is there now. Nil: somebody else was faster.
local function try(self, name, definition, request, now)
  local row, err = read(self, name)
  if err then return nil, err end
  if row and same(row.definition, definition) then return row end
  local ok, fields
  ok, err = self.client:rehearsal("schedule", rehearse, request)
  if not ok then return nil, err end
  fields, err = first_of(self, definition, row, now)
  if not fields then return nil, err end
  local written
  written, err = self.client:call("put_schedule", name, fields, row and row.revision or 0)
  if written == nil then return nil, err end
  if written then return read(self, name) end
end

---@class keel.manager.Scheduling: keel.ManagerCore
local Scheduling = {}

--- Makes or changes a schedule: runs that are made again and again, by the ticks of any process, each occurrence once.
--- The same definition again changes nothing. What is changed goes on at its first occurrence after now.
--- Raises for unknown options and wrong types. Fails with invalid_request (name, cron, every, policy, timezone,
--- thread_id, missed, grace, options, and what create_or_reject has), unsupported_strategy, and what writing fails
--- with; then nothing has changed.
---@param name string an id
---@param definition keel.ScheduleDefinition
---@return keel.Schedule? schedule
---@return keel.Error? err
function Scheduling:schedule(name, definition)
  check.type(name, "string", 1, "schedule")
  check.type(definition, "table", 2, "schedule")
  local checked, err = require("keel.schedule").check(definition, 2, "schedule")
  err = err or check.id(name, "name")
  if not checked or err then return nil, err end
  local now = times.micros(self.client:now())
  local request
  request, err = occurrences().request(self, name, checked, now, "schedule")
  if not request then return nil, err end
  policies.refresh_all(self.context.schedules, self.context.log)
  for _ = 1, TRIES do
    local row
    row, err = try(self, name, checked, request, now)
    if err then return nil, err end
    if row then
      self.schedules_told[name] = nil
      self.live:notify "on_schedule"
      return shown(row)
    end
  end
  return nil, errors.new("busy", ("schedule %s is changed by others all the time"):format(name))
end

--- Removes a schedule; the runs that it has made stay.
--- Raises for wrong types. Fails with what writing fails with.
---@param name string
---@return boolean? removed false: there was none
---@return keel.Error? err
function Scheduling:unschedule(name)
  check.type(name, "string", 1, "unschedule")
  local found, err = self.client:call("delete_schedule", name)
  if found == nil then return nil, err end
  return found
end

--- All schedules of the store, by name.
--- Fails with what reading fails with.
---@return keel.Schedule[]? list
---@return keel.Error? err
function Scheduling:schedules()
  local list, after = {}, nil
  repeat
    local page, more = self.client:call("list_schedules", { limit = PAGE, after = after })
    if not page then return nil, more end
    for _, row in ipairs(page) do list[#list + 1] = shown(row) end
    after = page[#page] and page[#page].name
  until #page < PAGE and not more
  return list
end

--- Seconds until something becomes due by time that nobody will tell of: a run that was put off, a deadline, a
--- schedule. What was due at this manager's last tick is not told again, unless that tick has left it for the next:
--- sleep so long, tick, claim.
--- Fails with what reading fails with.
---@return number? seconds 0: at once; nil, without an error: there is nothing
---@return keel.Error? err
function Scheduling:next_due()
  if not self.client:has "next_due" then return nil end
  local now = self.client:now()
  local looked = self.ticked and math.min(times.micros(self.ticked), times.micros(now))
  local at, err = self.client:call("next_due", looked and times.text(looked) or NEVER)
  if err then return nil, err end
  if self.behind then return 0 end
  local left = at and math.max(kernel.time_seconds(at) - kernel.time_seconds(now), 0)
  if self.undone then return left and left > 0 and math.min(left, AGAIN) or AGAIN end
  return left
end

return Scheduling
