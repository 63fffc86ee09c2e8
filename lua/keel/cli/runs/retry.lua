--- keel runs retry: new runs of the same work.
local keel_command = require "keel.command"
local ask = require "keel.cli.ask"
local exec = require "keel.cli.exec"
local kernel = require "keel.kernel"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local terminal = require "keel.cli.terminal"
local usage = require "keel.cli.usage"
local which = require "keel.cli.which"
local words = require "keel.cli.exec.words"

local PAGE = 100 -- runs that are read at a time

-- The filters, and the options of keel exec that say how, not what.
local options, how = which.options(which.final_statuses), {}
do
  local what = { ["--thread"] = true, ["--key"] = true, ["--until"] = true, ["--user"] = true, ["--priority"] = true,
    ["--metadata"] = true }
  for _, option in ipairs(exec.options) do
    if not what[option[1]] then how[#how + 1] = option end
  end
  table.move(how, 1, #how, #options + 1, options)
  options[#options + 1] = { "--yes", "-y", about = "run the command without asking" }
end

local function absolute(path)
  if not path or path:find "^/" then return path end
  return keel_command.directory() .. "/" .. path
end

-- Whether the command may be run: true, or nil and the error.
local function may_run(given, path, command, directory)
  local is_ours, refusal = opening.check_writers(path)
  if not is_ours then return nil, refusal end
  if given.yes then return true end
  local shown = ("%s\nin %s"):format(words.quoted(command), words.quoted { directory })
  terminal.say(terminal.lines("It would run: " .. shown))
  local agreed = ask "Run it?"
  if agreed == nil then return nil, usage.error "nobody can be asked whether to run it: give --yes" end
  if agreed then return true end
  return nil, { code = "cancelled", transient = false, message = "it was not run" }
end

-- What the user has named is named from where he is, wherever a command is run. Returns true, or nil and the error.
local function settle_paths(given)
  local path, err = opening.path(given)
  if not path then return nil, err end
  given.store, given.keep = opening.is_on_server(path) and path or absolute(path), absolute(given.keep)
  if given.strategy and given.strategy:find "[/.]" then given.strategy = absolute(given.strategy) end
  return true
end

-- A command is run again, here and now, in the folder it ran in.
local function run_again(given, old)
  local asked = {}
  for name, value in pairs(given) do asked[name] = value end
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
  for _, option in ipairs(how) do
    local name = option[1]
    local value = given[name:gsub("^%-%-", ""):gsub("-", "_")]
    if value ~= nil and not (type(value) == "table" and #value == 0) then
      return nil, usage.error(("run %s is for whoever works it off: leave %s out"):format(old.run_id, name))
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

local function retry(given, old)
  local is_ours = old.handler == nil and words.is_kept(old.kwargs) and old.kwargs.directory
  if is_ours then return run_again(given, old) end
  return put_again(given, old)
end

-- The run, if it can be tried again; or nil and the error.
local function read(store, run_id)
  local old, err = store:get(run_id)
  if not old then return nil, err or opening.no_run(run_id) end
  if not kernel.final[old.status] then
    return nil, { code = "conflict", transient = false, run_id = old.run_id, thread_id = old.thread_id,
      message = ("run %s is %s; wait for it, or stop it with 'keel runs cancel'"):format(old.run_id, old.status) }
  end
  return old
end

-- Whether a command that was run here was stopped with keel: then the others are not begun.
local function was_stopped(given, old)
  local store <close> = opening.store(given, "read")
  local id = store and store:newest_retry(old.run_id)
  local row = id and store:get(id)
  return row ~= nil and row.status == "interrupted"
end

-- Tries them again, one after the other. The exit code is that of the first which failed.
local function retry_each(given, ids)
  local code = 0
  for i, run_id in ipairs(ids) do
    local store, err = opening.store(given, "read")
    if not store then return nil, err end
    local old
    old, err = read(store, run_id)
    store:close() -- a command is run without it
    if not old then return nil, err end
    local result
    result, err = retry(given, old)
    if err then return nil, err end
    if code == 0 then code = result or 0 end
    if i < #ids and (result or 0) ~= 0 and was_stopped(given, old) then return code end
  end
  return code
end

-- The ids of the runs that a filter means and that nobody has tried again, the oldest first; and whether there is a
-- command among them. Or nil and the error.
local function find(store, filter)
  local ids, has_command, seen = {}, false, {}
  local query = { statuses = filter.status and { filter.status } or { "error", "timeout" }, limit = PAGE,
    user_id = filter.user_id, batch_id = filter.batch_id, thread_id = not filter.batch_id and filter.thread_id or nil }
  repeat
    local rows, more = store:list_retriable(query)
    if not rows then return nil, more end
    for _, row in ipairs(rows) do
      if row.operation_kind == "run" and which.passes(filter, row) and not seen[row.run_id] then
        ids[#ids + 1], seen[row.run_id] = row.run_id, true
        local old = not has_command and store:get(row.run_id)
        has_command = has_command or old and words.is_kept(old.kwargs)
      end
    end
    query.after = (#rows == PAGE or more) and rows[#rows].run_id or nil
  until not query.after
  return ids, has_command
end

-- Puts all that a filter means in line, which are no commands.
local function retry_all(given)
  local store <close>, manager = opening.manager(given, "change")
  if not store then return nil, manager end
  local count, err = manager:retry_all(which.filter(given))
  if not count then return nil, err end
  if given.json then
    output.json { retried = count }
  elseif not given.quiet then
    terminal.print(("put in line: %s"):format(output.count(count, "run")))
  end
end

-- The ids of the runs that are named, all of which can be tried again.
local function named(store, given)
  local ids, err = which.runs(store, given.run, false, true)
  for _, run_id in ipairs(ids or {}) do
    local old
    old, err = read(store, run_id)
    if not old then return nil, err end
  end
  return ids, err
end

return {
  about = "Makes a new run of the same work. A command is shown and, after a yes, run here and now, where it ran"
    .. " before, as by keel exec; the work of others is put in line as it was, and the new run's id printed.",
  more = "Of several commands one is run after the other. A filter means what ended as error or timeout, unless "
    .. "--status is given, and has not been tried again.",
  arguments = { { "run", which.about_changed, many = true, optional = true } },
  options = options,
  run = function(given)
    local misuse = which.misuse(given)
    if misuse then return nil, misuse end
    local settled, err = settle_paths(given)
    if not settled then return nil, err end
    local filter = which.filter(given)
    local store, problem = opening.store(given, "read")
    if not store then return nil, problem end
    local ids, has_command = (filter and find or named)(store, filter or given)
    store:close()
    if not ids then return nil, has_command end
    if filter and not has_command then return retry_all(given) end
    return retry_each(given, ids)
  end,
}
