--- keel.next_occurrence: when a cron expression, or `every`, happens next.
local keel = require "keel"
local support = require "support"

local function next_of(cron, from, timezone)
  return assert(keel.next_occurrence({ cron = cron, timezone = timezone }, from))
end

-- What others document or test of theirs: the expression, from when, and when it happens next, by UTC.
local known = {
  -- croniter (Python), the examples of its page
  { "*/5 * * * *", "2010-01-25T04:46:00Z", "2010-01-25T04:50:00Z", "2010-01-25T04:55:00Z", "2010-01-25T05:00:00Z" },
  { "2 4 * * mon,fri", "2010-01-25T04:46:00Z", "2010-01-29T04:02:00Z", "2010-02-01T04:02:00Z" },
  { "2 4 1 * wed", "2010-01-25T04:46:00Z", "2010-01-27T04:02:00Z", "2010-02-01T04:02:00Z", "2010-02-03T04:02:00Z" },
  -- robfig/cron (Go), the table of its specification, without the seconds
  { "0/15 * * * *", "2012-07-09T14:45:00Z", "2012-07-09T15:00:00Z" },
  { "0/15 * * * *", "2012-07-09T14:59:59Z", "2012-07-09T15:00:00Z" },
  { "20-35/15 * * * *", "2012-07-09T15:45:00Z", "2012-07-09T16:20:00Z" },
  { "*/15 * * * *", "2012-07-09T23:46:00Z", "2012-07-10T00:00:00Z" },
  { "20-35/15 * * * *", "2012-07-09T23:45:00Z", "2012-07-10T00:20:00Z" },
  { "20-35/15 1/2 * * *", "2012-07-09T23:35:51Z", "2012-07-10T01:20:00Z" },
  { "20-35/15 10-12 * * *", "2012-07-09T23:35:51Z", "2012-07-10T10:20:00Z" },
  { "20-35/15 1/2 */2 * *", "2012-07-09T23:35:51Z", "2012-07-11T01:20:00Z" },
  { "20-35/15 * 9-20 Jul *", "2012-07-09T23:35:51Z", "2012-07-10T00:20:00Z" },
  { "0 0 9 Apr-Oct *", "2012-07-09T23:35:00Z", "2012-08-09T00:00:00Z" },
  { "0 0 */5 Apr,Aug,Oct Mon", "2012-07-09T23:35:00Z", "2012-08-06T00:00:00Z" },
  { "0 0 */5 Oct Mon", "2012-07-09T23:35:00Z", "2012-10-01T00:00:00Z" },
  { "0 0 * Feb Mon", "2012-07-09T23:35:00Z", "2013-02-04T00:00:00Z" },
  { "0 0 * Feb Mon/2", "2012-07-09T23:35:00Z", "2013-02-01T00:00:00Z" },
  { "* * * * *", "2012-12-31T23:59:45Z", "2013-01-01T00:00:00Z" },
  { "0 0 29 Feb *", "2012-07-09T23:35:00Z", "2016-02-29T00:00:00Z" },
  { "* * 1,15 * Sun", "2012-07-14T23:59:00Z", "2012-07-15T00:00:00Z" },
  { "* * 1,15 * Sun", "2012-06-14T23:59:00Z", "2012-06-15T00:00:00Z" },
  { "@monthly", "2012-06-30T23:59:59Z", "2012-07-01T00:00:00Z" },
  { "@weekly", "2012-07-07T23:59:59Z", "2012-07-08T00:00:00Z" },
  -- fugit (Ruby), its specification
  { "5 0 * * *", "2016-01-02T12:00:00Z", "2016-01-03T00:05:00Z" },
  { "15 14 1 * *", "2016-01-02T12:00:00Z", "2016-02-01T14:15:00Z" },
  { "* * 29 * *", "2016-02-01T00:00:00Z", "2016-02-29T00:00:00Z" },
  { "* * * * sun", "2017-01-02T12:00:00Z", "2017-01-08T00:00:00Z" },
  { "30 04 1,15 * 5", "2017-01-03T00:00:00Z", "2017-01-06T04:30:00Z" },
  { "30 04 1,15 * 5", "2017-01-14T00:00:00Z", "2017-01-15T04:30:00Z" },
  { "30 04 1,15 * 5", "2017-01-16T00:00:00Z", "2017-01-20T04:30:00Z" },
  -- cron-parser (Rust), the example of its page: the next leap year
  { "0 0 29 2 *", "2030-01-01T00:00:00Z", "2032-02-29T00:00:00Z" },
  -- Crono (Elixir), the examples of Crono.Schedule
  { "0 0 * * *", "2023-09-01T15:00:00Z", "2023-09-02T00:00:00Z", "2023-09-03T00:00:00Z", "2023-09-04T00:00:00Z" },
  -- crontab (Factor), its test
  { "23 0-20/2 * * *", "2018-03-09T12:06:00Z", "2018-03-09T12:23:00Z" },
  -- @lou.codes/cron (TypeScript), the example of nextDate
  { "* * * * *", "1989-10-13T10:15:00Z", "1989-10-13T10:16:00Z" },
}

