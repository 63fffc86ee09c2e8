--- Carries out a decision that admits a newcomer, in the transaction in which it was made.
local SHOWN = require("keel.admission.inflight").SHOWN
local kernel = require "keel.kernel"

local carrying = {}

local NAMED = 16 -- runs ahead that an event names; a long queue should not fill the log

-- What became of the runs in the way: ids, and what was written, by id.
local function new_effects()
  return { interrupted = {}, waits_for = {}, cancelled = {}, rows = {} }
end

local function add(list, id) list[#list + 1] = id end

-- Stops a run: at once if it is this session's or pending, else by asking its owner. One that goes on for a while,
-- since its owner has to stop or to settle it, is one to wait for. Returns true, or nil and an error.
local function cancel(context, tx, run, action, effects)
  if run.status ~= "pending" and run.session_id ~= context.session_id() then
    local winner, err = tx:request_cancel(run.run_id, { action = action })
    if not winner then return nil, err end
    add(effects.waits_for, run.run_id)
  else
    local done, written = tx:update_status(run.run_id, "interrupted", { cancel_action = action, finalizing = true })
    if done == nil then return nil, written end
    add(effects.interrupted, run.run_id)
    effects.rows[run.run_id] = written
    if written.finalizing then add(effects.waits_for, run.run_id) end
  end
  add(effects.cancelled, run.run_id)
  return true
end

local function cancel_runs(context, tx, request, decision, shown, effects)
  local wanted = {}
  for _, id in ipairs(decision.cancel) do wanted[id] = true end
  local page, is_cut = shown, shown.is_cut
  repeat
    local last
    for _, run in ipairs(page) do
      last = run.run_id
      if (decision.all or wanted[run.run_id]) and run.run_id ~= decision.replace then
        local done, err = cancel(context, tx, run, decision.action, effects)
        if not done then return nil, err end
      end
    end
    local more = decision.all and (#page == SHOWN or is_cut)
    if more then
      page, is_cut = tx:list_inflight { thread_id = request.thread_id, limit = SHOWN, after = last, brief = true }
      if not page then return nil, is_cut end
    end
  until not more
  return true
end

-- The newcomer takes the place of a run that waits.
local function replace(tx, request, old, effects)
  local ok, written = tx:put(old, { status = "interrupted", stop_reason = "superseded", cancel_action = "interrupt",
    successor = request.run_id })
  if not ok then return nil, written end
  add(effects.interrupted, old)
  effects.rows[old] = written
  return true
end

-- The runs ahead of a newcomer that has to queue. What is pending with a lower priority is behind it.
local function queue_of(decision, shown, count, effects, priority)
  local gone, ahead = {}, {}
  for _, id in ipairs(effects.interrupted) do gone[id] = true end
  for _, id in ipairs(effects.waits_for) do gone[id] = true end
  for _, id in ipairs(decision.after) do gone[id] = true end
  for _, id in ipairs(effects.waits_for) do add(ahead, id) end
  for _, id in ipairs(decision.after) do add(ahead, id) end
  if decision.concurrency and count - #effects.interrupted >= decision.concurrency then
    for _, run in ipairs(shown) do
      if #ahead >= NAMED then break end
      local behind = run.status == "pending" and (run.priority or 0) < priority
      if not gone[run.run_id] and not behind then add(ahead, run.run_id) end
    end
  end
  return ahead
end

--- Adds to an event, or an answer, who decided; and, when that was the fallback, in whose place and why.
---@param note table
---@param request table
---@param decision table
function carrying.add_strategy(note, request, decision)
  local policy = decision.fallback or request.policy
  note.strategy, note.strategy_version = policy.name, policy.version
  if not decision.fallback then return end
  local failure = decision.failure
  note.fallback_for = { strategy = request.policy.name, strategy_version = request.policy.version, code = failure.code,
    line = failure.line, reason = failure.reason }
end

--- Adds to an event what made its run: a schedule, and for when.
---@param note table
---@param request table
function carrying.add_occasion(note, request)
  for name, value in next, request.occasion or {} do note[name] = value end
end

-- What the event of the newcomer says of how it came to be.
local function note_of(request, decision, effects, ahead)
  local note = { reason = decision.reason, replaced = decision.replace }
  carrying.add_occasion(note, request)
  carrying.add_strategy(note, request, decision)
  if #effects.cancelled > 0 then
    note.cancelled = kernel.array(effects.cancelled)
    note.action = decision.action
  end
  if #ahead > 0 then note.queued_behind = kernel.array(ahead) end
  return note
end

local function later(now, seconds)
  return kernel.time_text(kernel.time_seconds(now) + seconds)
end

-- The places in time and in the queue that a decision gives a newcomer. A transaction may be tried again, and its
-- decision be another one then: nothing of the last try stays.
local function place(context, request, decision, effects)
  local fields, waits_for = request.fields, effects.waits_for
  fields.waits_for, fields.start_by, fields.scheduled_at = nil, nil, request.scheduled_at
  if #decision.after > 0 then
    waits_for = table.move(waits_for, 1, #waits_for, #decision.after + 1, { table.unpack(decision.after) })
  end
  if #waits_for > 0 then fields.waits_for = waits_for end
  fields.concurrency, fields.strict = decision.concurrency, decision.strict
  fields.slots, fields.rates = decision.slots or request.slots, decision.rates or request.rates
  local now = (decision.delay or decision.within) and context.now()
  if decision.delay then
    local at = later(now, decision.delay)
    if not fields.scheduled_at or kernel.time_seconds(fields.scheduled_at) < kernel.time_seconds(at) then
      fields.scheduled_at = at
    end
  end
  if decision.within then fields.start_by = later(now, decision.within) end
end

--- Admits a newcomer: stops, replaces and puts in line what the decision says, and writes its row.
---@param context table
---@param tx keel.Transaction
---@param request table
---@param decision table as policy/decision.lua has it
---@param inflight table as inflight.read has it
---@param shown table[] the outlines of the runs in flight
---@return table? outcome
---@return keel.Error? err
function carrying.admit(context, tx, request, decision, inflight, shown)
  local effects = new_effects()
  if decision.all or #decision.cancel > 0 then
    local done, err = cancel_runs(context, tx, request, decision, shown, effects)
    if not done then return nil, err end
  end
  if decision.replace then
    local done, err = replace(tx, request, decision.replace, effects)
    if not done then return nil, err end
  end
  -- What the caller knows only once it is admitted.
  if request.complete then
    local done, err = request.complete(request.fields)
    if not done then return nil, err end
  end
  place(context, request, decision, effects)
  local ahead = queue_of(decision, shown, inflight.count, effects, request.fields.priority or 0)
  local ok, written = tx:put(request.run_id, request.fields, note_of(request, decision, effects, ahead))
  if not ok then return nil, written end
  return { verdict = "created", written = written, interrupted = effects.interrupted, rows = effects.rows,
    cancelled = effects.cancelled, action = decision.action, ahead = ahead, decision = decision }
end

return carrying
