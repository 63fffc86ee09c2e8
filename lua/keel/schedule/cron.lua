--- A cron expression: five fields, read once, and asked for the next minute that it names.
---
--- Minutes are counted on a clock on the wall, from 1970-01-01T00:00 there: zones are not known here.
local calendar = require "keel.schedule.calendar"
local errors = require "keel.errors"

---@class keel.Cron
---@field every_hour boolean it names every hour of a day
local Cron = {}
Cron.__index = Cron

local DAY = 1440     -- minutes
local YEARS = 41     -- from any time to the next of each expression: a 29th of February that is a certain weekday
local TEXT_MAX = 256 -- bytes

local fields = {
  { name = "minute", from = 0, to = 59 },
  { name = "hour", from = 0, to = 23 },
  { name = "day of month", from = 1, to = 31 },
  { name = "month", from = 1, to = 12, names = { "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct",
    "nov", "dec" } },
  { name = "day of week", from = 0, to = 7, names = { "sun", "mon", "tue", "wed", "thu", "fri", "sat" } }, -- 7: Sunday
}

local macros = { ["@yearly"] = "0 0 1 1 *", ["@annually"] = "0 0 1 1 *", ["@monthly"] = "0 0 1 * *",
  ["@weekly"] = "0 0 * * 0", ["@daily"] = "0 0 * * *", ["@midnight"] = "0 0 * * *", ["@hourly"] = "0 * * * *" }

local month_days = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

-- --- Reading --------------------------------------------------------------------------------------------------------

local function invalid(problem, at)
  local err = errors.new("invalid_request", "cron: " .. problem, { field = "cron" })
  err.position = at
  return err
end

-- What is wrong with a part of a field, which stands at a character of the text.
local function misread(field, at, problem)
  return nil, invalid(("%s (field %d, character %d): %s"):format(field.name, field.number, at, problem), at)
end

local function shown(text)
  return "'" .. errors.cut(text, 16) .. "'"
end

