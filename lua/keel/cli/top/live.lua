--- The live screen of keel top: draws when something happens, and listens to keys.
local draw = require "keel.cli.top.draw"
local keel_command = require "keel.command"
local kernel = require "keel.kernel"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local read = require "keel.cli.top.snapshot"
local terminal = require "keel.cli.terminal"

local Live = {}
Live.__index = Live

local LOOK = 0.05  -- seconds between two looks at the log: a few microseconds each
local BEAT = 1     -- seconds after which all is read again: a process that dies leaves no event

local WIDTH, HEIGHT = 80, 24 -- of a terminal that does not say

local keys_of = { ["\27[A"] = "up", ["\27OA"] = "up", k = "up", ["\27[B"] = "down", ["\27OB"] = "down", j = "down",
  ["\27[H"] = "first", g = "first", ["\27[F"] = "last", G = "last", q = "quit", Q = "quit", c = "cancel",
  ["\12"] = "redraw", r = "redraw", y = "yes" }

-- The names of the keys in what was typed.
local function keys_in(typed)
  local names, i = {}, 1
  while i <= #typed do
    local key = typed:match("^\27[%[O][%d;]*[%a~]", i) or typed:sub(i, i)
    names[#names + 1] = keys_of[key] or "other"
    i = i + #key
  end
  return names
end

function Live.new(store, given)
  return setmetatable({ _store = store, _given = given, _last = -math.huge, _due = true,
    _hint = "q leaves   j/k choose a run   c cancels it   r reads again" }, Live)
end

-- The place of the chosen run among those in flight.
local function place_of(self)
  for i, run in ipairs(self._shot.runs) do
    if run.run_id == self._selected then return i end
  end
end

function Live:_move(to)
  local runs = self._shot.runs
  local i = place_of(self) or 0
  i = to == "first" and 1 or to == "last" and #runs or to == "up" and i - 1 or i + 1
  local run = runs[math.max(1, math.min(#runs, i))]
  self._selected = run and run.run_id
end

-- Stops the chosen run. The store that is looked at is readonly; this one is opened for that.
function Live:_cancel(run_id)
  local store <close>, manager = opening.manager(self._given, "change")
  local done, verdict
  if store then done, verdict = manager:cancel(run_id) else verdict = manager end
  if done == nil then return verdict.message end
  return ("%s: %s"):format(run_id, verdict)
end

-- Returns true when it is to end.
function Live:_press(key)
  local asked = self._asked
  self._asked, self._note = nil, nil
  if asked then
    self._note = key == "yes" and self:_cancel(asked) or "nothing was cancelled"
    self._due = true
  elseif key == "quit" then
    return true
  elseif key == "up" or key == "down" or key == "first" or key == "last" then
    self:_move(key)
  elseif key == "redraw" then
    self._due = true
  elseif key == "cancel" then
    local run = self._shot.runs[place_of(self) or 0]
    self._asked = run and run.run_id
    self._note = not run and "choose a run first, with j and k" or nil
  end
  self._changed = true
end

function Live:_read()
  local shot, err = read(self._store, self._given.limit)
  if not shot and err.code ~= "busy" then return nil, err end
  self._shot = shot or self._shot
  self._last, self._due, self._changed = kernel.monotonic(), not self._shot, true
  return true
end

function Live:_draw()
  local width, height = keel_command.size()
  width, height = width or WIDTH, height or HEIGHT
  local lines = draw.lines(self._shot, width, height - 2, self._selected)
  for i = #lines + 1, height - 2 do lines[i] = "" end
  lines[height - 1] = ""
  lines[height] = self._asked and output.paint(("y cancels %s, any other key does not"):format(self._asked), "yellow")
    or self._note or output.paint(self._hint, "grey")
  for i, line in ipairs(lines) do lines[i] = terminal.finished(line) end
  io.stdout:write("\27[H", table.concat(lines, "\27[K\r\n", 1, height), "\27[K")
  io.stdout:flush()
  self._changed = false
end

-- Whether something was written since the picture was read.
local function has_news(self)
  local shot = self._shot
  return shot and self._store:wait_events({ next_event_id = shot.event_id + 1, epoch = self._store:epoch() },
    { timeout = 0 })
end

-- Reads and draws what is due.
function Live:_turn()
  local age = kernel.monotonic() - self._last
  local may = age >= 1 / self._given.rate
  if self._due or age >= BEAT or (may and has_news(self)) then
    local ok, err = self:_read()
    if not ok then return nil, err end
  end
  if self._changed and self._shot then self:_draw() end
  return true
end

--- Shows the screen until it is left.
---@return integer? signal the one that ended it; nil: the user did
---@return keel.Error? err
function Live:run()
  local screen <close>, problem = keel_command.screen()
  if not screen then return nil, { code = "io", message = "cannot use this terminal: " .. problem } end
  while true do
    local ok, err = self:_turn()
    if not ok then return nil, err end
    local what, detail = screen:wait(LOOK)
    if what == "signal" then return detail end
    if what == "resize" then self._changed = true end
    for _, key in ipairs(what == "keys" and self._shot and keys_in(detail) or {}) do
      if self:_press(key) then return nil end
    end
  end
end

return Live
