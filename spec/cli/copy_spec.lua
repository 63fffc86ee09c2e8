--- keel copy.
local command = require "support.command"
local json = require("keel").json
local support = require "support"

local places = { sqlite = support.path, postgres = os.getenv "KEEL_TEST_POSTGRES" and support.server_uri or nil }

describe("keel copy", function()
  after_each(support.clean_up)

  for kind, place in pairs(places) do
    it("copies a store, and says where it is [#" .. kind .. "]", function()
      local run, path = command.on_store()
      assert.equal(0, run("exec", "--quiet", "true").code)
      local to = place()
      local done = run("copy", path, to)
      assert.equal(0, done.code, done.errors)
      assert.equal("", done.errors)
      assert.is_truthy(done.output:find(": copied from " .. path .. "\n", 1, true))
      assert.is_nil(done.output:find("user=", 1, true))
      assert.is_truthy(run("--store", to, "runs", "list").output:find "success")
      assert.is_nil(run("--store", to, "doctor").output:find("warning: ", 1, true))
      local again = run("copy", path, to)
      assert.equal(2, again.code)
      assert.is_truthy(again.errors:find("there already", 1, true))
      local back = support.path()
      assert.same({ from = support.open(to):path(), path = back }, json.decode(run("copy", "--json", to, back).output))
      assert.same({ code = 0, output = "", errors = "" }, run("copy", "--quiet", to, back .. "2"))
    end)
  end

  it("is refused while runs are in flight, unless it is to copy them anyway, and names who is there", function()
    local run, path = command.on_store()
    local store = support.open(path)
    assert(store:put("r", { thread_id = "t", session_id = store:session_id() }))
    local to = support.path()
    local refused = run("copy", path, to)
    assert.equal(75, refused.code)
    assert.is_truthy(refused.errors:find("1 run is in flight", 1, true))
    local done = run("copy", "--anyway", path, to)
    assert.equal(0, done.code)
    assert.is_truthy(done.errors:find("^1 process has " .. path:gsub("%p", "%%%0") .. " open; "), done.errors)
    assert.is_truthy(run("--store", to, "doctor").output:find "process is gone")
  end)

  it("needs two names, and a store to copy", function()
    local run, path = command.on_store()
    assert.equal(2, run("copy", path).code)
    assert.equal(2, run("copy", path, "").code)
    assert.equal(2, run("--store", path, "copy", path, path .. "2").code)
    local missing = run("copy", path, path .. "2")
    assert.equal(1, missing.code)
    assert.is_truthy(missing.errors:find("there is no store at " .. path, 1, true), missing.errors)
  end)
end)
