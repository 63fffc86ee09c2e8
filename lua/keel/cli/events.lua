--- keel events: what happened, and what happens.
local describe = require "keel.cli.describe"
local keel_command = require "keel.command"
local log = require "keel.cli.log"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local terminal = require "keel.cli.terminal"
local usage = require "keel.cli.usage"
local which = require "keel.cli.which"

local PAGE, LAST = 1000, 20
local STEP = 1 -- seconds between looks at whether somebody still reads; events come at once

-- Where to begin, and how many events to show from there.
local function beginning(store, filter, given)
  if given.after then return log.cursor_at(store, given.after + 1), given.limit end
  if given.all then
    local first, err = store:event_low_water()
    if not first then return nil, err end
    return log.cursor_at(store, first), given.limit
  end
  local cursor, err = log.cursor_before_last(store, given.limit or LAST, filter)
  if not cursor then return nil, err end
  return cursor
end

-- Prints an event. False when nobody reads it any more.
local function print_event(event, given)
  return terminal.print(given.json and terminal.json(event) or describe.event(event, true))
end

-- Tells that events which were wanted have been pruned: the first and the last of them.
local function tell_gap(from, to, given)
  if given.json then return terminal.print(terminal.json { gap = { from = from, to = to } }) end
  output.note(given, "keel events: older events have been pruned")
  return true
end

-- Prints events from the cursor on, up to `left` of them. Returns how many.
local function show(store, cursor, left, filter, given)
  local count = 0
  while left > 0 do
    local wanted = cursor.next_event_id
    local page, err = store:read_events(cursor, math.min(PAGE, left), filter)
    if not page then return nil, err end
    cursor = page.cursor
    if page.gap and not tell_gap(wanted, cursor.next_event_id - 1, given) then return count end
    for _, event in ipairs(page.events) do
      if not print_event(event, given) then return count end
    end
    count, left = count + #page.events, left - #page.events
    if not io.stdout:flush() then return count end
    while not page.has_more and not page.gap and left > 0 do
      if not given.follow or keel_command.is_broken(1) then return count end
      local ready, failure = store:wait_events(cursor, { timeout = STEP })
      if ready == nil and failure.code ~= "busy" then return nil, failure end
      if ready then break end
    end
  end
  return count
end

return {
  about = "Shows the log of the store: the last events, or all that come. Times are UTC.",
  options = {
    { "--follow", "-f", about = "go on with what happens, in all processes, until it is interrupted" },
    { "--limit", "-n", value = "N", convert = usage.integer(0),
      about = "begin with the last N (default 20); with --all or --after: end after N" },
    { "--all", about = "begin with the first there is" },
    { "--after", value = "ID", convert = usage.integer(0, math.maxinteger - 1), about = "begin behind this event" },
    { "--thread", "-t", value = "KEY", about = "only those of this thread" },
    { "--run", value = "RUN", about = "only those of this run: " .. which.about },
    { "--runtime", value = "ID", about = "only those of this worker runtime" },
    { "--kind", value = "KIND", many = true, about = "only those of this kind; repeatable" },
  },
  run = function(given)
    if given.all and given.after then return nil, usage.error "--all and --after are two beginnings; give one" end
    local store <close>, err = opening.store(given, "read")
    if not store then return nil, err end
    local run_id, no_run
    if given.run then
      run_id, no_run = which.run(store, given.run)
      if not run_id and (no_run.code ~= "not_found" or given.run:find "^@") then return nil, no_run end
    end
    -- A run that was deleted has events still, one that is yet to be made will have some.
    local filter = { thread_id = given.thread, run_id = run_id or given.run, runtime_id = given.runtime,
      kinds = given.kind and #given.kind > 0 and given.kind or nil }
    local cursor, limit = beginning(store, filter, given)
    if not cursor then return nil, limit end
    local count
    count, err = show(store, cursor, limit or math.huge, filter, given)
    if not count then return nil, err end
    if count == 0 and not given.follow and no_run then return nil, no_run end
    if count == 0 and not given.follow then output.note(given, "there is no such event") end
  end,
}
