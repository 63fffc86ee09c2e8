--- keel runs delete: takes runs that have ended out of the store.
local ask = require "keel.cli.ask"
local kept = require "keel.cli.kept"
local kernel = require "keel.kernel"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local terminal = require "keel.cli.terminal"
local usage = require "keel.cli.usage"
local which = require "keel.cli.which"

local PAGE = 64            -- runs that are deleted in one transaction
local BUSY, MISSING = 75, 1 -- exit codes

local function is_in_flight(row)
  return row.finalizing or not kernel.final[row.status]
end

-- The ids of those that are named, or of those among the runs a filter means that have ended: not of a
-- dispatcher's records, which are its own.
local function find(store, filter, given)
  if not filter then return which.runs(store, given.run, true, true) end
  local ids = {}
  local looked_at, err = which.each(store, filter, function(run)
    if run.operation_kind == "run" and not is_in_flight(run) then ids[#ids + 1] = run.run_id end
  end)
  if not looked_at then return nil, err end
  return ids
end

-- Deletes one in an open transaction: it may have been started meanwhile. Returns what was done.
local function delete(tx, run_id)
  local row, err = tx:get(run_id)
  if err then return nil, err end
  if not row then return "unknown" end
  if is_in_flight(row) then return "in_flight" end
  local deleted
  deleted, err = tx:delete(run_id)
  if deleted == nil then return nil, err end
  return deleted and "deleted" or "unknown"
end

local function delete_page(store, ids)
  return store:transaction(function(tx)
    local verdicts = {}
    for i, run_id in ipairs(ids) do
      local err
      verdicts[i], err = delete(tx, run_id)
      if not verdicts[i] then return nil, err end
    end
    return verdicts
  end)
end

-- Deletes them all. Returns how many of each verdict there were, or nil and the error.
local function delete_all(store, ids, given)
  local counts = { deleted = 0, unknown = 0, in_flight = 0 }
  for first = 1, #ids, PAGE do
    local page = table.move(ids, first, math.min(first + PAGE - 1, #ids), 1, {})
    local verdicts, err = delete_page(store, page)
    if not verdicts then return nil, err end
    for i, verdict in ipairs(verdicts) do
      counts[verdict] = counts[verdict] + 1
      if given.json then
        output.json { run_id = page[i], verdict = verdict }
      elseif verdict == "unknown" then
        terminal.say(("%s: there is no such run"):format(output.plain(page[i])))
      elseif verdict == "in_flight" then
        terminal.say(("%s: it is in flight; stop it first, with 'keel runs cancel'"):format(output.plain(page[i])))
      end
    end
  end
  return counts
end

-- Whether the user wants it. Returns nil and the error when not, or when there is nobody to ask.
local function agreed(ids, given)
  if given.yes or #ids == 0 then return true end
  local answer = ask(#ids == 1 and ("Delete run %s?"):format(output.plain(ids[1])) or
    ("Delete %s?"):format(output.count(#ids, "run")))
  if answer == nil then return nil, usage.error "nobody can be asked whether to delete them: give --yes" end
  if answer then return true end
  return nil, { code = "cancelled", transient = false, message = "nothing was deleted" }
end

local options = which.options(which.final_statuses)
options[#options + 1] = { "--yes", "-y", about = "delete without asking" }

return {
  about = "Deletes runs that have ended: those that are named, or all that a filter means, with the output "
    .. "that was kept of them. Their events stay.",
  more = "What is in flight is not deleted: that is exit code 75. 'keel runs prune' deletes what is old, and the log.",
  arguments = { { "run", which.about_changed, many = true, optional = true } },
  options = options,
  run = function(given)
    local misuse = which.misuse(given)
    if misuse then return nil, misuse end
    local store <close>, err = opening.store(given, "change")
    if not store then return nil, err end
    local filter = which.filter(given)
    local ids, problem = find(store, filter, given)
    if not ids then return nil, problem end
    local may, refusal = agreed(ids, given)
    if not may then return nil, refusal end
    local counts, failure = delete_all(store, ids, given)
    if not counts then return nil, failure end
    local swept, left = kept.sweep(store, (opening.path(given)))
    if not swept then return nil, left end
    if not given.json and not given.quiet then
      terminal.print(("deleted: %s"):format(output.count(counts.deleted, "run")))
    end
    if filter then return 0 end -- what was started or deleted meanwhile is not meant any more
    return counts.in_flight > 0 and BUSY or counts.unknown > 0 and MISSING or 0
  end,
}
