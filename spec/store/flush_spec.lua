--- What a commit costs in flushes, counted by strace: figures without noise.
local support = require "support"

local CHANGES = 10

--- Runs the chunk under strace and counts the flushes between its two marks; nil without strace.
local function flushes(chunk, durability)
  if not os.execute "strace -f -o /dev/null true 2>/dev/null" then return nil end
  local trace = support.dir() .. "/trace"
  local child = support.spawn([[
    local path, durability, changes = ...
    local store = assert(keel.open(path, { durability = durability }))
    local manager = keel.run_manager { store = store }
    local runs = {}
    for i = 1, changes do runs[i] = assert(manager:create("t" .. i)).run_id end
    local function mark(text) io.stderr:write("MARK-" .. text .. "\n") end
    mark "begin"
  ]] .. chunk .. ' mark "end"', { support.path(), durability, CHANGES },
    { prefix = { "strace", "-f", "-o", trace, "-e", "trace=fsync,fdatasync,msync,sync_file_range,write" } })
  child:finish()
  local count, inside = 0, false
  for line in io.lines(trace) do
    if line:find("MARK-begin", 1, true) then inside = true end
    if line:find("MARK-end", 1, true) then inside = false end
    if inside and (line:find "sync%(" or line:find "sync_file_range%(") then count = count + 1 end
  end
  return count
end

local function expect(expected, chunk, durability)
  local count = flushes(chunk, durability)
  if not count then return pending "strace is not here, or may not trace" end
  assert.equal(expected, count)
end

describe("The flushes of [#files]", function()
  after_each(support.clean_up)

  it("a state change at full are exactly one: starting runs", function()
    expect(CHANGES, "for i = 1, changes do assert(manager:set_status(runs[i], 'running')) end", "full")
  end)

  it("a state change at full are exactly one: guarded admission", function()
    expect(CHANGES, "for i = 1, changes do assert(manager:create_or_reject('fresh' .. i)) end", "full")
  end)

  it("a state change at full are exactly one: a start by try_start", function()
    expect(CHANGES, "for i = 1, changes do assert(manager:try_start(runs[i]) == 'started') end", "full")
  end)

  it("a state change at full are exactly one: finishing with counters", function()
    expect(CHANGES, [[
      for i = 1, changes do
        assert(manager:update_run_completion(runs[i], { status = "success", total_tokens = 7 }))
      end
    ]], "full")
  end)

  it("a state change at full are exactly one: interrupting what runs and admitting the next", function()
    expect(CHANGES, [[
      for i = 1, changes do
        assert(manager:create_or_reject('t' .. i, { multitask_strategy = 'interrupt' }))
      end
    ]], "full")
  end)

  it("many operations in one transaction at full are one together", function()
    expect(1, [[
      assert(store:transaction(function(tx)
        for i = 1, changes do assert(tx:update_status(runs[i], "running")) end
        return true
      end))
    ]], "full")
  end)

  it("reading and refusing are none", function()
    expect(0, [[
      for i = 1, changes do
        assert(manager:get(runs[i]))
        assert(store:list_by_thread("t" .. i))
        assert(store:read_events())
        assert(not manager:create_or_reject("t" .. i))
      end
    ]], "full")
  end)

  for _, durability in ipairs { "normal", "off" } do
    it("a state change at " .. durability .. " are none", function()
      expect(0, "for i = 1, changes do assert(manager:set_status(runs[i], 'running')) end", durability)
    end)
  end
end)
