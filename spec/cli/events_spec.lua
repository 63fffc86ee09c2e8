--- keel events: the log, and following it while other processes write.
local command = require "support.command"
local files = require "support.files"
local json = require("keel").json
local process = require "support.process"
local support = require "support"

local function ids(output)
  local list = {}
  for line in output:gmatch "[^\n]+" do list[#list + 1] = assert(json.decode(line)).id end
  return list
end

local function with_events(count)
  local run, path, env = command.on_store()
  local store = support.open(path)
  for i = 1, count do assert(store:append_event { kind = "step", run_id = "r" .. i % 2, thread_id = "t" }) end
  return run, store, env
end

describe("keel events", function()
  after_each(support.clean_up)

  it("shows the last ones, one a line", function()
    local run, store = with_events(30)
    local lines = {}
    for line in run("events").output:gmatch "[^\n]+" do lines[#lines + 1] = line end
    assert.equal(20, #lines)
    assert.is_truthy(lines[20]:find("^ +30  %d+%-%d%d%-%d%d %d%d:%d%d:%d%d%.%d%d%d  step +t" .. (" "):rep(25) .. "r0$"))
    local last = json.decode(run("events", "--json", "-n", "1").output)
    assert.same(store:read_events({ next_event_id = 30, epoch = store:epoch() }).events[1], last)
  end)

  it("begins where it is told, and passes what is asked for", function()
    local run, store = with_events(30)
    assert.same({ 29, 30 }, ids(run("events", "--json", "--limit", "2").output))
    assert.same({ 1, 2 }, ids(run("events", "--json", "--all", "--limit", "2").output))
    assert.same({ 28, 29, 30 }, ids(run("events", "--json", "--after", "27").output))
    assert.same({ 27, 29 }, ids(run("events", "--json", "--run", "r1", "--limit", "2").output))
    assert(store:append_event { kind = "other", thread_id = "u" })
    assert.same({ 31 }, ids(run("events", "--json", "--kind", "other", "--kind", "third").output))
    assert.same({ 31 }, ids(run("events", "--json", "--thread", "u").output))
    assert.equal("", run("events", "--json", "--runtime", "nowhere").output)
    assert.same({ code = 0, output = "", errors = "there is no such event\n" }, run("events", "--kind", "none"))
    local nobody = run("events", "--run", "nobody")
    assert.same({ 1, "keel events: there is no run nobody; 'keel runs list' lists them\n" },
      { nobody.code, nobody.errors })
  end)

  it("tells of a gap, and goes on behind it", function()
    local run, store = with_events(10)
    assert(store:prune { keep_last = 3 })
    local result = run("events", "--after", "2", "--json")
    assert.same({ 8, 9, 10 }, ids(result.output))
    assert.equal("keel events: older events have been pruned\n", run("events", "--after", "2").errors)
    assert.same({ 8 }, ids(run("events", "--all", "--json", "--limit", "1").output))
  end)

  it("finds the last ones of a run far back in a long log", function()
    local run, store = with_events(2)
    assert(store:transaction(function(tx)
      for _ = 1, 3000 do assert(tx:append_event { kind = "noise" }) end
    end))
    assert.same({ 1 }, ids(run("events", "--json", "--run", "r1").output))
  end)

  it("--follow goes on with what another process writes", function()
    local _, _, env = with_events(1)
    local follower = command.start({ "events", "--follow", "--json" }, { env = env })
    assert.equal(1, json.decode(follower:hear()).id)
    assert.equal(0, command.run({ "exec", "-t", "x", "true" }, { env = env }).code)
    local kinds = {}
    for i = 1, 3 do kinds[i] = json.decode(follower:hear()).kind end
    assert.same({ "run_created", "run_started", "run_finished" }, kinds)
    assert.is_nil(follower.code)
  end)

  it("--follow ends after the events that were asked for", function()
    local _, store, env = with_events(1)
    local follower = command.start({ "events", "--follow", "--after", "0", "--limit", "2", "--json" }, { env = env })
    follower:hear()
    assert(store:append_event { kind = "step" })
    assert.equal(0, (follower:wait()))
  end)

  it("ends quietly when nobody reads any more", function()
    local _, _, env = with_events(400)
    env.KEEL = command.program
    local errors = support.dir() .. "/errors"
    local function pipe(line)
      local child = process.start({ "bash", "-c", line:gsub("ERRORS", errors) }, { env = env })
      assert.equal(0, (child:wait()), child.errors)
      assert.equal("", child.errors)
      return child.output
    end
    assert.is_truthy(pipe([["$KEEL" events --all | head -1]]):find "^ +1 ")
    assert.is_truthy(pipe([["$KEEL" events --follow --all | head -1]]):find "^ +1 ")
    -- The same when the signal is ignored, as in some parents.
    assert.is_truthy(pipe([[trap '' PIPE; "$KEEL" events --follow --all 2>ERRORS | head -1]]):find "^ +1 ")
    assert.equal("", files.read(errors))
  end)

  it("says when the output cannot be written", function()
    local _, _, env = with_events(1)
    env.KEEL = command.program
    local child = process.start({ "sh", "-c", [["$KEEL" events >/dev/full]] }, { env = env })
    assert.equal(1, (child:wait()))
    assert.equal("keel: not all of the output could be written: is the disk full?\n", child.errors)
  end)
end)
