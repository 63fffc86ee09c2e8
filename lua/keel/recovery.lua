--- Recovery: what becomes of runs whose owner is gone, or whose time is over. A reconciler decides, the kernel judges
--- and writes.
local documents = require "keel.store.documents"
local errors = require "keel.errors"
local outcomes = require "keel.policy.outcome"
local owner = require "keel.store.owner"
local policies = require "keel.policy"

local recovery = {}

local PAGE = 256 -- runs looked at in one read

local run_kinds = { run = true, dispatch = true }

--- Whether a row is a reservation, and no run.
---@param row table
---@return boolean
function recovery.is_reservation(row)
  return not run_kinds[row.operation_kind]
end

-- A reservation is no run: nobody decides what becomes of it.
local of_reservations = { status = "interrupted", error = "the holder of the reservation is gone" }

-- The reconciler of runs that neither name one nor are recovered by a call that does: the store's own, so that it does
-- not matter who looks first; else the manager's.
local function default_of(context, source)
  local stored, err
  if source then stored, err = source() end
  if err then return nil, err end
  return stored or context.default_reconciler or recovery.DEFAULT
end

--- The reconciler of a store and of a manager that name none.
recovery.DEFAULT = "recover_orphans"

local function unknown(run, wanted, known)
  local whose = run.reconciler == wanted and "the run names" or "the store names"
  return errors.new("policy_failed",
    ("run %s is left as it is: its owner is gone, and %s the reconciler %s, which this process does not know (known "
      .. "are: %s); 'keel reconcile --reconciler NAME' decides over it"):format(run.run_id, whose, tostring(wanted),
      table.concat(known, ", ")),
    { policy = wanted, reason = "unknown reconciler", run_id = run.run_id })
end

--- The reconciler that decides over a run: its own, the call's, the store's or the manager's, in this order. A call
--- that says so (`over_unknown`) decides in place of one that nobody here knows.
---@param context table
---@param run table
---@param source? fun(): string?, keel.Error? reads the store's own
---@return keel.Policy? policy
---@return keel.Error? err
function recovery.reconciler_of(context, run, source)
  local wanted, err = run.reconciler or context.reconciler, nil
  if not wanted then wanted, err = default_of(context, source) end
  if not wanted then return nil, err end
  local policy, known = policies.find("reconcilers", wanted, context.reconcilers)
  if policy then return policy end
  if context.over_unknown and context.reconciler then
    policy = policies.find("reconcilers", context.reconciler, context.reconcilers)
  end
  if policy then return policy end
  return nil, unknown(run, wanted, known)
end

-- What the reconciler makes of a run: an outcome and who decided it, or nil to leave it alone.
local function outcome_of(context, run, cause, source)
  if recovery.is_reservation(run) then return of_reservations end
  local policy, failure = recovery.reconciler_of(context, run, source)
  if not policy then return nil, failure end
  -- A function of the host could change the row, which is looked at again.
  local shown = policy.of_host and documents.copy(run) or run
  local outcome, err = policies.call(policy, context.budget, shown,
    { now = context.now(), error = context.error, cause = cause })
  if err or outcome == nil then return nil, err end
  local decided, problem = outcomes.check(outcome)
  if not decided then return nil, policies.failed(policy, problem) end
  decided.reconciler, decided.reconciler_version = policy.name, policy.version
  return decided
end

local function has_lost_lease(context, run, lease_left)
  if not lease_left then return run.lease_expires_at <= context.now() end
  local left = lease_left(run.run_id)
  return left ~= nil and left <= 0
end

-- The same of a transaction or a store, for functions that ask one.
local function lease_left_of(object)
  if not object.lease_left then return nil end
  return function(run_id) return object:lease_left(run_id) end
end

local function reconciler_of_store(object)
  if not object.reconciler then return nil end
  return function() return object:reconciler() end
end

--- Why a run in flight may be recovered: "deadline", "lease", "owner" (it is gone), or nil. The kernel judges again
--- when it is taken.
---@param context table
---@param run table its row
---@param is_alive fun(session_id: integer): boolean
---@param lease_left? fun(run_id: string): number? seconds that its lease has still to go unrenewed; nil: a store that
--- goes by the clock
---@return "deadline"|"lease"|"owner"|nil cause
function recovery.cause_of(context, run, is_alive, lease_left)
  -- Times of this form sort as text.
  if run.deadline and run.deadline <= context.now() then return "deadline" end
  if run.session_id then
    if run.session_id == context.session_id() then return nil end
    if run.lease_expires_at and has_lost_lease(context, run, lease_left) then return "lease" end
  end
  return owner.is_gone(run, is_alive) and "owner" or nil
end

