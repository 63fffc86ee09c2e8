--- Answers: why a run is not running, and what admission would decide.
local admission = require "keel.admission"
local carrying = require "keel.admission.carrying"
local check = require "keel.check"
local due_since = require "keel.due_since"
local errors = require "keel.errors"
local kernel = require "keel.kernel"
local recovery = require "keel.recovery"
local request_of = require "keel.manager.request"

local sentences = {
  open = "nothing is in its way: it may start",
  delay = "its time has not come",
  after = "it waits for run %s",
  queue = "run %s is queued ahead of it",
  concurrency = "as many runs as may run on its thread do, among them %s",
  slot = "as many runs as may hold '%s' do",
  rate = "as many runs as may start with '%s' have started",
  paused = "%s is paused",
}

---@class keel.Reason
---@field waits_for string as of explain
---@field run_id? string
---@field name? string
---@field startable_at? string time
---@field reason string

local by_name = { slot = true, rate = true, paused = true }

-- Whom a run waits for, and for what: a source of its own has to end as it wants, others just settle.
local function source_of(run_id, run)
  local who = run_id == run.parent_run_id and run_id .. ", its parent," or run_id
  for _, source in ipairs(run.after or {}) do
    if source == run_id or source.run_id == run_id then
      return who .. (source.on == "final" and " to settle" or " to succeed")
    end
  end
  return who .. " to settle"
end

-- What a gate of a run says, as a sentence.
local function sentence(gate, run)
  if gate.gate == "slot" and not gate.run_id then return ("'%s' has no place: its limit is 0"):format(gate.name) end
  if gate.gate == "rate" and not gate.free_at then
    return ("no run may ever start with '%s': its limit is 0"):format(gate.name)
  end
  local subject = by_name[gate.gate] and gate.name or gate.run_id
  if gate.gate == "after" then subject = source_of(subject, run) end
  local text = sentences[gate.gate]:format(subject)
  if gate.gate == "slot" and gate.run_id then return text .. ", among them " .. gate.run_id end
  return text
end

-- All that is in the way of a run, in the order of the gate.
local function all_of(gates, run)
  local list = {}
  for i, gate in ipairs(gates) do
    list[i] = { waits_for = gate.gate, run_id = gate.run_id, name = gate.name, reason = sentence(gate, run),
      startable_at = gate.scheduled_at or gate.free_at }
  end
  return list
end

-- Seconds that a pending run has waited since its time came; 0 before that.
local function waited(row, now)
  return math.max(kernel.time_seconds(now) - kernel.time_seconds(due_since(row)), 0)
end

-- What the first event of a kind says of a run: of its making, which strategy admitted it.
local function told_of(client, run_id, kind)
  if not client:has "read_events" then return {} end
  local page = client:call("read_events", nil, 1, { run_id = run_id, kinds = { kind } })
  local event = page and page.events[1]
  return event and event.data or {}
end

-- With whom a run was stopped, or asked to, in words.
local function with_parent(client, row, kind)
  local parent = row.parent_run_id and told_of(client, row.run_id, kind).parent_run_id
  return parent and (" with its parent, run %s"):format(parent) or ""
end

-- Of a run whose parent was cancelled before anybody has come to it: of a family of more than a thousand, whose killer
-- has died, or used a transaction of its own.
local function of_parent(client, row, answer)
  if not row.parent_run_id or row.cancel_action then return end
  local parent = client:call("get", row.parent_run_id)
  if not parent or not parent.cancel_action then return end
  answer.note = ("its parent, run %s, was cancelled: it is stopped with it by the next tick, or claim"):format(
    row.parent_run_id)
end

local function of_ended(client, row)
  local why = row.stop_reason or row.error_code
  local reason = "it has ended: " .. row.status .. (why and (" (%s)"):format(why) or "")
  if row.error_code == "dependency_failed" and row.error then return reason .. ": " .. row.error end
  return reason .. (row.status == "interrupted" and with_parent(client, row, "run_finished") or "")
end

-- What there is to say of who has a run in flight. Returns whether it waits to be recovered.
local function of_owner(self, row, answer)
  local client = self.client
  local cause = self.context:cause_of(row)
  if cause then
    answer.waits_for = "recovery"
    answer.reason = (cause == "owner" and "its owner is gone" or ("its %s has passed"):format(cause))
      .. ": it waits to be recovered"
    local policy, err = recovery.reconciler_of(self.context, row,
      function() return self.context:stored_reconciler() end)
    if not policy and not recovery.is_reservation(row) then answer.reason = err.message end
    return true
  end
  if not row.session_id or row.claimable then return false end
  local alive, undecided = client:is_alive(row.session_id)
  local left = client:lease_left(row)
  if alive and undecided then
    answer.owner_undecided, answer.note = true, recovery.undecided(row.session_id)
  elseif left and row.lease_expires_at <= client:now() and row.session_id ~= client:session_id() then
    answer.lease_left = left
    answer.note = ("its lease has ended by the clock, but this process has not watched it for long enough to take it "
      .. "for lost: it does if the lease is not renewed in %s s more"):format(kernel.number_text(left, 1))
  end
  return false
end

local function of_pending(self, row, answer)
  local client = self.client
  answer.waited = waited(row, client:now())
  of_parent(client, row, answer)
  if of_owner(self, row, answer) then return answer end
  local gate, err = client:call("gate", row.run_id)
  if not gate then return nil, err end
  answer.waits_for = gate.gate ~= "open" and gate.gate or nil
  answer.run_id_in_the_way = gate.run_id
  answer.position = gate.position
  answer.reason, answer.name = sentence(gate, row), gate.name
  if self.client:has "reasons" then
    local gates = client:call("reasons", row.run_id)
    answer.reasons = gates and all_of(gates, row)
  end
  if gate.gate == "delay" or gate.gate == "rate" then
    answer.startable_at = gate.scheduled_at or gate.free_at
  elseif gate.gate == "open" then
    answer.startable_at = client:now()
    if row.claimable then answer.waits_for, answer.reason = "claim", "it may start: it waits to be claimed" end
  end
  return answer
