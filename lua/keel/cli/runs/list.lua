--- keel runs list: the newest runs.
local describe = require "keel.cli.describe"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local shape = require "keel.cli.shape"
local terminal = require "keel.cli.terminal"
local usage = require "keel.cli.usage"
local which = require "keel.cli.which"

local LAST = 20

-- Whether a run has a text in it: in its thread, in what is shown of it, in its metadata. `text` is in small letters.
local function has(run, text)
  local metadata = type(run.metadata) == "table" and terminal.json(run.metadata) or ""
  for _, place in ipairs { describe.what(run), run.error or "", run.thread_id, metadata } do
    if place:lower():find(text, 1, true) then return true end
  end
  return false
end

-- Lists what was asked for. Returns how many runs it found, and how many were looked at; or nil and the error.
local function list(store, given, filter)
  local text, count, limit = given.grep and given.grep:lower(), 0, given.limit or LAST
  local runs = describe.table_of_runs(store:now())
  local looked_at, err = which.each(store, filter, function(run)
    if text and not has(run, text) then return true end
    count = count + 1
    if given.json then
      output.json(shape.fields(run))
    else
      runs:add(run, opening.is_orphan(store, run))
    end
    return count < limit
  end, not text and limit or nil)
  if not looked_at then return nil, err end
  if count > 0 and not given.json then
    local shown, failure = runs:show(store)
    if not shown then return nil, failure end
  end
  return count, looked_at
end

local options = which.options(which.statuses)
table.move({
  { "--grep", value = "TEXT",
    about = "only those that have this text in WHAT, error, thread or metadata, in capitals or not" },
  { "--limit", "-n", value = "N", convert = usage.integer(1, 1000), about = "how many (default 20, at most 1000)" },
  { "--after", value = "RUN", about = "go on behind this run, with older ones" },
}, 1, 3, #options + 1, options)

return {
  about = "Lists runs, the newest first.",
  more = [[
WHAT tells how far a run is, how it ended, its label (a text of that name in its metadata) and its command; of a run
that is no command its assistant and metadata. Long ids of the newest thousand runs are shown by the end in which they
differ, which is enough to name the run; those of older runs are shown whole.]],
  options = options,
  run = function(given)
    local store <close>, err = opening.store(given, "read")
    if not store then return nil, err end
    local filter = which.filter(given) or {}
    if given.after then
      filter.after, err = which.run(store, given.after)
      if not filter.after then return nil, err end
    end
    local count, looked_at = list(store, given, filter)
    if not count then return nil, looked_at end
    if count == 0 then output.note(given, "there is no such run") end
    if given.grep then output.note(given, ("%s looked at"):format(output.count(looked_at, "run"))) end
  end,
}
