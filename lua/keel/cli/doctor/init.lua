--- keel doctor: what is wrong, in plain words, and what to do about it.
---
--- A finding is { severity, code, message, advice }, and where it is about runs, { count, run_ids }.
local about_file = require "keel.cli.doctor.file"
local kernel = require "keel.kernel"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local progress = require "keel.cli.progress"
local terminal = require "keel.cli.terminal"

local function print_finding(finding)
  terminal.print(("%s: %s"):format(output.paint(finding.severity), output.plain(finding.message)))
  terminal.print("  " .. output.plain(finding.advice))
end

-- What reading all of it finds.
local function verify(store, findings, given)
  local bar <close> = progress.new(given, "verifying")
  bar:watch(store)
  local problems, err = store:verify()
  if not problems then return findings:add("error", err.code, err.message, about_file.advice(err.code)) end
  for _, problem in ipairs(problems) do
    findings:add("error", problem.code, problem.message,
      "use a backup; 'keel backup FILE' saves what can still be read of this store")
  end
end

local Findings = {}
Findings.__index = Findings

function Findings:add(severity, code, message, advice, more)
  local finding = { severity = severity, code = code, message = message, advice = advice }
  for name, value in pairs(more or {}) do finding[name] = value end
  self[#self + 1] = finding
end

-- Asks the user's own rules.
local function ask(own, store, findings)
  local rules = require "keel.cli.doctor.rules"
  local snapshot, err = rules.snapshot(store)
  if snapshot then return rules.ask(own, snapshot, findings) end
  findings:add("error", err.code, "what rules are told cannot be read: " .. err.message, about_file.advice(err.code))
end

-- Returns the store's name for people, once it is open. `own` are rules of the user's.
local function look(path, findings, given, is_default, own)
  local is_file = not opening.is_on_server(path)
  if is_file and not about_file.look(path, findings, is_default) then return end
  local log_size = is_file and about_file.log_size(path) or nil
  local store <close>, err = kernel.open(path, { create = false, readonly = true })
  if not store then
    if is_file and err.code == "busy" then require("keel.cli.doctor.lock").look_at_file(path, findings) end
    return findings:add("error", err.code, "the store cannot be opened: " .. err.message,
      about_file.advice_on_opening(err, is_file))
  end
  if is_file then
    about_file.look_at_rights(path, findings)
    require("keel.cli.doctor.lock").look(store, findings)
  end
  about_file.look_at_log(store, log_size, findings)
  if not is_file then require("keel.cli.doctor.server").look(store, findings) end
  verify(store, findings, given)
  require "keel.cli.doctor.runs"(store, findings)
  require "keel.cli.doctor.schedules"(store, findings)
  require "keel.cli.doctor.runtimes"(store, findings)
  if #own > 0 then ask(own, store, findings) end
  return is_file and path or store:path()
end

return {
  about = "Looks at the store and at what is in it, and says what is wrong and what to do. It changes nothing.",
  more = "The exit code is 1 when something is wrong. It reads the whole store: that takes time in proportion.",
  options = {
    { "--rules", value = "FILE|DIR", many = true,
      about = "ask rules of your own, too: Lua files, or all of a folder; repeatable" },
  },
  run = function(given)
    local path, is_default = opening.path(given)
    if not path then return nil, is_default end
    local findings = setmetatable({}, Findings)
    local own, err = {}, nil
    if given.rules and #given.rules > 0 then own, err = require("keel.cli.doctor.rules").load(given.rules) end
    if not own then return nil, err end
    local name = look(path, findings, given, is_default, own)
    for _, finding in ipairs(findings) do
      if given.json then output.json(finding) else print_finding(finding) end
    end
    if #findings > 0 then return 1 end
    if not given.json and not given.quiet then terminal.print(("%s: all is well"):format(name)) end
  end,
}
