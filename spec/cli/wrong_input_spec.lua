--- Wrong input of each kind for each subcommand: exit code 2, one line on standard error, and the way out named.
local command = require "support.command"
local files = require "support.files"
local json = require("keel").json
local keel = require "keel"
local lfs = require "lfs"
local support = require "support"

-- The arguments a subcommand needs, and whether it opens the store with them. What is not listed needs none.
local needs = {
  ["exec"] = { "true" }, ["run"] = { "script.lua" }, ["backup"] = { "copy" }, ["restore"] = { "copy" },
  ["runs show"] = { "r" }, ["runs cancel"] = { "r" }, ["runs wait"] = { "r" }, ["runs retry"] = { "r" },
  ["runs delete"] = { "r" }, ["runs output"] = { "r" }, ["runs create"] = { "true" },
  ["report"] = { "page.html" },
  ["runs prune"] = { "--before", "1d" }, ["workers list"] = { "farm" }, ["workers show"] = { "farm", "w" },
  ["workers transcript"] = { "farm", "w" }, ["copy"] = { "from", "to" },
  ["pause"] = { "gpu" }, ["resume"] = { "gpu" }, ["limits set"] = { "gpu", "4" }, ["limits remove"] = { "gpu" },
  ["cron add"] = { "x", "@daily", "true" }, ["cron remove"] = { "x" }, ["cron next"] = { "x" },
}
local makers = { ["exec"] = true, ["limits set"] = true, ["cron add"] = true, ["runs create"] = true,
  ["work"] = true } -- make a store where there is none yet
local storeless = { run = true, version = true, help = true, doctor = true, repl = true,
  copy = true, -- names its stores itself
  restore = true } -- puts a backup in its place, whatever is there

