--- Cron under a time zone: what the clock skips, and what it shows twice. What the C library says of a zone is asked in
--- child processes, as TZ belongs to a whole process.
local Occurrences = require "keel.schedule.occurrence"
local keel = require "keel"
local support = require "support"

after_each(support.clean_up)

local SEED = tonumber(os.getenv "KEEL_SEED") or os.time()

local function next_of(cron, from, timezone)
  return assert(keel.next_occurrence({ cron = cron, timezone = timezone }, from))
end

-- The same instant, by whatever offset it was written.
local function same(expected, text)
  assert.equal(assert(keel.seconds(expected)), keel.seconds(text), ("%s, not %s"):format(text, expected))
end

describe("SCHEDULE-3: a time that the clock skips", function()
  it("happens at the next that exists", function() -- as Cronos documents it
    same("2016-03-13T03:00:00-04:00", next_of("30 2 * * *", "2016-03-13T01:59:59-05:00", "America/New_York"))
    same("2016-03-14T02:30:00-04:00", next_of("30 2 * * *", "2016-03-13T03:00:00-04:00", "America/New_York"))
    same("2024-03-31T03:00:00+02:00", next_of("0 2 * * *", "2024-03-31T00:00:00+01:00", "Europe/Berlin"))
  end)

  it("happens once with others that fall on the same time", function()
    local at, seen = "2024-03-31T01:00:00+01:00", {}
    for i = 1, 3 do
      at = next_of("0,20,40 2,3 * * *", at, "Europe/Berlin")
      seen[i] = keel.seconds(at) - keel.seconds "2024-03-31T03:00:00+02:00"
    end
    assert.same({ 0, 1200, 2400 }, seen)
  end)

  it("may be a day: Samoa had no 30 December 2011", function()
    same("2011-12-31T00:00:00+14:00", next_of("0 12 30 12 *", "2011-12-29T00:00:00-10:00", "Pacific/Apia"))
  end)
end)

describe("SCHEDULE-3: a time that comes twice", function()
  it("happens once, the first time", function() -- as Cronos and fugit have it
    same("2016-11-06T01:30:00-04:00", next_of("30 1 * * *", "2016-11-06T00:59:59-04:00", "America/New_York"))
    same("2016-11-07T01:30:00-05:00", next_of("30 1 * * *", "2016-11-06T01:30:00-04:00", "America/New_York"))
    same("2018-11-05T01:59:00-05:00", next_of("59 1 * * *", "2018-11-04T01:59:00-04:00", "America/New_York"))
  end)

  it("happens once although it is asked in between", function()
    same("2016-11-07T01:30:00-05:00", next_of("30 1 * * *", "2016-11-06T01:00:00-05:00", "America/New_York"))
  end)

  it("counts both times where the hour is a star", function()
    same("2016-11-06T01:30:00-05:00", next_of("30 * * * *", "2016-11-06T01:30:00-04:00", "America/New_York"))
    same("2016-11-06T02:30:00-05:00", next_of("30 * * * *", "2016-11-06T01:30:00-05:00", "America/New_York"))
  end)
end)

