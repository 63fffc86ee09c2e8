--- store:event_waiter(): what an event loop needs to hear of what is committed.
local support = require "support"
local uv = require "luv"

describe("A store's event waiter", function()
  local path, store

  before_each(function()
    path = support.path()
    store = support.open(path)
  end)
  after_each(support.clean_up)

  local function append(kind) return assert(support.open(path):append_event { kind = kind }) end

  local function after(id) return { epoch = store:epoch(), next_event_id = id + 1 } end

  it("EVENT-5: says whether there is something for a cursor", function()
    local waiter <close> = assert(store:event_waiter())
    assert.is_false(waiter:look())
    local id = append "first"
    while not waiter:look() do uv.sleep(1) end -- nobody could wake it before there was a session
    assert.is_true(waiter:look { epoch = store:epoch(), next_event_id = 1 })
    assert.is_false(waiter:look(after(id)))
    append "second"
    assert.is_true(waiter:look(after(id)))
  end)

  it("has a descriptor that wakes a loop", function()
    local id = append "first"
    local waiter <close> = assert(store:event_waiter())
    local poll = uv.new_poll(assert(waiter:descriptor()))
    assert.is_false(waiter:look(after(id)))
    local woken = 0
    poll:start("r", function()
      woken = woken + 1
      poll:close()
    end)
    uv.run "nowait"
    assert.equal(0, woken)
    append "second"
    while woken == 0 do uv.run "once" end -- others may have left something in the loop, which goes on for long
    assert.equal(1, woken)
    assert.is_true(waiter:look(after(id)))
  end)

  it("has none in memory, where only the handle itself can bring news", function()
    local memory = support.open ":memory:"
    local waiter <close> = assert(memory:event_waiter())
    assert.is_nil(waiter:descriptor())
    assert.is_false(waiter:look())
    assert(memory:append_event { kind = "mine" })
    assert.is_true(waiter:look())
  end)

  it("says what is wrong", function()
    local waiter = assert(store:event_waiter())
    support.refused("wrong_runtime", waiter:look { epoch = "another", next_event_id = 1 })
    support.invalid("cursor", waiter:look { epoch = store:epoch() })
    support.raises("closed", function()
      waiter:close()
      waiter:close()
      waiter:look()
    end)
    support.raises("closed", waiter.descriptor, waiter)
    waiter = assert(store:event_waiter())
    local tx <close> = assert(store:begin())
    assert.is_false(waiter:look()) -- what a transaction of the handle has written so far is no news
    support.refused("busy", store:event_waiter())
    tx:rollback()
    store:close()
    support.raises("the store is closed", waiter.look, waiter)
    support.raises("the store is closed", store.event_waiter, store)
    waiter:close()
  end)
end)
