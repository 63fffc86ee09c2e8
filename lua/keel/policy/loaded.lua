--- Policies from files: a script runs in a sandbox of its own, an edit is picked up while the host runs, and a broken
--- edit leaves the version that worked in place.
---
--- Files are read in `refresh`, which managers call before they open a transaction, never inside one.
local check = require "keel.check"
local decisions = require "keel.policy.decision"
local errors = require "keel.errors"
local kernel = require "keel.kernel"

---@class keel.LoadedPolicy
local LoadedPolicy = {}
LoadedPolicy.__index = LoadedPolicy
LoadedPolicy.__name = "keel.policy"

--- The budget of a policy when none is given, and of loading one: that runs the chunk once, to see what it gives.
---@type keel.PolicyBudget
LoadedPolicy.default_budget = { instructions = 1000000, seconds = 0.05, bytes = 16 << 20 }
local load_budget = LoadedPolicy.default_budget

local TRIES = 3 -- of a text whose loading ran out of time

local NAME_MAX = 64 -- bytes of a name that becomes a run's multitask_strategy

-- The name a file's policy goes by: that of the file, as far as it can be an id.
local function name_of(path)
  local stem = check.fit_id(path:match "[^/]*$":gsub("%.lua$", ""), NAME_MAX)
  return stem == "" and "policy" or stem
end

local function message_of(name, reason, line)
  return ("policy %s cannot be used%s: %s"):format(name, line and (", line %d"):format(line) or "", reason)
end

local function failed(name, reason, line)
  reason = errors.readable(reason)
  return errors.new("policy_failed", message_of(name, reason, line), { policy = name, reason = reason, line = line })
end

-- What Lua itself passes over in a file: a byte order mark, and a first line that begins with "#".
local function code_of(source)
  return (source:gsub("^\239\187\191", ""):gsub("^#[^\n]*", ""))
end

-- Makes a version of a script: its sandbox and its hash; or nil and the error.
local function version_of(name, source)
  local box, problem, place = kernel.sandbox(code_of(source), name)
  if not box then return nil, failed(name, problem, place) end
  local ok, what, reason, line, is_block = box:check(load_budget.instructions, load_budget.seconds, load_budget.bytes)
  if ok then
    local idle, unfit = true, nil
    if what.idle then idle, unfit = decisions.check(what.idle, {}, {}) end
    if not idle then return nil, failed(name, "its idle is no decision: " .. unfit) end
    return { box = box, version = kernel.sha256(source):sub(1, 16), reads = what.reads or nil, idle = what.idle }
  end
  if what == "memory" then return nil, errors.new("no_memory", "there is no memory for policy " .. name) end
  if what == "budget" then
    local spent = errors.spent(load_budget, reason, is_block)
    return nil, errors.new("policy_budget", message_of(name, spent, line),
      { policy = name, limit = reason, line = line, reason = spent })
  end
  return nil, failed(name, reason, line)
end

-- What a version is called as a policy, under each of its names.
local function use(self, version)
  self._version, self._as = version, {}
end

--- Loads a policy from a file of at most 16 KiB, Lua source that returns a function; or, for a strategy, a table
--- { decide, reads } or { decide, idle }.
--- Raises for wrong types and unknown options. Fails with policy_failed (policy, line, reason), also for a file that
--- cannot be read, policy_budget (policy, limit, line) and no_memory.
---@param path string
---@param options? { reload?: boolean } reload: look before each decision whether the file has changed
---@return keel.LoadedPolicy? policy
---@return keel.Error? err
function LoadedPolicy.load(path, options)
  check.type(path, "string", 1, "load_policy")
  options = check.options(options, { reload = "boolean" }, 2, "load_policy")
  local name = name_of(path)
  if path:find("\0", 1, true) then return nil, failed(name, "the path has a zero byte") end
  local source, stamp, settled = kernel.script_read(path)
  if not source then return nil, failed(name, ("%s cannot be read: %s"):format(path, stamp)) end
  local version, err = version_of(name, source)
  if not version then return nil, err end
  local self = setmetatable({ _path = path, _name = name, _reload = options.reload or false, _stamp = stamp,
    _settled = settled, _seen = source, _problem = nil, _slow = nil, _tries = 0 }, LoadedPolicy)
  use(self, version)
  return self
end

--- Whether a value is a loaded policy.
---@param value any
---@return boolean
function LoadedPolicy.is(value)
  return getmetatable(value) == LoadedPolicy
end

-- Keeps the version that works, and says so once.
local function keep(self, err, log)
  if self._problem and self._problem.reason == err.reason and self._problem.line == err.line then return end
  self._problem = err
  if log then
    log("warn", ("an edit of policy %s is broken; the last good version stays in use"):format(self._name),
      { policy = self._name, path = self._path, line = err.line, error = err.message,
        version = self._version.version })
  end
end

--- Looks whether the file has changed, and takes the new version if it works. Without `reload` it does nothing.
--- Managers call this before a decision.
---@param log? fun(level: string, message: string, fields: table)
function LoadedPolicy:refresh(log)
  if not self._reload then return end
  local stamp, why = kernel.script_stamp(self._path)
  if stamp and stamp == self._stamp and self._settled then return end
  local source, settled
  if stamp then source, why, settled = kernel.script_read(self._path) end
  if not source then
    self._stamp, self._seen = nil, nil
    return keep(self, failed(self._name, ("%s cannot be read: %s"):format(self._path, why)), log)
  end
  self._stamp, self._settled = why, settled
  if source == self._seen then return end
  local version, err = version_of(self._name, source)
  if not version then
    -- Memory may be there next time, and so may time on a busy machine: the text is to be tried again, the latter not
    -- for ever.
    local slow = err.limit == "seconds"
    self._tries = slow and self._slow == source and self._tries + 1 or 1
    self._slow = slow and source or nil
    local again = err.code == "no_memory" or (slow and self._tries < TRIES)
    self._seen = not again and source or nil
    if again then self._stamp = nil end
    return keep(self, err, log)
  end
  local changed = version.version ~= self._version.version
  self._seen, self._problem, self._slow = source, nil, nil
  if not changed then return end
  use(self, version)
  if log then
    log("info", ("policy %s was loaded anew"):format(self._name),
      { policy = self._name, path = self._path, version = version.version })
  end
end

--- The version in use as a policy that can be called.
---@param name? string what is recorded; its own name by default
---@return keel.Policy
function LoadedPolicy:as_policy(name)
  name = name or self._name
  local known = self._as[name]
  if not known then
    local version = self._version
    known = { name = name, version = version.version, box = version.box, reads = version.reads, idle = version.idle }
    self._as[name] = known
  end
  return known
end

--- The name of the file, without ".lua".
---@return string
function LoadedPolicy:name() return self._name end

--- A hash of the source that is in use.
---@return string
function LoadedPolicy:version() return self._version.version end

--- What is wrong with the file as it is now, when it is not what is in use.
---@return { severity: "warning", code: keel.Code, message: string, subject: string, line?: integer }[] list empty, or
--- with one entry; subject: the path
function LoadedPolicy:diagnostics()
  local problem = self._problem
  if not problem then return {} end
  return { { severity = "warning", code = problem.code, message = problem.message, subject = self._path,
    line = problem.line } }
end

function LoadedPolicy:__tostring()
  return ("keel.policy: %s %s"):format(self._name, self._version.version)
end

return LoadedPolicy
