--- The examples show what their index says.
local command = require "support.command"
local files = require "support.files"
local lfs = require "lfs"
local process = require "support.process"
local support = require "support"

local function absolute(path)
  return (path:gsub("[^;]+", function(template)
    return template:find "^/" and template or lfs.currentdir() .. "/" .. template
  end))
end

-- Runs an example; gives the lines that it printed.
local function lines_of(name, ...)
  local child = process.start({ os.getenv "KEEL_LUA" or "lua5.4", command.root .. "/examples/" .. name, ... }, {
    env = { LUA_PATH = absolute(package.path), LUA_CPATH = absolute(package.cpath), KEEL = command.program,
      TMPDIR = support.dir() } })
  local lines = {}
  for line in child:finish():gmatch "[^\n]+" do lines[#lines + 1] = line end
  return lines
end

describe("The example", function()
  after_each(support.clean_up)

  it("quickstart: on one screen, a killed worker, what the next one finds, and commands that work", function()
    local folder = support.dir()
    for _, name in ipairs { "a", "b" } do
      assert(lfs.mkdir(folder .. "/" .. name))
      for i = 1, 3 do files.write(folder .. "/" .. name .. "/" .. i, "x") end
    end
    local lines = lines_of("quickstart.lua", folder)
    assert.is_true(#lines <= 40)
    local text = table.concat(lines, "\n")
    assert.matches("3 are done%. In the middle of %./b/1 it is killed", text)
    assert.matches("1 run recovered, of 3 that were done 0 lost", text)
    assert.matches("finished the rest: 3 runs", text)
    assert.matches("on the thread b:\n.*created.*%./b/1\n.*started\n.*✗ killed\n.*error: the worker was killed.*"
      .. "session 2.*created.*%./b/1\n.*success$", text:match "^(.*)\nThe store is")
    local tried = 0
    for i = #lines - 2, #lines do
      tried = tried + 1
      assert.is_true(os.execute(lines[i] .. " >/dev/null"), lines[i])
    end
    assert.equal(3, tried)
    assert.is_true(os.remove(text:match "The store is (%S+)%. Try next"))
  end)

  it("gateway: a second message interrupts the answer to the first", function()
    local lines = lines_of "gateway.lua"
    assert.same({ "second\tSTOP", "second\tIT", "second\tsuccess" }, { table.unpack(lines, #lines - 2) })
    assert.equal("first\tON", lines[1])
    assert.equal("first\tinterrupted", lines[#lines - 3])
  end)

  it("worker: the next one goes on where the one that was stopped has left off", function()
    local text = table.concat(lines_of "worker.lua", "\n")
    assert.matches("a worker stops: 0 finished, 1 given back\n", text)
    assert.matches("2 of 2 succeeded\nfilm: attempt 1, the second worker went on after frame [1-9]%d?\n"
      .. "upload: attempt 3", text)
  end)

  it("nightly: each night once, at three in Berlin, and again when it has failed", function()
    assert.same({ "2026-03-28T02:00\trun_started\t", "2026-03-28T02:00\trun_finished\tsuccess",
      "2026-03-29T01:00\trun_started\t", "2026-03-29T01:00\trun_requeued\tthe database is down",
      "2026-03-29T01:05\trun_started\t", "2026-03-29T01:05\trun_finished\tsuccess",
      "2026-03-30T01:00\trun_started\t", "2026-03-30T01:00\trun_finished\tsuccess" }, lines_of "nightly.lua")
  end)

  it("follow: each event once, over a restart", function()
    assert.same({ "follower 1 heard", "2\tbuild\tsuccess", "4\ttest 1\terror", "follower 2 heard",
      "6\tdeploy 1\tsuccess", "8\ttest 2\terror" }, lines_of "follow.lua")
  end)

  it("dispatch: one test a machine, the same content once, and the next dispatcher goes on", function()
    local lines = lines_of "dispatch.lua"
    local verdicts = { "north  parser    created", "south  network   created", "north  database  busy",
      "north  parser    reuse" }
    assert.same(verdicts, { table.unpack(lines, 2, 5) })
    assert.equal("- the next one: 2 tests were interrupted", lines[6])
    assert.same(verdicts, { table.unpack(lines, 7, 10) })
    assert.same({ "north  parser    completed", "south  network   completed", "north  database  created",
      "north  database  failed" }, { table.unpack(lines, 11, 14) })
    assert.matches('^2 completed, 1 failed, 2 interrupted; the last: {.*"status":"failed","exit_code":1,', lines[15])
  end)

  it("is in the index, and is short", function()
    local index, count = files.read(command.root .. "/examples/README.md"), 0
    for name in lfs.dir(command.root .. "/examples") do
      if name:find "%.lua$" or name:find "%.sh$" or name:find "%.c$" then
        count = count + 1
        local row = index:match("\n|[^\n]*%(" .. name:gsub("%p", "%%%0") .. "%)[^\n]*")
        local _, lines = files.read(command.root .. "/examples/" .. name):gsub("\n", "")
        assert(row and (lines < 100 or row:find(lines .. " lines", 1, true)), name)
      end
    end
    assert.is_true(count > 8)
  end)
end)
