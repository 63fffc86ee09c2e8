--- keel runs output: what a run has said.
local keel_command = require "keel.command"
local kernel = require "keel.kernel"
local opening = require "keel.cli.opening"
local said = require "keel.cli.said"
local which = require "keel.cli.which"

local SOON = 1   -- seconds in which a run that has started says where its output is
local STEP = 0.1 -- seconds between looks at what has been said since; the end of the run comes at once

local function fail(run, code, text, ...)
  return nil, { code = code, message = ("run %s: "):format(run.run_id) .. text:format(...), run_id = run.run_id,
    transient = false }
end

-- Why nothing is kept of a run, and what to do about it.
local function nothing_kept(run)
  if run.status == "pending" then return fail(run, "not_found", "it has not started; --follow waits for it") end
  return fail(run, "not_found",
    "its output was not kept; 'keel exec --detach' or 'keel exec --keep DIR' keeps it, 'keel runs retry' tries again")
end

-- Whether a run has just been started: it may be about to say where its output is.
local function is_new(store, run)
  return run.status == "running" and
    kernel.time_seconds(store:now()) - kernel.time_seconds(run.started_at) < SOON
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

-- Shows what there is of all sources. Returns whether there is any, and whether somebody reads it; nil and the error.
local function show_all(run, sources)
  local found = false
  for _, source in ipairs(sources or {}) do
    local is_read, problem = said.show(source)
    if problem then return fail(run, "io", "%s", problem) end
    if not is_read then return true, false end
    found = found or source.number ~= nil
  end
  return found, true
end

-- Shows what is kept of a run; to its end, when it is followed.
local function run_output(store, run_id, given)
  local watch, sources = { run_id = run_id }, nil
  while true do
    local run, err = store:get(run_id)
    if not run then return nil, err or opening.no_run(run_id) end
    local was_over = is_over(store, run) -- before the look: then it finds all
    if not sources and run.logs_path then sources = said.sources(run.logs_path) end
    local may_come = not was_over and (is_new(store, run) or given.follow and run.status == "pending")
    if not sources and not may_come then return nothing_kept(run) end
    local found, is_read = show_all(run, sources)
    if found == nil then return nil, is_read end
    if found and (not is_read or keel_command.is_broken(1)) then return 0 end
    if was_over or not given.follow and (found or not may_come) then
      if found and given.follow and not kernel.final[run.status] then
        return fail(run, "orphan", "it is %s, but its process is gone; 'keel reconcile' recovers it", run.status)
      end
      if found then return 0 end
      if not was_over then return nothing_kept(run) end
      return fail(run, "not_found", "nothing of its output is in %s any more", run.logs_path)
    end
    if not found then sources = nil end
    wait(store, watch)
  end
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
