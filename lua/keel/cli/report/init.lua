--- keel report: a page with a picture of the store.
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local target = require "keel.cli.report.target"
local terminal = require "keel.cli.terminal"
local usage = require "keel.cli.usage"

local LIMIT, LIMIT_MAX = 10000, 100000
local EVERY = 5 -- seconds

-- Writes the page once. Returns what is on it, or nil and the error.
local function write(store, manager, given)
  local front, back = require("keel.cli.report.page").halves()
  local out <close>, err = target.new(given.file)
  if not out then return nil, err end
  local about, ok
  ok, err = out:write(front)
  if not ok then return nil, err end
  about, err = require("keel.cli.report.rows").write(store, manager, given, function(piece) return out:write(piece) end)
  if not about then return nil, err end
  ok, err = out:write(back)
  if ok then ok, err = out:finish() end
  if not ok then return nil, err end
  about.bytes = out.bytes
  return about
end

local function tell(given, about)
  if given.file == "-" or given.quiet then return true end
  if given.json then
    output.json { path = given.file, bytes = about.bytes, runs = about.runs, more = about.more or false }
  else
    terminal.print(("%s: %s, %s%s"):format(terminal.plain(given.file), output.size(about.bytes),
      output.count(about.runs, "run"), about.more and "; older ones are left out (--limit)" or ""))
  end
  return io.stdout:flush()
end

-- Which processes are there: one that dies leaves no event.
local function alive(store)
  local sessions, err = store:sessions()
  if not sessions then return nil, err end
  local ids = {}
  for _, session in ipairs(sessions) do
    if session.alive then ids[#ids + 1] = session.session_id end
  end
  return table.concat(ids, " ")
end

-- Writes the page, and again whenever something has happened. It ends with what fails, or by a signal.
local function follow(store, manager, given)
  while true do
    local newest, err = store:event_high_water()
    local before, about
    if newest then before, err = alive(store) end
    if before then about, err = write(store, manager, given) end
    if not about and (not err or err.code ~= "busy") then return nil, err end
    if about and not tell(given, about) then return nil end
    store:sleep(given.every)
    local cursor = newest and { next_event_id = newest + 1, epoch = store:epoch() }
    while about do
      local has_news
      has_news, err = store:wait_events(cursor, { timeout = given.every })
      if has_news == nil and err.code ~= "busy" then return nil, err end
      if has_news or alive(store) ~= before then break end
    end
  end
end

return {
  about = "Writes a page with a picture of the store: a timeline of runs by thread, a table, how long they waited and "
    .. "ran, and what is in the way of those that wait. It is one file, needs no network and no server, and is "
    .. "replaced as a whole.",
  arguments = { { "file", "where to; - is standard output" } },
  options = {
    { "--since", value = "TIME", convert = usage.moment, about = "only runs made since: so long ago (2h), or a time" },
    { "--limit", "-n", value = "N", convert = usage.integer(1, LIMIT_MAX),
      about = ("only the N newest runs, and what is in flight (default %d, at most %d)"):format(LIMIT, LIMIT_MAX) },
    { "--follow", "-f", about = "write it anew when something has happened, until it is interrupted" },
    { "--every", value = "TIME", convert = usage.duration,
      about = ("with --follow: at most once in so long (default %ds)"):format(EVERY) },
  },
  run = function(given)
    if given.follow and given.file == "-" then
      return nil, usage.error "--follow writes a file anew; standard output cannot be taken back: name a file"
    end
    if given.every and not given.follow then return nil, usage.error "--every goes with --follow" end
    if given.every and given.every < 1 then return nil, usage.error "option '--every': at least 1s" end
    given.limit, given.every = given.limit or LIMIT, given.every or EVERY
    local store <close>, manager = opening.manager(given, "read")
    if not store then return nil, manager end
    if given.follow then return follow(store, manager, given) end
    local about, err = write(store, manager, given)
    if not about then return nil, err end
    tell(given, about)
  end,
}
