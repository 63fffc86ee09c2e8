--- What a store says may have been written by anybody: nothing of it acts on the terminal, and no input gives a
--- traceback.
local keel = require "keel"
local command = require "support.command"
local files = require "support.files"
local process = require "support.process"
local support = require "support"
local terminal = require "support.terminal"

-- Escape sequences, control characters of eight bits, characters that turn the direction, lines that end unseen.
local HOSTILE = "\27[31ma\27]0;owned\7\27[2Jb\u{9b}31mc\u{202e}d\u{2066}e\u{2028}f\u{feff}g\127h"
local ESCAPES = { "\27", "\7", "\127", "\u{9b}", "\u{202e}", "\u{2066}", "\u{2028}", "\u{feff}" }

local function is_clean(text, what)
  for _, character in ipairs(ESCAPES) do
    assert.is_nil(text:find(character, 1, true), ("%s shows %q of %q"):format(what, character, text))
  end
  assert.is_truthy(utf8.len(text), what)
end

local function prepared()
  local run, path, env = command.on_store()
  local store = support.open(path)
  assert(store:put("r", { thread_id = "t", status = "error", error = HOSTILE, user_id = "u",
    kwargs = { command = { HOSTILE }, directory = "/tmp" }, metadata = { [HOSTILE] = HOSTILE } }))
  assert(store:put("waits", { thread_id = "t", claimable = true, kwargs = { text = HOSTILE } }))
  assert(store:append_event { kind = "note", thread_id = "t", message = HOSTILE, data = { text = HOSTILE } })
  local runtime = assert(keel.runtime { store = store, runtime_id = "rt", display_name = "name" })
  local worker = assert(runtime:create_worker())
  assert(runtime:send_input(worker.worker_ref, { kind = "user", content = HOSTILE .. "\nsecond\tline" }))
  return run, store, path, env, worker.worker_ref.worker_id
end

