--- The gate beside its reference, support/gate_model.lua, in every step of histories made at random.
---
--- KEEL_GATE_STEPS: how many steps in memory, where most are made (1000000 by hand); KEEL_GATE_SEED: the first seed.
local history = require "support.gate_history"
local support = require "support"

local STEPS = tonumber(os.getenv "KEEL_GATE_STEPS") or 10000
local SEED = tonumber(os.getenv "KEEL_GATE_SEED") or 1
local LENGTH = 400 -- steps of a history

local features = { limits = true, pause = true, after = true }

-- Worlds whose handles are closed when the next one is opened.
local function worlds(opener, managers)
  local last
  return function()
    for _, store in ipairs(last and last.stores or {}) do store:close() end
    last = history.world(opener(), managers)
    return last
  end
end

local function check(opener, managers, steps)
  local given = { managers = managers }
  for name in pairs(features) do given[name] = true end
  local new_world = worlds(opener, managers)
  for seed = SEED, SEED + math.max(1, steps // LENGTH) - 1 do
    history.check(new_world, seed, math.min(LENGTH, steps), given)
  end
end

describe("GATE-11: the gate equals its reference in every step of histories made at random", function()
  after_each(support.clean_up)

  it("[#memory] of one manager", function()
    check(function() return function(options) return support.open(":memory:", options) end end, 1, STEPS)
  end)

  it("[#sqlite] of three managers, of which any may die", function()
    check(function()
      local path = support.path()
      return function(options) return support.open(path, options) end
    end, 3, STEPS // 5)
  end)

  if os.getenv "KEEL_TEST_POSTGRES" then
    it("[#postgres] of three managers on a server", function()
      check(function()
        local uri = support.server_uri()
        return function(options) return support.open(uri, options) end
      end, 3, STEPS // 25)
    end)
  end
end)
