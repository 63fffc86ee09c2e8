--- What can be wrong with schedules: one that nobody knows the next time of, and one that nobody works off.
local about_file = require "keel.cli.doctor.file"
local output = require "keel.cli.output"

local LATE = 600 -- seconds after which somebody should have ticked
local PAGE = 1000

local function look_at(row, now, findings)
  if row.problem then
    findings:add("error", "schedule_problem", ("it is not known when the schedule %s happens next: %s"):format(row.name,
      row.problem), "mend its policy: it is asked again at " .. row.next_at, { schedule = row.name })
  elseif row.next_at < now and output.between(row.next_at, now) > LATE then
    findings:add("warning", "schedule_overdue", ("the schedule %s was due at %s, and nobody has made its run"):format(
      row.name, row.next_at), "start a program that ticks, and that knows its policy, zone and strategy; its log says "
      .. "what it lacks", { schedule = row.name })
  end
end

return function(store, findings)
  local now, after = store:now(), nil
  repeat
    local page, more = store:list_schedules { limit = PAGE, after = after }
    if not page then
      return findings:add("error", more.code, "the schedules cannot be read: " .. more.message,
        about_file.advice(more.code))
    end
    for _, row in ipairs(page) do look_at(row, now, findings) end
    after = page[#page] and page[#page].name
  until #page < PAGE and not more
end
