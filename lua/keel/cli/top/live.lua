--- The live screen of keel top: draws when something happens, and listens to keys.
local act = require "keel.cli.top.act"
local detail = require "keel.cli.top.detail"
local draw = require "keel.cli.top.draw"
local filtered = require "keel.cli.top.filter"
local keel_command = require "keel.command"
local kernel = require "keel.kernel"
local keys = require "keel.cli.top.keys"
local output = require "keel.cli.output"
local read = require "keel.cli.top.snapshot"
local run_manager = require "keel.manager"
local terminal = require "keel.cli.terminal"
local width = require "keel.cli.width"

local Live = {}
Live.__index = Live

local LOOK = 0.05  -- seconds between two looks at the log: a few microseconds each
local BEAT = 1     -- seconds after which all is read again: a process that dies leaves no event

local WIDTH, HEIGHT = 80, 24 -- of a terminal that does not say

local HINT = "q leaves   ? keys   Enter shows a run   / filters"

function Live.new(store, given)
  return setmetatable({ _store = store, _given = given, _last = -math.huge, _due = true, _filter = "" }, Live)
end

-- --- Choosing -------------------------------------------------------------------------------------------------------

-- The runs that can be chosen, as they are shown: those in flight, then those that have ended.
local function choices(self)
  local runs = table.move(self._shot.runs, 1, #self._shot.runs, 1, {})
  return table.move(self._shot.ended, 1, #self._shot.ended, #runs + 1, runs)
end

-- The chosen run, and its place among those that can be chosen.
local function chosen(self)
  for i, run in ipairs(choices(self)) do
    if run.run_id == self._selected then return run, i end
  end
end

function Live:_move(to)
  local runs = choices(self)
  local _, i = chosen(self)
  i = i or 0
  i = to == "first" and 1 or to == "last" and #runs or to == "up" and i - 1 or i + 1
  local run = runs[math.max(1, math.min(#runs, i))]
  self._selected = run and run.run_id
end

-- --- Keys -----------------------------------------------------------------------------------------------------------

-- What was asked is done, or not.
local function answer(self, key)
  local asked = self._asked
  self._asked = nil
  self._note = (key == "y" or key == "Y") and asked.run(self._given) or asked.otherwise
  self._due = true
end

local function edit_filter(self, key)
  if key == keys.enter or key == "\r" then
    self._edits = false
  elseif key == keys.escape then
    self._edits, self._filter = false, ""
  else
    self._filter = keys.edited(self._filter, key)
  end
  self._shot = filtered(self._all, self._filter)
end

-- A key on a page of text: the one of a run, or that of the keys.
local function turn_page(self, action)
  local page = self._page
  if action == "quit" or action == "back" or action == "show" or (page.is_help and action == "help") then
    self._page = nil
  elseif action == "down" or action == "up" then
    page.first = page.first + (action == "down" and 1 or -1)
  elseif action == "first" or action == "last" then
    page.first = action == "first" and 1 or math.huge
  elseif action == "redraw" then
    self._due = true
  end
end

local on_screen = {}

for _, to in ipairs { "up", "down", "first", "last" } do
  on_screen[to] = function(self) self:_move(to) end
end

-- The run that a key is about: the one whose page is shown, or the chosen one. Nil, and it is said why.
local function subject(self)
  local run, err
  if self._page then run, err = self._store:get(self._page.run_id) else run = chosen(self) end
  if not run then
    self._note = err and err.message or self._page and "the run is gone" or "choose a run first, with j and k"
  end
  return run
end

for _, name in ipairs { "cancel", "retry", "pause" } do
  on_screen[name] = function(self)
    local run = subject(self)
    if run then self._asked, self._note = act[name](self._store, run) end
  end
end

function on_screen.quit() return true end

function on_screen.redraw(self) self._due = true end

function on_screen.back(self)
  self._filter, self._shot = "", self._all
end

function on_screen.filter(self) self._edits = true end

function on_screen.help(self)
  self._page = { first = 1, is_help = true, title = "keel top: the keys", lines = output.field_lines(keys.help()) }
end

function on_screen.show(self)
  local run = subject(self)
  if not run then return end
  self._page = { first = 1, run_id = run.run_id, title = "keel top: run " .. run.run_id, lines = {} }
  self._due = true
end

-- Returns true when it is to end.
function Live:_press(key)
  self._changed, self._note = true, nil
  if self._asked then
    if not self._asked.is_shown then return end -- typed before the question could be read: no answer
    return answer(self, key)
  end
  if self._edits then return edit_filter(self, key) end
  local action = keys.action(key)
  if self._page and not (self._page.run_id and (action == "cancel" or action == "retry" or action == "pause")) then
    return turn_page(self, action)
  end
  return action and on_screen[action](self)
end

-- --- Reading and drawing --------------------------------------------------------------------------------------------

-- Reads the page of a run again. One that is gone, or that cannot be read now, leaves the page as it is, and says so.
local function read_page(self)
  local page = self._page
  if not page or not page.run_id then return end
  self._manager = self._manager or assert(run_manager.new { store = self._store })
  local lines, err = detail(self._store, self._manager, page.run_id)
  if lines then page.lines = lines elseif err.code ~= "busy" then self._note = err.message end
end

function Live:_read()
  local shot, err = read(self._store, self._given.limit)
  if not shot and err.code ~= "busy" then return nil, err end
  self._all = shot or self._all
  self._shot = self._all and filtered(self._all, self._filter)
  self._newest = draw.newest(self._store, keel_command.size() or WIDTH)
  read_page(self)
  self._last, self._due, self._changed = kernel.monotonic(), not self._shot, true
  return true
end

local LEAST, HANGING = 8, "    " -- columns of a line that is broken; what the rest of it begins with

-- Puts a line on as many lines as it takes, broken at blanks where there are any in the second half.
local function break_line(lines, line, columns)
  local start, indent = 1, ""
  while columns >= LEAST do
    local room = columns - #indent
    local piece = line:sub(start, start + room * 16) -- more bytes than so many columns take; the rest is not copied
    local taken, fits = keel_command.columns(piece, room)
    if taken <= room and start + #piece > #line then break end
    local blank = piece:sub(1, fits):match "^.*() "
    if blank and blank > fits // 2 then fits = blank end
    if fits == 0 then break end
    lines[#lines + 1] = indent .. piece:sub(1, fits)
    start, indent = start + fits, HANGING
  end
  lines[#lines + 1] = width.cut(indent .. line:sub(start), columns)
end

-- The lines of a page, broken to fit; anew only when the page or the width has changed.
local function wrapped_lines(page, columns)
  if page.wrapped_from ~= page.lines or page.wrapped_to ~= columns then
    page.wrapped, page.wrapped_from, page.wrapped_to = {}, page.lines, columns
    for _, line in ipairs(page.lines) do break_line(page.wrapped, line, columns) end
  end
  return page.wrapped
end

-- The part of a page that is seen, under its title.
local function page_lines(page, columns, height)
  local wrapped, room = wrapped_lines(page, columns), math.max(height - 2, 1)
  page.first = math.max(1, math.min(page.first, #wrapped - room + 1))
  local lines = { output.paint(width.cut(page.title, columns), "bold"), "" }
  return table.move(wrapped, page.first, math.min(#wrapped, page.first + room - 1), #lines + 1, lines)
end

-- The last line, and its colour: a question, what came of it, the filter, or what keys there are.
local function last_line(self)
  if self._asked then return ("y %s, any other key does not"):format(self._asked.text), "yellow" end
  if self._edits then return "/" .. self._filter .. "_" end
  if self._note then return self._note end
  if self._page then return "q goes back   j/k move   c r p as in the list", "grey" end
  if self._filter ~= "" then return ("filter: %s   (Esc shows all)"):format(self._filter) end
  return HINT, "grey"
end

function Live:_draw()
  local columns, height = keel_command.size()
  columns, height = columns or WIDTH, height or HEIGHT
  local lines = self._page and page_lines(self._page, columns, height - 2) or
    draw.lines(self._shot, columns, height - 2, self._selected, self._newest)
  for i = #lines + 1, height - 2 do lines[i] = "" end
  lines[height - 1] = ""
  local text, colour = last_line(self)
  lines[height] = output.paint(width.cut(output.plain(text), columns), colour)
  for i, line in ipairs(lines) do lines[i] = terminal.finished(line) end
  -- A line is cleared before it is written: behind one that takes the whole width, its last character would go.
  io.stdout:write("\27[H\27[K", table.concat(lines, "\r\n\27[K", 1, height))
  io.stdout:flush()
  self._changed = false
  if self._asked then self._asked.is_shown = true end
end

-- Whether something was written since the picture was read.
local function has_news(self)
  local shot = self._all
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
    local what, detail_of = screen:wait(LOOK)
    if what == "signal" then return detail_of end
    if what == "resize" then self._changed = true end
    for _, key in ipairs(what == "keys" and self._shot and keys.split(detail_of) or {}) do
      if self:_press(key) then return nil end
    end
  end
end

return Live