describe("SCHEDULE-2: keel.next_occurrence", function()
  it("gives what the pages and tests of other implementations have", function()
    for _, row in ipairs(known) do
      local at = row[2]
      for i = 3, #row do
        at = next_of(row[1], at)
        assert.equal(keel.seconds(row[i]), keel.seconds(at), row[1] .. " from " .. row[2])
      end
    end
  end)

  it("reads the words for what is usual", function()
    for word, fields in pairs { ["@yearly"] = "0 0 1 1 *", ["@annually"] = "0 0 1 1 *", ["@monthly"] = "0 0 1 * *",
      ["@weekly"] = "0 0 * * 0", ["@daily"] = "0 0 * * *", ["@midnight"] = "0 0 * * *", ["@hourly"] = "0 * * * *" } do
      local from = "2024-05-17T10:11:12Z"
      assert.equal(next_of(fields, from), next_of(word, from), word)
      assert.equal(next_of(fields, from), next_of(word:upper(), from), word)
    end
  end)

  it("takes 0, 7 and sun for Sunday, also at the end of a range", function()
    for _, day in ipairs { "0", "7", "sun", "SUN", "sat-sun", "6-7" } do
      assert.equal("2024-05-19T00:00:00+00:00", next_of("0 0 * * " .. day, "2024-05-18T12:00:00Z"), day)
    end
  end)

  it("takes a range of Sundays for one day", function()
    for _, day in ipairs { "0-0", "sun-sun", "7-7" } do
      assert.equal("2024-05-19T00:00:00+00:00", next_of("0 0 * * " .. day, "2024-05-13T12:00:00Z"), day)
    end
    assert.equal("2024-05-14T00:00:00+00:00", next_of("0 0 * * 0-7", "2024-05-13T12:00:00Z"))
  end)

  it("names days by both fields only where neither begins with a star", function()
    assert.equal("2024-05-17T00:00:00+00:00", next_of("0 0 13 * fri", "2024-05-13T12:00:00Z")) -- or
    assert.equal("2024-09-13T00:00:00+00:00", next_of("0 0 */12 9 fri", "2024-05-13T12:00:00Z")) -- and
  end)

  it("is later than the time given, never that time", function()
    assert.equal("2024-01-01T00:05:00+00:00", next_of("*/5 * * * *", "2024-01-01T00:00:00Z"))
    assert.equal("2024-01-01T00:00:00+00:00", next_of("*/5 * * * *", "2023-12-31T23:59:59.999999Z"))
    assert.equal("2024-01-01T00:05:00+00:00", next_of("*/5 * * * *", "2024-01-01T00:00:00.000001Z"))
  end)

  it("finds a 29th of February on a Sunday beyond a year 2100 that has none", function()
    assert.equal("2128-02-29T00:00:00+00:00", next_of("0 0 29 2 */7", "2096-03-01T00:00:00Z"))
  end)

  it("counts `every` from the time given, to the microsecond", function()
    assert.equal("2024-01-01T00:05:00.500000+00:00",
      assert(keel.next_occurrence({ every = 300 }, "2024-01-01T00:00:00.5Z")))
    assert.equal("2024-01-01T00:00:00.250000+00:00",
      assert(keel.next_occurrence({ every = 0.25 }, "2024-01-01T00:00:00Z")))
  end)

  it("does not drift: a thousand steps of a third of a second are as long as they should be", function()
    local at, step = "2024-01-01T00:00:00Z", 0.333333
    for _ = 1, 1000 do at = assert(keel.next_occurrence({ every = step }, at)) end
    assert.equal("2024-01-01T00:05:33.333000+00:00", at)
  end)

  it("takes a number as seconds from now", function()
    local at = assert(keel.next_occurrence({ every = 60 }, 0))
    assert.near(keel.seconds(keel.time()) + 60, keel.seconds(at), 5)
  end)
end)

