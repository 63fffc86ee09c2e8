--- Rules of the user's own about a store: policies from files, asked once with a picture of what is in it.
---
--- A rule is as those of worker runtimes, in a sandbox: function(snapshot) → list of { severity, code, message,
--- subject }.
--- The snapshot has the cause "doctor", `now`, `stats`, `sessions`, `limits`, `schedules`, the oldest runs in flight as
--- `runs` and the newest that have ended as `ended`; `has_more` names the lists that are not whole.
local diagnostics = require "keel.policy.diagnostic"
local keel_command = require "keel.command"
local kernel = require "keel.kernel"
local loaded = require "keel.policy.loaded"
local policies = require "keel.policy"
local usage = require "keel.cli.usage"
local which = require "keel.cli.which"

local rules = {}

local MOST = 1000     -- of each list
local DOCUMENT = 1024 -- bytes of JSON of a document; a longer one is left out
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

-- --- The picture ----------------------------------------------------------------------------------------------------

-- What a rule sees of a run.
local function seen(run)
  local copy = {}
  for name, value in pairs(run) do
    local text = type(value) == "table" and kernel.json.encode(value)
    if type(value) ~= "table" or text and #text <= DOCUMENT then copy[name] = value end
  end
  return copy
end

-- The oldest runs in flight, and whether there are more.
local function in_flight(store)
  local list, query = {}, { limit = 100 }
  repeat
    local rows, more = store:list_inflight(query)
    if not rows then return nil, more end
    for _, row in ipairs(rows) do
      if #list == MOST then return list, true end
      if row.operation_kind == "run" then list[#list + 1] = seen(row) end
    end
    query.after = (#rows == query.limit or more) and rows[#rows].run_id or nil
  until not query.after
  return list, false
end

-- The newest runs that have ended, and whether there are more.
local function ended(store)
  local list, has_more = {}, false
  local looked_at, err = which.each(store, {}, function(run)
    has_more = #list == MOST
    if has_more then return false end
    if kernel.final[run.status] then list[#list + 1] = seen(run) end
  end)
  if not looked_at then return nil, err end
  return list, has_more
end

-- As much of a list as goes into the picture, and whether there is more; or nil and the error.
local function some(list, err)
  if not list then return nil, err end
  return table.move(list, 1, math.min(#list, MOST), 1, {}), #list > MOST
end

--- What rules are told of a store.
---@param store keel.Store
---@return table? snapshot
---@return keel.Error? err
function rules.snapshot(store)
  local snapshot = { cause = "doctor", now = store:now(), has_more = {} }
  for name, read in pairs { runs = in_flight, ended = ended,
    sessions = function() return some(store:sessions()) end, limits = function() return some(store:limits()) end,
    schedules = function() return some(store:list_schedules()) end } do
    local list, more = read(store)
    if not list then return nil, more end
    snapshot[name], snapshot.has_more[name] = list, more or nil
  end
  local err
  snapshot.stats, err = store:stats()
  if not snapshot.stats then return nil, err end
  return snapshot
end

-- --- Asking ---------------------------------------------------------------------------------------------------------

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
