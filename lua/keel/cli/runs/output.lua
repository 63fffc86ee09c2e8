--- keel runs output: what a run has said.
local keel_command = require "keel.command"
local kernel = require "keel.kernel"
local opening = require "keel.cli.opening"
local terminal = require "keel.cli.terminal"
local which = require "keel.cli.which"

local CHUNK = 64 * 1024
local STEP = 0.1 -- seconds between looks at what has been said since; the end of the run comes at once
local ENOENT = 2

local function fail(run, code, text, ...)
  return nil, { code = code, message = ("run %s: "):format(run.run_id) .. text:format(...), run_id = run.run_id,
    transient = false }
end

-- --- Files ----------------------------------------------------------------------------------------------------------

-- What is kept in a folder: { path, to } each. One file for all, or one for each of the two streams.
local function sources_in(folder)
  if keel_command.stat(folder .. "/output") then return { { path = folder .. "/output", to = io.stdout } } end
  return { { path = folder .. "/stdout", to = io.stdout }, { path = folder .. "/stderr", to = io.stderr } }
end

-- The oldest part behind `number` that is there; nil: none.
local function next_part(source, number)
  local folder, name = source.path:match "^(.*)/([^/]*)$"
  local next_number
  for _, entry in ipairs(keel_command.entries(folder) or {}) do
    local part = entry:sub(1, #name + 1) == name .. "." and math.tointeger(tonumber(entry:sub(#name + 2)))
    if part and part > number and part < (next_number or math.huge) then next_number = part end
  end
  return next_number
end

-- Opens a part of a source. What another user has written is not for our terminal.
local function open(run, source, number)
  local path = number == 0 and source.path or ("%s.%d"):format(source.path, number)
  local file, user, errno = keel_command.open_file(path)
  if not file then
    if errno == ENOENT then return nil end
    return fail(run, "io", "cannot read %s: %s", path, user)
  end
  if user ~= keel_command.user_id() and keel_command.is_terminal(1) then
    file:close()
    return fail(run, "io", "%s belongs to user %d, who may have written anything: add '| less'", path, user)
  end
  source.file, source.number = file, number
  return true
end

-- Copies what is there of the open part. Returns how many bytes; nil: nobody reads them.
local function copy(source)
  local count = 0
  source.file:seek("cur", 0) -- what has been written since it ended
  for chunk in function() return source.file:read(CHUNK) end do
    if not source.to:write(chunk) then return nil end
    count = count + #chunk
  end
  return source.to:flush() and count
end

-- Copies what is there of a source. Returns whether it goes on, or nil and the error; `false`: nobody reads it.
local function show(run, source)
  while true do
    if not source.file then
      local opened, err = open(run, source, source.number or 0)
      if err then return nil, err end
      if not opened then return true end
    end
    local after = next_part(source, source.number)
    if not copy(source) then return false end -- after the look: what is followed by a part has all it will have
    if not after then return true end
    source.file:close()
    source.file = nil
    if after > source.number + 1 then
      terminal.say(("keel runs output: %d parts of it were not kept"):format(after - source.number - 1))
    end
    source.number = after
  end
end

-- --- The run --------------------------------------------------------------------------------------------------------

-- Why nothing is kept of a run, and what to do about it.
local function nothing_kept(run)
  if run.status == "pending" then return fail(run, "not_found", "it has not started; --follow waits for it") end
  return fail(run, "not_found",
    "its output was not kept; 'keel exec --detach' or 'keel exec --keep DIR' keeps it, 'keel runs retry' tries again")
end

-- Whether there is nothing more to come, because the run has ended or its process is gone.
local function is_over(store, run)
  return kernel.final[run.status] or opening.is_orphan(store, run)
end

-- Waits until the run has changed, or something may have been said.
local function wait(store, watch)
  if not watch.cursor then
    local page = store:read_events(nil, 1, { run_id = watch.run_id })
    watch.cursor = page and page.cursor
  end
  local ready = store:wait_events(watch.cursor, { timeout = STEP })
  if not ready then return end
  local page = store:read_events(watch.cursor, 1000, { run_id = watch.run_id })
  watch.cursor = page and page.cursor or watch.cursor
end

-- Shows what is kept of a run; to its end, when it is followed.
local function run_output(store, run_id, given)
  local run, err = store:get(run_id)
  if not run then return nil, err or opening.no_run(run_id) end
  local watch, sources = { run_id = run.run_id }, nil
  while true do
    local was_over = is_over(store, run) -- before the look: then it finds all
    if not sources and run.logs_path then sources = sources_in(run.logs_path) end
    if not sources and (was_over or run.status ~= "pending" or not given.follow) then return nothing_kept(run) end
    local found = false
    for _, source in ipairs(sources or {}) do
      local goes_on, problem = show(run, source)
      if problem then return nil, problem end
      if not goes_on then return 0 end
      found = found or source.number ~= nil
    end
    if not found then sources = nil end
    if was_over or not given.follow then
      if found then break end
      if run.status == "pending" or run.status == "running" and not was_over then return nothing_kept(run) end
      return fail(run, "not_found", "nothing of its output is in %s any more", run.logs_path)
    end
    if keel_command.is_broken(1) then return 0 end
    wait(store, watch)
    run, err = store:get(run_id)
    if not run then return nil, err or opening.no_run(run_id) end
  end
  if given.follow and not kernel.final[run.status] then
    return fail(run, "orphan", "it is %s, but its process is gone; 'keel reconcile' recovers it", run.status)
  end
  return 0
end

return {
  about = "Prints what a run has said, also while it runs: of a command in the background, or with --keep.",
  more = [[
What was kept in two files goes to standard output and standard error. Of the output of a command in the background,
the first 2 MiB and at least the last 2 MiB are kept, and it is removed when 'keel runs prune' has deleted the run.]],
  arguments = { { "run", which.about } },
  options = { { "--follow", "-f", about = "go on with what it says, until it has ended" } },
  run = function(given)
    local store <close>, err = opening.store(given, "read")
    if not store then return nil, err end
    local run_id
    run_id, err = which.run(store, given.run)
    if not run_id then return nil, err end
    return run_output(store, run_id, given)
  end,
}