describe("The keel command on a stranger's store", function()
  after_each(support.clean_up)

  it("F-54: shows no control character of it, nor what turns the direction of text", function()
    local run, _, _, _, worker = prepared()
    for _, words in ipairs { "runs list", "runs show r", "runs show waits", "runs wait r", "events", "events --all",
      "workers list", "workers list rt", "workers show rt " .. worker, "workers transcript rt " .. worker,
      "top --once", "doctor", "stats", "runs show \27[2Jx\u{9b}", "runs cancel r\u{202e}" } do
      for _, json in ipairs { false, true } do
        local list = {}
        for word in words:gmatch "[^ ]+" do list[#list + 1] = word end
        list[#list + 1] = json and "--json" or nil
        local result = run(table.unpack(list))
        is_clean(result.output, words)
        is_clean(result.errors, words)
        assert.is_nil((result.output .. result.errors):find("traceback", 1, true), words)
      end
    end
    assert.matches("second\tline\n", run("workers", "transcript", "rt", worker).output)
  end)

  it("F-54: loses nothing of it in JSON, where it is escaped", function()
    local run = prepared()
    local text = run("runs", "show", "r", "--json").output
    assert.truthy(text:find("\\u009b31mc\\u202ed\\u2066e\\u2028f\\ufeffg\\u007fh", 1, true), text)
    local object = assert(keel.json.decode((text:gsub("\n$", ""))))
    assert.equal(HOSTILE, object.error)
    assert.equal(HOSTILE, object.metadata[HOSTILE])
  end)

  it("F-54: says what waits in line without its control characters", function()
    local _, store, _, env = prepared()
    local tx = assert(store:put("first", { thread_id = "line", status = "running", session_id = store:session_id() }))
    assert.truthy(tx)
    local policy = support.dir() .. "/p.lua"
    files.write(policy, ([[return function() return { admit = false, reason = %q } end]]):format(HOSTILE))
    local result = command.run({ "exec", "-t", "line", "--strategy", policy, "--", "true" }, { env = env })
    assert.equal(75, result.code)
    is_clean(result.errors, "a refusal")
  end)

  it("F-54: only the command itself colours: what a store says does not, nor through a user's script", function()
    local run, _, _, env = prepared()
    local script = support.dir() .. "/script.lua"
    files.write(script, [[error(assert(keel.open(os.getenv "KEEL_STORE")):get "r".error)]])
    for _, words in ipairs { { "run", script }, { "run", script, "--json" } } do
      local result = run(table.unpack(words))
      assert.equal(1, result.code)
      is_clean(result.errors, "keel run")
    end
    local typed = command.run({ "repl" }, { env = env }, 'error(store:get "r".error)\nprint(1)')
    is_clean(typed.errors, "keel repl")
    local door = require "keel.cli.terminal"
    assert.equal("a [31mb", door.finished "a\27[31mb")
    assert.equal("\27[32mgood\27[0m a [31mb", door.finished(door.coloured("good", 32) .. " a\27[31mb"))
  end)

  it("F-54: offers nothing of it to a shell that completes", function()
    local run, store = prepared()
    assert(store:put("fine", { thread_id = "a\u{202e}b", claimable = true }))
    assert(store:put("line", { thread_id = "line", claimable = true }))
    for _, words in ipairs { { "runs", "show", "" }, { "exec", "--thread", "" } } do
      local result = run("__complete", table.unpack(words))
      is_clean(result.output, table.concat(words, " "))
      assert.is_nil(result.output:find("\u{202e}", 1, true))
    end
    assert.matches("\nfine\t", run("__complete", "runs", "show", "").output)
    local threads = run("__complete", "exec", "--thread", "").output
    assert.matches("\nline\t", threads)
    assert.is_nil(threads:find("a?b\t"))
  end)

  it("F-54: gives no traceback for words that are no text, with and without --json", function()
    local run = prepared()
    for _, words in ipairs { { "runs", "show", "\xFF\xC2" }, { "runs", "list", "--thread", "\xFF" },
      { "runs", "retry", "--yes", "\x9b" }, { "events", "--run", "\xED\xA0\x80" }, { "events", "--kind", "\xFF" },
      { "workers", "show", "\xFF", "\xFE" }, { "\xFF" }, { "runs", "\xFF" }, { "runs", "list", "--\xFF" },
      { "--store", "\xFF/no", "runs", "list" }, { "exec", "--user", "\xFF", "--", "true" } } do
      for _, json in ipairs { false, true } do
        local list = table.move(words, 1, #words, 1, {})
        if json then table.insert(list, 1, "--json") end
        local result = run(table.unpack(list))
        local said = result.output .. result.errors
        assert.is_nil(said:find("traceback", 1, true), said)
        assert.is_nil(said:find("%.lua:%d+"), said)
        assert.truthy(utf8.len(said), said)
      end
    end
  end)

  it("F-54: nor for a log whose first event cannot be told, and runs whose command is none", function()
    local run, store, path = prepared()
    local kinds = { { command = { 1 }, directory = "/" }, { command = { "a\0b" }, directory = "/" }, { command = {},
      directory = "/" }, { command = "x", directory = "/" }, { command = { "true" }, directory = 7 },
      { command = { "\\x00" }, directory = "/", escaped = true },
      { command = keel.array { keel.null }, directory = "/" },
      { command = { "true" }, directory = "/no/such/folder" } }
    for i, kwargs in ipairs(kinds) do
      assert(store:put("k" .. i, { thread_id = "k" .. i, status = "error", kwargs = kwargs }))
    end
    for i in ipairs(kinds) do
      local result = run("runs", "retry", "--yes", "k" .. i)
      assert.is_nil((result.output .. result.errors):find("%.lua:%d+"), result.errors)
    end
    store:close()
    local sqlite = assert(io.popen(("sqlite3 '%s' 'DELETE FROM events' 2>&1"):format(path)))
    sqlite:read "a"
    sqlite:close()
    local result = run("events", "--all")
    assert.is_nil((result.output .. result.errors):find("%.lua:%d+"), result.errors)
  end)
end)

describe("keel events --follow --json", function()
  after_each(support.clean_up)

  it("F-33: tells of the events that were pruned before it came to them", function()
    local run, store = prepared()
    local last = assert(store:event_high_water())
    for _ = 1, 5 do assert(store:append_event { kind = "note" }) end
    assert(store:prune { keep_last = 2 })
    local result = run("events", "--json", "--after", tostring(last))
    local lines = {}
    for line in result.output:gmatch "[^\n]+" do lines[#lines + 1] = assert(keel.json.decode(line)) end
    assert.same({ gap = { from = last + 1, to = last + 3 } }, lines[1])
    assert.same({ last + 4, last + 5 }, { lines[2].id, lines[3].id })
    assert.equal("", result.errors)
    local followed = run("events", "--follow", "--json", "--after", tostring(last), "--limit", "2")
    assert.equal(result.output, followed.output)
  end)
end)

describe("A table of the keel command", function()
  after_each(support.clean_up)

  -- What a command line prints on a terminal of its own, `columns` wide.
  local function on_terminal(env, line, columns)
    local given = { KEEL = command.program, LUA_PATH = ";;", LUA_CPATH = ";;", TERM = "xterm" }
    for name, value in pairs(env) do given[name] = value end
    local child = process.start({ "script", "-qec", ("stty cols %d; %s"):format(columns, line), "/dev/null" },
      { env = given })
    child:wait()
    return (child.output:gsub("\r\n", "\n"))
  end

  local columns_of = { ["✅"] = 2, ["⌚"] = 2, ["🪐"] = 2, ["🟢"] = 2, ["長"] = 2, ["ั"] = 0, ["ु"] = 0, ["\u{301}"] = 0 }

  local function width_of(line)
    local sum = 0
    for character in line:gmatch(utf8.charpattern) do sum = sum + (columns_of[character] or 1) end
    return sum
  end

  it("F-34: fits forty columns, and sixty", function()
    local _, store, _, env = prepared()
    local id = "01a1ff02-f8ee-71e9-8ed9-9e861313d59b"
    for i, thread in ipairs { "✅ deploy", ("ตั"):rep(9), ("नु"):rep(20), ("長"):rep(30), "🪐🟢⌚", "plain" } do
      assert(store:put(id .. i, { thread_id = thread, status = "interrupted", error = ("a story "):rep(9),
        started_at = "2026-11-21T16:00:00Z", ended_at = "2026-11-21T16:00:01Z" }))
    end
    for _, columns in ipairs { 40, 60 } do
      for _, words in ipairs { "runs list", "workers list", "workers list rt", "top --once" } do
        local text = on_terminal(env, ('NO_COLOR=1 "$KEEL" %s'):format(words), columns)
        for line in text:gmatch "[^\r\n]+" do
          local wide = width_of(line)
          assert.is_true(wide <= columns, ("%d columns of %d in %q: %s"):format(wide, columns, words, line))
        end
      end
    end
  end)

  it("F-34: is aligned behind what is two columns wide, or none", function()
    local _, store, _, env = prepared()
    for i, thread in ipairs { "✅", "ab", "e\u{301}x" } do
      assert(store:put("run" .. i, { thread_id = thread, status = "success" }))
    end
    local text = on_terminal(env, 'NO_COLOR=1 "$KEEL" runs list', 200)
    local gaps = {}
    for _, thread in ipairs { "✅", "ab", "e\u{301}x" } do
      gaps[#gaps + 1] = #assert(text:match("run%d%s+" .. thread .. "( +)%d"), text)
    end
    assert.same({ gaps[1], gaps[1], gaps[1] }, gaps)
  end)
end)

describe("keel runs retry of a command", function()
  after_each(support.clean_up)

  local function failed()
    local run, path, env = command.on_store()
    local folder = support.dir()
    local words = { "exec", "--", "sh", "-c", "echo ran >>ran; exit 1" }
    assert.equal(1, command.run(words, { env = env, cwd = folder }).code)
    local store = support.open(path)
    return run, store:list_runs()[1].run_id, env, folder, path
  end

  local function times(folder)
    local _, count = files.read(folder .. "/ran"):gsub("ran", "")
    return count
  end

  it("F-55: is not run where nobody can be asked, unless --yes says so", function()
    local run, id, _, folder = failed()
    local result = run("runs", "retry", id)
    assert.equal(2, result.code)
    assert.truthy(result.errors:find("sh -c 'echo ran >>ran; exit 1'", 1, true), result.errors)
    assert.truthy(result.errors:find("in " .. folder, 1, true), result.errors)
    assert.truthy(result.errors:find("--yes", 1, true), result.errors)
    assert.equal(1, times(folder))
    assert.equal(1, run("runs", "retry", "--yes", id).code)
    assert.equal(2, times(folder))
  end)

  it("F-55: shows a command so that it can be told from any other: what a terminal would obey is escaped", function()
    local run, path = command.on_store()
    local store = support.open(path)
    local shown = {
      ["plain word"] = "'plain word'", ["it's"] = [['it'\''s']], ["a\27[2Kb"] = [[$'a\x1b[2Kb']], ["a b"] = "'a b'",
      ["a\nb"] = [[$'a\nb']], ["\u{9b}\u{202e}'\\"] = [[$'\u009b\u202e\'\\']], ["\127\r\t"] = [[$'\x7f\r\t']],
      [ [[$'a\nb']] ] = [['$'\''a\nb'\''']], ["ünï"] = "'ünï'",
    }
    local count = 0
    for word, text in pairs(shown) do
      count = count + 1
      local id = "r" .. count
      assert(store:put(id, { thread_id = id, status = "error",
        kwargs = { command = { "echo", word }, directory = "/" } }))
      local result = run("runs", "retry", id)
      assert.truthy(result.errors:find("It would run: echo " .. text .. "\nin /\n", 1, true), result.errors)
      local list = run("runs", "list", "--thread", id).output
      assert.truthy(list:find("echo " .. text, 1, true), list)
      local script = support.dir() .. "/script"
      files.write(script, "printf %s " .. text)
      local shell = assert(io.popen(("LC_ALL=C.UTF-8 bash '%s'"):format(script)))
      assert.equal(word, shell:read "a")
      shell:close()
    end
    local kept = { command = { "echo", [[caf\xe9\\]] }, directory = "/", escaped = true }
    assert(store:put("bytes", { thread_id = "bytes", status = "error", kwargs = kept }))
    for _, words in ipairs { { "runs", "retry", "bytes" }, { "runs", "list", "--thread", "bytes" } } do
      local result = run(table.unpack(words))
      local said = result.output .. result.errors
      assert.truthy(said:find([[echo $'caf\xe9\\']], 1, true), said)
    end
  end)

  it("F-55: is shown and asked about on a terminal", function()
    local _, id, env, folder = failed()
    for answer, code in pairs { y = 1, n = 1, [""] = 1 } do
      local before = times(folder)
      local screen = terminal.keel({ "runs", "retry", id }, { env = env, width = 150 })
      local text = screen:expect "Run it? [y/N]"
      assert.truthy(text:find("echo ran >>ran; exit 1", 1, true), text)
      screen:enter(answer)
      assert.equal(code, screen:ended())
      assert.equal(before + (answer == "y" and 1 or 0), times(folder))
    end
  end)

  it("F-55: is refused when the store is another user's, whatever is said #files", function()
    local run, id, _, folder, path = failed()
    local id_of = assert(io.popen "id -u")
    local user = id_of:read "l"
    id_of:close()
    if user ~= "0" then return pending "only root can give a file away" end
    assert(os.execute(("chown 65534 '%s'"):format(path)))
    local result = run("runs", "retry", "--yes", id)
    assert.equal(1, result.code)
    assert.truthy(result.errors:find("belongs to user 65534", 1, true), result.errors)
    assert.equal(1, times(folder))
  end)

  it("F-55: is refused when others may write to the store #files", function()
    local run, id, _, folder, path = failed()
    assert(os.execute(("chmod o+w '%s'"):format(path)))
    local result = run("runs", "retry", "--yes", id)
    assert.equal(1, result.code)
    assert.truthy(result.errors:find("chmod go-w", 1, true), result.errors)
    assert.equal(1, times(folder))
  end)
end)
