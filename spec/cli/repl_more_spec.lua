--- keel repl: chunks from the command line and from files, the pager, watch, edit, search, and names of options.
local command = require "support.command"
local files = require "support.files"
local support = require "support"
local terminal = require "support.terminal"

describe("keel repl", function()
  local env
  before_each(function()
    env = { KEEL_STORE = support.path(), HOME = support.dir(), XDG_STATE_HOME = support.dir() }
  end)
  after_each(support.clean_up)

  local function repl(words, input)
    return command.run({ "repl", table.unpack(words) }, { env = env }, input)
  end

  it("runs what -e gives, in order, before a file", function()
    local file = support.dir() .. "/some.lua"
    files.write(file, "#!/usr/bin/env keel\nrun = runs:create 't'\nrun.status\nfor i = 1, 2 do\n  n = n + i\nend\nn")
    assert.same({ code = 0, output = "1\n2\n3\tx\npending\n4\n", errors = "" },
      repl { "-e", "n = 1; return n", "-e", "n + 1", "--execute", "3,\n'x'", file })
    assert.same({ code = 0, output = '{"results":[1]}\n', errors = "" }, repl { "--json", "-e", "1" })
    assert.same({ code = 0, output = "", errors = "" }, repl({ "-e", "x = 1" }, "print 'not read'\n"))
    assert.same({ code = 0, output = "1\n2\n", errors = "" }, repl({ "-e", "1", "-" }, "2\n"))
    assert.same({ code = 0, output = "3\n", errors = "" }, repl { "-e", "#{ 1, 2, 3 }" }) -- no first line of a script
    assert.same({ code = 0, output = "2\n", errors = "" }, repl({ "-" }, "2\n"))
  end)

  it("says where a chunk of them has failed, goes on, and fails", function()
    local file = support.dir() .. "/some.lua"
    files.write(file, "1\n\nerror 'here'\n2\n3 +\n")
    local result = repl { "-e", "error 'first'", "-e", "x =", file }
    assert.same({ 1, "1\n2\n" }, { result.code, result.output })
    for _, text in ipairs { "-e:1: first\n", "-e:1: unexpected symbol near <eof>\n", file .. ":3: here\n",
      file .. ":5: unexpected symbol near <eof>\n" } do
      assert.matches(text, result.errors, 1, true)
    end
    for given, text in pairs { [file .. "x"] = ".luax: No such file or directory",
      [support.dir()] = "Is a directory" } do
      local none = repl { given }
      assert.same({ 2, "" }, { none.code, none.output })
      assert.matches("^keel repl: cannot read [^\n]+\n$", none.errors)
      assert.matches(text, none.errors, 1, true)
    end
  end)

  it("watches: shows what a function gives, again and again", function()
    local result = repl { "-e", "n = 0", "-e",
      "watch(0.1, function() n = n + 1; return n > 2 and error 'enough' or n end)" }
    assert.same({ 1, "1\n2\n", "-e:1: enough\n" }, { result.code, result.output, result.errors:match "^[^\n]*\n" })
    for code, text in pairs { ["watch(0, print)"] = "#1 to 'watch' (a number of seconds from 0.1 up expected)",
      ["watch('1', print)"] = "bad argument #1 to 'watch'",
      ["watch(1)"] = "bad argument #2 to 'watch' (function expected, got nil)" } do
      assert.matches(text, repl({ "-e", code }).errors, 1, true)
    end
  end)

  it("edits the chunk before, runs what was saved, and nothing when the editor has failed", function()
    local folder = support.dir()
    files.write(folder .. "/editor", ([[
#!/bin/sh
cat "$1" >>'FOLDER/seen'
sed 's/one/two/' "$1" >'FOLDER/new'
cat 'FOLDER/new' >"$1"
]]):gsub("FOLDER", folder))
    assert(os.execute(("chmod 700 '%s/editor'"):format(folder)))
    env.EDITOR = folder .. "/editor"
    local result = repl({}, "'one'\nedit()\nedit()\nedit 'x = 5'\nx\n")
    assert.same({ code = 0, output = "one\n'two'\ntwo\n'two'\ntwo\nx = 5\n5\n", errors = "" }, result)
    assert.equal("'one'\n'two'\nx = 5\n", files.read(folder .. "/seen"))
    env.EDITOR = "false"
    result = repl({}, "'one'\nedit()\n")
    assert.same({ 1, "one\n" }, { result.code, result.output })
    assert.matches("nothing was run: false has ended with exit 1", result.errors, 1, true)
    env.EDITOR, env.VISUAL = nil, nil
    assert.matches("there is no terminal, nor an $EDITOR", repl({}, "edit()\n").errors, 1, true)
  end)

  it("searches for what is no section's name: where it is mentioned most comes first", function()
    local lines = {}
    for line in repl({ "-e", "help 'busy_timeout_xyz'", "-e", "help 'deadline'" }).output:gmatch "[^\n]+" do
      lines[#lines + 1] = line
    end
    assert.equal('no section of the reference is called "busy_timeout_xyz"; there are:', lines[1])
    local first
    for i, line in ipairs(lines) do
      if line:find 'no section is called "deadline"; it is mentioned in:' then first = i end
    end
    local before = math.huge
    for i = first + 1, #lines - 1, 2 do
      local title, times = lines[i]:match '^  help "([^"]+)"  (%d*)'
      assert.is_truthy(title, lines[i])
      assert.is_true((tonumber(times) or 1) <= before)
      before = tonumber(times) or 1
      assert.matches("deadline", lines[i + 1]:lower(), 1, true)
    end
    assert.matches("^  … %(%d+ more%)$", lines[#lines])
  end)

  it("completes names of options inside of calls, and those of strategies", function()
    local prompt = terminal.keel({ "repl" }, { env = env, width = 100 })
    prompt:expect_last "keel>"
    for typed, whole in pairs {
      ['runs:create("t", { mul'] = 'runs:create("t", { multitask_strategy =',
      ['runs:create("t", { claimable = true, metadata = { 1, f(2) }, hand'] =
        'runs:create("t", { claimable = true, metadata = { 1, f(2) }, handler =',
      ['x = keel.run_manager { st'] = 'x = keel.run_manager { st',
      ['keel.run_manager{ ret'] = 'keel.run_manager{ ret',
      ['keel.open("x", { dura'] = 'keel.open("x", { durability =',
      ['store:lease("n", { tt'] = 'store:lease("n", { ttl =',
      ['store:list_runs { thr'] = 'store:list_runs { thread_id =',
      ['runs:wait(id, { timeout = 3 }, { us'] = 'runs:wait(id, { timeout = 3 }, { us',
      ['runs:create_or_reject("t", { strategy = "limit", strategy_options = { max_'] =
        'runs:create_or_reject("t", { strategy = "limit", strategy_options = { max_waiting =',
      ['runs:create("t", { strategy_options = { str'] = 'runs:create("t", { strategy_options = { strict =',
      ['x = { dis'] = 'x = { dispatcher', ['{ user_id = ru'] = '{ user_id = runs' } do
      prompt:type(typed)
      prompt:press "Tab"
      prompt:expect_last("keel> " .. whole)
      prompt:press "C-u"
      prompt:expect_last "keel>"
    end
    prompt:type 'runs:cancel(id, { '
    prompt:press "Tab"
    prompt:expect_last "keel> runs:cancel(id, { action ="
  end)

  it("shows long output in $PAGER, what fits without, and goes on however the pager ends", function()
    local folder = support.dir()
    files.write(folder .. "/pager", "#!/bin/sh\necho paged\nhead -n 2\nexit 0\n")
    assert(os.execute(("chmod 700 '%s/pager'"):format(folder)))
    env.PAGER = folder .. "/pager"
    local prompt = terminal.keel({ "repl" }, { env = env, height = 12 })
    prompt:expect_last "keel>"
    prompt:enter "('x\\n'):rep(11)"
    prompt:expect "paged\nx\nx\nkeel>"
    prompt:enter "('y\\n'):rep(5)"
    prompt:expect "y\ny\ny\ny\ny\n\nkeel>"
    prompt:enter "help 'Strategies'"
    prompt:expect "paged\n## "
    prompt:press "C-d"
    assert.equal(0, prompt:ended())
    assert.same({ code = 0, output = ("x\n"):rep(100) .. "\n", errors = "" }, repl { "-e", "('x\\n'):rep(100)" })
  end)

  it("watches on a terminal: clears the screen, until Ctrl-C", function()
    local prompt = terminal.keel({ "repl" }, { env = env, height = 12 })
    prompt:expect_last "keel>"
    prompt:enter "n = 0; watch(0.1, function() n = n + 1; return 'turn ' .. n end)"
    prompt:wait_until(function(screen) return screen:find "^turn %d+$" and not screen:find "keel>" end)
    prompt:press "C-c"
    prompt:wait_until(function(screen) return screen:find "^turn %d+.*interrupted.*\nkeel>$" end)
    prompt:enter "n > 0"
    prompt:expect "true\nkeel>"
  end)
end)
