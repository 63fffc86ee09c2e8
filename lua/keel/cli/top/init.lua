--- keel top: who runs what, as it changes.
local keel_command = require "keel.command"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local read = require "keel.cli.top.snapshot"
local terminal = require "keel.cli.terminal"
local usage = require "keel.cli.usage"

local LIMIT, LIMIT_MAX, RATE, RATE_MAX = 200, 1000, 5, 20

-- Whether a picture can be drawn over another.
local function is_screen()
  return keel_command.is_terminal(0) and keel_command.is_terminal(1) and (os.getenv "TERM" or "dumb") ~= "dumb"
end

-- One picture, as text or as JSON.
local function print_once(store, given)
  local shot, err = read(store, given.limit)
  if not shot then return nil, err end
  if given.json then return output.json(shot) end
  local draw, columns = require "keel.cli.top.draw", keel_command.size() or math.huge
  local lines = draw.lines(shot, columns, nil, nil, draw.newest(store, columns))
  for _, line in ipairs(lines) do terminal.print((line:gsub("%s+$", ""))) end
end

return {
  about = "A live screen of threads, runs and processes: what runs, who owns it, what waits, what has just ended. It"
    .. " only looks, until a key asks for more, and is answered with y.",
  more = "Keys: j, k or the arrows choose a run, Enter shows all about it, / filters, c cancels it, r tries it"
    .. " again, p pauses or resumes its thread, ? shows the keys, q leaves. On what is no terminal, or a dumb one, and"
    .. " with --json, it shows one picture, as with --once.",
  options = {
    { "--once", about = "show one picture as text, and end" },
    { "--rate", value = "N", convert = usage.integer(1, RATE_MAX),
      about = ("draw at most N times a second (default %d, at most %d)"):format(RATE, RATE_MAX) },
    { "--limit", "-n", value = "N", convert = usage.integer(1, LIMIT_MAX),
      about = ("look at the N oldest runs in flight (default %d, at most %d)"):format(LIMIT, LIMIT_MAX) },
  },
  run = function(given)
    given.limit, given.rate = given.limit or LIMIT, given.rate or RATE
    local store <close>, err = opening.store(given, "read")
    if not store then return nil, err end
    if given.once or given.json or not is_screen() then return print_once(store, given) end
    store:tell_damage(function() end) -- the screen is the table's; doctor tells
    local number
    number, err = require("keel.cli.top.live").new(store, given):run()
    if err then return nil, err end
    if number then keel_command.die_of(number) end
    return 0
  end,
}
