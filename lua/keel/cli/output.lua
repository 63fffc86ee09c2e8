--- What commands print: tables for people, lines of JSON for programs.
local host = require "keel.host"
local kernel = require "keel.kernel"
local width = require "keel.cli.width"

local output = {}

local codes = { red = 31, green = 32, yellow = 33, blue = 34, grey = 90, bold = 1 }
local colour_of = { success = "green", error = "red", timeout = "red", interrupted = "yellow", running = "blue",
  pending = "grey", warning = "yellow", stopped = "grey", cancelled = "yellow" }

local in_colour

-- Colours are for a terminal, unless the user wants none (no-color.org).
local function wants_colour()
  if in_colour == nil then
    in_colour = host.is_terminal(1) and (os.getenv "NO_COLOR" or "") == "" and os.getenv "TERM" ~= "dumb"
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
  return ("\27[%dm%s\27[0m"):format(code, text)
end

--- A value on one line: its control characters must not reach a terminal.
---@param value any
---@return string
function output.plain(value)
  if value == nil then return "" end
  if type(value) == "table" then value = kernel.json.encode(value) or "?" end
  local text = tostring(value):gsub("[%c\127]", " ")
  return (text:gsub("\xC2[\x80-\x9F]", " ")) -- U+0080 to U+009F are control characters, too
end

--- One object of JSON on a line of its own.
---@param value table
function output.json(value)
  io.stdout:write(assert(kernel.json.encode(value)), "\n")
end

--- A few words on standard error, for people.
---@param options { quiet?: boolean, json?: boolean }
---@param text string
function output.note(options, text)
  if not options.quiet and not options.json then io.stderr:write(text, "\n") end
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

--- Rows under titles, the columns aligned, as lines without their ends.
---@param titles string[] one that begins with ">" is aligned to the right
---@param rows table[] lists of values
---@param columns? integer the last column is cut to what is left of so many; default: those of the terminal, if any
---@return string[] lines the first is that of the titles
function output.lines(titles, rows, columns)
  local names, to_right = {}, {}
  for i, title in ipairs(titles) do
    to_right[i] = title:sub(1, 1) == ">"
    names[i] = title:gsub("^>", "")
  end
  local texts, widths = measure(names, rows)
  local room = columns or host.size() or math.huge
  for i = 1, #titles - 1 do room = room - widths[i] - 2 end
  local function line(row, colour)
    local parts = {}
    for i, text in ipairs(row) do
      if i == #row then text = width.cut(text, math.max(room, 10)) end
      local pad = i == #row and not to_right[i] and "" or (" "):rep(widths[i] - width.of(text))
      local painted = output.paint(text, colour)
      parts[i] = to_right[i] and pad .. painted or painted .. pad
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
  for _, line in ipairs(output.lines(titles, rows)) do print(line) end
end

--- Prints names and values, the values aligned.
---@param pairs_of table[] lists of { name, value }; a nil value is left out
function output.fields(pairs_of)
  local widest = 0
  for _, pair in ipairs(pairs_of) do
    if pair[2] ~= nil then widest = math.max(widest, width.of(pair[1])) end
  end
  for _, pair in ipairs(pairs_of) do
    if pair[2] ~= nil then
      print(("%s%s  %s"):format(pair[1], (" "):rep(widest - width.of(pair[1])), output.paint(output.plain(pair[2]))))
    end
  end
end

-- --- Words ----------------------------------------------------------------------------------------------------------

--- A duration, as short as it can be read: 0.2s, 45s, 12m, 3h, 4d.
---@param seconds number?
---@return string
function output.duration(seconds)
  if not seconds then return "" end
  if seconds < 0 then return "0s" end
  if seconds < 9.95 then return ("%.1fs"):format(seconds) end
  if seconds < 99.5 then return ("%.0fs"):format(seconds) end
  if seconds < 99.5 * 60 then return ("%.0fm"):format(seconds / 60) end
  if seconds < 48 * 3600 then return ("%.0fh"):format(seconds / 3600) end
  return ("%.0fd"):format(seconds / 86400)
end

--- Seconds between two times; nil when one is missing.
---@param from string?
---@param to string?
---@return number?
function output.between(from, to)
  if not from or not to then return nil end
  return kernel.time_seconds(to) - kernel.time_seconds(from)
end

--- A size in bytes, in words.
---@param bytes integer
---@return string
function output.size(bytes)
  local units, i, value = { "bytes", "KiB", "MiB", "GiB", "TiB" }, 1, bytes
  while value >= 1024 and i < #units do value, i = value / 1024, i + 1 end
  return (i == 1 and "%d %s" or "%.1f %s"):format(value, units[i])
end

--- So many of something: "1 run", "3 runs".
---@param count integer
---@param noun string
---@return string
function output.count(count, noun)
  return ("%d %s%s"):format(count, noun, count == 1 and "" or "s")
end

return output
