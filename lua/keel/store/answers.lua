--- A store of the user's own, as a manager talks to it. Such a store may answer true and no more: it is then believed
--- to have written what it was told. And it hears the calls that the reference names, with their tables, where Keel's
--- own store is told the same without. That is settled here, in front of such a store and of its transactions, and
--- nowhere else.
local check = require "keel.check"
local errors = require "keel.errors"
local kernel = require "keel.kernel"

local answers = {}

--- The counters of a run; a record has them all, from 0.
answers.counters = { "total_input_tokens", "total_output_tokens", "total_tokens", "llm_call_count",
  "lead_agent_tokens", "subagent_tokens", "middleware_tokens", "message_count" }

-- The row of a new run, as reading it would give it.
local function new_row(run_id, fields, now)
  local row = { run_id = run_id, created_at = now, updated_at = now, fence = 1, revision = 1, priority = 0,
    claimable = false, losses = 0, snoozes = 0 }
  for _, name in ipairs(answers.counters) do row[name] = 0 end
  for name, value in pairs(fields) do row[name] = value end
  row.shared = row.claimable
  return row
end

local function changed(fields, now)
  local written = { updated_at = now }
  for name, value in pairs(fields) do written[name] = value end
  return written
end

-- What was written, by method: of the time, the run, and what else the method was given.
local written_by = {}

function written_by.put(now, run_id, fields)
  if fields.thread_id then return new_row(run_id, fields, now) end
  return changed(fields, now)
end

function written_by.update_status(now, _, status, options)
  options = options or {}
  return { status = status, error = options.error, stop_reason = options.stop_reason,
    cancel_action = options.cancel_action, updated_at = now }
end

function written_by.update_run_completion(now, _, fields) return changed(fields, now) end

function written_by.requeue() return {} end

written_by.admit, written_by.update_run_progress = written_by.put, written_by.update_run_completion

-- What Keel's own store is told in fewer tables, by method: the method that the reference names, and its arguments.
local in_full = {}

function in_full.start(run_id, fence, lease_ttl)
  return "update_status", run_id, "running", { fence = fence, gate = true, lease_ttl = lease_ttl }
end

local function with_fence(method)
  in_full[method] = function(run_id, fields, fence)
    local given = { fence = fence }
    for name, value in pairs(fields) do given[name] = value end
    return method, run_id, given
  end
end
with_fence "update_run_completion"
with_fence "update_run_progress"

local function settled(now, write, given, found, written, ...)
  if not found or type(written) == "table" then return found, written, ... end
  return found, write(now(), table.unpack(given, 1, given.n)), ...
end

local faces = setmetatable({}, { __mode = "k" }) -- as a set

local function call(target, now, method, ...)
  local fn, write = target[method], written_by[method]
  if not check.is_callable(fn) then return nil, errors.no_method(method) end
  if not write then return fn(target, ...) end
  return settled(now, write, table.pack(...), fn(target, ...))
end

local function face_of(target, now)
  local function begin(_, ...)
    local tx, err = target:begin(...)
    if not tx then return tx, err end
    return face_of(tx, now)
  end
  local function member_of(_, name)
    local full = in_full[name]
    if full then return function(_, ...) return call(target, now, full(...)) end end
    local member = target[name]
    if not check.is_callable(member) then return member end
    if name == "begin" then return begin end
    return function(_, ...) return call(target, now, name, ...) end
  end
  local face = setmetatable({}, { __index = member_of, __name = "keel.store_of_another",
    __tostring = function() return tostring(target) end,
    __close = function() target:close() end })
  faces[face] = true
  return face
end

--- A store whose writing methods say what they wrote, as Keel's own do.
---@param store keel.Store|table
---@return keel.Store|table store the same, or what is in front of it from now on
function answers.settle(store)
  if type(store) == "userdata" or faces[store] then return store end
  return face_of(store, function() return check.is_callable(store.now) and store:now() or kernel.now() end)
end

return answers
