--- keel exec on a terminal: each time beside the plain command, under an interactive shell, and both look alike.
local command = require "support.command"
local files = require "support.files"
local process = require "support.process"
local support = require "support"
local terminal = require "support.terminal"

-- What stands before the command: nothing, keel exec, or keel exec in keel exec in keel exec.
local PLAIN, ONE = "", "keel exec -t 1 --"
local THREE = ONE .. " keel exec -t 2 -- keel exec -t 3 --"

local PATH = command.program:match "^(.*)/" .. ":" .. os.getenv "PATH"

-- Waits for a job to stop; when the shell says so depends on when it looks, so that is wiped away.
local UNTIL_STOPPED = [[until [ "$(jobs -s)" ]; do :; done; jobs; clear]]

-- A shell that one types into, with what is to stand before a command in $K.
local function shell(before)
  local path = support.path()
  local screen = terminal.start({ "bash", "--norc", "--noprofile", "-i" }, { env = { PS1 = "> ", KEEL_STORE = path,
    K = before, PATH = PATH, HISTFILE = "" }, cwd = support.dir() })
  screen:expect ">"
  return screen, path
end

-- Types a line for the shell, when it asks for one.
local function run(screen, line)
  screen:expect_last ">"
  screen:enter(line)
end

-- Types a line for the command, once the shell has set the terminal up for it: what comes before may be lost.
local function answer(screen, line)
  local tty = screen:ask "pane_tty"
  assert.is_true(process.poll_until(function()
    local child = process.start { "stty", "-a", "-F", tty }
    child:wait()
    return child.output:find " icanon" and child.output:find " icrnl"
  end))
  screen:enter(line)
end

-- Plays the steps ({ word, argument } …: "run" a line of the shell's, "type" one of the command's, "press" a key, "see"
-- a text) and gives the last screen.
local function play(before, steps)
  local screen = shell(before)
  for _, step in ipairs(steps) do
    local verb, what = step[1], step[2]
    if verb == "run" then
      run(screen, what)
    elseif verb == "type" then
      answer(screen, what)
    elseif verb == "press" then
      screen:press(what)
    else
      screen:expect(what)
    end
  end
  -- Whether an answer is seen as typed depends on how far the shell is with the terminal's modes.
  return (screen:screen():gsub("%[1%] %d+", "[1] PID"):gsub("\n%a\n", "\n"))
end

