--- What commands print: aligned for people, in colour on a terminal only, as JSON for programs, and how little.
local command = require "support.command"
local json = require("keel").json
local keel = require "keel"
local process = require "support.process"
local support = require "support"

-- What a command line prints on a terminal of its own, `columns` wide.
local function on_terminal(env, line, columns)
  local given = { KEEL = command.program, LUA_PATH = ";;", LUA_CPATH = ";;", TERM = "xterm", NO_COLOR = "" }
  for name, value in pairs(env) do given[name] = value end
  line = ("stty cols %d; %s"):format(columns or 80, line)
  local child = process.start({ "script", "-qec", line, "/dev/null" }, { env = given })
  child:wait()
  return (child.output:gsub("\r\n", "\n"))
end

local function prepared()
  local run, path, env = command.on_store()
  local store = support.open(path)
  assert(store:put("done", { thread_id = "日本", status = "success" }))
  assert(store:put("failed", { thread_id = "t", status = "error", error = "a long story about what went wrong" }))
  return run, store, env, path
end

describe("Output", function()
  after_each(support.clean_up)

  it("is in colour on a terminal, unless NO_COLOR says no, and nowhere else", function()
    local run, _, env = prepared()
    assert.is_truthy(on_terminal(env, '"$KEEL" runs list'):find("\27[32msuccess\27[0m", 1, true))
    assert.is_nil(on_terminal(env, '"$KEEL" runs list | cat'):find "\27")
    for name, value in pairs { NO_COLOR = "1", TERM = "dumb" } do
      local plain = { [name] = value, KEEL_STORE = env.KEEL_STORE }
      assert.is_nil(on_terminal(plain, '"$KEEL" runs list; "$KEEL" events'):find "\27")
    end
    assert.is_nil(run("runs", "list").output:find "\27")
  end)

  it("is as wide as the terminal, and whole elsewhere", function()
    local run, _, env = prepared()
    local text = on_terminal(env, 'NO_COLOR=1 "$KEEL" runs list', 60)
    assert.is_truthy(text:find "a long story[^\n]*…\n")
    for line in text:gmatch "[^\n]+" do assert.is_true(utf8.len(line) <= 60, line) end
    assert.is_truthy(run("runs", "list").output:find("about what went wrong\n", 1, true))
  end)

  it("fits whatever a thread is called: names are cut, columns left out, what tells an id from others never", function()
    local run, store, env = prepared()
    local id = "01a1ff02-f8ee-71e9-8ed9-9e861313d59b"
    assert(store:put(id, { thread_id = ("long"):rep(30), status = "interrupted", error = "a story", exit_code = 143,
      started_at = "2026-11-21T16:00:00Z", ended_at = "2026-11-21T16:00:01Z" }))
    for _, case in ipairs { { "runs list", 56, id:sub(-8) }, { "top --once", 80, id:sub(-8) } } do
      local words, columns, shown = table.unpack(case)
      local text = on_terminal(env, ('NO_COLOR=1 "$KEEL" %s'):format(words), columns)
      for line in text:gmatch "[^\n]+" do assert.is_true(utf8.len(line) <= columns or line:find "keel top", line) end
      assert.is_truthy(text:find("interrupted  " .. shown .. "  longlon", 1, true), text)
      assert.is_truthy(text:find("longlon[long]*…"), text)
      assert.is_truthy(text:find("a story\n", 1, true), text)
      assert.is_nil(text:find("CODE", 1, true))
    end
    local middling = on_terminal(env, 'NO_COLOR=1 "$KEEL" runs list', 130) -- cutting the name is enough here
    assert.matches("CODE.*longlon[long]*….*a long story about what went wrong\n", middling)
    local wide = on_terminal(env, 'NO_COLOR=1 "$KEEL" runs list', 300)
    assert.is_truthy(wide:find(("long"):rep(30) .. "%s+[%d.]+%a%s+1.0s%s+143  a story\n"), wide)
    assert.is_truthy(run("runs", "list").output:find(("long"):rep(30), 1, true))
  end)

  it("explains a command in the columns there are", function()
    local _, _, env = prepared()
    for _, name in ipairs { "exec", "runs list", "top" } do
      local text = on_terminal(env, ('"$KEEL" help %s'):format(name), 72)
      assert.is_truthy(text:find("Usage: keel " .. name, 1, true))
      for line in text:gmatch "[^\n]+" do assert.is_true(utf8.len(line) <= 72, line) end
    end
  end)

  it("is aligned where characters are wide", function()
    local run = prepared()
    local lines = {}
    for line in run("runs", "list").output:gmatch "[^\n]+" do lines[#lines + 1] = line end
    local wide, narrow = lines[3]:match "日本( +)", lines[2]:match " t( +)"
    assert.equal(#narrow, #wide + 3) -- two characters of two columns against one
  end)

  it("as JSON is one object a line, and nothing else #files", function()
    local run, store, _, path = prepared()
    local rt = assert(keel.runtime { store = store, runtime_id = "farm" })
    local worker = assert(rt:create_worker())
    assert(rt:send_input(worker, { kind = "user", content = "hi" }))
    for _, words in ipairs { { "runs", "list" }, { "runs", "show", "done" }, { "runs", "wait", "done" },
      { "runs", "cancel", "done" }, { "events" }, { "workers", "list" }, { "workers", "list", "farm" },
      { "workers", "show", "farm", worker.worker_id }, { "workers", "transcript", "farm", worker.worker_id },
      { "stats" }, { "backup", path .. ".copy" }, { "runs", "prune", "--keep-last", "1000" }, { "version" } } do
      local result = run("--json", table.unpack(words))
      assert.equal("", result.errors)
      local count = 0
      for line in result.output:gmatch "([^\n]*)\n" do
        count = count + 1
        assert.equal("table", type(json.decode(line)), line)
      end
      assert.is_true(count > 0, words[1])
      assert.equal("\n", result.output:sub(-1))
    end
  end)

  it("of what takes long has a bar, on a terminal only #files", function()
    local run, store, env = prepared()
    assert(store:transaction(function(tx)
      for _ = 1, 2500 do assert(tx:append_event { kind = "k", data = { text = ("x"):rep(1000) } }) end
    end))
    for label, line in pairs { copying = "backup copy", verifying = "doctor" } do
      local shown = on_terminal(env, ('cd "$(dirname "$KEEL_STORE")" && "$KEEL" %s'):format(line))
      assert.is_truthy(shown:find(("\r%s [%%[][#.]+%%] +%%d+%%%%\27%%[K"):format(label)), shown)
      assert.is_truthy(shown:find "\r\27%[K[^\r\n]*: [^\r\n]+\n$", shown) -- and is gone again
    end
    local shown = on_terminal(env, '"$KEEL" runs prune --keep-last 100')
    assert.is_truthy(shown:find("\rpruning [", 1, true))
    assert.is_truthy(shown:find("%] +%d+%%\27%[K"))
    assert.is_truthy(shown:find "\r\27%[Kdeleted: %d+ runs?") -- and is gone again
    assert.is_nil(on_terminal(env, '"$KEEL" runs prune --keep-last 50 --quiet'):find("pruning", 1, true))
    assert.is_nil(on_terminal(env, '"$KEEL" runs prune --keep-last 40 2>/dev/null'):find("pruning", 1, true))
    assert.equal("", run("runs", "prune", "--keep-last", "1").errors)
  end)
end)