--- What to say of a session when nothing here can tell whether its process is there.
---@param session_id integer
---@return string
function recovery.undecided(session_id)
  return ("whether session %d, which has it, is alive cannot be told here: if it is not, 'keel reconcile --session %d' "
    .. "ends it"):format(session_id, session_id)
end

--- Recovers one run, if it is an orphan, inside an open transaction. A reconciler that fails leaves its run as it is,
--- and does not keep others from being admitted.
---@param tx keel.Transaction
---@param context table
---@param run table its row
---@return boolean? taken nil: the store failed
---@return keel.Error? err
function recovery.take(tx, context, run)
  local failure
  local cause = recovery.cause_of(context, run, function(session_id)
    local alive, second = tx:session_alive(session_id)
    if alive == nil then failure = second end
    if alive and second == true and context.left then context.left[run.run_id] = recovery.undecided(session_id) end
    return alive
  end, lease_left_of(tx))
  if failure then return nil, failure end
  if not cause then return false end
  local outcome, err = outcome_of(context, run, cause, reconciler_of_store(tx))
  if err and context.left then context.left[run.run_id] = err.message end
  if err then context.log("warn", "a run could not be recovered", { run_id = run.run_id, error = tostring(err) }) end
  if not outcome then return false end
  local taken
  taken, err = tx:claim_for_takeover(run.run_id, outcome)
  if err and (err.code == "invalid_request" or err.code == "limit_too_large") then
    context.log("warn", "a run could not be recovered", { run_id = run.run_id, error = tostring(err) })
    return false
  end
  return taken, err
end

local function recover_run(context, run, cause, recovered)
  local outcome, err = outcome_of(context, run, cause, context.stored_reconciler)
  if not outcome then return err end
  local taken
  taken, err = context.claim(run.run_id, outcome)
  if taken and not recovery.is_reservation(run) then recovered[#recovered + 1] = run.run_id end
  return err
end

-- The next page of what may be orphaned, and moves `at` behind it: the runs of one dead owner after the other, then
-- what is overdue or nobody's. However many runs wait or are looked after, they are not looked at; in a store that
-- cannot tell who owns runs, all are. The last page sets `at.done`.
local function next_page(context, at, limit)
  while at.owner do
    if not at.after then
      local next_one, err = context.next_owner(at.owner)
      if err then return nil, err end
      at.owner = next_one
    end
    if at.owner and (at.after or not context.is_alive(at.owner)) then
      local page, more = context.list { session_id = at.owner, before = context.before, limit = limit,
        after = at.after }
      if not page then return nil, more end
      at.after = (#page == limit or more) and page[#page].run_id or nil
      if #page > 0 then return page end
    end
  end
  local page, more = context.list { overdue = context.next_owner and true, before = context.before, limit = limit,
    after = at.after }
  if not page then return nil, more end
  at.after = (#page == limit or more) and page[#page].run_id or nil
  at.done = at.after == nil
  return page
end

-- Nobody will try to start a run that waits for others and may be claimed: what holds it up is cleared away here.
local function clear_ways(context, recovered)
  if not context.next_owner then return nil end
  local page, err = context.list { held_up = true, before = context.before, limit = PAGE }
  local failure = not page and err or nil
  for _, run in ipairs(page or {}) do failure = context.clear_way(run, recovered) or failure end
  return failure
end

--- Recovers the orphans there are, run by run, each in a transaction of its own.
---@param context { list: fun(query: table), next_owner: nil|fun(after: integer),
--- claim: fun(run_id: string, outcome: table), is_alive: fun(id: integer),
--- clear_way: fun(run: table, recovered: string[]): keel.Error?, now: fun(): string,
--- session_id: (fun(): integer?), budget: keel.PolicyBudget, reconcilers: table?, reconciler: any, error: string?,
--- before: string?, position: table?, page: integer? } page: look at so many runs and no more, from `position` on;
--- nil: at all
---@return string[] recovered their ids
---@return keel.Error? err the last failure; the runs it was about stay as they are
---@return table? position where to go on; nil: that was all
function recovery.sweep(context)
  local recovered = {}
  local seen = {} -- a page starts over when the run to go on behind was deleted
  local at, failure = context.position or { owner = context.next_owner and 0 }, nil
  local left = context.page or math.huge
  repeat
    local page, err = next_page(context, at, math.min(left, PAGE))
    if not page then return recovered, err, nil end
    for _, run in ipairs(page) do
      if not seen[run.run_id] then
        seen[run.run_id] = true
        local cause = recovery.cause_of(context, run, context.is_alive, context.lease_left)
        if cause then failure = recover_run(context, run, cause, recovered) or failure end
      end
    end
    if at.done then return recovered, clear_ways(context, recovered) or failure, nil end
    left = left - #page
  until left <= 0
  return recovered, failure, at
end

return recovery
