--- The times of a schedule that says them itself: `cron` under a zone, or `every`. In whole microseconds since the
--- epoch.
local Cron = require "keel.schedule.cron"
local Zone = require "keel.schedule.zone"
local times = require "keel.schedule.times"

---@class keel.Occurrences
---@field after fun(self: keel.Occurrences, time: integer): integer?, keel.Error? the first that is later than another
--- (of `every`: the next after one); nil without an error: there is none that a time can be written for
---@field first_from fun(self: keel.Occurrences, from: integer, time: integer): integer?, keel.Error?, boolean? the
--- first from a time on, of those from `from` on, which is one
---@field newest fun(self: keel.Occurrences, from: integer, till: integer, count: integer): integer[]?,
--- boolean|keel.Error, boolean? the last so many of those from a time, which is one, to another, oldest first; and
--- whether there are more
local Occurrences = {}

local SECOND, LAST = times.SECOND, times.LAST
local TWO_DAYS = 172800            -- seconds: no clock is put back that far and forward again meanwhile

-- --- cron -----------------------------------------------------------------------------------------------------------

local ByCron = {}
ByCron.__index = ByCron

-- How far the clock on the wall had come, at most, when the piece of time began that is to begin at `from`.
local function wall_before(zone, from)
  local most, time = -math.huge, from
  while time > from - TWO_DAYS do
    local offset, begun = zone:at(time - 1)
    most = math.max(most, time + offset)
    if begun == -math.huge then break end
    time = begun
  end
  return most
end

-- The first occurrence after a time, in a piece of time with one offset.
local function in_piece(self, time, offset, from, till)
  local cron = self._cron
  local first = time + offset -- seconds on the wall; what is looked for is later
  if from > -math.huge then
    local reached = wall_before(self._zone, from)
    -- What the clock has skipped happens when it goes on.
    if from > time and from + offset > reached and cron:next(-(-reached // 60), -(-(from + offset) // 60)) then
      return from
    end
    -- What it shows for the second time has happened, unless it is to happen every hour.
    first = math.max(first, from + offset - 1, cron.every_hour and -math.huge or reached - 1)
  end
  local minute = cron:next(first // 60 + 1, till == math.huge and math.maxinteger or -(-(till + offset) // 60))
  return minute and minute * 60 - offset
end

function ByCron:after(time)
  local seconds = time // SECOND
  local from = seconds
  for _ = 1, 1000 do -- pieces: two a year
    local offset, begun, till = self._zone:at(from)
    local found = in_piece(self, seconds, offset, begun, till)
    if found then return found * SECOND <= LAST and found * SECOND or nil end
    if till == math.huge or till * SECOND > LAST then return nil end
    from = till
  end
end

function ByCron:first_from(_, time)
  return self:after(time - 1)
end

-- Looks back further and further, as crons can only be asked what comes next.
function ByCron:newest(from, till, count)
  local back = count * 60 * SECOND
  while true do
    local list, dropped = {}, till - back > from
    local time = dropped and self:after(till - back) or from
    while time and time <= till do
      list[#list + 1] = time
      time = self:after(time)
    end
    if #list >= count or not dropped then
      local more = dropped or #list > count
      return table.move(list, math.max(#list - count, 0) + 1, #list, 1, {}), more
    end
    back = back * 8
  end
end

-- --- every ----------------------------------------------------------------------------------------------------------

local Every = {}
Every.__index = Every

function Every:after(time)
  local found = time + self._step
  return found <= LAST and found or nil
end

function Every:first_from(from, time)
  local found = from + math.max(-((from - time) // self._step), 0) * self._step
  return found <= LAST and found or nil
end

function Every:newest(from, till, count)
  local there = (till - from) // self._step + 1
  local list = {}
  for i = math.max(there - count, 0), there - 1 do list[#list + 1] = from + i * self._step end
  return list, there > count
end

-- --- Making ---------------------------------------------------------------------------------------------------------

--- The occurrences of a cron expression.
---@param text string
---@param timezone string
---@return keel.Occurrences? occurrences
---@return keel.Error? err invalid_request: cron, timezone
function Occurrences.by_cron(text, timezone)
  local cron, err = Cron.read(text)
  if not cron then return nil, err end
  local zone
  zone, err = Zone.find(timezone)
  if not zone then return nil, err end
  return setmetatable({ _cron = cron, _zone = zone }, ByCron)
end

--- Those that come after so many microseconds each.
---@param step integer
---@return keel.Occurrences
function Occurrences.every(step)
  return setmetatable({ _step = step }, Every)
end

return Occurrences
