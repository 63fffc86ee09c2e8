--- What a store says it wrote. A store of the user's own may answer true and no more: it is then believed to have
--- written what it was told. That is settled here, in front of such a store and of its transactions, and nowhere else.
local check = require "keel.check"
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

local function settled(now, write, given, found, written, ...)
  if not found or type(written) == "table" then return found, written, ... end
  return found, write(now(), table.unpack(given, 1, given.n)), ...
end

local faces = setmetatable({}, { __mode = "k" }) -- as a set

local function face_of(target, now)
  local function begin(_, ...)
    local tx, err = target:begin(...)
    if not tx then return tx, err end
    return face_of(tx, now)
  end
  local function member_of(_, name)
    local member = target[name]
    if not check.is_callable(member) then return member end
    if name == "begin" then return begin end
    local write = written_by[name]
    if not write then return function(_, ...) return target[name](target, ...) end end
    return function(_, ...)
      return settled(now, write, table.pack(...), target[name](target, ...))
    end
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