describe("SCHEDULE-2: what is no cron expression is invalid_request that names the field and the place,", function()
  local function refused(cron)
    return support.invalid("cron", keel.next_occurrence({ cron = cron }, "2024-01-01T00:00:00Z"))
  end

  local wrong = { -- the expression, the character, what the message names
    { "61 * * * *", 1, { "minute", "'61'", "0 to 59" } },
    { "* 24 * * *", 3, { "hour", "'24'", "0 to 23" } },
    { "* * 0 * *", 5, { "day of month", "'0'", "1 to 31" } },
    { "* * * 13 *", 7, { "month", "'13'", "jan to dec" } },
    { "* * * * 8", 9, { "day of week", "'8'", "sun to sat" } },
    { "* * * * mon,thr", 13, { "day of week", "'thr'" } },
    { "0,30,60 * * * *", 6, { "minute", "'60'" } },
    { "5-2 * * * *", 1, { "minute", "'5-2'", "ends before it begins" } },
    { "1-x * * * *", 3, { "minute", "'x'" } },
    { "*/0 * * * *", 3, { "minute", "step '0'" } },
    { "*/x * * * *", 3, { "minute", "step 'x'" } },
    { "*/ * * * *", 3, { "minute", "step ''" } },
    { ",1 * * * *", 1, { "minute", "missing" } },
    { "1, * * * *", 3, { "minute", "missing" } },
    { "-5 * * * *", 1, { "minute", "missing" } },
    { "** * * * *", 1, { "minute", "'**'" } },
    { "? * * * *", 1, { "minute", "'?'" } },
    { "jan * * * *", 1, { "minute", "'jan'" } },
    { "1.5 * * * *", 1, { "minute", "'1.5'" } },
    { "0 0 30 2 *", 5, { "day of month", "no such day" } },
    { "0 0 31 apr,jun *", 5, { "day of month", "no such day" } },
    { "@reboot", 1, { "'@reboot'", "@hourly" } },
    { "* * * *", 8, { "4 fields", "5" } },
    { "* * * * * *", 11, { "6 fields", "5" } },
    { "", 1, { "0 fields" } },
  }
  for _, row in ipairs(wrong) do
    it(("as %q"):format(row[1]), function()
      local err = refused(row[1])
      assert.equal(row[2], err.position, err.message)
      for _, word in ipairs(row[3]) do assert.truthy(err.message:find(word, 1, true), err.message) end
    end)
  end

  it("as what is too long, or no text at all", function()
    refused(("1,"):rep(200) .. "1 * * * *")
    refused "\0 * * * *"
    refused "\xff * * * *"
    support.raises("cron", keel.next_occurrence, { cron = 5 }, "2024-01-01T00:00:00Z")
  end)
end)

describe("A definition", function()
  local from = "2024-01-01T00:00:00Z"

  it("has one of cron, every and policy", function()
    support.invalid("cron", keel.next_occurrence({}, from))
    support.invalid("every", keel.next_occurrence({ cron = "* * * * *", every = 5 }, from))
    support.invalid("policy", keel.next_occurrence({ every = 5, policy = "x" }, from))
    support.invalid("policy", keel.next_occurrence({ policy = "x" }, from))
  end)

  it("has a step that is a number of seconds", function()
    for _, every in ipairs { 0, -1, 0 / 0, math.huge, 1e12, 0.0001 } do
      support.invalid("every", keel.next_occurrence({ every = every }, from))
    end
  end)

  it("has a zone that there is, beside a cron", function()
    local misspelt = { cron = "* * * * *", timezone = "Europe/Berln" }
    local err = support.invalid("timezone", keel.next_occurrence(misspelt, from))
    assert.truthy(err.message:find("'Europe/Berlin'", 1, true), err.message)
    for _, name in ipairs { "", "nowhere", "../../../etc/passwd", "/etc/localtime", "Europe", "Europe/../UTC",
      "zone.tab", "UTC\0", ("x"):rep(1000) } do
      support.invalid("timezone", keel.next_occurrence({ cron = "* * * * *", timezone = name }, from))
    end
    support.invalid("timezone", keel.next_occurrence({ every = 5, timezone = "UTC" }, from))
  end)

  it("is looked at from a time", function()
    support.invalid("from", keel.next_occurrence({ every = 5 }, "yesterday"))
    support.invalid("from", keel.next_occurrence({ every = 1e9 }, "9999-12-31T23:59:59Z"))
    support.invalid("from", keel.next_occurrence({ cron = "* * * * *" }, "9999-12-31T23:59:59Z"))
    support.raises("next_occurrence", keel.next_occurrence, { every = 5 })
    support.raises("next_occurrence", keel.next_occurrence, nil, from)
    support.raises("did you mean 'timezone'", keel.next_occurrence, { cron = "* * * * *", timezon = "UTC" }, from)
  end)
end)
