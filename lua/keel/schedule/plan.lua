--- What is to be done about a schedule whose time has come. Pure: whoever carries it out puts the row again.
local times = require "keel.schedule.times"

local plan = {}

local ALL = 1000 -- missed occurrences that are made at most

--- How a schedule goes on.
---@class keel.SchedulePlan
---@field make? integer the occurrence whose run is to be made
---@field next_at integer
---@field last_at integer
---@field period integer
---@field problem? string why it is not known when it happens next: it is asked again at next_at
---@field left_out? boolean something that was missed is not made
---@field unfinished? boolean it is to be looked over again

local function text_of(err)
  return err.message
end

-- How it goes on when it is not known when it happens next: it is asked again after its last period.
local function ask_again(row, err, now, made)
  local last_at = made or row.last_at
  local period = made and math.min(made - row.last_at, row.period) or row.period -- not that of a long sleep
  return { make = made, last_at = last_at, period = period, problem = text_of(err),
    next_at = math.min(math.max(last_at, now) + period, times.LAST) }
end

local function make(row, time, next_at, err, now)
  if not next_at then return ask_again(row, err, now, time) end
  return { make = time, next_at = next_at, last_at = time, period = time - row.last_at }
end

-- Goes on to a later occurrence, and makes none.
local function pass_over(row, next_at, left_out)
  return { next_at = next_at, last_at = row.next_at, period = row.period, left_out = left_out }
end

-- When it happens for the first time after the end of all times there is none that can be written.
local NEVER = { message = "it does not happen again before the year 10000" }

-- What was missed as far as it is made one by one: the newest.
local function all(row, occurrences, now)
  local list, more, unfinished = occurrences:newest(row.next_at, now, ALL)
  if not list then return ask_again(row, more, now) end
  if unfinished or more then
    local passed = pass_over(row, list[1], true)
    passed.unfinished = unfinished
    return passed
  end
  local next_at, err = list[2], nil
  if not next_at then next_at, err = occurrences:after(list[1]) end
  return make(row, list[1], next_at, err or NEVER, now)
end

-- One for all that was missed: the newest, or what is there in time.
local function once(row, occurrences, now, in_time)
  local first, err, unfinished = occurrences:first_from(row.next_at, in_time)
  if not first and err then return ask_again(row, err, now) end
  if unfinished or first and first <= now then return pass_over(row, first, true) end
  local list, more = occurrences:newest(row.next_at, now, 1)
  if not list then return ask_again(row, more, now) end
  return make(row, list[1], first, NEVER, now)
end

local function skip(row, occurrences, now, in_time)
  local first, err = occurrences:first_from(row.next_at, in_time)
  if not first then return ask_again(row, err or NEVER, now) end
  return pass_over(row, first, true)
end

--- What is to be done next about a schedule that is due.
---
--- What was missed by `all` is looked over once: what is left then is made one by one, while `now` is the same.
---@param row { next_at: integer, last_at: integer, period: integer, problem: string?, missed: string, grace: integer }
--- times and spans in microseconds
---@param occurrences keel.Occurrences
---@param now integer
---@param looked_over? boolean it was asked before, with this `now`
---@return keel.SchedulePlan
function plan.next(row, occurrences, now, looked_over)
  if row.problem then
    local next_at, err = occurrences:after(row.last_at)
    if not next_at then return ask_again(row, err or NEVER, now) end
    return { next_at = next_at, last_at = row.last_at, period = row.period }
  end
  local in_time = now - row.grace -- what was to happen before was missed
  if row.next_at >= in_time or looked_over and row.missed == "all" then
    local next_at, err = occurrences:after(row.next_at)
    return make(row, row.next_at, next_at, err or NEVER, now)
  end
  if row.missed == "all" then return all(row, occurrences, now) end
  if row.missed == "skip" then return skip(row, occurrences, now, in_time) end
  return once(row, occurrences, now, in_time)
end

return plan
