--- The pages are true: their examples run, and print what they say.
local command = require "support.command"
local files = require "support.files"
local lfs = require "lfs"
local pages = require "support.pages"
local process = require "support.process"
local support = require "support"

local SERVER = "lua/keel/doc/postgresql.md" -- its examples need a server: postgresql_spec.lua

-- Pages whose commands are run: the front page, and those on tasks.
local function has_commands(path) return path == "README.md" or path:find "/doc/" and path ~= SERVER end

local function absolute(path)
  return (path:gsub("[^;]+", function(template)
    return template:find "^/" and template or lfs.currentdir() .. "/" .. template
  end))
end

local env = { LUA_PATH = absolute(package.path), LUA_CPATH = absolute(package.cpath) }

-- Runs an example of Lua in a new process and an empty folder; gives what it printed. Errors name the line of the page.
local function output_of(path, example)
  local folder = support.dir()
  local code = folder .. "/code"
  files.write(code, ("\n"):rep(example.line) .. example.code)
  assert(lfs.mkdir(folder .. "/empty"))
  local child = support.spawn([[
    local code, name, folder = ...
    local file <close> = assert(io.open(code))
    local run = assert(load(file:read "a", "@" .. name))
    assert(require("lfs").chdir(folder))
    run()
  ]], { code, path, folder .. "/empty" }, { env = env })
  return child:finish()
end

-- The commands of a page, one after the other in a new folder that has the page's files; what they printed.
local function shell_output(path)
  local folder, script = support.dir(), { "set -eu", 'export PKG_CONFIG_PATH="$PWD"' }
  for _, language in ipairs { "lua", "c", "sh" } do
    for _, example in ipairs(pages.examples(path, language)) do
      if example.file then files.write(folder .. "/" .. example.file, example.code) end
    end
  end
  for _, example in ipairs(pages.examples(path, "sh")) do
    if not example.file then script[#script + 1] = ("# line %d\n%s"):format(example.line, example.code) end
  end
  local build = command.program:match "^(.*)/"
  for _, name in ipairs { "keel", "keel-lua" } do
    files.write(("%s/%s.pc"):format(folder, name), ("Name: %s\nDescription: of this tree\nVersion: 0\n"
      .. "Cflags: -I%s/include\nLibs: -L%s -l%s -Wl,-rpath,%s\n"):format(name, command.root, build,
      (name:gsub("-", "_")), build))
  end
  files.write(folder .. "/script", table.concat(script, "\n"))
  local child = process.start({ "sh", "script" }, { cwd = folder, env = { LUA_PATH = env.LUA_PATH,
    LUA_CPATH = env.LUA_CPATH, PATH = build .. ":" .. os.getenv "PATH", XDG_STATE_HOME = folder .. "/state",
    KEEL_STORE = "", NO_COLOR = "1", CFLAGS = "", HOME = folder, TMPDIR = folder } })
  local code = child:wait()
  assert(code == 0, ("the commands of %s ended with %d:\n%s%s"):format(path, code, child.output, child.errors))
  return child.output
end

describe("The examples", function()
  after_each(support.clean_up)

  for _, path in ipairs(pages.all()) do
    local commands = ""
    for _, example in ipairs(has_commands(path) and pages.examples(path, "sh") or {}) do
      if not example.file then commands = commands .. example.code end
    end
    for _, example in ipairs(path ~= SERVER and pages.examples(path, "lua") or {}) do
      if not example.file then
        it(("run and print what they promise: %s:%d"):format(path, example.line), function()
          pages.check_output(example.code, output_of(path, example))
        end)
      end
    end
    if commands ~= "" then
      it("run and print what they promise: the commands of " .. path, function()
        pages.check_output(commands, shell_output(path))
      end)
    end
  end

  it("are in the reference at all", function()
    assert.is_true(#pages.examples("lua/keel/README.md", "lua") > 10)
  end)

  it("F-36: raise texts: no host prints (null) for them", function()
    local checked = 0
    local function check(place, code)
      if not code:find('require "keel"', 1, true) then return end
      checked = checked + 1
      assert.is_nil(code:match "%f[%w_.:]assert%(", place)
    end
    for _, path in ipairs(pages.all()) do
      for _, example in ipairs(pages.examples(path, "lua")) do check(path .. ":" .. example.line, example.code) end
    end
    for name in lfs.dir(command.root .. "/examples") do
      if name:find "%.lua$" then check(name, files.read(command.root .. "/examples/" .. name)) end
    end
    assert.is_true(checked > 25)
  end)
end)

describe("A page on a task", function()
  it("is found from the front page and from the reference", function()
    local front, reference = files.read(pages.root .. "README.md"), files.read(pages.root .. "lua/keel/README.md")
    for _, path in ipairs(pages.all()) do
      local name = path:match "/(doc/.*)$"
      assert(not name or front:find("(lua/keel/" .. name .. ")", 1, true), path)
      assert(not name or reference:find("(" .. name .. ")", 1, true), path)
    end
  end)

  it("is read in one go: it has fewer than 150 lines", function()
    for _, path in ipairs(pages.all()) do
      if path:find "/doc/" then
        local _, lines = files.read(pages.root .. path):gsub("\n", "")
        assert(lines < 150, path .. " has " .. lines .. " lines")
      end
    end
  end)
end)

describe("The pages name", function()
  -- All that is written in the files of these folders.
  local function sources(listing)
    local texts = {}
    local pipe <close> = assert(io.popen(("cd '%s' && find %s"):format(command.root, listing)))
    for path in pipe:lines() do texts[#texts + 1] = files.read(command.root .. "/" .. path) end
    return table.concat(texts)
  end

  it("messages that exist, where they help with them", function()
    local code, count = sources "kernel lua include -name '*.[chl]*' -type f ! -name '*.md'", 0
    for line in files.read(pages.root .. "lua/keel/doc/troubleshooting.md"):gmatch "[^\n]+" do
      local message = line:match "^| `([^`]+)` |"
      for part in (message or ""):gsub("…", "\0"):gmatch "%Z+" do
        if #part > 6 then
          count = count + 1
          assert(code:find(part:match "^%s*(.-)%s*$", 1, true), "no message says: " .. part)
        end
      end
    end
    assert.is_true(count > 30)
  end)

  it("functions of C, and options of the command, that exist", function()
    local headers, count = sources "include -name '*.h'", 0
    local help = command.run({ "help", "--man" }).output:gsub("\\", "")
    for _, path in ipairs(pages.all()) do
      local text = files.read(pages.root .. path)
      -- Of options, the reference tells what is not there yet, and the page of the command some of a script's.
      for name in text:gsub("keel::keel_%l+", ""):gmatch "%f[%w_]keel_[%l_]+%f[^%w_]" do
        count = count + 1
        assert(headers:find("%f[%w_]" .. name .. "%f[^%w_]"), path .. " names " .. name)
      end
      for line in (path:find "^lua/keel/%l*/?README" and "" or text):gmatch "[^\n]+" do
        local words = (" " .. line):match "[%s`]keel .*"
        for option in (words and not words:find " %-%- " and words or ""):gmatch "%f[-]%-%-%l[%l-]+" do
          count = count + 1
          assert(help:find(option, 1, true), path .. " names " .. option)
        end
      end
    end
    assert.is_true(count > 40)
  end)
end)
