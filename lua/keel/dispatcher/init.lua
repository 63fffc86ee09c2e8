--- The dispatcher of test runs: one active run a machine, idempotent by content.
---
--- A machine is a thread, in a name space of its own, and the hash of a test directory the fingerprint; what happens to
--- a newcomer is decided by the strategy `reuse` in one writing transaction, as for any run. The dispatcher keeps
--- nothing: what it gives are copies, each with the revision it is a copy of.
local Client = require "keel.store.client"
local Retry = require "keel.retry"
local changing = require "keel.dispatcher.changing"
local check = require "keel.check"
local errors = require "keel.errors"
local json = require "keel.dispatcher.json"
local kernel = require "keel.kernel"
local making = require "keel.dispatcher.making"
local plan = require "keel.dispatcher.plan"
local record = require "keel.dispatcher.record"

---@class keel.Dispatcher
local Dispatcher = {}
Dispatcher.__index = Dispatcher
Dispatcher.__name = "keel.dispatcher"

local PAGE = 1000      -- rows of one read, when all are wanted
local ALL_MAX = 10000  -- runs of a batch, or of a directory on a machine, that are given at once

local dispatcher_options = { store = "userdata|table|string", retry = "retry policy",
  max_wait = "number", log = "callable" }

--- Makes a dispatcher. Several may share a store, in this process and in others. Raises without a store, for unknown
--- options and wrong types. Fails with what opening a store fails with.
---@param options { store: keel.Store|string, retry?: keel.RetryPolicy, max_wait?: number,
--- log?: fun(level: string, message: string, fields: table) } store: an open one, or the uri of one that is
--- opened here
---@return keel.Dispatcher? dispatcher
---@return keel.Error? err
function Dispatcher.new(options)
  options = check.options(options, dispatcher_options, 1, "dispatcher")
  local unfit = check.duration(options.max_wait, "max_wait")
  if unfit then return nil, unfit end
  local store, err = Client.open(options.store, "dispatcher", options.log)
  if not store then return nil, err end
  return setmetatable({ _client = Client.new(store, options.retry or Retry.new(), options.log, options.max_wait) },
    Dispatcher)
end

-- --- Making runs ----------------------------------------------------------------------------------------------------

--- Makes a run on a machine, unless one is active there: then, of the same hash, that run and "reuse"; of another hash,
--- that run and "busy". What a dead dispatcher left on the machine is recovered first, in the same transaction.
--- `make` is called inside that transaction, once, and only when a run is made. It returns the record of the run
--- (`test_dir` and whatever else is known; id, machine, hash and status are filled in), or nil and an error, which
--- comes back as it is. It must be quick and cannot yield; on this store every call in it is busy. What it raises
--- passes through; whatever it fails with, nothing is left behind.
--- Raises for wrong types. Fails with invalid_request and what writing fails with.
---@param machine string 1 to 243 bytes
---@param hash string the hash of the test directory
---@param make fun(): table?, any
---@return keel.TestRun? run
---@return "created"|"reuse"|"busy"|keel.Error verdict
function Dispatcher:prepare_atomic(machine, hash, make)
  check.type(machine, "string", 1, "prepare_atomic")
  check.type(hash, "string", 2, "prepare_atomic")
  check.type(make, "callable", 3, "prepare_atomic")
  local err = record.check_field("machine", machine) or record.check_field("test_dir_hash", hash)
  if err then return nil, err end
  local failure, made
  local request
  request, err = making.request(self._client, machine, hash, "reuse", function(fields)
    if made then return true end -- the transaction is tried again
    failure = making.build(make, machine, hash, fields)
    if failure then return nil, errors.new("cancelled", "make failed") end
    made = true
    return true
  end)
  if not request then return nil, err end
  local outcome
  outcome, err = self._client:transaction("prepare_atomic", making.admit, request)
  if failure and failure.raised then error(failure.value, 0) end
  if failure then return nil, failure.value end
  if not outcome then return nil, record.in_own_words(err, request.run_id) end
  return outcome.run, outcome.verdict
end

