--- Making what the schedules say: each occurrence, the run that comes of it, and when it happens next are one
--- transaction, and the row's revision lets one of all who tick do it.
local ByPolicy = require "keel.schedule.by_policy"
local admission = require "keel.admission"
local adopting = require "keel.manager.adopting"
local check = require "keel.check"
local errors = require "keel.errors"
local kernel = require "keel.kernel"
local plans = require "keel.schedule.plan"
local policies = require "keel.policy"
local request_of = require "keel.manager.request"
local schedule = require "keel.schedule"
local times = require "keel.schedule.times"

local LoadedPolicy = require "keel.policy.loaded"

local occurrences = {}

local STEPS = 256 -- occurrences that one tick makes or passes over; the next goes on
local PAGE = 100  -- schedules read at once

-- The policy that a definition names: one of the manager's, or a file's.
local function policy_of(self, name)
  local own = self.context.schedules
  if not name:find "[/.]" or own and own[name] then
    local policy, known = policies.find("schedules", name, own)
    if policy then return policy end
    local among = #known > 0 and "; known are: " .. table.concat(known, ", ") or "; this manager was given none"
    return nil, errors.invalid("policy", ("%s is no schedule policy that is known here%s%s"):format(name, among,
      check.did_you_mean(name, known)))
  end
  local loaded = self.schedule_files[name]
  if not loaded then
    local err
    loaded, err = LoadedPolicy.load(name, { reload = true })
    if not loaded then return nil, err end
    self.schedule_files[name] = loaded
  end
  loaded:refresh(self.context.log)
  return loaded:as_policy()
end

--- The times of a definition, in this process.
---@param self keel.ManagerCore
---@param definition keel.ScheduleDefinition
---@param now integer microseconds since the epoch
---@return keel.Occurrences? occurrences
---@return keel.Error? err what this process does not know: policy, timezone
function occurrences.of(self, definition, now)
  if not definition.policy then return schedule.occurrences(definition) end
  local policy, err = policy_of(self, definition.policy)
  if not policy then return nil, err end
  return ByPolicy.new(policy, self.context.budget, now)
end

-- The fields that a schedule's create options cannot have: they are about one run.
local of_one_run = { "after", "idempotency_key", "idempotency_ttl", "idempotency_until", "parent_run_id", "retry_of" }

local function check_options(options)
  for _, name in ipairs(of_one_run) do
    if options[name] ~= nil then return errors.invalid(name, "is about one run, and a schedule makes many") end
  end
  for _, name in ipairs { "multitask_strategy", "strategy" } do
    if options[name] ~= nil and type(options[name]) ~= "string" then
      return errors.invalid(name, "must be a name: a schedule is stored")
    end
  end
  for _, name in ipairs { "scheduled_at", "deadline" } do
    if type(options[name]) == "string" then
      return errors.invalid(name, "must be a number of seconds from the occurrence: a schedule makes many runs")
    end
  end
  if options.claimable == false then return errors.invalid("claimable", "is always true of a schedule's runs") end
  local text, err = kernel.json.encode(options)
  if not text then return errors.invalid("options", "cannot be stored: " .. err.message) end
end

--- The request for the run of an occurrence.
---@param self keel.ManagerCore
---@param name string the schedule's
---@param definition keel.ScheduleDefinition
---@param time integer
---@param caller string the public function's that calls this
---@return table? request
---@return keel.Error? err
function occurrences.request(self, name, definition, time, caller)
  local options = {}
  for field, value in next, definition.options or {} do options[field] = value end
  local err = check_options(options)
  if err then return nil, err end
  local at = times.text(time)
  for _, field in ipairs { "scheduled_at", "deadline" } do
    if options[field] then
      options[field], err = errors.time(options[field], field, at)
      if err then return nil, err end
    end
  end
  options.scheduled_at, options.claimable = options.scheduled_at or at, true
  local request
  request, err = request_of.new(self, definition.thread_id or name, options, caller, 1)
  if not request then return nil, err end
  request.fields.schedule = name
  request.occasion = { schedule = name, occurrence = at }
  return request
end

-- The row as plans have it.
local function planned(row)
  local definition = row.definition
  return { next_at = times.micros(row.next_at), last_at = times.micros(row.last_at), period = times.span(row.period),
    problem = row.problem, missed = definition.missed, grace = times.span(definition.grace) }
end

-- The fields of a row by a plan.
local function fields_of(row, plan)
  return { definition = row.definition, next_at = times.text(plan.next_at), last_at = times.text(plan.last_at),
    period = plan.period / times.SECOND, problem = plan.problem and errors.cut(plan.problem, 1024) }
end