-- Plays the steps plainly, with keel exec, and three deep.
local function alike(steps)
  steps[#steps + 1] = { "run", "echo ov''er" }
  steps[#steps + 1] = { "see", "over\n>" }
  local plain = play(PLAIN, steps)
  assert.equal(plain, play(ONE, steps))
  assert.equal(plain, play(THREE, steps))
end

describe("keel exec on a terminal", function()
  after_each(support.clean_up)

  it("F-31: lends it to a command that reads", function()
    alike { { "run", [[$K sh -c 'echo wor''d\?; read x; echo "<$x>"']] }, { "see", "word?" }, { "type", "hello" },
      { "see", "<hello>" } }
  end)

  it("F-31: passes Ctrl-C on, before and after the command asked for the terminal", function()
    alike { { "run", [[$K bash -c 'echo u''p; sleep 30']] }, { "see", "up" }, { "press", "C-c" }, { "see", "^C\n>" },
      { "run", [[$K bash -c 'echo as''k; read x; echo "<$x>"; sleep 30']] }, { "see", "ask" },
      { "type", "a" }, { "see", "<a>" },
      { "press", "C-c" } }
  end)

  it("F-31: a run that Ctrl-C ended is interrupted", function()
    local screen, path = shell(ONE)
    run(screen, [[$K bash -c 'echo u''p; sleep 30']])
    screen:expect "up"
    screen:press "C-c"
    screen:expect_last ">"
    local store = support.open(path)
    assert.is_true(process.poll_until(function()
      return store:get(store:read_events().events[1].run_id).status == "interrupted"
    end))
  end)

  it("F-31: stops with Ctrl-Z as a job does, and goes on with fg", function()
    alike { { "run", [[$K sh -c 'echo u''p; read x; echo "<$x>"']] }, { "see", "up" }, { "press", "C-z" },
      { "see", "Stopped" }, { "run", "echo the shell" }, { "see", "\nthe shell" }, { "run", "fg" }, { "type", "a" },
      { "see", "<a>" } }
  end)

  it("F-31: stops with a command that stops its group by SIGSTOP, as editors do", function()
    alike { { "run", [[$K sh -c 'kill -STOP 0; echo "<on>"']] }, { "see", "Stopped" }, { "run", "fg" },
      { "see", "<on>\n" } }
  end)

  it("F-31: stops with a command that stops itself alone", function()
    alike { { "run", [[$K sh -c 'kill -STOP $$; echo "<on>"']] }, { "see", "Stopped" }, { "run", "fg" },
      { "see", "<on>\n" } }
  end)

  it("F-31: stops in the background when the command reads, and goes on with fg", function()
    alike { { "run", [[$K sh -c 'read x; echo "<$x>"' &]] }, { "see", "[1]" },
      { "run", UNTIL_STOPPED }, { "run", "fg" }, { "type", "a" },
      { "see", "<a>" } }
  end)

  it("F-31: stops in the background when the command writes under tostop, and goes on with fg", function()
    alike { { "run", "stty tostop" }, { "run", [[$K sh -c 'echo "<on>"' &]] }, { "see", "[1]" },
      { "run", UNTIL_STOPPED }, { "run", "fg" }, { "see", "<on>\n" },
      { "run", "stty -tostop" } }
  end)

  it("F-31: stops in the background when the command sets the terminal's modes, and goes on with fg", function()
    alike { { "run", [[$K sh -c 'stty tostop; stty -tostop; echo "<on>"' &]] }, { "see", "[1]" },
      { "run", UNTIL_STOPPED }, { "run", "fg" }, { "see", "<on>\n" } }
  end)

  it("F-31: goes on in the background with bg, after Ctrl-Z", function()
    alike { { "run", [[rm -f go; $K sh -c 'echo u''p; until [ -e go ]; do sleep 0.05; done; echo "<on>"']] },
      { "see", "up" }, { "press", "C-z" }, { "see", "Stopped" }, { "run", "bg; clear" },
      { "run", "clear; touch go; wait; clear" }, { "run", "echo none: $(jobs)" }, { "see", "none:\n" } }
  end)

  it("F-31: under script, which has no shell with jobs", function()
    alike { { "run",
      [[script -qec "$K sh -c 'echo u''p; read x; echo \"<\$x>\"; sleep 30'" /dev/null; echo code $?]] },
      { "see", "up" }, { "press", "C-z" }, { "press", "a" }, { "press", "Enter" }, { "see", "<a>" }, { "press", "C-c" },
      { "see", "code 130\n" } }
  end)

  it("F-31: a pager beside a command that asked for a word", function()
    alike { { "run", [[$K sh -c 'echo as''k >&2; read x; seq -f "<$x%g>" 200' | less -X]] },
      { "see", "ask" }, { "press", "a" }, { "press", "Enter" }, { "see", "<a3>" },
      { "press", "G" }, { "see", "<a200>" }, { "press", "q" } }
  end)

  it("F-31: the command is in the foreground, as who asks for it before it draws", function()
    alike { { "run", [[$K sh -c 'ps -o tpgid= -o pgid= $$ | { read a b; echo "<$((a == b))>"; }']] },
      { "see", "<1>" } }
  end)

  it("F-31: Ctrl-Z while it waits in line, and between two attempts", function()
    local screen = shell ""
    run(screen, "keel exec -t h -- sh -c 'echo >up; exec sleep 30' >&- 2>&- & until [ -e up ]; do :; done; clear")
    run(screen, "keel exec -t h -s enqueue -- echo ran")
    screen:expect "waiting"
    screen:press "C-z"
    screen:expect "Stopped"
    run(screen, "clear; keel exec --attempts 2 --delay 30 -- sh -c 'echo fai''led; exit 1'")
    screen:expect "failed"
    screen:press "C-z"
    screen:expect "Stopped"
    run(screen, "echo the shell")
    screen:expect "\nthe shell"
  end)

  it("F-31: as the leader of a session, Ctrl-Z does nothing, as to a plain command", function()
    for _, before in ipairs { PLAIN, ONE } do
      local script = [[exec $K sh -c 'echo up; read x; echo "<$x>"; read x']]
      local screen = terminal.start({ "sh", "-c", script },
        { env = { K = before, KEEL_STORE = support.path(), PATH = PATH } })
      screen:expect "up"
      screen:press "C-z"
      screen:enter "a"
      screen:expect "<a>"
    end
  end)

  it("F-31: ends with its terminal, and the run says by what", function()
    for _, script in ipairs { [[$K sh -c 'echo $$ >pid; echo up; sleep 30'; :]],
      [[exec $K sh -c 'echo $$ >pid; echo up; sleep 30']] } do
      local path, folder = support.path(), support.dir()
      local screen = terminal.start({ "bash", "--norc", "-ic", script },
        { env = { K = ONE, KEEL_STORE = path, PATH = PATH }, cwd = folder })
      screen:expect "up"
      local pid = files.read(folder .. "/pid"):match "%d+"
      terminal.close_all()
      assert.is_true(process.poll_until(function() return process.is_gone(pid) end, 10000))
      local store = support.open(path)
      local run_id = store:read_events().events[1].run_id
      assert.is_true(process.poll_until(function() return store:get(run_id).status ~= "running" end))
      assert.same({ "interrupted", "SIGHUP" }, { store:get(run_id).status, store:get(run_id).stop_reason })
    end
  end)

  it("F-31: has its modes back when the command was killed", function()
    local screen = shell(ONE)
    for _, line in ipairs { [[$K sh -c 'stty -echo -icanon; kill -9 $$']],
      [[$K sh -c 'stty -echo -icanon; kill -9 $$' | cat]],
      [[keel exec --timeout 0.2 --grace 0.1 -- sh -c 'trap "" TERM; stty -echo -icanon; while :; do sleep 1;done']] } do
      run(screen, "clear; " .. line .. "; stty -a | grep -oE -e '-?(echo|icanon) ' | xargs")
      screen:expect "icanon echo\n>"
    end
  end)
end)
