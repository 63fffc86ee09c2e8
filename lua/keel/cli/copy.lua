--- keel copy: copies a store to another place, or another kind of store.
local kernel = require "keel.kernel"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local progress = require "keel.cli.progress"
local terminal = require "keel.cli.terminal"
local usage = require "keel.cli.usage"

-- Who has the old store open goes on with it, and that is lost when the new one is used.
local function tell_sessions(from, given)
  local alive = 0
  for _, session in ipairs(from:sessions() or {}) do
    if session.alive then alive = alive + 1 end
  end
  if alive == 0 or given.quiet or given.json then return end
  terminal.say(terminal.plain(("%s %s %s open; what is written there from now on is not in the copy"):format(
    output.count(alive, "process"), alive == 1 and "has" or "have", from:path())))
end

local function copy(from, given)
  local bar <close> = progress.new(given, "copying")
  bar:watch(from)
  return from:copy(given.to, { anyway = given.anyway })
end

return {
  about = "Copies a store into another place: a file, or a schema on a server. The copy is a store of its own.",
  more = "Its epoch is another, so that readers of the log begin anew, and nobody has it open. End what uses the old"
    .. " store first: what is written there later is not in the copy.",
  arguments = { { "from", "the store: a file, or postgresql://…" },
    { "to", "a file that is not there yet, or postgresql://host/database?schema=NAME, an empty schema or none" } },
  options = { { "--anyway", about = "copy what is in flight, too; what somebody has there is an orphan in the copy" } },
  run = function(given)
    if given.store then return nil, usage.error "the two stores are named as FROM and TO, without --store" end
    if given.from == "" or given.to == "" then return nil, usage.error "FROM and TO need the name of a store" end
    local from <close>, err = opening.store({ store = given.from }, "read")
    if not from then return nil, err end
    local done
    done, err = copy(from, given)
    if not done then return nil, err end
    local to <close>, problem = kernel.open(given.to, { create = false, readonly = true })
    if not to then return nil, problem end
    tell_sessions(from, given)
    if given.json then
      output.json { from = from:path(), path = to:path() }
    elseif not given.quiet then
      terminal.print(terminal.plain(("%s: copied from %s"):format(to:path(), from:path())))
    end
  end,
}
