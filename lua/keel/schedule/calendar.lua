--- Days and dates of the Gregorian calendar, as whole numbers: a day is counted from 1970-01-01.
local calendar = {}

--- The day of a date.
---@param year integer
---@param month integer
---@param day integer
---@return integer
function calendar.day_of(year, month, day)
  if month <= 2 then year = year - 1 end -- years from March, so that the leap day is their last
  local era = year // 400
  local of_era = year - era * 400
  local of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
  return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
end

--- The date of a day.
---@param days integer
---@return integer year
---@return integer month
---@return integer day
function calendar.date_of(days)
  days = days + 719468
  local era = days // 146097
  local of_era = days - era * 146097
  local year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
  local of_year = of_era - (365 * year + year // 4 - year // 100)
  local from_march = (5 * of_year + 2) // 153
  local month = from_march < 10 and from_march + 3 or from_march - 9
  return year + era * 400 + (month <= 2 and 1 or 0), month, of_year - (153 * from_march + 2) // 5 + 1
end

--- The day of the week: 0 is Sunday.
---@param days integer
---@return integer
function calendar.weekday_of(days)
  return (days + 4) % 7
end

--- Whether a year has a 29th of February.
---@param year integer
---@return boolean
function calendar.is_leap(year)
  return year % 4 == 0 and year % 100 ~= 0 or year % 400 == 0
end

return calendar