-- Checks the record of a caller; what is the caller's mistake is raised.
local function checked_of(run, name)
  local checked, problem = record.check(run)
  if problem and problem.misuse then error(("bad argument #1 to '%s' (%s)"):format(name, problem.message), 3) end
  return checked, problem
end

--- Stores a run as it is given, pending if it has no status, under a fresh id. One that is active needs a machine
--- without an active run.
--- Raises for wrong types and unknown fields. Fails with conflict (machine, run_id), invalid_request and what writing
--- fails with.
---@param run table the fields of a keel.TestRun; machine and test_dir_hash at least
---@return keel.TestRun? run
---@return keel.Error? err
function Dispatcher:create(run)
  check.type(run, "table", 1, "create")
  local checked, err = checked_of(run, "create")
  err = err or record.missing(checked, "machine", "test_dir_hash")
  if err then return nil, err end
  checked.status = checked.status or "pending"
  local client = self._client
  local request
  request, err = making.request(client, checked.machine, checked.test_dir_hash, "reject")
  if not request then return nil, err end
  making.add(request.fields, checked)
  local outcome
  outcome, err = client:transaction("create", function(tx)
    if not record.is_terminal(checked.status) then
      return making.admit(tx, request)
    end
    local ok, written = tx:put(request.run_id, request.fields)
    if not ok then return nil, written end
    return { run = making.made_of(request.fields, written), verdict = "created" }
  end)
  if not outcome then return nil, record.in_own_words(err, request.run_id) end
  if outcome.verdict == "created" then return outcome.run end
  return nil, errors.new("conflict", ("machine %s is busy with run %s"):format(checked.machine, outcome.run.id),
    { machine = checked.machine, thread_id = request.thread_id, run_id = outcome.run.id })
end

-- --- Changing runs --------------------------------------------------------------------------------------------------

--- Replaces a run by a changed copy of it, if nobody has changed it since that was made. Times that are not given stay,
--- and are stamped when the run starts and ends; all else that is not given is unset.
--- Raises for wrong types and unknown fields. Fails with not_found (before all else), invalid_request (no revision,
--- another machine, a bad value), conflict (run_id, revision: the copy is stale), invalid_transition (from, to: a
--- terminal run keeps its status) and what writing fails with.
---@param run keel.TestRun
---@return keel.TestRun? run as it is stored now
---@return keel.Error? err
function Dispatcher:update(run)
  check.type(run, "table", 1, "update")
  if type(run.id) ~= "string" then
    error(("bad argument #1 to 'update' (field 'id' must be a string, got %s)"):format(type(run.id)), 2)
  end
  local checked, problem = record.check(run)
  local row, err = self._client:transaction("update", changing.replace, run.id, checked, problem)
  if row then return record.of_row(row) end
  if err == problem and problem.misuse then
    error(("bad argument #1 to 'update' (%s)"):format(problem.message), 2)
  end
  return nil, err
end

-- --- Looking --------------------------------------------------------------------------------------------------------

local function records_of(rows)
  local runs = {}
  for i, row in ipairs(rows) do runs[i] = record.of_row(row) end
  return runs
end

--- A run. Fails with not_found and what reading fails with.
---@param id string
---@return keel.TestRun? run
---@return keel.Error? err
function Dispatcher:get(id)
  check.type(id, "string", 1, "get")
  local row, err = changing.row_of(function(run_id) return self._client:call("get", run_id) end, id)
  if not row then return nil, err end
  return record.of_row(row)
end

--- Runs in the order of insertion, whatever their status.
--- Raises for unknown options and wrong types. Fails with invalid_request and limit_too_large (limit), not_found
--- (after) and what reading fails with.
---@param options? { after?: string, limit?: integer } after: the id of a run to go on behind; limit: 1 to 1000,
--- default 100
---@return keel.TestRun[]? runs
---@return keel.Error? err
function Dispatcher:list(options)
  options = check.options(options, { after = "string", limit = "integer" }, 1, "list")
  local rows, err = self._client:call("list_dispatched", { after = options.after, limit = options.limit })
  if not rows then return nil, err end
  return records_of(rows)