-- What a chunk says in a child whose TZ is another, line by line.
local function lines_under(tz, chunk, ...)
  local child = support.spawn(chunk, { ... }, { env = { TZ = tz } })
  local lines = {}
  for line in child:finish():gmatch "[^\n]+" do lines[#lines + 1] = line end
  return lines
end

-- Every minute, or every few, of some time by the C library's clock: what a cron must name, and when it happens by the
-- rules. A clock that is put forward is seen by a minute that is not the next; one that is put back by minutes that
-- were there.
local WALK = [[
local from, till, step, fields = ...
local function set(text, first, last)
  local allowed = {}
  for value = first, last do allowed[value] = text == "*" end
  if text ~= "*" then for value in text:gmatch "%d+" do allowed[math.tointeger(tonumber(value))] = true end end
  return allowed
end
local crons = {}
for text, minute, hour in fields:gmatch "((%S+) (%S+))" do
  crons[#crons + 1] = { text = text, minutes = set(minute, 0, 59), hours = set(hour, 0, 23), star = hour == "*" }
end
-- Minutes of a calendar in which all months have 31 days: what is missing at the end of one is no skipped time.
local function wall(t) return ((t.year * 12 + t.month) * 31 + t.day) * 1440 + t.hour * 60 + t.min end
local reached, before
for time = math.tointeger(from), math.tointeger(till), math.tointeger(step) do
  local t = os.date("*t", time)
  local here = wall(t)
  local same_day = before and before.day == t.day
  local again = reached and here <= reached and same_day
  for _, cron in ipairs(crons) do
    local skipped = false
    for missing = same_day and reached + 1 or here, here - 1 do
      skipped = skipped or cron.minutes[missing % 60] and cron.hours[missing // 60 % 24]
    end
    if skipped or cron.minutes[t.min] and cron.hours[t.hour] and (cron.star or not again) then
      say(cron.text .. "=" .. time)
    end
  end
  if not reached or here > reached then reached = here end
  before = t
end
]]

-- The same by ours: what next_occurrence asks, without reading the zone's file for each.
local function occurrences(fields, zone, from, till)
  local by_cron, list = assert(Occurrences.by_cron(fields .. " * * *", zone)), {}
  local time = by_cron:after((from - 1) * 1000000)
  while time <= till * 1000000 do
    list[#list + 1] = tostring(time // 1000000)
    time = by_cron:after(time)
  end
  return list
end

-- What the walk says, by the fields of each cron.
local function walk(zone, from, till, step, ...)
  local walked = {}
  for _, fields in ipairs { ... } do walked[fields] = {} end
  for _, line in ipairs(lines_under(zone, WALK, from, till, step, table.concat({ ... }, ";"):gsub(";", " "))) do
    local fields, time = line:match "^(.*)=(.*)$"
    table.insert(walked[fields], time)
  end
  return walked
end

describe("SCHEDULE-3: two years of quarters of an hour by the C library's clock", function()
  local from, till = 1672531200, 1735689600 -- 2023 and 2024
  for _, zone in ipairs { "Europe/Berlin", "America/New_York" } do
    it("are those that crons of an hour, of some and of all give in " .. zone, function()
      local walks = walk(zone, from, till, 900, "30 2", "0,30 1,2,3", "15 *", "0 0")
      for fields, walked in pairs(walks) do
        assert.same(walked, occurrences(fields, zone, from, till), fields)
        assert.is_true(#walked >= 730)
      end
    end)
  end
end)

describe("Zones", function()
  -- By chance: a zone, a year (also one beyond the tables of the file), a minute and hours. The walk does not see what
  -- is skipped over midnight, so none of these has ever changed there; the offsets below are those of others, too.
  local zones = { "Europe/Berlin", "America/New_York", "Australia/Sydney", "Pacific/Chatham", "Pacific/Auckland",
    "America/Los_Angeles", "Europe/Dublin", "Europe/London", "UTC", "Asia/Kolkata" }

  it(("happen by chance as a walk along the C library's clock says (KEEL_SEED=%d)"):format(SEED), function()
    math.randomseed(SEED)
    for _ = 1, 4 do
      local zone, year = zones[math.random(#zones)], math.random(1975, 2090)
      local from = math.tointeger(keel.seconds(("%d-01-05T00:00:00Z"):format(year)))
      local till = from + 366 * 86400
      local some = ("%d,%d %d,%d"):format(math.random(0, 59), math.random(0, 59), math.random(0, 3), math.random(0, 3))
      for fields, walked in pairs(walk(zone, from, till, 60, some, math.random(0, 59) .. " *")) do
        assert.same(walked, occurrences(fields, zone, from, till), ("%s in %s, %d"):format(fields, zone, year))
      end
    end
  end)

  local OFFSETS = [[
    local zone = require "keel.schedule.zone"
    local here = assert(zone.find "local")
    local wrong, seen = 0, 0
    local seed, first = ...
    math.randomseed(math.tointeger(seed))
    for _ = 1, 3000 do
      local time = math.random(math.tointeger(first), 1 << 32)
      local offset, from, till = here:at(time)
      assert(from <= time and time < till)
      local t = os.date("*t", time)
      t.isdst = nil
      local utc = os.date("!*t", time + offset)
      utc.isdst = nil
      for name, value in pairs(utc) do
        if t[name] ~= value then
          wrong = wrong + 1
          io.stderr:write(time, " ", name, " ", t[name], " ", value, "\n")
        end
      end
      seen = seen + 1
    end
    say(wrong, seen)
  ]]

  it(("have the offsets of the C library at any time (KEEL_SEED=%d)"):format(SEED), function()
    local rules = { "CET-1CEST,M3.5.0,M10.5.0/3", "<-03>3<-02>,M3.5.0/-2,M10.5.0/-1", "EST5EDT", "XXX-5:45",
      "IST-2IDT,M3.4.4/26,M10.5.0", "NZST-12NZDT,M9.5.0,M4.1.0/3", "AAA3BBB,J60/0,J300", "AAA3BBB,59,299/12:30:15" }
    for _, rule in ipairs(rules) do -- before 1970 the C library takes the rule's summer for nothing
      assert.same({ "0\t3000" }, lines_under(rule, OFFSETS, SEED, 86400 * 366), rule)
    end
    for _, zone in ipairs { ":Europe/Berlin", "/usr/share/zoneinfo/Asia/Tokyo", "", "America/Sao_Paulo", "Asia/Gaza",
      "Africa/El_Aaiun", "Pacific/Apia", "Antarctica/Troll", "America/Godthab", "Asia/Tehran",
      table.unpack(zones) } do
      assert.same({ "0\t3000" }, lines_under(zone, OFFSETS, SEED, -(1 << 31)), zone)
    end
  end)
end)

describe("SCHEDULE-3: timezone = \"local\"", function()
  local NEXT = [[
    local at, err = keel.next_occurrence({ cron = "0 3 * * *", timezone = "local" }, "2024-07-01T00:00:00Z")
    say(at or err.field .. ": " .. err.message)
  ]]

  it("is the zone of TZ: a name, a path, a rule", function()
    for tz, hour in pairs { ["Asia/Tokyo"] = "18", [":Asia/Tokyo"] = "18", ["/usr/share/zoneinfo/Asia/Tokyo"] = "18",
      ["JST-9"] = "18", ["EST5EDT,M3.2.0,M11.1.0"] = "07", [""] = "03" } do
      assert.same({ ("2024-07-01T%s:00:00+00:00"):format(hour) }, lines_under(tz, NEXT), tz)
    end
  end)

  it("is refused where TZ is nonsense, rather than taken for UTC", function()
    local line = lines_under("Nowhere/At_All", NEXT)[1]
    assert.truthy(line:find("timezone: timezone is local, and TZ is 'Nowhere/At_All'", 1, true), line)
  end)

  it("does not set TZ: the C library's clock stays as it was", function()
    local lines = lines_under("Asia/Tokyo", [[
      keel.next_occurrence({ cron = "0 3 * * *", timezone = "America/New_York" }, "2024-07-01T00:00:00Z")
      say(os.getenv "TZ", os.date("%H", 0))
    ]])
    assert.same({ "Asia/Tokyo\t09" }, lines)
  end)
end)

describe("A zone file that is damaged", function()
  it("is no zone, wherever it was cut or changed", function()
    local file <close> = assert(io.open("/usr/share/zoneinfo/Europe/Berlin", "rb"))
    local bytes = file:read "a"
    local folder = support.dir()
    local CHUNK = [[
      for name in (...):gmatch "[^,]+" do
        local at, err = keel.next_occurrence({ cron = "0 3 * * *", timezone = name }, "2024-07-01T00:00:00Z")
        say(at or err.code)
      end
    ]]
    local names, cuts = {}, { 0, 3, 43, 44, 100, 500, 1100, 1500, #bytes - 28, #bytes - 5, #bytes - 1 }
    for i, size in ipairs(cuts) do
      names[i] = "Cut" .. i
      local cut <close> = assert(io.open(folder .. "/Cut" .. i, "wb"))
      cut:write(bytes:sub(1, size))
    end
    local whole <close> = assert(io.open(folder .. "/Whole", "wb"))
    whole:write(bytes)
    whole:flush()
    names[#names + 1] = "Whole"
    local child = support.spawn(CHUNK, { table.concat(names, ",") }, { env = { TZDIR = folder } })
    local seen = {}
    for line in child:finish():gmatch "[^\n]+" do seen[#seen + 1] = line end
    for i = 1, #cuts do assert.equal("invalid_request", seen[i], "cut at " .. cuts[i]) end
    assert.equal("2024-07-01T01:00:00+00:00", seen[#names])
  end)
end)
