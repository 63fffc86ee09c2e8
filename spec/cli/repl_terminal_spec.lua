--- keel repl on a terminal: editing, completion, history, Ctrl-C.
local command = require "support.command"
local files = require "support.files"
local lfs = require "lfs"
local process = require "support.process"
local support = require "support"
local terminal = require "support.terminal"

-- A prompt on a store and a history of the test's own.
local function open(env, width)
  local given = { KEEL_STORE = support.path(), XDG_STATE_HOME = support.dir(), HOME = support.dir() }
  for name, value in pairs(env or {}) do given[name] = value end
  local prompt = terminal.keel({ "repl" }, { env = given, width = width })
  prompt:expect_last "keel>"
  return prompt, given
end

-- Enters a line, waits for its result and for the next prompt.
local function gives(prompt, line, result)
  prompt:enter(line)
  prompt:wait_until(function(screen)
    return screen:find("> " .. line .. "\n" .. result .. "\nkeel>", 1, true)
  end, line .. " does not give " .. result)
end

-- Enters a chunk that says when it runs, interrupts it, and waits for the prompt.
local function interrupts(prompt, code, says_so)
  prompt:press "C-l"
  prompt:wait_until(function(screen) return screen == "keel>" end, "the screen was not cleared")
  prompt:enter((says_so and "" or "io.write('o', 'n\\n'); ") .. code)
  prompt:expect "\non"
  prompt:press "C-c"
  prompt:wait_until(function(screen)
    return screen:find "interrupted.*\nkeel>$"
  end, "not interrupted: " .. code)
end