end

---@class keel.manager.Explaining: keel.ManagerCore
local Explaining = {}

--- Says why a run is not running. `waits_for` is "delay", "after", "queue", "concurrency", "slot", "rate", "paused",
--- "claim" or "recovery", absent for a run that may start, runs or has ended; it is the first of `reasons`, which are
--- all that keep it from starting, in the order of the gate; `name` is that of the slot or rate, or what is paused;
--- `position` is its place in the queue of its thread, from 1; `startable_at` when it could start, where that is known;
--- `waited` the seconds that it has waited since its time came; `strategy` which one admitted it. Of a run that was
--- stopped with its parent, `parent_run_id`, or failed with a source, `reason` says so. `note` says what else there is
--- to know: of its owner, that nothing here can tell whether it is alive (`owner_undecided`), or that its lease has
--- ended by the clock and is watched (`lease_left`, in seconds); of its parent, that it was cancelled, and the run not
--- yet.
--- Raises for wrong types. Fails with not_found and what reading fails with.
---@param run_id string
---@return { run_id: string, thread_id: string, parent_run_id?: string, status: keel.Status, reason: string,
--- waits_for?: string, run_id_in_the_way?: string, name?: string, reasons?: keel.Reason[], position?: integer,
--- startable_at?: string, waited?: number, strategy: string, strategy_version?: string, strategy_reason?: string,
--- note?: string, owner_undecided?: boolean, lease_left?: number }? answer
---@return keel.Error? err
function Explaining:explain(run_id)
  check.type(run_id, "string", 1, "explain")
  local row, err = self.client:call("get", run_id)
  if err then return nil, err end
  if not row then return nil, errors.no_run(run_id) end
  local created = told_of(self.client, run_id, "run_created")
  local answer = { run_id = run_id, thread_id = row.thread_id, status = row.status,
    strategy = created.strategy or row.multitask_strategy, strategy_version = created.strategy_version,
    strategy_reason = created.reason, parent_run_id = row.parent_run_id }
  if row.status == "pending" then return of_pending(self, row, answer) end
  if row.status == "running" then
    answer.reason = "it is running"
    if row.cancel_action then
      answer.reason = "it is running, and was asked to stop" ..
        with_parent(self.client, row, "run_cancel_requested")
    end
    of_parent(self.client, row, answer)
    of_owner(self, row, answer)
  else
    answer.reason = of_ended(self.client, row)
  end
  return answer
end

-- Admission, and what the newcomer would then wait for.
local function rehearse(tx, context, request)
  local outcome, err = admission.decide(tx, context, request)
  if not outcome or outcome.verdict ~= "created" or not tx.reasons then return outcome, err end
  outcome.gates, err = tx:reasons(request.run_id)
  if not outcome.gates then return nil, err end
  return outcome
end

--- Says what create_or_reject would decide now, what the newcomer would then wait for (as explain does), and changes
--- nothing.
--- Raises for unknown options and wrong types. Fails with what create_or_reject fails with, but for conflict.
---@param thread_id string
---@param options? keel.CreateOptions
---@return { verdict: "created"|"reused"|"refused", strategy: string, strategy_version: string, reason?: string,
--- run_id?: string, cancelled?: string[], action?: keel.Action, replaced?: string, queued_behind?: string[],
--- position?: integer, concurrency?: integer, scheduled_at?: string, slots?: table[], rates?: table[],
--- read?: table<string, integer>, waits_for?: string, name?: string, reasons?: keel.Reason[], startable_at?: string,
--- fallback_for?: { strategy: string,
--- strategy_version: string, code: keel.Code, line?: integer, reason: string } }? answer run_id: the run to reuse, or
--- in the way; read: what the strategy was told of its questions
---@return keel.Error? err
function Explaining:dry_run(thread_id, options)
  check.type(thread_id, "string", 1, "dry_run")
  local request, err = request_of.new(self, thread_id, options, "dry_run")
  if not request then return nil, err end
  admission.prepare(self.context, request)
  local outcome
  outcome, err = self.client:rehearsal("dry_run", rehearse, self.context, request)
  if not outcome then return nil, err end
  local decision = outcome.decision
  local answer = { verdict = outcome.verdict, reason = decision.reason, run_id = outcome.run and outcome.run.run_id,
    cancelled = outcome.cancelled and #outcome.cancelled > 0 and outcome.cancelled or nil,
    action = outcome.cancelled and #outcome.cancelled > 0 and outcome.action or nil, replaced = decision.replace,
    queued_behind = outcome.ahead and #outcome.ahead > 0 and outcome.ahead or nil, position = decision.position,
    concurrency = decision.concurrency, read = decision.read,
    slots = outcome.verdict == "created" and request.fields.slots or nil,
    rates = outcome.verdict == "created" and request.fields.rates or nil,
    scheduled_at = outcome.verdict == "created" and request.fields.scheduled_at or nil }
  if outcome.gates then
    answer.reasons = all_of(outcome.gates, request.fields)
    local first = answer.reasons[1] or {}
    answer.waits_for, answer.name, answer.startable_at = first.waits_for, first.name, first.startable_at
  end
  carrying.add_strategy(answer, request, decision)
  return answer
end

return Explaining
