--- Making test runs: a request for admission, the record that a caller builds for it, and what came of it.
local admission = require "keel.admission"
local errors = require "keel.errors"
local kernel = require "keel.kernel"
local policies = require "keel.policy"
local record = require "keel.dispatcher.record"

local making = {}

-- What admission has to know of a dispatcher.
local function context_of(client)
  return { session_id = function() return (client:session_id()) end, budget = policies.default_budget,
    now = function() return client:now() end, log = function(...) return client:log(...) end }
end

--- A request for admission.
---@param client keel.StoreClient
---@param machine string
---@param hash string
---@param strategy string
---@param complete? fun(fields: table): true?, keel.Error? adds what is known only of a run that is admitted
---@return table? request
---@return keel.Error? err
function making.request(client, machine, hash, strategy, complete)
  local run_id, session_id, err
  run_id, err = kernel.new_id()
  if not run_id then return nil, err end
  session_id, err = client:session_id()
  if err then return nil, err end
  local fields = { run_id = run_id, thread_id = record.thread_of(machine), fingerprint = hash, status = "pending",
    session_id = session_id, operation_kind = "dispatch", multitask_strategy = strategy,
    reconciler = "dispatcher_died", attempt = 1 }
  return { run_id = run_id, thread_id = fields.thread_id, fields = fields, complete = complete,
    policy = policies.find("strategies", strategy), context = context_of(client) }
end

--- The record of a row that was just made.
---@param fields table what was put
---@param written table what the store says it wrote
---@return keel.TestRun
function making.made_of(fields, written)
  for name, value in pairs(fields) do
    if written[name] == nil then written[name] = value end
  end
  return record.of_row(written)
end

--- Admission of a request, in an open transaction.
---@param tx keel.Transaction
---@param request table
---@return { run: keel.TestRun, verdict: "created"|"reuse"|"busy" }? outcome the run that was made, or is in the way
---@return keel.Error? err
function making.admit(tx, request)
  local outcome, err = admission.decide(tx, request.context, request)
  if not outcome then return nil, err end
  if outcome.verdict == "created" then
    return { run = making.made_of(request.fields, outcome.written), verdict = "created" }
  end
  local row = outcome.run
  if outcome.verdict == "refused" then row, err = tx:get(row.run_id) end
  if not row then return nil, err end
  return { run = record.of_row(row), verdict = outcome.verdict == "reused" and "reuse" or "busy" }
end

--- Adds what a checked record has to the fields of a new run.
---@param fields table
---@param checked table
function making.add(fields, checked)
  for name, value in pairs(record.to_fields(checked)) do
    if value ~= kernel.null then fields[name] = value end
  end
end

--- Adds what the record has that `make` builds for a machine and a hash.
---@param make fun(): table?, any
---@param machine string
---@param hash string
---@param fields table
---@return { value: any, raised: boolean? }? failure the error, or what is to be raised
function making.build(make, machine, hash, fields)
  local ok, given, err = pcall(make)
  if not ok then return { raised = true, value = given } end
  if given == nil and err ~= nil then return { value = err } end
  if type(given) ~= "table" then
    return { raised = true, value = "make must return a table, or nil and an error; it returned a " .. type(given) }
  end
  local checked, problem = record.check(given)
  if problem and problem.misuse then return { raised = true, value = "make: " .. problem.message } end
  if problem then return { value = problem } end
  for name, wanted in pairs { machine = machine, test_dir_hash = hash } do
    if checked[name] and checked[name] ~= wanted then
      return { value = errors.invalid(name, "of the record is another than the one that was asked for") }
    end
  end
  checked.status, checked.test_dir_hash, checked.started_at, checked.ended_at = "pending", hash, nil, nil
  making.add(fields, checked)
end

return making
