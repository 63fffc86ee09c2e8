--- keel runs prune: deletes what is old.
local kept = require "keel.cli.kept"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local progress = require "keel.cli.progress"
local terminal = require "keel.cli.terminal"
local usage = require "keel.cli.usage"

local STEP_ROWS = 1000 -- of each sort, as a step of store:prune looks at

-- How many steps pruning takes at most: it goes through the log, then through runs and workers side by side.
local function count_steps(store)
  local stats = store:stats()
  if not stats then return 1 end
  return math.ceil(stats.events / STEP_ROWS) + math.ceil(math.max(stats.runs, stats.workers) / STEP_ROWS)
end

local function prune(store, given)
  local bar <close> = progress.new(given, given.dry_run and "looking" or "pruning")
  local done, total = 0, bar.is_wanted and count_steps(store) or 1
  bar:show(0, total)
  return store:prune({ before = given.before, keep_last = given.keep_last,
    dry_run = given.dry_run or nil,
    statuses = given.status and #given.status > 0 and given.status or nil }, function()
    done = done + 1
    bar:show(done, total)
  end)
end

return {
  about = "Deletes runs and workers that ended before a time, the log up to it, and the output that was kept of runs"
    .. " which are gone. What is in flight stays.",
  options = {
    { "--before", value = "TIME", convert = usage.moment,
      about = "what ended before: so long ago (30d, 1w12h), or a time" },
    { "--keep-last", value = "N", convert = usage.integer(0),
      about = "the newest N runs of each thread, workers of each runtime, and events stay" },
    { "--status", value = "STATUS", many = true,
      choices = { "success", "error", "timeout", "interrupted", "stopped", "cancelled" },
      about = "only what ended so; repeatable" },
    { "--dry-run", about = "tell what would be deleted, and delete nothing" },
  },
  run = function(given)
    if not given.before and not given.keep_last then
      return nil, usage.error "how much is to go? Give --before 30d, or --keep-last 1000"
    end
    local store <close>, err = opening.store(given, given.dry_run and "read" or "change")
    if not store then return nil, err end
    local counts, unused = prune(store, given)
    if not counts then return nil, unused end
    if not given.dry_run then
      counts.outputs, err = kept.sweep(store, (opening.path(given)))
      if not counts.outputs then return nil, err end
      counts.unused_bytes = unused
    end
    if given.json then
      output.json(counts)
    elseif not given.quiet then
      local what = ("%s, %s, %s, %s"):format(output.count(counts.runs, "run"), output.count(counts.workers, "worker"),
        output.count(counts.diagnostics, "diagnostic"), output.count(counts.events, "event"))
      if counts.outputs then what = ("%s, %s"):format(what, output.count(counts.outputs, "output")) end
      terminal.print((given.dry_run and "would be deleted: " or "deleted: ") .. what)
      if unused > 0 then terminal.print(("'keel compact' gives %s back to the disk"):format(output.size(unused))) end
    end
  end,
}
