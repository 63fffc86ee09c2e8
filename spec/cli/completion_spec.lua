--- Completion: what Tab offers, in bash, zsh and fish.
local command = require "support.command"
local process = require "support.process"
local support = require "support"

local function write(path, text)
  local file <close> = assert(io.open(path, "w"))
  assert(file:write(text))
end

-- What bash offers for a line, by the function that it would call. Words are what readline makes of the line.
local function in_bash(words, options)
  local script = ([=[
    source %s/lua/keel/cli/completion/keel.bash
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE=$LINE COMP_POINT=${#LINE}
    test "$(complete -p keel)" = "complete -F _keel keel" && _keel
    printf '%%s\n' "${COMPREPLY[@]}"]=]):format(command.root)
  local child = process.start({ "bash", "-c", script, "bash", table.unpack(words) },
    { env = { LINE = options and options.line or table.concat(words, " "), LUA_PATH = ";;", LUA_CPATH = ";;" },
      cwd = options and options.cwd })
  child:wait()
  assert.equal("", child.errors)
  local offered = {}
  for line in child.output:gmatch "[^\n]+" do offered[#offered + 1] = line end
  table.sort(offered)
  return offered
end

local function contains(list, wanted)
  for _, item in ipairs(list) do
    if item == wanted then return true end
  end
  return false
end

local keel = command.program

describe("completion in bash", function()
  after_each(support.clean_up)

  it("offers every command that the help lists", function()
    local offered = in_bash { keel, "" }
    for name in command.run({ "help" }).output:gmatch "\n  (%l+) " do
      assert.is_true(contains(offered, name), name)
    end
    assert.same({ "exec" }, in_bash { keel, "ex" })
    assert.same({ "exec" }, in_bash { keel, "--quiet", "--store", "x.db", "ex" })
    assert.same({ "exec" }, in_bash { keel, "help", "ex" })
    assert.same({}, in_bash { keel, "nonsense", "" })
  end)

  it("offers every option that the help of a command lists", function()
    local offered, count = in_bash { keel, "exec", "--" }, 0
    for name in command.run({ "help", "exec" }).output:gmatch "\n *(%-%-[%l-]+)" do
      count = count + 1
      assert.is_true(contains(offered, name), name)
    end
    assert.is_true(count > 10)
    assert.same({ "--durability" }, in_bash { keel, "--du" })
  end)

  it("offers the values of an option, in either way of writing it", function()
    assert.same({ "full", "normal", "off" }, in_bash { keel, "exec", "--durability", "" })
    assert.same({ "normal" },
      in_bash({ keel, "exec", "--durability", "=", "n" }, { line = keel .. " exec --durability=n" }))
    assert.same({ "full", "normal", "off" },
      in_bash({ keel, "exec", "--durability", "=" }, { line = keel .. " exec --durability=" }))
    -- When readline was told not to take words apart there.
    assert.same({ "--durability=normal" }, in_bash { keel, "exec", "--durability=n" })
    assert.is_true(contains(in_bash { keel, "exec", "-s", "" }, "enqueue"))
  end)

  it("offers files and folders where they belong", function()
    local folder = support.dir()
    write(folder .. "/some file.lua", "")
    assert(require("lfs").mkdir(folder .. "/some folder"))
    local here = { cwd = folder }
    assert.same({ "some file.lua", "some folder" }, in_bash({ keel, "exec", "--store", "so" }, here))
    assert.same({ "some file.lua", "some folder" }, in_bash({ keel, "exec", "--strategy", "so" }, here))
    assert.same({ "some folder" }, in_bash({ keel, "exec", "--keep", "so" }, here))
  end)

  it("offers what is in the store", function()
    local _, path = command.on_store()
    for _, thread in ipairs { "plain", "with a space", "team:deploy" } do
      assert.equal(0, command.run({ "exec", "--store", path, "-t", thread, "true" }).code)
    end
    local store = support.open(path)
    local ids = {}
    for i, thread in ipairs { "plain", "team:deploy", "with a space" } do
      ids[i] = store:list_by_thread(thread)[1].run_id
    end
    local offered = in_bash { keel, "runs", "--store", path, "show", "" }
    table.sort(ids)
    assert.same(ids, offered)
    assert.same({ ids[1] }, in_bash { keel, "--store", path, "runs", "cancel", "x", ids[1] })
    assert.same({ "x\\," .. ids[1] }, in_bash { keel, "exec", "--store", path, "--after", "x," .. ids[1] })
    assert.same({ "plain", "team:deploy", "with\\ a\\ space" }, in_bash { keel, "exec", "--store", path, "-t", "" })
    -- Readline has put "team" and the colon behind it already.
    assert.same({ "deploy" }, in_bash({ keel, "exec", "--store", path, "-t", "team", ":", "d" },
      { line = ("%s exec --store %s -t team:d"):format(keel, path) }))
    assert.same({}, in_bash { keel, "runs", "show", "--store", support.dir() .. "/none.db", "" })
  end)

  it("leaves the command that is run, and its arguments, to the shell", function()
    local folder = support.dir()
    write(folder .. "/a file", "")
    assert.is_true(contains(in_bash { keel, "exec", "--timeout", "5s", "sleep" }, "sleep"))
    assert.is_true(contains(in_bash { keel, "exec", "--", "sleep" }, "sleep"))
    assert.same({ "a file" }, in_bash({ keel, "exec", "--", "cat", "a" }, { cwd = folder }))
    assert.same({ "./a file" }, in_bash({ keel, "exec", "./a" }, { cwd = folder }))
  end)
end)

describe("completion in zsh", function()
  after_each(support.clean_up)

  -- Commands, options, values and the command that is run: were one not completed, the line would not work.
  it("works on a terminal", function()
    local folder = support.dir()
    local _, _, env = command.on_store { TERM = "xterm", LUA_PATH = ";;", LUA_CPATH = ";;" }
    write(folder .. "/say-what-is-there", "#!/bin/sh\necho \"it says $*\"\n")
    assert(os.execute("chmod +x " .. folder .. "/say-what-is-there"))
    assert(os.execute(("ln -s '%s' %s/keel"):format(keel, folder)))
    write(folder .. "/.zshrc", ([[
      PS1='ready%%# ' fpath=(%s/lua/keel/cli/completion $fpath) path=(%s $path)
      autoload -U compinit && compinit -D -u
    ]]):format(command.root, folder))
    env.ZDOTDIR, env.HOME = folder, folder
    local child = process.start({ "script", "-qec", "zsh -d -i", "/dev/null" }, { env = env, cwd = folder })
    local function expect(text)
      local found = process.turn_until(function() return child.output:find(text, 1, true) end)
      assert.is_true(found, "not printed: " .. text .. "\n" .. child.output)
      child.output = child.output:sub(select(2, child.output:find(text, 1, true)) + 1)
    end
    expect "ready"
    child.pipes[1]:write "keel ex\t--strat\tinterr\t--durability=nor\t -- say-what-is-th\t$((40 + 2))\r"
    expect "it says 42"
    child.pipes[1]:write "exit\r"
    child:wait()
  end)
end)

describe("completion in fish", function()
  after_each(support.clean_up)

  local function in_fish(line, cwd)
    local script = ("source %s/lua/keel/cli/completion/keel.fish; complete --do-complete %q"):format(command.root, line)
    local pipe <close> = assert(io.popen(("cd '%s' && PATH='%s':$PATH fish --no-config --command=%q 2>&1"):format(
      cwd or ".", keel:match "^(.*)/", script)))
    local found = {}
    for text in pipe:lines() do found[#found + 1] = text:match "^[^\t]*" end
    return found
  end

  it("offers commands, options, values, files and what the command that is run offers", function()
    if not os.execute "command -v fish >/dev/null" then return pending "fish is not installed" end
    local folder = support.dir()
    write(folder .. "/a-file", "")
    assert.same({ "run", "runs" }, in_fish "keel ru")
    assert.same({ "--strategy" }, in_fish "keel exec --strat")
    assert.same({ "--durability=normal" }, in_fish "keel exec --durability=nor")
    assert.same({ "interrupt" }, in_fish "keel exec --strategy interr")
    assert.same({ "a-file" }, in_fish("keel backup a-f", folder))
    assert.same({ "a-file" }, in_fish("keel exec -t x -- cat a-f", folder))
    assert.is_true(contains(in_fish "keel exec -- slee", "sleep"))
    assert.same({}, in_fish "keel nothing-of-this-name ")
  end)
end)
