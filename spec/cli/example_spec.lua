--- examples/exec.sh, the second half of the quickstart: what it says is what happens.
local command = require "support.command"
local process = require "support.process"
local support = require "support"

describe("the example of keel exec", function()
  after_each(support.clean_up)

  it("interrupts, waits in line, and tells the history", function()
    local child = process.start({ command.root .. "/examples/exec.sh" },
      { env = { KEEL = command.program, TMPDIR = support.dir(), LUA_PATH = ";;", LUA_CPATH = ";;" } })
    assert.equal(0, (child:wait()))
    assert.equal("keel exec: the run was asked to stop\n", child.errors)

    local said, runs, kinds = {}, {}, {}
    for line in child.output:gmatch "[^\n]+" do
      if line:find "^version" then said[#said + 1] = line end
      local status, number = line:match "^(%l+) .* %./deploy (%d)$"
      if status then runs[tonumber(number)] = status end
      local kind = line:match "^ +%d+  %S+ %S+  ([%l_]+)"
      if kind then kinds[#kinds + 1] = kind end
    end
    assert.same({ "version 1 is on its way", "version 2 is on its way", "version 2 is there",
      "version 3 is on its way", "version 3 is there" }, said)
    assert.same({ "interrupted", "success", "success" }, runs)
    assert.same({ "run_created", "run_started", "run_cancel_requested", "run_created", "run_finished", "run_started",
      "run_created", "run_finished", "run_started", "run_finished" }, kinds)
  end)
end)
