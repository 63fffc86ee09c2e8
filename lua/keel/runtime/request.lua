--- The shapes that callers give a runtime: what a worker is made from, refs, inputs. What is well-formed comes back as
--- a table of its own, with only known members, so that equal requests are written alike.
---
--- What is in a request may come from somebody else (another program, a person): a wrong member is `invalid_request`
--- and names its place. A wrong argument is the caller's mistake and raises.
local check = require "keel.check"
local errors = require "keel.errors"
local kernel = require "keel.kernel"

local request = {}
local null, array = kernel.null, kernel.array

local ID_MAX = kernel.limits.worker_id

local function invalid(field, problem)
  return nil, errors.invalid(field, problem)
end

-- --- Members --------------------------------------------------------------------------------------------------------

local members = {}

function members.text(value, field)
  if type(value) ~= "string" then return invalid(field, "must be a string") end
  if not utf8.len(value) then return invalid(field, "is not valid UTF-8") end
  return value
end

function members.words(value, field)
  local text, err = members.text(value, field)
  if not text then return nil, err end
  if kernel.is_blank(text) then return invalid(field, "must not be empty") end
  return text
end

function members.id(value, field)
  local text, err = members.words(value, field)
  if not text then return nil, err end
  if #text > ID_MAX then
    return invalid(field, ("has %d bytes, at most %d are allowed"):format(#text, ID_MAX))
  end
  if check.has_control(text) then return invalid(field, "has a control character") end
  return text
end

-- Reads a table with these members (name -> how to read it, "?" before it: may be left out). `kind`, if given, is one
-- of them that was read already.
local function read_members(value, field, shape, kind)
  if type(value) ~= "table" then return invalid(field, "must be a table") end
  local read = { kind = kind }
  for name in pairs(value) do
    if not shape[name] and not (kind and name == "kind") then
      return invalid(("%s.%s"):format(field, tostring(name)), "is not known")
    end
  end
  for name, how in pairs(shape) do
    local optional, reader = how:match "^(%??)(.*)$"
    local member = value[name]
    if member == null then member = nil end
    if member ~= nil or optional == "" then
      local err
      read[name], err = members[reader](member, field .. "." .. name)
      if err then return nil, err end
    end
  end
  return read
end

-- Reads a table whose `kind` says which members it has.
local function read_kind(value, field, shapes, known)
  if type(value) ~= "table" then return invalid(field, "must be a table") end
  local shape = type(value.kind) == "string" and shapes[value.kind]
  if not shape then return invalid(field .. ".kind", "must be one of: " .. known) end
  return read_members(value, field, shape, value.kind)
end

local function read_list(value, field, shape)
  if type(value) ~= "table" then return invalid(field, "must be a list") end
  local list, count = array {}, 0
  for _ in pairs(value) do count = count + 1 end
  if count ~= #value then return invalid(field, "must be a list") end
  for i, item in ipairs(value) do
    local err
    list[i], err = read_members(item, ("%s[%d]"):format(field, i), shape)
    if err then return nil, err end
  end
  return list
end

-- --- Workers --------------------------------------------------------------------------------------------------------

local intents = {
  assistant = { purpose = "?text" },
  task = { objective = "words" },
  role = { role = "words", purpose = "?text" },
}
local profiles = { runtime_default = {}, builtin = { value = "id" }, named = { value = "id" } }
local capability = { name = "id", reason = "?text" }
local reference = { name = "id", reference = "text" }

--- The members of a request for a worker, with their types: what the caller is to raise for.
request.worker_members = { intent = "table", profile = "table", config_bundle = "table",
  requested_capabilities = "table", workspace_refs = "table", mount_refs = "table", idempotency_key = "string" }

--- Reads a request for a worker, and fills in what was left out. Fails with invalid_request, naming the place.
---@param given keel.WorkerRequest with known members of the right types
---@return table? fields for the store's create_worker
---@return keel.Error? err
function request.worker(given)
  local fields, err = { idempotency_key = given.idempotency_key }
  fields.intent, err = read_kind(given.intent or { kind = "assistant" }, "intent", intents, "assistant, task, role")
  if err then return nil, err end
  fields.profile, err = read_kind(given.profile or { kind = "runtime_default" }, "profile", profiles,
    "runtime_default, builtin, named")
  if err then return nil, err end
  if given.config_bundle then
    fields.config_bundle, err = read_members(given.config_bundle, "config_bundle", { id = "id" })
    if err then return nil, err end
  end
  local lists = { requested_capabilities = capability, workspace_refs = reference, mount_refs = reference }
  for _, name in ipairs { "requested_capabilities", "workspace_refs", "mount_refs" } do
    fields[name], err = read_list(given[name] or {}, name, lists[name])
    if err then return nil, err end
  end
  return fields
end

-- --- Refs and inputs ------------------------------------------------------------------------------------------------

--- Raises unless a value is a worker ref: a table with runtime_id and worker_id. A worker's detail is one, too.
---@param ref any
---@param argument integer its number, for the message
---@param name string the function's
---@return keel.WorkerRef ref with just the two
function request.ref(ref, argument, name)
  if type(ref) ~= "table" or type(ref.runtime_id) ~= "string" or type(ref.worker_id) ~= "string" then
    error(("bad argument #%d to '%s' (worker ref expected: a table with runtime_id and worker_id)"):format(argument,
      name), 3)
  end
  return { runtime_id = ref.runtime_id, worker_id = ref.worker_id }
end

--- The members of an input, with their types; what they say is the store's to judge.
request.input_members = { kind = "string", content = "string", run_id = "string", idempotency_key = "string" }

return request
