--- keel top: one picture as text and as JSON, and the live screen.
local command = require "support.command"
local files = require "support.files"
local keel = require "keel"
local process = require "support.process"
local support = require "support"
local terminal = require "support.terminal"

local run, path, env

local function fresh_store()
  run, path, env = command.on_store { XDG_STATE_HOME = support.dir() }
end

-- A manager on the store whose process is said to be called "tester".
local function manager()
  return support.manager(support.open(path, { owner = "tester" }))
end

local function started(runs, thread, options)
  local record = assert(runs:create_or_reject(thread, options))
  assert(runs:try_start(record.run_id))
  return record
end

describe("keel top --once", function()
  before_each(fresh_store)
  after_each(support.clean_up)

  it("shows threads, runs, what has ended, and processes", function()
    local runs = manager()
    started(runs, "deploy", { kwargs = { command = { "make", "all" } } })
    assert(runs:create_or_reject("deploy", { multitask_strategy = "enqueue" }))
    assert(runs:create("batch", { claimable = true }))
    local done = started(runs, "done")
    assert(runs:update_run_completion(done.run_id, { status = "error", error = "it broke" }))
    local result = run("top", "--once")
    assert.same({ 0, "" }, { result.code, result.errors })
    assert.is_truthy(result.output:find("1 running, 2 waiting, 1 of them for anybody; 1 process; event", 1, true))
    assert.is_truthy(result.output:find "\ndeploy +1 +1 +[%d.]+s +[%d.]+s +tester\n")
    assert.is_truthy(result.output:find "\n +running +[%x-]+ +deploy +[%d.]+s +tester +make all\n")
    assert.is_truthy(result.output:find "\n +pending +[%x-]+ +batch +[%d.]+s +anybody\n")
    assert.is_truthy(result.output:find "\n +error +[%x-]+ +done +[%d.]+s +[%d.]+s +it broke\n")
    assert.is_truthy(result.output:find "\n +1 +%d+ +alive +1 +1 +[%d.]+s +tester\n")
    assert.is_nil(result.output:find("\27", 1, true))
    assert.equal(result.output:gsub("[%d.]+s", ""):gsub("%d+:%d+:%d+", ""),
      (run("top").output:gsub("[%d.]+s", ""):gsub("%d+:%d+:%d+", ""))) -- what is no terminal gets the same
  end)

  it("tells whose process is gone", function()
    local child = support.spawn([[
      local runs = keel.run_manager { store = assert(keel.open(..., { owner = "victim" })) }
      runs:try_start(runs:create("t").run_id)
      say "up" hear()
    ]], { path })
    child:expect "up"
    assert.is_truthy(run("top").output:find "victim\n")
    child:kill()
    local output = run("top").output
    assert.is_truthy(output:find("victim (gone)", 1, true))
    assert.is_truthy(output:find("; 0 processes; event", 1, true))
    assert.is_truthy(output:find "gone +1 +0 .*victim")
  end)

  it("gives the same as one object of JSON #files", function()
    local runs = manager()
    local record = started(runs, "deploy")
    assert(runs:create_or_reject("deploy", { multitask_strategy = "enqueue" }))
    local shot = keel.json.decode(run("top", "--json").output)
    assert.same({ 1, 1, 0, false, path }, { shot.running, shot.pending, shot.claimable, shot.has_more, shot.store })
    assert.same({ record.run_id, "deploy", "running", true },
      { shot.runs[1].run_id, shot.runs[1].thread_id, shot.runs[1].status, shot.runs[1].owner_alive })
    local thread = shot.threads[1]
    assert.same({ "deploy", 1, 1, record.run_id, true, record.created_at },
      { thread.thread_id, thread.running, thread.pending, thread.run_id, thread.owner_alive, thread.oldest_at })
    local session = shot.sessions[1]
    assert.same({ "tester", true, 1, 1 }, { session.owner, session.alive, session.running, session.pending })
    assert.equal("[]", keel.json.encode(shot.ended))
    keel.open(path .. ".empty"):close()
    shot = keel.json.decode(run("top", "--json", "--store", path .. ".empty").output)
    for _, name in ipairs { "runs", "threads", "ended", "sessions", "limits" } do
      assert.equal("[]", keel.json.encode(shot[name]), name)
    end
  end)

  it("GATE-7: shows limits, what is paused, and what runs wait for", function()
    local runs = manager()
    local holder = started(runs, "a", { slots = { { name = "gpu", max = 1 } } })
    local waiting = assert(runs:create("b", { slots = { { name = "gpu", max = 1 } } }))
    assert(runs:create("c", { after = { holder.run_id } }))
    assert(runs:create("d", { claimable = true }))
    assert(runs:set_limit("api", { max = 5, per = 60 }))
    assert(runs:pause("thread:d", { reason = "driver update" }))
    local output = run("top").output
    assert.is_truthy(output:find "\n +pending +[%x-]+ +b +[%d.]+s +tester +slot gpu\n")
    assert.is_truthy(output:find "\n +pending +[%x-]+ +c +[%d.]+s +tester +after [%x-]+…\n")
    assert.is_truthy(output:find "\n +pending +[%x-]+ +d +[%d.]+s +anybody +paused thread:d\n")
    assert.is_truthy(output:find "\napi +5 in 60s +0 +0\n")
    assert.is_truthy(output:find "\ngpu +1 +1\n")
    assert.is_truthy(output:find "\nthread:d +0 +1 +paused +driver update\n")
    local shot = keel.json.decode(run("top", "--json").output)
    assert.same({ waiting.run_id, "slot", "gpu", holder.run_id }, { shot.runs[2].run_id, shot.runs[2].waits_for,
      shot.runs[2].waits_for_name, shot.runs[2].waits_for_run })
    assert.same({ "gpu", 1, 1, false }, { shot.limits[2].name, shot.limits[2].holding, shot.limits[2].waiting,
      shot.limits[2].paused })
  end)

  it("shows what has just ended first, whenever it was made", function()
    local runs = manager()
    local long = started(runs, "long")
    for i = 1, 25 do
      assert(runs:update_run_completion(started(runs, "short-" .. i).run_id, { status = "success" }))
    end
    assert(runs:update_run_completion(long.run_id, { status = "error", error = "at last" }))
    local shot = keel.json.decode(run("top", "--json").output)
    assert.same({ 20, "long", "short-25", "short-24" },
      { #shot.ended, shot.ended[1].thread_id, shot.ended[2].thread_id, shot.ended[3].thread_id })
  end)

  it("shows how far runs are, as bars", function()
    local runs = manager()
    for thread, progress in pairs { half = { done = 5, total = 10, message = "files" }, over = { done = 9, total = 3 },
      none = { done = 1 }, odd = { done = "x", total = 0 } } do
      local record = started(runs, thread)
      assert(runs:update_run_progress(record.run_id, { progress = progress }))
    end
    local output = run("top").output
    assert.is_truthy(output:find "half .*%[#####%.%.%.%.%.%] 5/10 files\n")
    assert.is_truthy(output:find "over .*%[##########%] 9/3\n")
    assert.equal(2, select(2, output:gsub("%[#", "")))
  end)

  it("reads no more than the limit", function()
    local runs = manager()
    for i = 1, 12 do assert(runs:create("thread " .. i)) end
    local shot = keel.json.decode(run("top", "--json", "--limit", "5").output)
    assert.same({ 5, 5, true }, { #shot.runs, shot.pending, shot.has_more })
    assert.is_truthy(run("top", "-n", "5").output:find("5 waiting or more", 1, true))
  end)

  it("keeps control characters from the terminal", function()
    local runs = manager()
    started(runs, "t", { kwargs = { command = { "echo", "\27[31mred\nnew" } } })
    local output = run("top").output
    assert.is_nil(output:find("\27", 1, true))
    assert.is_truthy(output:find([[echo $'\x1b[31mred\nnew']], 1, true))
  end)

  it("refuses wrong input with 2, on one line, and has nothing to show without a store", function()
    manager()
    for _, words in ipairs { { "--rate", "0" }, { "--rate", "21" }, { "--rate", "fast" }, { "--limit", "0" },
      { "--limit", "1001" }, { "--onse" }, { "thread" }, { "--store" } } do
      local result = run("top", table.unpack(words))
      assert.equal(2, result.code, table.concat(words, " "))
      assert.is_truthy(result.errors:find "^keel[ top]*: [^\n]+\n$", result.errors)
      assert.equal("", result.output)
    end
    local missing = run("top", "--store", support.dir() .. "/none.db")
    assert.equal(1, missing.code)
    assert.is_truthy(missing.errors:find "^keel top: there is no store [^\n]+\n$")
  end)
end)

describe("keel top on a terminal", function()
  before_each(fresh_store)
  after_each(support.clean_up)

  local function open(options)
    local screen = terminal.keel({ "top" }, { env = env, width = options and options.width,
      height = options and options.height })
    screen:expect "keel top"
    return screen
  end

  it("shows one picture, and leaves, where no key can come", function()
    started(manager(), "deploy")
    local screen = terminal.start({ "/bin/sh", "-c", [["$@" </dev/null; echo "ended with $?"; read -r _]], "sh",
      command.program, "top" }, { env = env })
    assert.equal(0, screen:ended())
    assert.is_truthy(screen:screen():find "^keel top.*deploy")
    assert.equal("0", screen:ask "alternate_on")
  end)

  it("shows what happens in other processes, and leaves with q", function()
    local runs = manager()
    local record = started(runs, "deploy")
    local screen = open()
    screen:expect "1 running, 0 waiting"
    assert.same({ "1", "0" }, { screen:ask "alternate_on", screen:ask "cursor_flag" })
    assert(runs:create_or_reject("deploy", { multitask_strategy = "enqueue" }))
    screen:expect "1 running, 1 waiting"
    assert(runs:update_run_completion(record.run_id, { status = "success" }))
    screen:wait_until(function(text) return text:find "\n +success +[%x-]+ +deploy" end)
    screen:press "q"
    assert.equal(0, screen:ended())
  end)

  it("notices a process that dies, which leaves no event", function()
    local child = support.spawn([[
      local runs = keel.run_manager { store = assert(keel.open(..., { owner = "victim" })) }
      runs:try_start(runs:create("t").run_id)
      say "up" hear()
    ]], { path })
    child:expect "up"
    local screen = open()
    screen:expect "victim"
    child:kill()
    screen:expect "victim (gone)"
  end)

  it("shows one picture as text on a terminal that is dumb", function()
    manager()
    local screen = terminal.start({ "/bin/sh", "-c", [[TERM=dumb "$0" top | cat -v; TERM=dumb "$0" top; read -r _]],
      command.program }, { env = env })
    screen:wait_until(function(text) return select(2, text:gsub("keel top", "")) == 2 and text:find "NAME$" end)
    assert.equal("0", screen:ask "alternate_on")
  end)

  it("lets one choose a run and cancel it, after a question", function()
    local runs = manager()
    local first, second = assert(runs:create "one"), assert(runs:create "two")
    local screen = open()
    screen:press "c"
    screen:expect "choose a run first"
    screen:press "j"
    screen:wait_until(function(text) return text:find("\n> +pending +" .. first.run_id:gsub("%-", "%%-")) end)
    screen:press "Down"
    screen:wait_until(function(text) return text:find("\n> +pending +" .. second.run_id:gsub("%-", "%%-")) end)
    screen:press "c"
    screen:expect(("y cancels %s"):format(second.run_id))
    screen:press "n"
    screen:expect "nothing was cancelled"
    assert.equal("pending", support.open(path):get(second.run_id).status)
    screen:press "c"
    screen:expect(("y cancels %s"):format(second.run_id))
    screen:press "y"
    screen:expect "0 running, 1 waiting"
    assert.is_not.equal("pending", support.open(path):get(second.run_id).status)
    assert.equal("pending", support.open(path):get(first.run_id).status)
  end)

  it("takes for an answer only what is typed when the question is there", function()
    local one = assert(manager():create "one")
    local screen = open()
    screen:press "j"
    screen:press "legacy" -- pasted, say: g is the first run, c asks
    screen:expect(("y cancels %s"):format(one.run_id))
    assert.equal("pending", support.open(path):get(one.run_id).status)
    screen:press "n"
    screen:expect "nothing was cancelled"
  end)

  it("shows the beginning of a long document, at once", function()
    assert(manager():create("one", { metadata = { text = ("many words "):rep(30000) } }))
    local screen = open()
    screen:press "j"
    screen:press "Enter"
    screen:expect "keel top: run"
    screen:press "G"
    screen:press "k"
    screen:expect "bytes more: keel runs show"
  end)

  it("shows all about a run with Enter, also of one that has ended, and goes back", function()
    local runs = manager()
    local holder = started(runs, "a", { slots = { { name = "gpu", max = 1 } } })
    local waiting = assert(runs:create("b", { slots = { { name = "gpu", max = 1 } }, metadata = { label = "train" } }))
    assert(runs:update_run_completion(started(runs, "c").run_id, { status = "error", error = "it broke" }))
    local screen = open()
    screen:press "j"
    screen:press "j"
    screen:press "Enter"
    screen:expect("keel top: run " .. waiting.run_id)
    screen:expect "as many runs as may hold 'gpu' do, among them"
    screen:expect(holder.run_id)
    screen:expect "run_created"
    screen:expect "what it said was not kept"
    screen:press "q"
    screen:wait_until(function(text) return text:find "^keel top  " end)
    screen:press "G"
    screen:press "Enter"
    screen:expect "it broke"
    screen:expect "run_finished"
    screen:press "Escape"
    screen:wait_until(function(text) return text:find "^keel top  " end)
  end)

  it("leaves out with / what has no such text in thread, handler or status", function()
    local runs = manager()
    assert(runs:create("red", { handler = "mail" }))
    assert(runs:create("blue", { handler = "chat" }))
    assert(runs:update_run_completion(started(runs, "grey").run_id, { status = "error" }))
    local screen = open()
    screen:expect "grey"
    screen:press "/"
    screen:type "MAIx"
    screen:press "BSpace"
    screen:expect "/MAI_"
    screen:wait_until(function(text) return text:find "red" and not text:find "blue" and not text:find "grey" end)
    screen:press "Enter"
    screen:expect "filter: MAI"
    screen:expect "2 waiting"
    screen:press "Escape"
    screen:wait_until(function(text) return text:find "red" and text:find "blue" and text:find "grey" end)
    screen:press "/"
    screen:type "error"
    screen:wait_until(function(text) return not text:find "red" and not text:find "blue" and text:find "grey" end)
    screen:press "Escape"
    screen:expect "blue"
  end)

  it("pauses and resumes the thread of the chosen run, after a question", function()
    local runs = manager()
    assert(runs:create "deploy")
    local screen = open()
    screen:press "j"
    screen:press "p"
    screen:expect "y pauses thread deploy"
    screen:press "n"
    screen:expect "nothing was paused"
    assert.same({}, runs:limits())
    screen:press "p"
    screen:expect "y pauses thread deploy"
    screen:press "y"
    screen:expect "deploy is paused"
    assert.is_true(runs:limits()[1].paused)
    screen:press "p"
    screen:expect "y resumes thread deploy"
    screen:press "y"
    screen:expect "deploy may start again"
    assert.same({}, runs:limits())
  end)

  it("tries what has ended again, after a question, but no command of a terminal's", function()
    local runs = manager()
    local failed = started(runs, "mail", { handler = "mail" })
    assert(runs:update_run_completion(failed.run_id, { status = "error" }))
    assert.equal(3, run("exec", "-t", "shell", "--", "sh", "-c", "exit 3").code)
    local screen = open()
    screen:press "j"
    screen:press "r"
    screen:expect "a command: 'keel runs retry "
    screen:press "j"
    screen:press "r"
    screen:expect(("y puts the work of %s in line again"):format(failed.run_id))
    screen:press "y"
    screen:expect "is in line, until somebody claims it"
    screen:wait_until(function(text) return text:find "pending +[%x-]+ +mail" end)
    assert.equal(1, #support.open(path):list_inflight())
    screen:press "g"
    screen:press "r"
    screen:expect "is pending"
  end)

  it("needs no more than 60 columns: ids by their ends, lines to the last column", function()
    local runs = manager()
    local record = started(runs, "a-thread", { metadata = { label = "x" } })
    assert(runs:update_run_progress(record.run_id, { progress = { done = 1, total = 2 } }))
    local screen = open { width = 60, height = 24 }
    screen:wait_until(function(text)
      return text:find(("running  %s  a-thread"):format(record.run_id:sub(-8)), 1, true) and
        text:find("[#####.....] 1", 1, true) and text:find "…\n\nTHREAD"
    end)
    screen:press "j"
    screen:press "c"
    screen:expect "y cancels "
    screen:expect "…"
  end)

  it("shows the keys with ?", function()
    manager()
    local screen = open()
    screen:press "?"
    screen:expect "pause or resume the thread of the chosen run"
    screen:press "?"
    screen:wait_until(function(text) return text:find "^keel top  " end)
    screen:press "C-l"
    screen:press "q"
    assert.equal(0, screen:ended())
  end)

  it("fits the screen, also when that changes", function()
    local runs = manager()
    for i = 1, 60 do assert(runs:create("thread-" .. i)) end
    local screen = open { width = 120, height = 40 }
    screen:expect "q leaves"
    for _, size in ipairs { { 60, 12 }, { 40, 20 }, { 200, 50 }, { 20, 5 }, { 100, 30 } } do
      screen:resize(size[1], size[2])
      screen:wait_until(function(text)
        local lines = select(2, text:gsub("\n", "\n")) + 1
        return lines == size[2] and text:find "^keel top" and text:find(("q leaves"):sub(1, size[1]), 1, true)
      end, ("not drawn at %d x %d"):format(size[1], size[2]))
    end
    for _ = 1, 30 do screen:press "j" end -- further down than there is room
    screen:wait_until(function(text) return text:find "\n> +pending" end)
  end)

  it("leaves the screen and the terminal as they were, however it ends", function()
    local shell_env = { KEEL = command.program, PS1 = "shell> " }
    for name, value in pairs(env) do shell_env[name] = value end
    manager():create "t"
    local shell = terminal.start({ "/bin/sh" }, { env = shell_env })
    local state = env.XDG_STATE_HOME
    files.write(state .. "/broken.lua", [[
      local store, reads = assert(keel.open(os.getenv "KEEL_STORE")), 0
      local failing = setmetatable({}, { __index = function(_, name)
        return function(_, ...)
          reads = reads + (name == "sessions" and 1 or 0)
          if reads > 1 then error "failed on purpose" end
          return store[name](store, ...)
        end
      end })
      require("keel.cli.top.live").new(failing, { limit = 10, rate = 5 }):run()
    ]])
    shell:expect_last "shell>"
    shell:enter "stty -a >$XDG_STATE_HOME/before; clear; echo be''fore"
    shell:expect "before\nshell>"
    for _, way in ipairs { "q", "C-c", "TERM", "HUP", "stop", "error" } do
      shell:enter(([[sh -c 'echo $$ >$XDG_STATE_HOME/pid; exec "$KEEL" %s']]):format(
        way == "error" and "run $XDG_STATE_HOME/broken.lua" or "top"))
      shell:expect "keel top"
      local pid = files.read(state .. "/pid"):gsub("%s", "")
      if way == "stop" then
        shell:press "C-z"
        shell:expect "Stopped"
        assert.equal("0", shell:ask "alternate_on")
        shell:enter "fg"
        shell:expect "1 waiting"
        shell:press "q"
      elseif way == "error" then
        shell:expect "on purpose"
      elseif #way <= 3 and way ~= "HUP" then
        shell:press(way)
      else
        process.start({ "kill", "-" .. way, pid }):wait()
      end
      shell:wait_until(function(text) return text:find "before\n.*shell> ?$" end, "not left: " .. way)
      assert.same({ "0", "1" }, { shell:ask "alternate_on", shell:ask "cursor_flag" })
      shell:enter "stty -a >$XDG_STATE_HOME/after; echo af''ter"
      shell:expect "\nafter"
      assert.equal(files.read(state .. "/before"), files.read(state .. "/after"), way)
      shell:enter "clear; echo be''fore"
      shell:expect "before"
    end
  end)
end)
