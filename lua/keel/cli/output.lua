--- What commands print: tables for people, lines of JSON for programs.
local keel_command = require "keel.command"
local kernel = require "keel.kernel"
local terminal = require "keel.cli.terminal"
local width = require "keel.cli.width"

local output = {}

local codes = { red = 31, green = 32, yellow = 33, blue = 34, grey = 90, bold = 1 }
local colour_of = { success = "green", error = "red", timeout = "red", interrupted = "yellow", running = "blue",
  pending = "grey", warning = "yellow", stopped = "grey", cancelled = "yellow" }

local in_colour

-- Colours are for a terminal, unless the user wants none (no-color.org).
local function wants_colour()
  if in_colour == nil then
    in_colour = keel_command.is_terminal(1) and (os.getenv "NO_COLOR" or "") == "" and os.getenv "TERM" ~= "dumb"
  end
  return in_colour
end

--- A text in a colour, or in that of a word such as "success". As it is, when colours are not wanted.
---@param text string
---@param colour? string
---@return string
function output.paint(text, colour)
  local code = codes[colour or colour_of[text]]
  if not code or not wants_colour() then return text end
  return terminal.coloured(text, code)
end

output.plain = terminal.plain

--- One object of JSON on a line of its own.
---@param value table
function output.json(value)
  terminal.print(terminal.json(value))
end

--- A few words on standard error, for people.
---@param options { quiet?: boolean, json?: boolean }
---@param text string
function output.note(options, text)
  if not options.quiet and not options.json then terminal.say(text) end
end

-- --- Tables ---------------------------------------------------------------------------------------------------------

-- The texts of all rows, and how wide each column is.
local function measure(titles, rows)
  local texts, widths = {}, {}
  for i, title in ipairs(titles) do widths[i] = width.of(title) end
  for r, row in ipairs(rows) do
    texts[r] = {}
    for i = 1, #titles do
      texts[r][i] = output.plain(row[i])
      widths[i] = math.max(widths[i], width.of(texts[r][i]))
    end
  end
  return texts, widths
end

-- Columns that a name, and what stands last, keep when room is short; and below which neither goes. What an id keeps,
-- and anything where nothing else helps.
local ENOUGH, LEAST, ID, FLOOR = 16, 8, 9, 4

-- Narrows the columns in `which`, the widest first, until so many columns are won or none is wider than `floor`.
local function narrow(widths, which, wanted, floor)
  while wanted > 0 do
    local widest
    for i in pairs(which) do
      if widths[i] > floor and (not widest or widths[i] > widths[widest]) then widest = i end
    end
    if not widest then return end
    widths[widest], wanted = widths[widest] - 1, wanted - 1
  end
end

