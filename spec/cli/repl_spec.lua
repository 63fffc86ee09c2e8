--- keel repl on a pipe: chunks in, results out.
local command = require "support.command"
local keel = require "keel"
local support = require "support"

local env, path

local function fresh_store()
  local _
  _, path, env = command.on_store()
end

-- Gives a script to a prompt on the test's store.
local function repl(script, ...)
  return command.run({ "repl", ... }, { env = env }, script)
end

-- What a script prints, when all of it goes well.
local function prints(script, expected, ...)
  local result = repl(script, ...)
  assert.equal("", result.errors)
  assert.equal(expected, result.output)
  assert.equal(0, result.code)
end

describe("keel repl on a pipe", function()
  before_each(fresh_store)
  after_each(support.clean_up)

  it("prints the results of expressions, and no prompts", function()
    prints("1 + 1\n= 'two'\nreturn 3, nil, false\nx = 4\nx\nlocal y\n-- a comment\n\nnil\n",
      "2\ntwo\n3\tnil\tfalse\n4\nnil\n")
  end)

  it("prints no nils behind the last result", function()
    prints("1, nil\nnil, nil\nruns:list_by_thread 'none'\nrun = runs:create 't'\n", "1\nnil\n{}\n")
    local result = repl "runs:list_by_thread 't'"
    assert.is_truthy(result.output:find "^STATUS%s+RUN%s+THREAD")
  end)

  it("takes chunks of several lines, without a last end of line, and until exit", function()
    prints("for i = 1, 2 do\n  print(i)\nend\nf = function(a)\n  return a\nend\nf [[\nlong]]", "1\n2\nlong\n")
    prints("1 +\n2\n'a' ..\n'b'\n(store:path() ==\nnil)", "3\nab\nfalse\n")
    prints("1\nexit\n2\n", "1\n")
    prints("", "")
  end)

  it("has the store at hand, and what is on it #files", function()
    prints([[
      run = assert(runs:create("thread", { metadata = { n = 1 } }))
      store:get(run.run_id).metadata
      #events:last()
      events:last(1)[1].kind
      run.status, _
      workers:summary().runtime_id
      store:path()
      dispatcher ~= nil, keel == require "keel"
    ]], ("{ n = 1 }\n1\nrun_created\npending\trun_created\ndefault\n%s\ntrue\ttrue\n"):format(path))
    assert.equal("pending", support.open(path):list_runs()[1].status)
    prints("workers:summary().runtime_id", "other\n", "--runtime", "other")
    prints("store:path() == '', runs:create('t').status", "true\tpending\n", "--store", ":memory:")
  end)

  it("says whose events there are, and how many #files", function()
    local line = ("the events of %s: %%d so far\n"):format(path)
    prints("events\n_ = runs:create('t')\nevents", line:format(0) .. line:format(1))
  end)

  it("says durations as short as they can be read", function()
    local seconds = { 0.04, 9.94, 9.96, 99.4, 100, 1800, 5969, 5971, 47 * 3600, 48 * 3600, -1800 }
    prints(("for _, s in ipairs { %s } do io.write(require('keel.cli.output').duration(s), ' ') end print()"):format(
      table.concat(seconds, ", ")), "0.0s 9.9s 10s 99s 2m 30m 99m 2h 47h 2d -30m \n")
  end)

  it("counts the columns of what is no text, a byte each", function()
    local texts = { [["\xC3(x"]], [["\xE4\xB8(x"]], [["\xE4\xB8"]], [["\xFF"]], [["世x"]], [["e\u{301}"]] }
    prints(("for _, text in ipairs { %s } do io.write(require('keel.cli.width').of(text), ' ') end print()"):format(
      table.concat(texts, ", ")), "3 4 2 1 3 1 \n")
  end)

  it("writes nothing when it only looks", function()
    assert.equal(0, repl("store:list_runs()\nevents:last()\nruns\nworkers == nil and 1").code)
    assert.equal(1, #support.open(path):read_events().events) -- of the runtime that was touched
    support.clean_up()
    fresh_store()
    assert.equal(0, repl("store:list_runs()\nevents:last()\nruns\nhelp()\nhelp(runs)").code)
    assert.equal(0, #support.open(path):sessions())
  end)

  it("tells errors with the frames of the user's code only, goes on, and exits with 1", function()
    local result = repl "error 'one'\nf = function() error 'two' end\nx = (function() f() end)()\nx = = 1\nprint 'on'\n"
    assert.same({ 1, "on\n" }, { result.code, result.output })
    assert.equal("stdin:1: one\nstdin:2: two\n\tstdin:2: in function 'f'\n"
      .. "\tstdin:3: in function <stdin:3>\n\tstdin:3: in main chunk\nstdin:4: unexpected symbol near '='\n",
      result.errors)
    result = repl [[
assert(store:get '')
error { 1 }
error(setmetatable({}, { __tostring = function() error() end }))
f(]]
    assert.equal(1, result.code)
    assert.is_truthy(result.errors:find "^invalid_request: run_id must not be empty\na table was raised: { 1 }\n")
    assert.is_truthy(result.errors:find("near <eof>\n$"))
    assert.is_nil(result.errors:find("keel/cli", 1, true))
    result = repl "f = function() return (runs:create(1)) end\nf()\nstore:put 'a'\n1 +"
    assert.is_truthy(result.errors:find("\n\tstdin:1: in function 'f'\nstdin:3: [^\n]+\n"
      .. "stdin:4: unexpected symbol near <eof>\n$"), result.errors)
    assert.is_nil(result.errors:find("keel/", 1, true))
  end)

  it("has globals of its own: what it needs itself cannot be taken from it", function()
    prints([[
      _G == require "_G", _G.runs == runs, load "return runs"() == runs
      type, error, table, print, io, next, pairs, tostring, require = nil
      runs:create "t".status
      workers:summary().runtime_id
      #events:last(), #store:list_runs()
      type, { 1 }
      help(nothing)
    ]], "true\ttrue\ttrue\npending\ndefault\n2\t1\nnil\t{ 1 }\nthere is nothing of that name: it is nil\n")
    prints("do setmetatable(_G, { __newindex = error }) end\n1 + 1\n_\n", "2\n2\n")
    prints("g = 1\nfunction f() g = g + 1 end\nf()\ng, _G.g, rawget(_G, 'g')", "2\t2\t2\n")
  end)

  it("shows values as bounded text, on one line where they fit", function()
    prints([[
      { 1, "two\n", { x = true }, [10] = 1.5, ["a b"] = keel.null, f = {} }
      t = { name = "t" }; t.me = t; return t
      { { { { { { 1 } } } } } }
      keel.array {}, keel.array { 1 }
      setmetatable({ own = 1 }, { __index = function(_, k) return k end })
      setmetatable({}, { __tostring = function() return "called" end }), true
      "a\27[31mred"
      "\u{9b}31mred", { "\u{85}" }
      runs:create_or_reject("t"); return select(2, runs:create_or_reject("t")).code
    ]], [[
{ 1, "two\n", { x = true }, [10] = 1.5, ["a b"] = keel.null, f = {} }
{ me = {… itself}, name = "t" }
{ { { { {…} } } } }
{}	{ 1 }
{ own = 1 }
called	true
"a\x1b[31mred"
"\u{9b}31mred"	{ "\u{85}" }
conflict
]])
    local long = repl "t = {} for i = 1, 1e6 do t[i] = i end return t\nreturn { ('x'):rep(1e6) }"
    assert.is_true(#long.output < 3000)
    assert.is_truthy(long.output:find("… (999900 more)", 1, true))
    assert.is_truthy(long.output:find("… (999500 bytes more)", 1, true))
    local all = repl "t = {} for i = 1, 300 do t[i] = i end show(t)"
    assert.is_truthy(all.output:find("300", 1, true))
  end)

  it("shows runs and events as the other commands do", function()
    local result = repl "for i = 1, 3 do runs:create('thread ' .. i) end return store:list_runs()\nevents:last(2)"
    assert.is_truthy(result.output:find "^STATUS%s+RUN%s+THREAD")
    assert.equal(6, select(2, result.output:gsub("\n", "\n")))
    assert.is_truthy(result.output:find "run_created%s+thread 3")
  end)

  it("gives results and errors as JSON", function()
    local result = repl([[
1, 'two', nil, { a = keel.array() }
runs:create('t')
print
x = 1
assert(store:get '')
error 'e']], "--json")
    assert.equal(1, result.code)
    local lines = {}
    for line in result.output:gmatch "[^\n]+" do lines[#lines + 1] = keel.json.decode(line).results end
    assert.same({ 1, "two", keel.null, { a = {} } }, setmetatable(lines[1], nil))
    assert.equal("pending", lines[2][1].status)
    assert.is_truthy(lines[3][1]:find "^function")
    assert.equal(3, #lines)
    local first, second = result.errors:match "^([^\n]+)\n([^\n]+)\n$"
    assert.same({ "invalid_request", "run_id" },
      { keel.json.decode(first).error.code, keel.json.decode(first).error.field })
    assert.same({ code = "error", message = "stdin:6: e", transient = false }, keel.json.decode(second).error)
  end)

  it("F-26: goes on after an error of a class whose fields raise, as JSON too", function()
    for _, options in ipairs { {}, { "--json" } } do
      local result = repl('error(setmetatable({}, { __index = function() error "no field" end }))\n41 + 1\n',
        table.unpack(options))
      assert.is_truthy(result.output:find("42", 1, true), result.errors)
      assert.is_nil(result.errors:find("traceback", 1, true), result.errors)
    end
  end)

  it("waits for events of the log, by filter and with an end", function()
    prints([[
events:wait(nil, 0)
runs:create 'a'; runs:create 'b'
events:wait({ thread_id = 'b' }, 10).thread_id
events:wait(nil, 0)]], "nil\nb\nnil\n")
  end)

  it("names a wrong argument of events, and no line of its own", function()
    for code, problem in pairs { ["events:last 'x'"] = "bad argument #1 to 'last' (whole number expected, got string)",
      ["events:last(1.5)"] = "bad argument #1 to 'last' (whole number expected, got 1.5)",
      ["events:last(1, { kind = 'x' })"] = "bad argument #2 to 'last' (unknown option 'kind'; did you mean 'kinds'?)",
      ["events:wait({ kinds = 'x' }, 0)"] = "bad argument #1 to 'wait' (option 'kinds' must be a table, got string)",
      ["events:wait(nil, 'x')"] = "bad argument #2 to 'wait' (number expected, got string)",
      ["events:follow(1)"] = "bad argument #1 to 'follow' (table expected, got number)" } do
      assert.equal("stdin:1: " .. problem .. "\n", repl("do local x = " .. code .. " end").errors)
    end
  end)

  it("finds the last events that pass a filter, however far back they are", function()
    prints([[
      for i = 1, 3 do runs:create("wanted") end
      store:transaction(function(tx) for i = 1, 1500 do tx:append_event { kind = "noise" } end end)
      #events:last(2, { thread_id = "wanted" }), events:last(1, { thread_id = "wanted" })[1].id
      #events:last(10, { thread_id = "wanted" }), #events:last(), #events:last(1e6 // 1)
      last = runs:create "wanted"
      #events:last(3, { thread_id = "wanted" })
    ]], "true\n2\t3\n3\t20\t1503\n3\n")
  end)

  it("refuses wrong input with 2, on one line", function()
    for _, words in ipairs { { "file.lua" }, { "--runtime" }, { "--runtim", "x" }, { "--store" },
      { "--durability", "none" } } do
      local result = repl("", table.unpack(words))
      assert.equal(2, result.code, table.concat(words, " "))
      assert.is_truthy(result.errors:find "^keel[ repl]*: [^\n]+\n$", result.errors)
    end
    local nowhere = repl("", "--store", support.dir() .. "/no/where.db")
    assert.same({ 1, "" }, { nowhere.code, nowhere.output })
  end)
end)

describe("help at the prompt", function()
  before_each(fresh_store)
  after_each(support.clean_up)

  local function tells(code, ...)
    local result = repl(code)
    assert.equal("", result.errors)
    for _, text in ipairs { ... } do
      assert(result.output:find(text, 1, true), text .. " is not in " .. result.output)
    end
  end

  it("lists what is at hand and what can be asked for", function()
    tells("help()", "runs", "dispatcher", "The run manager")
  end)

  it("explains functions with what stands above them, those of C with their types", function()
    tells("help(runs.create)", "create(thread_id, options)", "Makes a pending run", "options? keel.CreateOptions")
    tells("help(store.put)", "put(run_id, fields, note)", "Inserts a run, or merges")
    tells("help(store.prune)", "Deletes what is old")
    tells("help(keel.json.encode)", "names in byte order")
    tells("help(events.wait)", "Waits for the next event that passes a filter")
    tells("help(show)\nhelp(help)", "of which results show what fits", "Explains a thing")
    tells("help(print)", "there is no text about this function")
  end)

  it("lists what an object can do", function()
    tells("help(runs)", "create_or_reject  ", "help \"The run manager\"")
    tells("help(store)", "put  ", "Inserts a run", "help \"The store\"")
    tells("help(dispatcher)\nhelp(workers)\nhelp(events)\nhelp(keel)", "prepare_atomic", "subscribe_events", "follow",
      "run_manager")
    tells("help(nothing)\nhelp(1)", "it is nil", "it is a number")
    tells("help(runs)", "One of these: help(runs.batch)")
    tells("help(store:lease('l', { ttl = 1 }))", "One of these: help(it.")
    assert.is_nil(repl("help(runs)\nhelp(events)\nhelp(dispatcher)\nhelp(workers)").output:find "\nnew ")
  end)

  it("gives sections of the reference", function()
    tells("help 'strategies'", "## Strategies", "debounce")
    tells("help 'retry pol'", "## Retry policies")
    tells("help 'store'", "there are several", 'help "The store"')
    tells("help 'nonexistence'", 'no section of the reference is called "nonexistence"', "Limits")
  end)

  it("gives pages on tasks, where no section is called so", function()
    tells("help 'quotas'", "# Quotas: slots, rates, pause", "## Pause")
    tells("help 'FAQ'", "# Questions")
    tells("help()", "and pages on tasks:\n  getting-started\n", "  troubleshooting\n")
    assert.is_nil(repl("help()").output:find "\n  strategies\n")
    tells("help '../README'", 'no section of the reference is called "../README"')
  end)
end)
