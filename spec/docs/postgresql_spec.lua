--- The page on PostgreSQL is true: its examples run, one after the other, and its grants are enough.
local command = require "support.command"
local files = require "support.files"
local pages = require "support.pages"
local support = require "support"

local server = os.getenv "KEEL_TEST_POSTGRES"
-- The blocks of a language, in order.
local function blocks(language)
  local found = {}
  for i, example in ipairs(pages.examples("lua/keel/doc/postgresql.md", language)) do found[i] = example.code end
  return found
end

describe("The page on PostgreSQL", function()
  if not server then return pending "KEEL_TEST_POSTGRES names no server" end
  local database, folder, host, env

  -- The page's names as this server has them: a database of the test's own, and one to restore into.
  local function here(code)
    return (code:gsub("postgresql://db%.example/(%w+)%?", function(name)
      return ("postgresql:///%s?host=%s&user=keel&"):format(name == "restored" and database .. "_r" or database, host)
    end):gsub("%f[%w]restored%f[%W]", database .. "_r"):gsub("DATABASE jobs", "DATABASE " .. database)
      :gsub("%f[%w]worker%f[%W]", database .. "_w"))
  end

  local function sh(code)
    files.write(folder .. "/script", "set -e\n" .. here(code))
    local ran = command.run({ "exec", "--store", folder .. "/of-the-test.db", "--", "sh", folder .. "/script" },
      { env = env, cwd = folder })
    assert.equal(0, ran.code, code .. "\n" .. ran.errors)
    return ran.output
  end

  before_each(function()
    folder = support.dir()
    host = server:match "host=([^&]*)"
    database = "page" .. support.server_uri():match "spec_(%w+)"
    env = { PGUSER = "keel", PGHOST = host, DATABASE = database, LUA_PATH = package.path, LUA_CPATH = package.cpath,
      PATH = command.program:match "^(.*)/" .. ":" .. os.getenv "PATH" }
    sh("createdb " .. database)
  end)
  after_each(function()
    sh(("dropdb --if-exists %s_r; dropdb --force %s; dropuser --if-exists %s_w"):format(database, database, database))
    support.clean_up()
  end)

  it("has examples that run", function()
    local lua, shell = blocks "lua", blocks "sh"
    assert.same({ 1, 4 }, { #lua, #shell })
    files.write(folder .. "/example.lua", here(lua[1]))
    assert.equal("postgres\n", sh("lua5.4 example.lua"))
    local first = sh((shell[1]:gsub("doctor", "doctor || true")))
    assert.is_truthy(first:find "^hello\n")
    sh(shell[2])
    sh(shell[3])
    sh "keel --store jobs.db exec -- true"
    local moved = sh((shell[4]:gsub("doctor", "doctor || true")))
    assert.is_truthy(moved:find "copied from .*/jobs%.db\n")
    for _, output in ipairs { first, moved } do -- the tests' server does not write to its disk
      assert.equal(0, select(2, output:gsub("warning: ", "")), output)
      assert.equal(1, select(2, output:gsub("error: the server does not write", "")), output)
    end
  end)

  it("lists the rights that a role needs, none too few and none too many", function()
    local grants = blocks "sql"[1]
    local owner = here "postgresql://db.example/jobs?schema=keel"
    support.open(owner):close()
    sh(("createuser %s_w"):format(database))
    local role = owner:gsub("user=keel", "user=" .. database .. "_w")
    local function doctor() return command.run({ "doctor", "--store", role }).output end
    assert.is_truthy(doctor():find("USAGE", 1, true), doctor())
    for line in grants:gmatch "[^\n]+" do
      if line:find "USAGE ON SCHEMA" or line:find "SEQUENCES" then
        sh(([[psql --quiet "$DATABASE" --command "%s"]]):format(line))
      end
    end
    sh([[psql --quiet "$DATABASE" --command "GRANT SELECT ON ALL TABLES IN SCHEMA keel TO worker"]])
    assert.is_truthy(doctor():find("DELETE on batches, INSERT on batches, UPDATE on batches, DELETE on", 1, true))
    sh(([[psql --quiet "$DATABASE" --command "%s"]]):format((grants:gsub("\n", " "))))
    local store = support.open(role)
    local runs = support.manager(store)
    local run = assert(runs:create("t", { idempotency_key = "k" }))
    assert(runs:try_start(run.run_id))
    assert(runs:update_run_completion(run.run_id, { status = "success" }))
    assert(store:acquire_lease("n", { ttl = 60 }))
    assert.is_false(store:wait_events(nil, { timeout = 0 }) == nil)
    assert.same({}, store:verify())
    assert(store:prune { keep_last = 0 })
    assert.is_nil(doctor():find("rights", 1, true))
    store:close()
  end)

  it("has an example: two containers' worth of workers share a queue, and one of them is killed", function()
    local said = sh(("lua5.4 '%s/examples/shared_queue.lua' '%s' 2>&1"):format(command.root, support.server_uri()))
    assert.matches("north1 was killed at its work\nnorth  %d+ jobs\nsouth  %d+ jobs\n24 of 24 are done, %d+ of them in "
      .. "a second try; %d at most ran at a time, of 3 places\n$", said)
  end)
end)
