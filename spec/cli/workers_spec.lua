--- keel workers: looking at the workers of a runtime.
local command = require "support.command"
local json = require("keel").json
local keel = require "keel"
local support = require "support"

local function prepared()
  local run, path = command.on_store()
  local rt = assert(keel.runtime { store = support.open(path), runtime_id = "farm" })
  local first = assert(rt:create_worker { intent = { kind = "task", objective = "count the sheep" } })
  local second = assert(rt:create_worker())
  assert(rt:send_input(first, { kind = "user", content = "all\nof \27[1mthem" }))
  assert(rt:send_input(first, { kind = "system", content = "now" }))
  assert(rt:stop_worker(second))
  return run, rt, first, second
end

describe("keel workers", function()
  after_each(support.clean_up)

  it("list shows them in order of creation, and the runtimes there are", function()
    local run, rt, first, second = prepared()
    local text = run("workers", "list", "farm").output
    assert.is_truthy(text:find "^STATUS +WORKER +AGE +ENTRIES +INTENT +WHAT\n")
    assert.is_truthy(text:find("count the sheep", 1, true))
    local lines = {}
    for line in run("workers", "list", "farm", "--json").output:gmatch "[^\n]+" do
      lines[#lines + 1] = json.decode(line)
    end
    assert.same(rt:list_workers(), lines)
    assert.same({ first.worker_id, second.worker_id }, support.pluck(lines, "worker_id"))
    assert.is_nil(run("workers", "list", "farm", "--active").output:find(second.worker_id, 1, true))
    local rest = run("workers", "list", "farm", "--json", "--after", first.worker_id, "-n", "1").output
    assert.equal(second.worker_id, json.decode(rest).worker_id)
    assert.is_truthy(run("workers", "list").output:find "^RUNTIME.+\nfarm +running +1 +1 +0")
    assert.equal("farm", json.decode(run("workers", "list", "--json").output).runtime_id)
  end)

  it("show gives all fields of one", function()
    local run, rt, first = prepared()
    local text = run("workers", "show", "farm", first.worker_id).output
    assert.is_truthy(text:find("\nworker_id +" .. first.worker_id:gsub("%-", "%%-") .. "\n"))
    assert.is_truthy(text:find('intent +{"kind":"task","objective":"count the sheep"}'))
    local object = json.decode(run("workers", "show", "--json", "farm", first.worker_id).output)
    assert.same(rt:worker_detail(first), object)
  end)

  it("transcript prints what a worker was told, without control characters", function()
    local run, rt, first = prepared()
    assert.equal("[1 user] all\nof  [1mthem\n[2 system] now\n", run("workers", "transcript", "farm",
      first.worker_id).output)
    assert.equal("[2 system] now\n", run("workers", "transcript", "farm", first.worker_id, "--start", "1").output)
    local item = json.decode(run("workers", "transcript", "--json", "-n", "1", "farm", first.worker_id).output)
    assert.same(rt:transcript_projection(first).items[1], item)
  end)

  it("names what there is when something is not there", function()
    local run = prepared()
    local runtime = run("workers", "list", "form")
    assert.same({ 1, "" }, { runtime.code, runtime.output })
    assert.is_truthy(runtime.errors:find("there is no runtime form; 'keel workers list' lists them", 1, true))
    for _, name in ipairs { "show", "transcript" } do
      local worker = run("workers", name, "farm", "nobody")
      assert.equal(1, worker.code)
      assert.is_truthy(worker.errors:find("there is no worker nobody; 'keel workers list farm'", 1, true))
    end
  end)
end)