end

--- The active run of a machine, the earliest if there are several; nil without an error when it is idle.
--- Fails with invalid_request and what reading fails with.
---@param machine string
---@return keel.TestRun? run
---@return keel.Error? err
function Dispatcher:active_by_machine(machine)
  check.type(machine, "string", 1, "active_by_machine")
  local err = record.check_field("machine", machine)
  if err then return nil, err end
  local rows
  rows, err = self._client:call("list_inflight", { thread_id = record.thread_of(machine), limit = 1 })
  if not rows then return nil, err end
  return rows[1] and record.of_row(rows[1])
end

-- Every run of a query, page by page; each as it was when its page was read.
local function all_of(self, query, what)
  local runs = {}
  query.limit = PAGE
  repeat
    local rows, more = self._client:call("list_dispatched", query)
    if not rows then return nil, more end
    for _, row in ipairs(rows) do runs[#runs + 1] = record.of_row(row) end
    if #runs > ALL_MAX then
      return nil, errors.new("limit_too_large", ("%s has more than %d runs"):format(what, ALL_MAX),
        { requested = #runs, max = ALL_MAX })
    end
    query.after = rows[#rows] and rows[#rows].run_id
  until #rows < PAGE and not more
  return runs
end

--- Every run of a test directory on a machine, whatever its status, in the order of insertion.
--- Fails with invalid_request, limit_too_large (more than 10000) and what reading fails with.
---@param hash string
---@param machine string
---@return keel.TestRun[]? runs
---@return keel.Error? err
function Dispatcher:find_by_test_dir_hash_and_machine(hash, machine)
  check.type(hash, "string", 1, "find_by_test_dir_hash_and_machine")
  check.type(machine, "string", 2, "find_by_test_dir_hash_and_machine")
  local err = record.check_field("test_dir_hash", hash) or record.check_field("machine", machine)
  if err then return nil, err end
  return all_of(self, { fingerprint = hash, thread_id = record.thread_of(machine) }, "the directory on that machine")
end

--- The runs of a batch in the order of their plan entries, numbers in them by value, and how many have each status.
--- Both are of the moment: nothing is kept about a batch but its runs. An unknown batch has none.
--- Fails with invalid_request, limit_too_large (more than 10000 runs) and what reading fails with.
---@param batch_id string
---@return keel.TestRun[]? runs
---@return table<keel.TestRunStatus, integer>|keel.Error counts every status is there
function Dispatcher:batch(batch_id)
  check.type(batch_id, "string", 1, "batch")
  local runs, err = all_of(self, { batch_id = batch_id }, "batch " .. batch_id)
  if not runs then return nil, err end
  plan.sort(runs)
  local counts = {}
  for _, status in ipairs(record.statuses) do counts[status] = 0 end
  for _, run in ipairs(runs) do counts[run.status] = counts[run.status] + 1 end
  return runs, counts
end

-- --- JSON -----------------------------------------------------------------------------------------------------------

--- The JSON of a run, always the same bytes for the same run; its revision is left out.
--- Raises for wrong types and unknown fields. Fails with invalid_request.
---@param run keel.TestRun
---@return string? text
---@return keel.Error? err
function Dispatcher:to_json(run) -- luacheck: ignore 212
  check.type(run, "table", 1, "to_json")
  local checked, err = checked_of(run, "to_json")
  if err then return nil, err end
  return json.encode(checked)
end

--- The run of a JSON text, without a revision. Nothing is stored.
--- Fails with invalid_request (field): no JSON, an unknown key, a key that is missing, a wrong value.
---@param text string
---@return keel.TestRun? run
---@return keel.Error? err
function Dispatcher:from_json(text) -- luacheck: ignore 212
  check.type(text, "string", 1, "from_json")
  return json.decode(text)
end

check.methods(Dispatcher, "_client")

--- `keel.dispatcher`: makes a dispatcher when it is called, and holds what needs none.
return setmetatable({ is_terminal = record.is_terminal, hash_dir = kernel.hash_dir }, {
  __call = function(_, options) return Dispatcher.new(options) end,
})
