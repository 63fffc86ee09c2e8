--- Test runs as JSON, byte for byte as other programs were promised it.
local errors = require "keel.errors"
local kernel = require "keel.kernel"
local record = require "keel.dispatcher.record"

local json = {}

-- The keys in the order they are written in. The last two are there only when they are not empty.
local keys = { "id", "machine", "test_dir", "test_dir_hash", "status", "exit_code", "started_at", "ended_at",
  "artifacts_path", "logs_path", "error_code", "error_msg" }
local optional = { "batch_id", "plan_entry" }

local known = {}
for _, name in ipairs(keys) do known[name] = true end
for _, name in ipairs(optional) do known[name] = true end

-- What may be null.
local nullable = { exit_code = true, started_at = true, ended_at = true }

local function member(name, value)
  if value == nil then return ('"%s":null'):format(name) end
  return ('"%s":%s'):format(name, assert(kernel.json.encode(value)))
end

--- The JSON of a checked record. Fails with invalid_request for one without id, machine, hash or status.
---@param checked table
---@return string? text
---@return keel.Error? err
function json.encode(checked)
  local err = record.missing(checked, "id", "machine", "test_dir_hash", "status")
  if err then return nil, err end
  local members = {}
  for _, name in ipairs(keys) do members[#members + 1] = member(name, checked[name]) end
  for _, name in ipairs(optional) do
    if checked[name] then members[#members + 1] = member(name, checked[name]) end
  end
  return "{" .. table.concat(members, ",") .. "}"
end

--- The record of a JSON text. Unknown keys are refused by name, and so are missing ones and wrong values.
---@param text string
---@return keel.TestRun? run without a revision
---@return keel.Error? err invalid_request
function json.decode(text)
  local given, err = kernel.json.decode(text)
  if err then return nil, err end
  if type(given) ~= "table" or #given > 0 then return nil, errors.invalid("text", "is not a JSON object") end
  local names = {}
  for name in pairs(given) do names[#names + 1] = name end
  table.sort(names) -- of several unknown keys, always the same is named
  for _, name in ipairs(names) do
    if not known[name] then
      return nil, errors.new("invalid_request", ("unknown key %q"):format(name), { field = name })
    end
    if given[name] == kernel.null and not nullable[name] then return nil, errors.invalid(name, "must not be null") end
  end
  local checked
  checked, err = record.check(given)
  if err then
    err.misuse = nil -- not the caller's mistake, but that of whoever wrote the text
    return nil, err
  end
  for _, name in ipairs(keys) do
    if given[name] == nil then return nil, errors.invalid(name, "must be given") end
  end
  return checked
end

return json
