--- Rules of the user's own about a store: policies from files, asked once with a picture of what is in it.
---
--- A rule is as those of worker runtimes, in a sandbox: function(snapshot) → list of { severity, code, message,
--- subject }.
--- The snapshot has the cause "doctor", `now`, `stats`, `sessions`, `limits`, `schedules`, the oldest runs in flight as
--- `runs` and the newest that have ended as `ended`; `has_more` names the lists that are not whole.
local diagnostics = require "keel.policy.diagnostic"
local keel_command = require "keel.command"
local loaded = require "keel.policy.loaded"
local picture = require "keel.store.picture"
local policies = require "keel.policy"
local usage = require "keel.cli.usage"

local rules = {}

-- What a rule may take. It is asked once, and reads thousands of runs, none of which waits for it.
local budget = { instructions = 50000000, seconds = 2, bytes = 64 << 20 }

-- --- Loading --------------------------------------------------------------------------------------------------------

-- The files that are named: of a folder those that end in .lua, in order. Or nil and the problem.
local function files_of(path)
  local about, problem = keel_command.stat(path)
  if not about then return nil, problem end
  if about.kind ~= "directory" then return { path } end
  local files, names, why = {}, keel_command.entries(path)
  if not names then return nil, why end
  table.sort(names)
  for _, name in ipairs(names) do
    if name:find "^[^.].*%.lua$" then files[#files + 1] = path:gsub("/$", "") .. "/" .. name end
  end
  if #files == 0 then return nil, "there is no rule in it: no file whose name ends in .lua" end
  return files
end

--- Loads the rules of files and folders.
---@param paths string[]
---@return { path: string, policy: keel.Policy }[]? loaded
---@return keel.Error? err usage: one cannot be read, or is no rule
function rules.load(paths)
  local list = {}
  for _, path in ipairs(paths) do
    local files, problem = files_of(path)
    if not files then return nil, usage.error(("option '--rules': %s: %s"):format(path, problem)) end
    for _, file in ipairs(files) do
      local policy, err = loaded.load(file)
      if not policy then return nil, usage.error("option '--rules': " .. err.message) end
      list[#list + 1] = { path = file, policy = policy:as_policy() }
    end
  end
  return list
end

-- --- Asking ---------------------------------------------------------------------------------------------------------

--- What rules are told of a store.
---@param store keel.Store
---@return table? snapshot
---@return keel.Error? err
function rules.snapshot(store)
  local snapshot, err = picture("doctor", function(method, ...) return store[method](store, ...) end)
  if snapshot then snapshot.now = store:now() end
  return snapshot, err
end

local function advice_of(path, subject)
  if type(subject) == "table" then
    return ("'keel workers show %s %s' shows it; the rule is %s"):format(subject.runtime_id, subject.worker_id, path)
  end
  if subject then return ("'keel runs show %s' shows it; the rule is %s"):format(subject, path) end
  return "the rule is " .. path
end

--- Asks the rules, and adds what they remark, unless it is for information only.
---@param list { path: string, policy: keel.Policy }[]
---@param snapshot table
---@param findings table
function rules.ask(list, snapshot, findings)
  for _, rule in ipairs(list) do
    local name = rule.policy.name
    local answer, err = policies.call(rule.policy, budget, snapshot)
    local remarks, problem = {}, nil
    if not err and answer ~= nil then remarks, problem = diagnostics.check(answer) end
    if problem then err = policies.failed(rule.policy, problem) end
    if err then
      findings:add("error", err.code, err.message, "mend " .. rule.path, { rule = name })
    end
    for _, remark in ipairs(remarks or {}) do
      if remark.severity ~= "info" then
        findings:add(remark.severity, remark.code, ("rule %s: %s"):format(name, remark.message),
          advice_of(rule.path, remark.subject), { rule = name, subject = remark.subject })
      end
    end
  end
end

return rules
