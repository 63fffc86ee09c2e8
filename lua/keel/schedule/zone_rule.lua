--- The rule of a zone for all years, as POSIX has it in TZ: "CET-1CEST,M3.5.0,M10.5.0/3".
local calendar = require "keel.schedule.calendar"

---@class keel.ZoneRule
---@field standard integer seconds east of UTC
---@field summer? integer the same while clocks are put forward
local Rule = {}
Rule.__index = Rule

local HOUR = 3600

-- --- Reading --------------------------------------------------------------------------------------------------------

-- Each of these takes what it reads off a text: its value, and the rest; nil: it is not there.

local function take_name(text)
  return (text:match "^%a%a%a+" or text:match "^<[%w+-]+>"), (text:gsub("^%a%a%a+", "", 1):gsub("^<[%w+-]+>", "", 1))
end

local function take_seconds(text, most)
  local sign, hours, rest = text:match "^([+-]?)(%d+)(.*)$"
  hours = tonumber(hours)
  if not hours or hours > most then return nil, text end
  local seconds = hours * HOUR
  for _, unit in ipairs { 60, 1 } do
    local part, more = rest:match "^:(%d%d)(.*)$"
    if not part then break end
    if tonumber(part) > 59 then return nil, text end
    seconds, rest = seconds + tonumber(part) * unit, more
  end
  return math.tointeger(sign == "-" and -seconds or seconds), rest
end

-- A day of a year, and the time of that day: "M3.5.0/2", "J60", "59".
local function take_day(text)
  local day = {}
  local month, week, weekday, rest = text:match "^,M(%d+)%.(%d)%.(%d)(.*)$"
  if month then
    day.month, day.week, day.weekday = tonumber(month), tonumber(week), tonumber(weekday)
    if day.month < 1 or day.month > 12 or day.week < 1 or day.week > 5 or day.weekday > 6 then return nil, text end
  else
    local without_leap, number, more = text:match "^,(J?)(%d+)(.*)$"
    day.number, day.without_leap, rest = tonumber(number), without_leap == "J", more
    if not number or day.number > 365 or day.without_leap and day.number < 1 then return nil, text end
  end
  day.time = 2 * HOUR
  if rest:sub(1, 1) == "/" then
    day.time, rest = take_seconds(rest:sub(2), 167)
    if not day.time then return nil, text end
  end
  return day, rest
end

--- Reads a rule; nil when it is none.
---@param text string
---@return keel.ZoneRule?
function Rule.read(text)
  local name, rest = take_name(text)
  local west
  if name then west, rest = take_seconds(rest, 24) end
  if not west then return nil end
  local self = setmetatable({ standard = -west }, Rule)
  if rest == "" then return self end
  name, rest = take_name(rest)
  if not name then return nil end
  self.summer = self.standard + HOUR
  if rest:find "^[%d+-]" then
    west, rest = take_seconds(rest, 24)
    if not west then return nil end
    self.summer = -west
  end
  if rest == "" then rest = ",M3.2.0,M11.1.0" end -- what the C library takes then
  self._begins, rest = take_day(rest)
  if self._begins then self._ends, rest = take_day(rest) end
  if not self._ends or rest ~= "" then return nil end
  return self
end

-- --- Asking ---------------------------------------------------------------------------------------------------------

-- When a day of the rule begins in a year, in seconds on a clock on the wall.
local function day_in(year, day)
  if day.number then
    local first = calendar.day_of(year, 1, 1)
    if not day.without_leap then return first + day.number end
    return first + day.number - 1 + (calendar.is_leap(year) and day.number >= 60 and 1 or 0)
  end
  local first = calendar.day_of(year, day.month, 1)
  local found = first + (day.weekday - calendar.weekday_of(first)) % 7 + (day.week - 1) * 7
  local next_month = calendar.day_of(day.month == 12 and year + 1 or year, day.month % 12 + 1, 1)
  while found >= next_month do found = found - 7 end -- week 5 is the last
  return found
end

-- What changes in a year: { time, offset from then on }, in no order.
local function changes_in(self, year, list)
  local begins = day_in(year, self._begins) * 86400 + self._begins.time - self.standard
  local ends = day_in(year, self._ends) * 86400 + self._ends.time - self.summer
  list[#list + 1] = { time = begins, offset = self.summer, order = #list }
  list[#list + 1] = { time = ends, offset = self.standard, order = #list }
end

--- What holds at a time.
---@param time integer seconds since the epoch
---@return integer offset seconds east of UTC
---@return number from when that began
---@return number till when it ends
function Rule:at(time)
  if not self.summer then return self.standard, -math.huge, math.huge end
  local year = calendar.date_of(time // 86400)
  local changes = {}
  for near = year - 1, year + 1 do changes_in(self, near, changes) end
  table.sort(changes, function(a, b)
    if a.time ~= b.time then return a.time < b.time end
    return a.order < b.order -- in summer all the year: the end of one year is the beginning of the next
  end)
  local i = #changes
  while i > 1 and changes[i].time > time do i = i - 1 end
  return changes[i].offset, changes[i].time, changes[i + 1] and changes[i + 1].time or math.huge
end

return Rule
