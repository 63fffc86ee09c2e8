--- How wide a text is on a terminal, and cutting it.
local keel_command = require "keel.command"

local width = {}

--- The columns that a text takes. What is not UTF-8 counts byte by byte.
---@param text string
---@return integer
function width.of(text)
  if not text:find "[\128-\255]" then return #text end
  return (keel_command.columns(text))
end

--- The text, or as much of its beginning as goes into so many columns, with a "…" behind.
---@param text string
---@param room integer at least 1
---@return string
function width.cut(text, room)
  if width.of(text) <= room then return text end
  local _, fits = keel_command.columns(text, room - 1)
  return text:sub(1, fits) .. "…"
end

--- The end of a text that goes into so many columns, with a "…" in front: of an id, the part that tells it from others.
---@param text string
---@param room integer at least 1
---@return string
function width.tail(text, room)
  if width.of(text) <= room then return text end
  local _, gone = keel_command.columns(text, width.of(text) - (room - 1))
  local tail = text:sub(gone + 1)
  if width.of(tail) >= room then tail = tail:gsub("^[^\128-\191][\128-\191]*", "") end -- a wide one was halved
  return "…" .. tail
end

--- The text with spaces behind, up to so many columns.
---@param text string
---@param room integer
---@return string
function width.pad(text, room)
  return text .. (" "):rep(room - width.of(text))
end

--- The text on lines of at most so many columns, broken at blanks. It keeps what it is indented by.
---@param text string
---@param room integer
---@param hanging? string what all lines but the first begin with
---@return string
function width.fill(text, room, hanging)
  local lines, line = {}, nil
  for word in text:gmatch "%S+" do
    if line and width.of(line) + 1 + width.of(word) > room then
      lines[#lines + 1], line = line, (hanging or "") .. word
    else
      line = line and line .. " " .. word or text:match "^%s*" .. word
    end
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n")
end

return width
