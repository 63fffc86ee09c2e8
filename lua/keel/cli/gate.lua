--- When and after what a run may start, as it is typed: the options for all commands that make runs, and what create
--- takes in their place.
local kernel = require "keel.kernel"
local usage = require "keel.cli.usage"

local gate = {}

-- --- Times ----------------------------------------------------------------------------------------------------------

local LAST = 253402300799 -- the end of the year 9999, in seconds since the epoch: there is no text for what is later

local function now() return kernel.time_seconds(kernel.now()) end

-- The first time from `from` on at which clocks on the walls here show a time; one that they skip is when they go on.
local function on_the_wall(cron, from, seconds)
  local definition = { cron = cron, timezone = "local" }
  local text, err = require("keel.schedule").next_occurrence(definition, kernel.time_text(from - seconds))
  if not text then return nil, err.message:gsub("^timezone: ", "") end
  return kernel.time_seconds(text) + seconds
end

-- Today or tomorrow.
local function of_day(hour, minute, second)
  return on_the_wall(("%d %d * * *"):format(minute, hour), now(), second)
end

local DAY = 86400 -- no clock is further from UTC, or goes back so far

-- A date and a time, of the zone that it has, or of the system's.
local function of_date(date, clock, zone)
  if not clock:find ":..:" then clock = clock .. ":00" end
  local as_utc = kernel.time_seconds(("%sT%s%s"):format(date, clock, zone ~= "" and zone or "Z"))
  if not as_utc or zone ~= "" then return as_utc end
  local month, day = date:match "^%d+%-(%d+)%-(%d+)$"
  local hour, minute, second = clock:match "^(%d+):(%d+):(.*)$"
  return on_the_wall(("%d %d %d %d *"):format(minute, hour, day, month), as_utc - DAY, tonumber(second))
end

local function no_time(text)
  return nil, ("'%s' is no time; write 22:00, 2026-12-24T20:00 or 2026-12-24T20:00Z"):format(text)
end

-- A time to come, as text.
local function moment(text)
  local seconds, problem
  local hour, minute, second = text:match "^(%d%d?):(%d%d)$"
  if not hour then hour, minute, second = text:match "^(%d%d?):(%d%d):(%d%d)$" end
  if hour then
    if tonumber(hour) > 23 or tonumber(minute) > 59 or tonumber(second or 0) > 59 then return no_time(text) end
    seconds, problem = of_day(hour, minute, tonumber(second or 0))
  else
    local date, clock, zone = text:match "^(%d%d%d%d%-%d%d%-%d%d)[T ](%d%d:%d%d[%d:.]*)(.*)$"
    if not date then return no_time(text) end
    seconds, problem = of_date(date, clock, zone)
  end
  if problem then return nil, problem end
  if not seconds then return no_time(text) end
  local time = kernel.time_text(seconds)
  if seconds < now() then return nil, ("'%s' has passed: that was %s"):format(text, time) end
  return time
end

-- How long from now.
local function span(text)
  local seconds, problem = usage.duration(text)
  if not seconds then return nil, problem end
  if now() + seconds > LAST then return nil, ("'%s' ends after the year 9999"):format(text) end
  return seconds
end

-- --- Lists ----------------------------------------------------------------------------------------------------------

-- RUN,RUN,…
local function run_list(text)
  local list = {}
  for word in (text .. ","):gmatch "([^,]*)," do
    if word == "" then return nil, ("'%s' has a RUN without a name; write RUN,RUN"):format(text) end
    list[#list + 1] = word
  end
  return list
end

local count = usage.integer(0) -- of places, or of starts

-- NAME=N; NAME alone has the limit that is set for it.
local function slot(text)
  local name, max = text:match "^(.*)=([^=]*)$"
  if (name or text) == "" then return nil, ("'%s' has no name; write gpu=2"):format(text) end
  if not name then return { name = text } end
  local number, problem = count(max)
  if not number then return nil, problem .. "; write gpu=2" end
  return { name = name, max = number }
end

-- NAME=N/TIME; NAME alone has the limit that is set for it.
local function rate(text)
  local name, max, per = text:match "^(.*)=([^=/]*)/([^=/]*)$"
  if not name and text:find("=", 1, true) then return nil, ("'%s' is not NAME=N/TIME; write api=10/1m"):format(text) end
  if (name or text) == "" then return nil, ("'%s' has no name; write api=10/1m"):format(text) end
  if not name then return { name = text } end
  local number, problem = count(max)
  if not number then return nil, problem .. "; write api=10/1m" end
  local seconds
  seconds, problem = usage.duration(per)
  if not seconds then return nil, problem end
  return { name = name, max = number, per = seconds }
end

--- The options.
gate.options = {
  { "--after", value = "RUN,…", many = true, convert = run_list,
    about = "start when these runs have succeeded; repeatable" },
  { "--after-any", value = "RUN,…", many = true, convert = run_list,
    about = "start when these have ended, whatever became of them; repeatable" },
  { "--in", value = "TIME", convert = span, about = "start in so long, not before" },
  { "--at", value = "TIME", convert = moment,
    about = "start at 22:00, today or tomorrow, or at 2026-12-24T20:00; with Z in UTC" },
  { "--slot", value = "NAME=N", many = true, convert = slot,
    about = "start when fewer than N runs hold NAME; alone: as many as 'keel limits set' allows; repeatable" },
  { "--rate", value = "NAME=N/TIME", many = true, convert = rate,
    about = "start when fewer than N have started with NAME within TIME; repeatable" },
}

--- What create takes in place of the options.
---@param given table the options, as usage.read has them
---@return { after?: table[], scheduled_at?: string|number, slots?: table[], rates?: table[] }? asked
---@return keel.Error? err
function gate.asked(given)
  if given["in"] and given.at then return nil, usage.error "--in and --at both say when: give one" end
  local after = {}
  for on, lists in pairs { success = given.after, final = given.after_any } do
    for _, list in ipairs(lists) do
      for _, run_id in ipairs(list) do after[#after + 1] = { run_id = run_id, on = on } end
    end
  end
  local function some(list) return list and #list > 0 and list or nil end
  return { after = some(after), scheduled_at = given["in"] or given.at, slots = some(given.slot),
    rates = some(given.rate) }
end

--- Puts ids in the place of the RUNs that were typed. One that is not there is left for create to refuse.
---@param store keel.Store
---@param after? table[] as gate.asked gives it
---@return true? done
---@return keel.Error? err one fits several runs; what reading fails with
function gate.settle(store, after)
  for _, source in ipairs(after or {}) do
    local ids, err = require "keel.cli.which".runs(store, { source.run_id }, true)
    if not ids then return nil, err end
    source.run_id = ids[1]
  end
  return true
end

--- What create says of them, with the way out.
---@param err keel.Error
---@return keel.Error
function gate.advised(err)
  local name = err.message:match "no limit is set for (.*)$"
  local advice = name and ("; write %s, or 'keel limits set' first"):format(err.field == "slots" and name .. "=2" or
    name .. "=10/1m") or err.message:find "^after%[%d+%]: there is no run " and "; 'keel runs list' lists them"
  if advice then err.message = err.message .. advice end
  return err
end

return gate
