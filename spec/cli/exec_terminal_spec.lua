--- keel exec on a terminal: the command has it when it asks for it, and the keyboard's signals.
local command = require "support.command"
local process = require "support.process"
local support = require "support"

-- Starts a command line on a terminal of its own; what is typed is said.
local function on_terminal(line)
  local _, path, env = command.on_store { KEEL = command.program, LUA_PATH = ";;", LUA_CPATH = ";;" }
  return process.start({ "script", "-qec", line, "/dev/null" }, { env = env }), path
end

-- Waits until a text was printed, and forgets all up to it.
local function expect(child, text)
  local found = process.turn_until(function() return child.output:find(text, 1, true) end)
  assert.is_true(found, "not printed: " .. text .. "\n" .. child.output)
  child.output = child.output:sub(select(2, child.output:find(text, 1, true)) + 1)
end

describe("keel exec on a terminal", function()
  after_each(support.clean_up)

  it("lends it to a command that reads", function()
    local child = on_terminal [["$KEEL" exec sh -c 'read x; echo got $x; test -t 1 && echo on a terminal; exit 3']]
    child:say "hello"
    expect(child, "got hello")
    expect(child, "on a terminal")
    assert.equal(3, (child:wait()))
  end)

  it("passes Ctrl-C on, before and after the command asked for the terminal", function()
    for _, first in ipairs { "", "read x; " } do
      -- bash, because dash loses an interrupt now and then while it starts a program.
      local child, path = on_terminal(([["$KEEL" exec bash -c '%s echo up; sleep 30']]):format(first))
      if first ~= "" then child:say "x" end
      expect(child, "up")
      child.pipes[1]:write "\3"
      child:wait()
      local store = support.open(path)
      assert.equal("interrupted", store:get(store:read_events().events[1].run_id).status)
    end
  end)

  it("stops with Ctrl-Z as a job does, and goes on with fg", function()
    local child = on_terminal "bash --norc --noprofile -i"
    child:say [["$KEEL" exec sh -c 'echo u''p; sleep 1; echo wo''ke; read x; echo got $x']]
    expect(child, "up")
    process.turn_until(function() return false end, 300) -- a shell that is just starting a program does not stop
    child.pipes[1]:write "\26"
    expect(child, "Stopped")
    child:say "fg"
    expect(child, "woke")
    child:say "hello"
    expect(child, "got hello")
    child:say "exit"
    child:wait()
  end)
end)