describe("keel repl on a terminal", function()
  after_each(support.clean_up)

  it("says where it is, gives results, and ends with Ctrl-D #files", function()
    local prompt, env = open()
    prompt:expect(env.KEEL_STORE)
    gives(prompt, "1 + 1", "2")
    gives(prompt, "x = { 1, b = 'c' }; return x", '{ 1, b = "c" }')
    gives(prompt, "_.b", "c")
    gives(prompt, "='ä' .. 'ö'", "äö")
    prompt:press "C-d"
    assert.equal(0, prompt:ended())
  end)

  it("tells what it leaves in flight when it ends", function()
    local prompt = open()
    gives(prompt, "run = runs:create 'a'; return runs:try_start(run.run_id)", "started")
    prompt:press "C-d"
    assert.equal(0, prompt:ended())
    prompt:expect "1 run of this prompt in flight: nobody owns it now, and 'keel reconcile' recovers it"
  end)

  it("ends as well when its store was closed", function()
    local prompt = open()
    gives(prompt, "store:close(), 1", "nil     1")
    prompt:press "C-d"
    assert.equal(0, prompt:ended())
  end)

  it("takes characters of UTF-8 where no locale is set", function()
    local prompt = open { LC_ALL = "C" }
    gives(prompt, "#'ä' .. 'ö'", "2ö")
  end)

  it("takes a chunk of several lines", function()
    local prompt = open()
    prompt:enter "for i = 1, 2 do"
    prompt:expect_last "   >>"
    prompt:enter "print('turn ' .. i)"
    prompt:enter "end"
    prompt:expect "turn 1\nturn 2\nkeel>"
  end)

  it("edits the line", function()
    local prompt = open()
    prompt:type "print('b'"
    prompt:press("Left", "Left", "Left")
    prompt:type "a"
    prompt:press "End"
    prompt:enter ")"
    prompt:expect "print(a'b')"
    prompt:press "Up"
    prompt:press "Home"
    prompt:press "DC"
    prompt:type "P"
    prompt:expect_last "keel> Print(a'b')"
  end)

  it("completes globals, methods and fields of what is there", function()
    local prompt = open()
    for typed, whole in pairs { ["dispat"] = "dispatcher", ["runs:heart"] = "runs:heartbeat(",
      ["x = store:list_inf"] = "x = store:list_inflight(", ["keel.json.enc"] = "keel.json.encode(",
      ["workers:create_w"] = "workers:create_worker(", ["events:fo"] = "events:follow(", ["whi"] = "while",
      ["print(#store:pat"] = "print(#store:path(", ["runs:n"] = "runs:next_due(",
      ['help "strat'] = 'help "strategies"', ['help "quo'] = 'help "quotas"',
      ["help('the run m"] = "help('the run manager'", ['x = "ru'] = 'x = "ru',
      ['x = "\\"" .. ru'] = 'x = "\\"" .. runs', ["help '"] = "help '" } do
      prompt:type(typed)
      prompt:press "Tab"
      prompt:expect_last("keel> " .. whole)
      prompt:press "C-u"
      prompt:expect_last "keel>"
    end
    -- Only looking makes no runtime.
    gives(prompt, "rawget(_G, 'workers')", "nil")
  end)

  it("completes what was made a moment ago, inherits with __index, and calls none of a user's functions", function()
    local prompt = open()
    prompt:enter "base = { inherited = 1 }; own = setmetatable({ depth = { deeper = 2 } }, { __index = base })"
    prompt:enter "bad = setmetatable({}, { __index = function() print 'called' error 'called' end })"
    prompt:type "own.inh"
    prompt:press "Tab"
    prompt:expect_last "keel> own.inherited"
    prompt:press "C-u"
    prompt:type "own.depth.dee"
    prompt:press "Tab"
    prompt:expect_last "keel> own.depth.deeper"
    prompt:press "C-u"
    prompt:type "bad.x"
    prompt:press "Tab"
    prompt:type "y"
    local screen = prompt:expect_last "keel> bad.xy"
    assert.is_nil(screen:find("\ncalled", 1, true))
  end)

  it("shows what there is when there are several", function()
    local prompt = open()
    prompt:type "runs:create"
    prompt:press "Tab"
    prompt:wait_until(function(screen)
      return screen:find "\ncreate%s+create_or_reject\nkeel> runs:create$"
    end)
  end)

  it("keeps what was typed, for the next prompt, readable for nobody else", function()
    local prompt, env = open()
    prompt:enter "'first'"
    prompt:enter "do local x = 1"
    prompt:enter "print('back\\\\slash') end"
    prompt:expect "\nback\\slash"
    prompt:enter " 'not this one'"
    prompt:press "C-d"
    prompt:ended()
    local path = env.XDG_STATE_HOME .. "/keel/history"
    assert.equal("rw-------", lfs.attributes(path, "permissions"))
    assert.is_nil(files.read(path):find "not this")

    local second = open(env)
    second:press "Up"
    second:expect "print('back\\\\slash') end"
    second:press "Up"
    second:expect_last "keel> 'first'"
    second:press "Enter"
    second:expect "'first'\nfirst\nkeel>"
  end)

  it("fills its help to the columns there are", function()
    local prompt = open({}, 72)
    prompt:enter "help(runs.create)"
    prompt:expect("\nMakes a pending run, without a conflict check and without a queue. With\nan idempotency_key that"
      .. " was used before, gives the run of then, flagged\n`idempotency_reused`.\nRaises for")
    prompt:press "C-l"
    prompt:enter "help(runs.cancel); help 'keel workers'"
    prompt:expect("\n`keel workers list RUNTIME` lists the workers of a\n"
      .. "[runtime](../README.md#worker-runtimes), 100 in order")
    prompt:expect "\n```sh\nkeel workers list farm --active\n```\nkeel>"
    prompt:press "C-l"
    prompt:enter "help(runs)"
    prompt:expect("\nwait                              Waits until a run has ended, wherever\n"
      .. "                                  it runs.\n")
  end)

  it("goes back behind what a prompt in another locale has kept", function()
    local folder = support.dir()
    assert(lfs.mkdir(folder .. "/keel"))
    files.write(folder .. "/keel/history", "'first'\n'\xE4'\n'last'\n")
    local prompt = open { XDG_STATE_HOME = folder }
    prompt:press("Up", "Up")
    prompt:expect_last "keel> 'first'"
  end)

  it("keeps what several prompts at once were told", function()
    local first, env = open()
    local second = open(env)
    for i = 1, 3 do
      gives(first, ("'one %d'"):format(i), ("one %d"):format(i))
      gives(second, ("'two %d'"):format(i), ("two %d"):format(i))
    end
    second:press "C-d"
    second:ended()
    assert.equal("'one 1'\n'two 1'\n'one 2'\n'two 2'\n'one 3'\n'two 3'\n",
      files.read(env.XDG_STATE_HOME .. "/keel/history"))
  end)

  it("gives a chunk of several lines back, to be run again or dropped", function()
    local prompt = open()
    prompt:enter "for i = 1, 2 do"
    prompt:enter "print('turn ' .. i)"
    prompt:enter "end"
    prompt:expect "turn 1\nturn 2\nkeel>"
    prompt:press("Up", "Enter")
    prompt:wait_until(function(screen) return screen:find "turn 1\nturn 2\nkeel>.*turn 1\nturn 2\nkeel>$" end)
    prompt:press("Up", "Home")
    prompt:expect "keel> for i = 1, 2 do\nprint('turn ' .. i)\nend"
    prompt:press "C-c"
    prompt:expect_last "keel>"
  end)

  it("forgets the older half of a history that has grown long", function()
    local folder = support.dir()
    assert(lfs.mkdir(folder .. "/keel"))
    local lines = {}
    for i = 1, 6000 do lines[i] = ("'%05d%s'"):format(i, ("x"):rep(100)) end
    files.write(folder .. "/keel/history", table.concat(lines, "\n") .. "\n")
    local prompt = open { XDG_STATE_HOME = folder }
    prompt:press "Up"
    prompt:expect "keel> '06000x"
    prompt:press "C-u"
    gives(prompt, "'new'", "new")
    local kept = files.read(folder .. "/keel/history")
    assert.is_true(#kept <= 256 * 1024 + 100 and #kept > 200 * 1024)
    assert.is_truthy(kept:find "^'0%d+x+'\n")
    assert.is_truthy(kept:find "x'\n'new'\n$")
  end)

  it("drops the line, and the chunk, with Ctrl-C", function()
    local prompt = open()
    prompt:type "error 'not run'"
    prompt:expect_last "keel> error 'not run'"
    prompt:press "C-c"
    prompt:wait_until(function(screen) return screen:find "not run'[^\n]*\nkeel>$" end)
    prompt:enter "if true then"
    prompt:expect_last "   >>"
    prompt:press "C-c"
    prompt:expect_last "keel>"
    gives(prompt, "'still here'", "still here")
  end)

  it("takes what is typed right behind a Ctrl-C", function()
    local prompt = open()
    for turn = 1, 5 do
      prompt:type "dropped"
      prompt:expect_last "keel> dropped"
      prompt:type("\3'kept " .. turn .. "'")
      prompt:expect_last("keel> 'kept " .. turn .. "'")
      prompt:press "Enter"
      prompt:expect_last "keel>"
    end
  end)

  it("stops with Ctrl-Z, and goes on with the line and its keys after fg", function()
    local folder = support.dir()
    local shell = terminal.start({ "/bin/sh" }, { env = { KEEL = command.program, KEEL_STORE = support.path(),
      XDG_STATE_HOME = folder, HOME = folder, PS1 = "shell> " } })
    shell:expect_last "shell>"
    shell:enter 'stty -a >$HOME/before; "$KEEL" repl'
    shell:expect_last "keel>"
    shell:type "'ad'"
    shell:expect_last "keel> 'ad'"
    shell:press "C-z"
    shell:expect_last "shell>"
    shell:enter "stty -a >$HOME/after; fg"
    shell:expect_last "keel> 'ad'"
    shell:press("Left", "Left")
    shell:type "bc"
    shell:expect_last "keel> 'abcd'"
    shell:press "Enter"
    shell:expect "'abcd'\nabcd\nkeel>"
    assert.equal(files.read(folder .. "/before"), files.read(folder .. "/after"))
  end)

  it("takes what is pasted as it is: a tab completes nothing", function()
    local prompt = open()
    prompt:paste "function f(a)\n\tif a then\n\t\treturn a\n\tend\nend\nru\t= [[\n\tx]]\nf(#ru)\n"
    local screen = prompt:expect "> f(#ru)\n2\nkeel>"
    assert.is_nil(screen:find("runs", 1, true))
    prompt:type "run"
    prompt:press "Tab"
    prompt:expect_last "keel> runs"
    prompt:press "C-c"
    prompt:paste "typed before Ctrl-C\t"
    prompt:press "C-c"
    prompt:type "run"
    prompt:press "Tab"
    prompt:expect_last "keel> runs"
  end)

  it("does not hear what was ignored when it started, as under nohup", function()
    local env = { KEEL = command.program, KEEL_STORE = support.path(), XDG_STATE_HOME = support.dir() }
    local prompt = terminal.start({ "sh", "-c", [[trap '' HUP; exec "$KEEL" repl]] }, { env = env })
    prompt:expect_last "keel>"
    prompt:enter "os.execute '(sleep 0.2; kill -HUP $PPID; kill -WINCH $PPID; touch $XDG_STATE_HOME/sent) &'"
    process.poll_until(function() return files.exists(env.XDG_STATE_HOME .. "/sent") end)
    gives(prompt, "'still here'", "still here")
  end)

  it("draws the line once when the terminal gets another size", function()
    local prompt = open()
    local line = "#'" .. ("ä字"):rep(30) .. "'"
    prompt:type(line)
    local before = 100
    for _, width in ipairs { 70, 41, 40, 120, 60, 100 } do
      prompt:resize(width, 30)
      prompt:press "C-e"
      prompt:wait_until(function(screen)
        local _, prompts = screen:gsub("keel>", "")
        -- tmux does not always keep the cursor in its row when it joins rows: what was above it may be left.
        return (prompts == 1 or width > before) and screen:gsub("\n", ""):match("keel> " .. line .. "$")
      end, "drawn badly at a width of " .. width)
      before = width
    end
    prompt:press "Enter"
    prompt:expect "\n150\nkeel>"
  end)

  it("ends what runs with Ctrl-C, and goes on", function()
    local prompt = open()
    interrupts(prompt, "while true do end")
    interrupts(prompt, "coroutine.wrap(function() while true do end end)()")
    interrupts(prompt, "while true do pcall(function() while true do end end) end")
    interrupts(prompt, "local tx <close> = store:begin() while true do end")
    gives(prompt, "#store:list_runs()", "0") -- the transaction is gone
  end)

  it("ends what waits with Ctrl-C: for a run, an event, the lock, a process, the loop #files", function()
    local prompt, env = open()
    prompt:enter "run = runs:create 'thread'"
    interrupts(prompt, "return runs:wait(run.run_id)")
    interrupts(prompt, "return events:wait()")
    assert.is_nil(prompt:screen():find("[C]", 1, true))
    interrupts(prompt, "events:follow()")
    interrupts(prompt, "return store:wait_events({ next_event_id = 100, epoch = store:epoch() })")
    interrupts(prompt, "uv = require 'luv' uv.new_timer():start(100000, 0, function() end) uv.run()")
    local other = support.open(env.KEEL_STORE)
    local tx <close> = assert(other:begin())
    interrupts(prompt, "return keel.open(store:path(), { lock_timeout = 1000 }):put('r', { thread_id = 't' })")
    interrupts(prompt, "io.read()")
    interrupts(prompt, [[os.execute "echo o''n; exec sleep 100" error 'interrupted']], true)
    tx:rollback()
    gives(prompt, "runs:get(run.run_id).status", "pending")
  end)

  it("ends an executor with Ctrl-C, which can then be stopped in good order", function()
    local prompt = open()
    prompt:enter "x = keel.executor { manager = runs, handlers = function(c) print('o' .. 'n') c.sleep(1000) end }"
    prompt:enter "run = runs:create 'thread'"
    interrupts(prompt, "x:run()", true)
    gives(prompt, "x:stats().running", "1")
    gives(prompt, "#x:stop({ timeout = 0 }).interrupted", "1")
  end)

  it("can be ended with Ctrl-C where no Lua runs", function()
    local prompt = open()
    prompt:enter "io.write('o', 'n\\n') return ('a'):rep(50):find(('a?'):rep(50) .. ('a'):rep(50))"
    prompt:expect "\non"
    -- Signals that come before the first one is heard are one.
    prompt:wait_until(function(screen)
      if not screen:find("once more ends keel", 1, true) then prompt:press "C-c" end
      return screen:find("once more ends keel", 1, true)
    end)
    prompt:press "C-c"
    assert.equal(130, prompt:ended())
  end)

  it("leaves the terminal as it was, however it ends", function()
    local _, _, env = command.on_store { KEEL = command.program, XDG_STATE_HOME = support.dir(), PS1 = "shell> " }
    local shell = terminal.start({ "/bin/sh" }, { env = env })
    shell:expect_last "shell>"
    shell:enter "stty -a >$XDG_STATE_HOME/before"
    for _, way in ipairs { "end", "TERM", "HUP" } do
      shell:enter [[sh -c 'echo $$ >$XDG_STATE_HOME/pid; exec "$KEEL" repl']]
      shell:expect_last "keel>"
      if way == "end" then
        shell:press "C-d"
      else
        process.start({ "kill", "-" .. way, (files.read(env.XDG_STATE_HOME .. "/pid"):gsub("%s", "")) }):wait()
      end
      shell:wait_until(function(screen) return screen:find "shell> ?$" end)
      shell:enter "clear; stty -a >$XDG_STATE_HOME/after; echo do''ne"
      shell:wait_until(function(screen) return screen == "done\nshell>" end) -- and no longer that of the way before
      assert.equal(files.read(env.XDG_STATE_HOME .. "/before"), files.read(env.XDG_STATE_HOME .. "/after"), way)
    end
  end)
end)