-- How many columns are missing for the last one to be so wide.
local function lack(widths, shown, wish, room)
  local sum = 0
  for _, i in ipairs(shown) do sum = sum + widths[i] + 2 end
  local last = shown[#shown]
  return sum - widths[last] - 2 + math.min(wish, widths[last]) - room
end

-- Which columns are shown, and how wide, so that they fit: names are cut, columns left out, ids cut, at last all.
local function fit(widths, marks, room)
  local names, ids, all, shown = {}, {}, {}, {}
  for i in ipairs(widths) do
    shown[i] = i
    if marks[i]:find "~" then names[i] = true end
    if marks[i]:find "<" then ids[i] = true end
  end
  narrow(widths, names, lack(widths, shown, math.huge, room), ENOUGH)
  narrow(widths, names, lack(widths, shown, LEAST, room), LEAST)
  for i = #marks, 1, -1 do
    if marks[i]:find "?" and lack(widths, shown, LEAST, room) > 0 then table.remove(shown, i) end
  end
  narrow(widths, ids, lack(widths, shown, LEAST, room), ID)
  local last = shown[#shown]
  local rest = widths[last] - math.max(lack(widths, shown, math.huge, room), 0)
  widths[last] = math.max(rest, math.min(widths[last], LEAST))
  for _, i in ipairs(shown) do all[i] = true end
  narrow(widths, all, lack(widths, shown, math.huge, room), FLOOR)
  return shown
end

--- Rows under titles, the columns aligned, as lines without their ends.
---@param titles string[] with marks in front: ">" aligned to the right; where the lines would not fit, "~" a column
--- whose texts may be cut, as those of the last one are, "<" one of ids, of which the end is kept, "?" one that may be
--- left out
---@param rows table[] lists of values
---@param columns? integer what the lines are to fit in; default: the columns of the terminal, if it is one
---@return string[] lines the first is that of the titles
function output.lines(titles, rows, columns)
  local names, marks = {}, {}
  for i, title in ipairs(titles) do marks[i], names[i] = title:match "^([<>~?]*)(.*)$" end
  local texts, widths = measure(names, rows)
  local shown = fit(widths, marks, columns or keel_command.size() or math.huge)
  local function line(row, colour)
    local parts = {}
    for place, i in ipairs(shown) do
      local text = (marks[i]:find "<" and width.tail or width.cut)(row[i], widths[i])
      local to_right = marks[i]:find ">"
      local pad = place == #shown and not to_right and "" or (" "):rep(widths[i] - width.of(text))
      local painted = output.paint(text, colour)
      parts[place] = to_right and pad .. painted or painted .. pad
    end
    return (table.concat(parts, "  "):gsub(" +$", ""))
  end
  local lines = { line(names, "bold") }
  for r, row in ipairs(texts) do lines[r + 1] = line(row) end
  return lines
end

--- Prints rows under titles.
---@param titles string[]
---@param rows table[]
function output.table(titles, rows)
  for _, line in ipairs(output.lines(titles, rows)) do terminal.print(line) end
end

--- Names and values, the values aligned, as lines.
---@param pairs_of table[] lists of { name, value }; a nil value is left out
---@return string[] lines
function output.field_lines(pairs_of)
  local widest, lines = 0, {}
  for _, pair in ipairs(pairs_of) do
    if pair[2] ~= nil then widest = math.max(widest, width.of(pair[1])) end
  end
  for _, pair in ipairs(pairs_of) do
    if pair[2] ~= nil then
      local gap = (" "):rep(widest - width.of(pair[1]) + 2)
      lines[#lines + 1] = pair[1] .. gap .. output.paint(output.plain(pair[2]))
    end
  end
  return lines
end

--- Prints names and values.
---@param pairs_of table[] as of field_lines
function output.fields(pairs_of)
  for _, line in ipairs(output.field_lines(pairs_of)) do terminal.print(line) end
end

-- --- Words ----------------------------------------------------------------------------------------------------------

--- A duration, as short as it can be read: 0.2s, 45s, 12m, 3h, 4d.
---@param seconds number?
---@return string
function output.duration(seconds)
  if not seconds then return "" end
  if seconds < 0 then return "-" .. output.duration(-seconds) end -- made under a clock that was ahead
  if seconds < 9.95 then return kernel.number_text(seconds, 1) .. "s" end
  if seconds < 99.5 then return kernel.number_text(seconds, 0) .. "s" end
  if seconds < 99.5 * 60 then return kernel.number_text(seconds / 60, 0) .. "m" end
  if seconds < 48 * 3600 then return kernel.number_text(seconds / 3600, 0) .. "h" end
  return kernel.number_text(seconds / 86400, 0) .. "d"
end

local spans = { { "w", 604800 }, { "d", 86400 }, { "h", 3600 }, { "m", 60 } }

--- A duration as it would be typed, all of it: 1h30m, 2w, 0.5s.
---@param seconds number
---@return string
function output.span(seconds)
  local text = ""
  for _, unit in ipairs(spans) do
    local count = seconds // unit[2]
    if count > 0 then text = ("%s%d%s"):format(text, count, unit[1]) end
    seconds = seconds - count * unit[2]
  end
  return (seconds > 0 or text == "") and text .. output.number(seconds) .. "s" or text
end

--- Seconds between two times; nil when one is missing.
---@param from string?
---@param to string?
---@return number?
function output.between(from, to)
  if not from or not to then return nil end
  return kernel.time_seconds(to) - kernel.time_seconds(from)
end

--- A number of seconds or the like as people write it: 2, 0.5.
---@param value number
---@return string
function output.number(value)
  return (kernel.number_text(value):gsub("%.0$", ""))
end

--- A size in bytes, in words.
---@param bytes integer
---@return string
function output.size(bytes)
  local units, i, value = { "bytes", "KiB", "MiB", "GiB", "TiB" }, 1, bytes
  while value >= 1024 and i < #units do value, i = value / 1024, i + 1 end
  return ("%s %s"):format(kernel.number_text(value, i == 1 and 0 or 1), units[i])
end

--- So many of something: "1 run", "3 runs".
---@param count integer
---@param noun string
---@return string
function output.count(count, noun)
  return ("%d %s%s"):format(count, noun, count == 1 and "" or noun:find "s$" and "es" or "s")
end

return output
