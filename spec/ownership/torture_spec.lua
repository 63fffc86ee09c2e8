--- A short run of the torture (tests/torture), with and without leases.
local support = require "support"

local ROOT = debug.getinfo(1, "S").source:match "^@(.-)spec/ownership/[^/]*$"

-- Runs the torture; gives its exit status and what it printed.
local function torture(...)
  local child = support.spawn([[
    arg = { [0] = ..., "--seconds", "3", "--processes", "6", select(2, ...) }
    dofile(arg[0])
  ]], { ROOT .. "tests/torture/run.lua", ... })
  local code, _, output = child:wait()
  return code, output .. child.errors
end

describe("Processes that are killed and stopped while they fight for threads", function()
  after_each(support.clean_up)

  it("OWN-3, OWN-8: never break a strategy, share a run, change an end, or leave anything in flight", function()
    local code, output = torture()
    assert(code == 0, output)
    assert.is_truthy(output:find "%d%d%d+ events" and output:find " 0 wrong")
  end)

  it("F-11, OWN-13: and, stopped gracefully, spend no attempt and leave nothing to recover", function()
    local code, output = torture "--stop-gracefully"
    assert(code == 0, output)
    assert.is_truthy(output:find " 0 recovered, [1-9]%d* left to others" and output:find " 0 wrong")
  end)

  it("OWN-7: and, with leases, are refused when they wake up late", function()
    local code, output = torture "--lease"
    assert(code == 0, output)
    assert.is_truthy(output:find "%d%d%d+ events" and output:find " 0 wrong")
  end)
end)
