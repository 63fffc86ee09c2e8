--- How wide a text is on a terminal, and cutting it.
local width = {}

-- First and last code points that take no column, or two. What a terminal's font decides otherwise is a column off.
local none = { { 0x300, 0x36F }, { 0x483, 0x489 }, { 0x591, 0x5BD }, { 0x610, 0x61A }, { 0x64B, 0x65F },
  { 0x200B, 0x200F }, { 0x20D0, 0x20F0 }, { 0xFE00, 0xFE0F }, { 0xFE20, 0xFE2F } }
local two = { { 0x1100, 0x115F }, { 0x2E80, 0x303E }, { 0x3041, 0x33FF }, { 0x3400, 0x4DBF }, { 0x4E00, 0x9FFF },
  { 0xA000, 0xA4CF }, { 0xAC00, 0xD7A3 }, { 0xF900, 0xFAFF }, { 0xFE30, 0xFE6F }, { 0xFF00, 0xFF60 },
  { 0xFFE0, 0xFFE6 }, { 0x1F300, 0x1F64F }, { 0x1F680, 0x1F6FF }, { 0x1F900, 0x1F9FF }, { 0x20000, 0x3FFFD } }

local function is_in(ranges, point)
  for _, range in ipairs(ranges) do
    if point >= range[1] and point <= range[2] then return true end
  end
  return false
end

local function columns(point)
  if point < 0x300 then return 1 end
  return is_in(none, point) and 0 or is_in(two, point) and 2 or 1
end

--- The columns that a text takes. What is not UTF-8 counts byte by byte.
---@param text string
---@return integer
function width.of(text)
  if not text:find "[\128-\255]" or not utf8.len(text) then return #text end
  local sum = 0
  for _, point in utf8.codes(text) do sum = sum + columns(point) end
  return sum
end

--- The text, or as much of its beginning as goes into so many columns, with a "…" behind.
---@param text string
---@param room integer at least 1
---@return string
function width.cut(text, room)
  if width.of(text) <= room then return text end
  if not utf8.len(text) then return text:sub(1, room - 1) .. "…" end
  local sum = 0
  for place, point in utf8.codes(text) do
    sum = sum + columns(point)
    if sum > room - 1 then return text:sub(1, place - 1) .. "…" end
  end
  return text
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
