--- keel runs retry: a new run of the same work.
local keel_command = require "keel.command"
local ask = require "keel.cli.ask"
local exec = require "keel.cli.exec"
local kernel = require "keel.kernel"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local terminal = require "keel.cli.terminal"
local usage = require "keel.cli.usage"
local words = require "keel.cli.exec.words"

-- The options of keel exec that say how, not what.
local options = {}
do
  local what = { ["--thread"] = true, ["--key"] = true, ["--until"] = true, ["--user"] = true, ["--priority"] = true,
    ["--metadata"] = true }
  for _, option in ipairs(exec.options) do
    if not what[option[1]] then options[#options + 1] = option end
  end
  options[#options + 1] = { "--yes", "-y", about = "run the command without asking" }
end

local function absolute(path)
  if not path or path:find "^/" then return path end
  return keel_command.directory() .. "/" .. path
end

-- What is in a store may have been written by anybody who can write to it. Returns true when the command may be run, or
-- nil and the error.
local function may_run(given, path, command, directory)
  local about = keel_command.stat(path)
  if about and about.uid ~= keel_command.user_id() then
    return nil, { code = "io", transient = false,
      message = ("%s belongs to user %d: its commands are run by nobody else"):format(path, about.uid) }
  end
  if given.yes then return true end
  local shown = ("%s\nin %s"):format(words.quoted(command), words.quoted { directory })
  terminal.say(terminal.lines("It would run: " .. shown))
  local agreed = ask "Run it?"
  if agreed == nil then return nil, usage.error "nobody can be asked whether to run it: give --yes" end
  if agreed then return true end
  return nil, { code = "cancelled", transient = false, message = "it was not run" }
end

-- A command is run again, here and now, in the folder it ran in. What the user named is named from where he is.
local function run_again(given, old)
  local asked = {}
  for name, value in pairs(given) do asked[name] = value end
  local path, err = opening.path(given)
  if not path then return nil, err end
  asked.store, asked.keep = opening.is_on_server(path) and path or absolute(path), absolute(given.keep)
  if given.strategy and given.strategy:find "[/.]" then asked.strategy = absolute(given.strategy) end
  local directory
  asked.command, directory = words.restored(old.kwargs)
  asked.thread, asked.user = old.thread_id, old.user_id
  asked.key, asked.retry_of = old.idempotency_key, old.run_id -- the key then gives the new run
  asked.priority, asked.metadata, asked.attempts = old.priority, old.metadata, given.attempts or old.max_attempts
  for option, field in pairs { slot = "slots", rate = "rates" } do
    if #(given[option] or {}) == 0 then asked[option] = old[field] end
  end
  if (table.concat(asked.command) .. directory):find("\0", 1, true) then
    return nil, { code = "invalid_request", transient = false,
      message = ("the command of run %s has a zero byte, which no command can have"):format(old.run_id) }
  end
  local may, refusal = may_run(given, asked.store, asked.command, directory)
  if not may then return nil, refusal end
  local moved, problem = keel_command.change_directory(directory)
  if not moved then
    return nil, { code = "io", transient = false,
      message = ("cannot go to %s, where it ran: %s"):format(directory, problem) }
  end
  return exec.run(asked)
end

-- What others do is put in line again for whoever claims it.
local function put_again(given, old)
  if old.operation_kind ~= "run" then
    return nil, usage.error(("run %s belongs to a %s; only its maker can make it again"):format(old.run_id,
      old.operation_kind))
  end
  for _, option in ipairs(options) do
    local name = option[1]
    local value = given[name:gsub("^%-%-", ""):gsub("-", "_")]
    if name ~= "--yes" and value ~= nil and not (type(value) == "table" and #value == 0) then
      return nil, usage.error(("run %s is no command: leave %s out"):format(old.run_id, name))
    end
  end
  local store <close>, manager = opening.manager(given, "change")
  if not store then return nil, manager end
  local run, err = manager:retry(old.run_id)
  if not run then return nil, err end
  if given.json then
    output.json { run_id = run.run_id, retry_of = old.run_id }
  else
    terminal.print(run.run_id)
    if not kernel.final[run.status] then output.note(given, "it waits until somebody claims it") end
  end
end

local function read(given)
  local store <close>, err = opening.store(given, "read")
  if not store then return nil, err end
  local old
  old, err = store:get(given.run)
  if not old then return nil, err or opening.no_run(given.run) end
  return old
end

return {
  about = "Makes a new run of the same work. A command is shown and, after a yes, run here and now, where it ran"
    .. " before, as by keel exec; the work of others is put in line as it was, and the new run's id printed.",
  arguments = { { "run", "the id of a run that has ended" } },
  options = options,
  run = function(given)
    local old, err = read(given)
    if not old then return nil, err end
    if not kernel.final[old.status] then
      return nil, { code = "conflict", transient = false, run_id = old.run_id, thread_id = old.thread_id,
        message = ("run %s is %s; wait for it, or stop it with 'keel runs cancel'"):format(old.run_id, old.status) }
    end
    if words.is_kept(old.kwargs) and old.kwargs.directory then return run_again(given, old) end
    return put_again(given, old)
  end,
}