-- In the transaction: the row goes on, if it is still the one that was planned for, and the run is admitted or not.
local function carry_out(tx, self, row, fields, request)
  local ours, err = tx:put_schedule(row.name, fields, row.revision)
  if ours == nil then return nil, err end
  if not ours then return { lost = true } end
  return admission.decide(tx, self.context, request)
end

-- Makes the run of an occurrence. False: somebody else has gone on with the schedule.
local function make(self, row, plan, report)
  local fields = fields_of(row, plan)
  local known, request, err = pcall(occurrences.request, self, row.name, row.definition, plan.make, "tick")
  if not known then return nil, errors.from(request) end -- options of another version of Keel
  if not request then return nil, err end
  admission.prepare(self.context, request)
  local outcome
  outcome, err = self.client:transaction("tick", carry_out, self, row, fields, request)
  if not outcome then return nil, err end
  if outcome.lost then return false end
  self.writer:refresh_all(outcome.recovered)
  if outcome.verdict == "created" then
    report.scheduled[#report.scheduled + 1] = adopting.adopt(self, request, outcome.written)
    adopting.abort_interrupted(self, outcome)
  end
  return true
end

-- Says something about a schedule, once while it is the same.
local function tell(self, row, level, message)
  local said = self.schedules_told
  if said[row.name] == message then return end
  said[row.name] = message
  self.context.log(level, message, { schedule = row.name })
end

local function tell_plan(self, row, plan)
  if plan.problem then
    tell(self, row, "error", ("it is not known when schedule %s happens next, which is asked again at %s: %s"):format(
      row.name, times.text(plan.next_at), plan.problem))
  elseif plan.left_out then
    tell(self, row, "warn", ("schedule %s was due at %s, and was missed: it goes on at %s"):format(row.name,
      row.next_at, times.text(plan.next_at)))
  elseif plan.make then
    self.schedules_told[row.name] = nil
  end
end

-- One step of a schedule that is due. Returns its row as it is now; nil: there is no more to be done about it here now.
local function step(self, row, source, now, report)
  local plan = plans.next(planned(row), source, now, row.looked_over)
  local done, err
  if plan.make then
    done, err = make(self, row, plan, report)
  else
    done, err = self.client:call("put_schedule", row.name, fields_of(row, plan), row.revision)
  end
  if done == nil then
    tell(self, row, "error", ("schedule %s could not be worked off and is tried again: %s"):format(row.name,
      tostring(err)))
    return nil, err
  end
  if not done then return nil end
  tell_plan(self, row, plan)
  local went_on = fields_of(row, plan)
  went_on.name, went_on.revision, went_on.looked_over = row.name, row.revision + 1, not plan.unfinished
  return went_on
end

-- Works off one schedule. Returns how many steps that took, and whether there is more.
local function work_off_one(self, row, now, steps, report)
  if not (type(row.definition) == "table" and row.definition.missed and row.definition.grace) then
    tell(self, row, "error", ("the definition of schedule %s is damaged: it is left as it is"):format(row.name))
    return 0
  end
  local source, unknown = occurrences.of(self, row.definition, now)
  if not source then
    tell(self, row, "warn", ("schedule %s is left to others: %s"):format(row.name, unknown.message))
    return 0
  end
  for taken = 1, steps do
    local went_on, err = step(self, row, source, now, report)
    if not went_on then
      if err then report.undone = report.undone or err end
      return err and taken - 1 or taken -- what fails must not take the turn of those after it
    end
    row = went_on
    if not row.looked_over then return taken, true end -- a policy that was asked very often: others come first
    if times.micros(row.next_at) > now then return taken end
  end
  return steps, true
end

--- Makes what is due by now, as much as one tick may. `scheduled` of the report has the records of the runs, `undone`
--- the first error; `behind` says that more is due.
---@param self keel.ManagerCore
---@param report table
---@param limit? integer steps it may take
function occurrences.work_off(self, report, limit)
  report.scheduled = {}
  if not self.client:has "list_schedules" then return end
  policies.refresh_all(self.context.schedules, self.context.log)
  local until_now = self.client:now()
  local now, steps, after = times.micros(until_now), limit or STEPS, nil
  repeat
    local page, more = self.client:call("list_schedules", { ["until"] = until_now, limit = PAGE,
      after = after and after.name, after_at = after and after.next_at })
    if not page then
      report.undone = report.undone or more
      return
    end
    for _, row in ipairs(page) do
      local taken, behind = work_off_one(self, row, now, steps, report)
      steps = steps - taken
      report.behind = report.behind or behind or steps <= 0
      if steps <= 0 then return end
    end
    after = page[#page]
  until #page < PAGE and not more
end

return occurrences
