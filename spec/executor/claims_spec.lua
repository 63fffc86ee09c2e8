--- When an executor looks for runs to claim: as often as it is worth it, and not once more.
local Claims = require "keel.executor.claims"

describe("A look for a run to claim", function()
  local found, told, looks, claims

  before_each(function()
    found, told, looks = {}, nil, 0
    claims = Claims.new({ claim_next = function()
      looks = looks + 1
      if told then told() end
      return table.remove(found, 1)
    end }, { most = 3 })
  end)

  -- Looks as long as that is worth it; how often that was.
  local function look()
    looks = 0
    while claims:is_worth_it() and looks < 20 do claims:take() end
    return looks
  end

  it("F-21: that finds none ends them, until something is told", function()
    assert.equal(1, look())
    for _ = 1, 3 do claims:expect() end
    assert.equal(1, look())
    assert.is_nil(claims:take())
    claims:expect_some()
    assert.equal(1, look())
  end)

  it("F-21: that finds one is followed by others", function()
    found = { {}, {}, {}, {} }
    assert.equal(5, look())
  end)

  it("F-21: says nothing about what was told while it was under way", function()
    for _, way in ipairs { "expect", "expect_some" } do
      claims:expect()
      claims:expect()
      told = function()
        told = nil
        claims[way](claims)
      end
      assert.equal(2, look(), way)
    end
  end)

  it("tells why it failed, once while that is the same, and is worth no other", function()
    local log, lines = require("support").log()
    local err
    claims = Claims.new({ claim_next = function()
      looks = looks + 1
      return nil, err
    end, next_due = function() error "is not asked" end }, { most = 3, log = log })
    claims.on_later = function() end
    for _, code in ipairs { "limit_too_large", "limit_too_large", "invalid_request" } do
      err = require("keel.errors").new(code, "so it is")
      claims:expect()
      assert.equal(1, look())
    end
    assert.same({ "limit_too_large: so it is", "invalid_request: so it is" },
      { lines[1].fields.error, lines[2].fields.error })
    assert.same({ 2, "no run can be claimed" }, { #lines, lines[1].message })
  end)

  it("F-21: comes at the earliest of the times that were told, once", function()
    for _, time in ipairs { 7, 5, 9 } do claims:expect_at(time) end
    assert.equal(5, claims:due())
    assert.is_false(claims:is_due(4.9))
    assert.is_true(claims:is_due(5))
    assert.is_false(claims:is_due(100))
  end)
end)