-- What the command itself says there is: { name, arguments, options, takes_command }.
local DUMP = [[
local function dump(known, before)
  for _, entry in ipairs(known) do
    local name = before .. entry.name
    if entry.commands then
      dump(entry.commands, name .. " ")
    else
      local module = require(entry.module)
      local options = keel.array {}
      for _, list in ipairs { module.options or {}, require "keel.cli.usage".common } do
        for _, option in ipairs(list) do
          options[#options + 1] = { name = option[1], value = option.value, has_choices = option.choices ~= nil }
        end
      end
      print(keel.json.encode { name = name, count = #(module.arguments or {}), options = options,
        takes_command = module.takes_command or false, optional = module.arguments and module.arguments[1] and
        module.arguments[1].optional or false, many = module.arguments and module.arguments[1] and
        module.arguments[1].many or false })
    end
  end
end
dump(require "keel.cli.commands", "")
]]

local subcommands

local function each(body)
  if not subcommands then
    local path = support.dir() .. "/dump.lua"
    files.write(path, DUMP)
    subcommands = {}
    for line in command.run({ "run", path }).output:gmatch "[^\n]+" do
      subcommands[#subcommands + 1] = json.decode(line)
    end
    assert.is_true(#subcommands >= 17)
  end
  for _, subcommand in ipairs(subcommands) do body(subcommand) end
end

-- The words of a subcommand's name with others behind.
local function words_of(name, ...)
  local words = {}
  for word in name:gmatch "%S+" do words[#words + 1] = word end
  for _, list in ipairs { ... } do table.move(list, 1, #list, #words + 1, words) end
  return words
end

-- Runs it and asserts how it is refused.
local function refused(code, text, words, options)
  local result = command.run(words, options)
  local shown = table.concat(words, " ") .. "\n" .. result.output .. result.errors
  assert.equal(code, result.code, shown)
  assert.equal("", result.output, shown)
  assert.is_truthy(result.errors:find "^keel[^\n]*: [^\n]+\n$", shown)
  assert.is_truthy(result.errors:find(text, 1, true), shown)
end

describe("Wrong input:", function()
  after_each(support.clean_up)

  it("an option there is not", function()
    each(function(subcommand)
      local name = subcommand.name
      refused(2, ("unknown option '--frobnicate'; 'keel help %s' tells what there is"):format(name),
        words_of(name, { "--frobnicate" }, needs[name] or {}))
    end)
  end)

  it("a misspelled option; the right one is suggested", function()
    each(function(subcommand)
      if subcommand.name == "help" then return end
      for _, option in ipairs(subcommand.options) do
        local typed = option.name:gsub("^(%-%-.)(.)(.)", "%1%3%2")
        if typed ~= option.name and #typed > 5 then
          refused(2, ("unknown option '%s'; did you mean '%s'?"):format(typed, option.name),
            words_of(subcommand.name, { typed }))
        end
      end
    end)
  end)

  it("an option without its value, or with one that is none of those there are", function()
    each(function(subcommand)
      if subcommand.name == "help" then return end
      for _, option in ipairs(subcommand.options) do
        if option.value then
          refused(2, ("option '%s' needs a value; write: %s "):format(option.name, option.name),
            words_of(subcommand.name, { option.name }))
        end
        if option.has_choices then
          refused(2, ("argument for option '%s' must be one of '"):format(option.name),
            words_of(subcommand.name, { option.name, "nonsense" }, needs[subcommand.name] or {}))
        end
      end
    end)
  end)

  it("an argument too few, or too many", function()
    each(function(subcommand)
      local name = subcommand.name
      if subcommand.takes_command and subcommand.count == 0 then
        refused(2, "? Write: keel " .. name, words_of(name))
      elseif subcommand.count > 0 and not subcommand.optional then
        refused(2, "missing argument '", words_of(name))
      end
      if not subcommand.takes_command and not subcommand.many and name ~= "help" then
        refused(2, "too many arguments; write: keel " .. name, words_of(name, needs[name] or {}, { "a", "b", "c" }))
      end
    end)
  end)

  it("a misspelled command; the right one is suggested", function()
    each(function(subcommand)
      local words = words_of(subcommand.name)
      words[#words] = words[#words]:sub(1, 1) .. words[#words]:sub(3)
      local result = command.run(words)
      assert.equal(2, result.code)
      assert.is_truthy(result.errors:find("there is no command '" .. words[#words], 1, true))
      assert.is_truthy(result.errors:find("did you mean '", 1, true) or result.errors:find("there are:", 1, true))
    end)
    refused(2, "did you mean 'runs'?", { "rnus", "list" })
    refused(2, "there is no command 'a? [31m'", { "a\xff\27[31m" }) -- and nothing that acts on a terminal
    local result = command.run { "a\xff", "--json" }
    assert.matches('^{"error":{"code":"usage","message":"there is no command \'a%?\'', result.errors)
    refused(2, "There are: list, show,", { "runs" })
    refused(2, "There are: exec, runs,", { "--quiet" })
    refused(2, "did you mean '--store'?", { "--sotre", "x", "runs", "list" })
    refused(2, "the options of a command stand behind it", { "--limit", "3", "runs", "list" })
  end)

  it("a value that makes no sense", function()
    local _, path, env = command.on_store()
    keel.open(path):close()
    for line, text in pairs {
      ["runs list --thread="] = "keel runs list: --thread must not be empty",
      ["events --runtime="] = "keel events: --runtime must not be empty",
      ["runs list --limit 0"] = "option '--limit': '0' is no whole number from 1 up",
      ["runs list --limit many"] = "option '--limit': 'many' is no whole number from 1 up",
      ["runs list --limit 1001"] = "option '--limit': '1001' is more than 1000",
      ["runs wait r --timeout soon"] = "option '--timeout': 'soon' is no duration: character 1 should be a digit",
      ["runs wait r --timeout 1h30"] = "'1h30' is no duration: character 5 should be a unit",
      ["runs prune --before 2w1x"] = "option '--before': '2w1x' is no duration: character 4 should be a unit",
      ["runs prune"] = "--keep-last 1000",
      ["runs prune --before yesterday"] = "option '--before': 'yesterday' is no time; write 30d",
      ["runs prune --before 30"] = "option '--before': '30' is no time; write 30d",
      ["runs prune --before 99999999999d"] = "'99999999999d' is longer ago than there are years",
      ["runs prune --keep-last few"] = "option '--keep-last': 'few' is no whole number",
      ["runs retry r --set max"] = "option '--set': 'max' is not NAME=VALUE",
      ["events --after x"] = "option '--after': 'x' is no whole number",
      ["events --after 9223372036854775807"] = "option '--after': '9223372036854775807' is more than ",
      ["events --all --after 1"] = "give one",
      ["reconcile --reconciler undertaker"] = "known are: ",
      ["workers list --active"] = "give its id, too",
      ["exec --metadata [] true"] = "option '--metadata': '[]' is no JSON object",
      ["exec --metadata {x true"] = "option '--metadata': '{x' is no JSON: string or '}' expected near 'x'",
      ["exec --strategy nonsense true"] = "nonsense",
      ["run missing.lua"] = "missing.lua",
      ["doctor --store :memory:"] = "give --store a file",
    } do
      local words = {}
      for word in line:gmatch "%S+" do words[#words + 1] = word end
      refused(2, text, words, { env = env })
    end
    refused(2, "RUN must", { "runs", "show", "" }, { env = env })
    refused(2, "WORKER must not be empty", { "workers", "show", "farm", "" }, { env = env })
  end)
end)

describe("What is not there:", function()
  after_each(support.clean_up)

  it("a run, a worker, a runtime, named on one line", function()
    local _, path, env = command.on_store()
    keel.open(path):close()
    for line, text in pairs {
      ["runs show r"] = "there is no run r; 'keel runs list' lists them",
      ["runs wait r"] = "there is no run r; 'keel runs list' lists them",
      ["runs retry r"] = "there is no run r; 'keel runs list' lists them",
      ["runs list --after r"] = "there is no run r",
      ["workers list farm"] = "there is no runtime farm; 'keel workers list' lists them",
      ["workers show farm w"] = "there is no runtime farm; 'keel workers list' lists them",
      ["workers transcript farm w"] = "there is no runtime farm; 'keel workers list' lists them",
    } do
      local words = {}
      for word in line:gmatch "%S+" do words[#words + 1] = word end
      refused(1, text, words, { env = env })
    end
  end)

  -- Runs each subcommand that opens the store on `path`.
  local function on(path, text, options)
    each(function(subcommand)
      local name = subcommand.name
      if not storeless[name] and not (makers[name] and text:find "yet") then
        refused(1, text, words_of(name, { "--store", path }, needs[name] or {}), options)
      end
    end)
  end

  it("a store that nobody has made yet is made by few #files", function()
    local path = support.path()
    on(path, "there is no store at " .. path .. " yet; 'keel exec' makes one, --store names another")
    assert.is_nil(lfs.attributes(path))
  end)

  it("a store whose folder is missing, or none: nobody makes it, and that is said #files", function()
    local folder = support.path()
    for path, text in pairs {
      [folder .. "/store.db"] = "there is no folder " .. folder .. ": make it first, with mkdir -p; --store names",
      [command.program .. "/store.db"] = command.program .. " is no folder; --store names another file",
    } do
      on(path, text)
      refused(1, text, { "exec", "--store", path, "--", "true" })
      refused(1, text, { "repl", "--store", path })
      refused(1, text, { "restore", "--store", path, command.program })
      assert.is_nil(lfs.attributes(folder))
    end
    local home = support.path() -- the default store's is made
    refused(1, "there is no store at " .. home .. "/.local/state/keel/keel.db yet; 'keel exec' makes one",
      { "runs", "list" }, { env = { HOME = home } })
    assert.matches("\n  'keel exec' makes one", command.run({ "doctor" }, { env = { HOME = home } }).output)
    assert.equal(0, command.run({ "exec", "true" }, { env = { HOME = home } }).code)
  end)

  it("a store that is another file, or a folder #files", function()
    local path = support.path()
    files.write(path, "this is no store, and no database either, but a text\n")
    on(path, "--store names another file")
    assert.equal("this is no store", files.read(path):sub(1, 16))
    on(path:match "^(.*)/", "--store names another file")
  end)

  it("a store that may not be read #files", function()
    local path = support.path()
    keel.open(path):close()
    local prefix = {}
    if os.execute "test -w /" then -- root may read everything
      prefix = { "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups" }
      if not os.execute(table.concat(prefix, " ") .. " " .. command.program .. " version >/dev/null 2>&1") then
        return pending "the program cannot be run as another user"
      end
    else
      assert(os.execute("chmod 000 " .. path))
    end
    on(path, "Permission denied", { prefix = prefix, env = { HOME = "/" } })
  end)

  it("a store that may be read, in a folder that may not be written #files", function()
    if not os.execute "test -w /" then return pending "only root can be another user" end
    local prefix = { "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups" }
    if not os.execute(table.concat(prefix, " ") .. " " .. command.program .. " version >/dev/null 2>&1") then
      return pending "the program cannot be run as another user"
    end
    local path = support.path()
    keel.open(path):close()
    assert(os.execute(("chmod 755 %s; chmod 644 %s"):format(path:match "^(.*)/", path)))
    local options = { prefix = prefix, env = { HOME = "/", KEEL_STORE = path } }
    refused(1, "its folder cannot be written, so it is only read while others use it", { "runs", "list" }, options)
    refused(1, "Permission denied; --store names another file", { "exec", "true" }, options)
    local doctor = command.run({ "doctor" }, options)
    assert.equal(1, doctor.code)
    assert.is_truthy(doctor.output:find("those of its folder, which reading needs, too", 1, true), doctor.output)
  end)
end)
