--- A built-in strategy as what it is: a pure function of a request and of what is in flight. No store here.
local M = {}

--- What a strategy is shown of a run.
function M.run(id, fields)
  local record = { run_id = id, thread_id = "t", status = "running", operation_kind = "run", metadata = {},
    priority = 0 }
  for name, value in pairs(fields or {}) do record[name] = value end
  return record
end

--- One that waits.
function M.pending(id, fields)
  local record = M.run(id, fields)
  record.status = "pending"
  return record
end

--- What a strategy is told of a newcomer. `inflight_count` may be given; else it is what is shown.
function M.request(fields, inflight)
  local asked = { thread_id = "t", metadata = {}, kwargs = {}, options = {}, now = "2026-01-01T00:00:00+00:00",
    priority = 0, inflight_count = #(inflight or {}) }
  for name, value in pairs(fields or {}) do asked[name] = value end
  return asked
end

function M.decide(name, inflight, fields)
  return require("keel.strategies." .. name)(M.request(fields, inflight), inflight)
end

return M
