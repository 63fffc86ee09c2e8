--- A built-in strategy as what it is: a pure function of a request and of what is in flight. No store here.
local testing = require "keel.testing"

local M = { run = testing.run, pending = testing.pending, request = testing.request }

--- What a strategy decides, with the ids of runs.
function M.decide(name, inflight, fields)
  return assert(testing.decide(name, fields, inflight))
end

return M
