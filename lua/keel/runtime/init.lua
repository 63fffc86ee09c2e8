--- A worker runtime: long-lived workers with transcripts, on the store that runs are on.
---
--- Everything is in the store; an object of this class is a name for a runtime and what the host brings to it:
--- diagnostic rules and a backend. So any number of them may stand for the same runtime, in any number of processes.
local Client = require "keel.store.client"
local Retry = require "keel.retry"
local backend = require "keel.runtime.backend"
local check = require "keel.check"
local errors = require "keel.errors"
local kernel = require "keel.kernel"
local policies = require "keel.policy"
local requests = require "keel.runtime.request"
local rules = require "keel.runtime.rules"

---@class keel.Runtime
---@field package _client keel.StoreClient
---@field package _id string
---@field package _epoch string
local Runtime = {}
Runtime.__index = Runtime
Runtime.__name = "keel.runtime"

require "keel.runtime.changing"(Runtime)
require "keel.runtime.events"(Runtime)

local runtime_options = {
  store = "userdata|table|string",
  runtime_id = "string",
  display_name = "string",
  limits = "table",
  diagnostics = "table",
  backend = "userdata|table",
  retry = "retry policy", max_wait = "number",
  log = "callable",
}
local limit_options = { max_transcript_projection_items = "integer", max_event_batch_items = "integer" }

-- --- Making one -----------------------------------------------------------------------------------------------------

local function check_rules(map)
  for name, rule in pairs(map or {}) do
    if type(name) ~= "string" or (rule ~= false and not policies.is_policy(rule)) then
      error(("bad argument #1 to 'runtime' (option 'diagnostics' must map names to policies or false; '%s' is a %s)")
        :format(tostring(name), type(rule)), 3)
    end
  end
end

--- Opens a runtime, and makes it if need be. What is given now is stored; what is not stays as it was.
--- Raises without a store, for unknown options and wrong types. Fails with invalid_request (runtime_id, display_name,
--- limits), limit_too_large, and what opening a store, reading and writing fail with.
---@param options { store: keel.Store|string, runtime_id?: string, display_name?: string,
--- limits?: { max_transcript_projection_items?: integer, max_event_batch_items?: integer },
--- diagnostics?: table<string, keel.DiagnosticRule|false>, backend?: keel.Backend, retry?: keel.RetryPolicy,
--- max_wait?: number,
--- log?: fun(level: string, message: string, fields: table) } store: an open one, or the uri of one that is opened
--- here; runtime_id: 1 to 128 bytes, default a new id; display_name: default the runtime_id; diagnostics: rules by
--- name, a built-in one's name replaces it, false switches it off
---@return keel.Runtime? runtime
---@return keel.Error? err
function Runtime.new(options)
  options = check.options(options, runtime_options, 1, "runtime")
  local unfit = check.duration(options.max_wait, "max_wait")
  if unfit then return nil, unfit end
  local limits = check.options(options.limits, limit_options, 1, "runtime")
  check_rules(options.diagnostics)
  if options.backend then backend.check(options.backend) end
  local store, err = Client.open(options.store, "runtime", options.log)
  if not store then return nil, err end
  local id = options.runtime_id
  if not id then id, err = kernel.new_id() end
  if not id then return nil, err end
  local self = setmetatable({
    _client = Client.new(store, options.retry or Retry.new(), options.log, options.max_wait),
    _id = id,
    _rules = rules.of(options.diagnostics),
    _backend = options.backend,
  }, Runtime)
  local summary
  summary, err = self._client:call("open_runtime", id, {
    display_name = options.display_name,
    max_transcript_projection_items = limits.max_transcript_projection_items,
    max_event_batch_items = limits.max_event_batch_items,
  })
  if not summary then return nil, err end
  self._epoch, err = self._client:call "epoch"
  if not self._epoch then return nil, err end
  return self
end

-- Calls the store. An error comes alone.
function Runtime:_call(method, ...)
  local result, err = self._client:call(method, ...)
  if result == nil then return nil, err end
  return result
end

--- The id that is half of every ref of its workers.
---@return string
function Runtime:runtime_id()
  return self._id
end

--- What there is to know of the runtime, at the price of one row.
---@return keel.RuntimeSummary? summary
---@return keel.Error? err
function Runtime:summary()
  return self:_call("runtime_summary", self._id)
end

--- Whether it runs. Fails as `summary` does.
---@return "running"|"stopped"|nil status
---@return keel.Error? err
function Runtime:status()
  local summary, err = self:summary()
  if not summary then return nil, err end
  return summary.status
end

-- --- Looking --------------------------------------------------------------------------------------------------------

--- The workers in order of creation, a page at a time: go on with `after` = the last one's ref.
--- Raises for wrong types. Fails with wrong_runtime and not_found (after), invalid_request, limit_too_large.
---@param options? { after?: keel.WorkerRef|string, limit?: integer } after: a ref or a worker_id; limit: 1 to 1000,
--- default 100
---@return keel.WorkerSummary[]? workers
---@return keel.Error? err
function Runtime:list_workers(options)
  options = check.options(options, { after = "table|string", limit = "integer" }, 1, "list_workers")
  local after = options.after
  if type(after) == "table" then
    local ref = requests.ref(after, 1, "list_workers")
    if ref.runtime_id ~= self._id then
      return nil, errors.new("wrong_runtime",
        ("the worker belongs to runtime %s, not to %s"):format(ref.runtime_id, self._id),
        { expected = self._id, actual = ref.runtime_id })
    end
    after = ref.worker_id
  end
  return self:_call("list_workers", self._id, { after = after, limit = options.limit })
end

--- All there is to know of a worker. Raises for wrong types. Fails with wrong_runtime, not_found.
---@param ref keel.WorkerRef
---@return keel.Worker? worker
---@return keel.Error? err
function Runtime:worker_detail(ref)
  return self:_call("get_worker", self._id, requests.ref(ref, 1, "worker_detail"))
end

--- A part of a worker's transcript.
--- Raises for wrong types. Fails with wrong_runtime, not_found, invalid_request (start, limit), limit_too_large.
---@param ref keel.WorkerRef
---@param options? { start?: integer, limit?: integer } start: from 0, the default; limit: 1 to the runtime's
--- max_transcript_projection_items, the default
---@return keel.Projection? projection
---@return keel.Error? err
function Runtime:transcript_projection(ref, options)
  ref = requests.ref(ref, 1, "transcript_projection")
  options = check.options(options, { start = "integer", limit = "integer" }, 2, "transcript_projection")
  return self:_call("read_transcript", self._id, ref, { start = options.start, limit = options.limit })
end

--- What the rules have noticed, in order of id, a page at a time: go on with `after` = the last one's id.
--- Raises for wrong types. Fails with invalid_request, limit_too_large.
---@param options? { after?: integer, limit?: integer } limit: 1 to 1000, default 100
---@return keel.Diagnostic[]? diagnostics
---@return keel.Error? err
function Runtime:diagnostics(options)
  options = check.options(options, { after = "integer", limit = "integer" }, 1, "diagnostics")
  return self:_call("list_diagnostics", self._id, { after = options.after, limit = options.limit })
end

function Runtime:__tostring()
  return ("keel.runtime (%s)"):format(self._id)
end

return check.methods(Runtime, "_client")