-- A number or a name of a field.
local function value_of(field, text, at)
  if text:find "^%d%d?$" then
    local value = math.tointeger(tonumber(text))
    if value >= field.from and value <= field.to then return value end
  end
  for i, name in ipairs(field.names or {}) do
    if text:lower() == name then return field.from + i - 1 end
  end
  local names = field.names and (" or %s to %s"):format(field.names[1], field.names[#field.names]) or ""
  if text == "" then return misread(field, at, "a number is missing") end
  return misread(field, at, ("%s is not a number from %d to %d%s"):format(shown(text), field.from, field.to, names))
end

-- The first and the last value of `*`, `5`, `mon-fri`.
local function range_of(field, text, at, has_step)
  if text == "*" then return field.from, field.to end
  local first, last = text:match "^([^-]*)%-(.*)$"
  local from, err = value_of(field, first or text, at)
  if not from then return nil, err end
  if not first then return from, has_step and field.to or from end
  local to
  to, err = value_of(field, last, at + #first + 1)
  if not to then return nil, err end
  if field.to == 7 and to == 0 and from > 0 then to = 7 end -- sat-sun
  if to < from then return misread(field, at, ("the range %s ends before it begins"):format(shown(text))) end
  return from, to
end

-- Adds what a part between two commas names.
local function read_part(field, part, at, allowed)
  local range, step = part:match "^([^/]*)/(.*)$"
  local from, to = range_of(field, range or part, at, range ~= nil)
  if not from then return nil, to end
  local by = 1
  if step then
    by = step:find "^%d%d?$" and math.tointeger(tonumber(step)) or 0
    if by == 0 then
      return misread(field, at + #range + 1, ("the step %s is not a number from 1 to 99"):format(shown(step)))
    end
  end
  for value = from, to, by do allowed[field.to == 7 and value % 7 or value] = true end
  return true
end

local function read_field(field, text, at)
  local allowed = {}
  local from = 1
  repeat
    local comma = text:find(",", from, true) or #text + 1
    local ok, err = read_part(field, text:sub(from, comma - 1), at + from - 1, allowed)
    if not ok then return nil, err end
    from = comma + 1
  until comma > #text
  return allowed
end

for number, field in ipairs(fields) do field.number = number end

-- The words of a text, and where each begins.
local function words_of(text)
  local words, places = {}, {}
  for at, word in text:gmatch "()([^ \t]+)" do
    words[#words + 1], places[#places + 1] = word, at
  end
  return words, places
end

local function in_order(allowed, from, to)
  local list = {}
  for value = from, to do
    if allowed[value] then list[#list + 1] = value end
  end
  return list
end

-- Whether there is a date with one of the days in one of the months.
local function has_date(days, months)
  for month in pairs(months) do
    for day = 1, month_days[month] do
      if days[day] then return true end
    end
  end
  return false
end

--- Reads an expression. Fails with invalid_request (field "cron"; `position`: the character where it is wrong).
---@param text string
---@return keel.Cron? cron
---@return keel.Error? err
function Cron.read(text)
  if #text > TEXT_MAX then return nil, invalid(("it has %d bytes, at most %d"):format(#text, TEXT_MAX)) end
  local words, places = words_of(text)
  local first = words[1] or ""
  if #words == 1 and first:sub(1, 1) == "@" then
    local known = macros[first:lower()]
    if not known then
      return nil, invalid(("%s is not one of @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly")
        :format(shown(first)), places[1])
    end
    words, places = words_of(known)
  end
  if #words ~= #fields then
    return nil, invalid(("it has %d fields, and must have 5: minute, hour, day of month, month, day of week")
      :format(#words), places[#fields + 1] or #text + 1)
  end
  local allowed = {}
  for i, field in ipairs(fields) do
    local err
    allowed[i], err = read_field(field, words[i], places[i])
    if not allowed[i] then return nil, err end
  end
  local self = setmetatable({ _minutes = in_order(allowed[1], 0, 59), _hours = in_order(allowed[2], 0, 23),
    _days = allowed[3], _months = allowed[4], _weekdays = allowed[5] }, Cron)
  self.every_hour = #self._hours == 24
  -- Either day will do when both are told, as ever: a field that begins with `*` tells none by itself.
  self._either = words[3]:sub(1, 1) ~= "*" and words[5]:sub(1, 1) ~= "*"
  if not self._either and not has_date(self._days, self._months) then
    return nil, invalid("day of month (field 3): there is no such day in these months", places[3])
  end
  return self
end

-- --- Asking ---------------------------------------------------------------------------------------------------------

local function names_day(self, days, day)
  local by_date, by_weekday = self._days[day], self._weekdays[calendar.weekday_of(days)]
  if self._either then return by_date or by_weekday end
  return by_date and by_weekday
end

-- The first minute of a day that is named, from one of its minutes on.
local function minute_from(self, from)
  for _, hour in ipairs(self._hours) do
    if hour * 60 + 59 >= from then
      for _, minute in ipairs(self._minutes) do
        if hour * 60 + minute >= from then return hour * 60 + minute end
      end
    end
  end
end

--- The first minute that it names, from one on and before another.
---@param from integer
---@param before integer
---@return integer? minute
function Cron:next(from, before)
  local days, minute = from // DAY, from % DAY
  local last = math.min((before - 1) // DAY, days + YEARS * 366)
  local _, month, day = calendar.date_of(days)
  while days <= last do
    local found = self._months[month] and names_day(self, days, day) and minute_from(self, minute)
    if found then
      found = days * DAY + found
      return found < before and found or nil
    end
    minute = 0
    if self._months[month] then
      days = days + 1
    else
      local year = calendar.date_of(days)
      days = calendar.day_of(month == 12 and year + 1 or year, month % 12 + 1, 1)
    end
    _, month, day = calendar.date_of(days)
  end
end

return Cron
