--- keel stats --prometheus: metrics in Prometheus' text format, and the example for its node_exporter.
local command = require "support.command"
local files = require "support.files"
local keel = require "keel"
local lfs = require "lfs"
local process = require "support.process"
local support = require "support"

local unescaped = { ["\\\\"] = "\\", ['\\"'] = '"', ["\\n"] = "\n" }

-- Reads the format, strictly: samples by "name{label=value}"; types and helps by name.
local function read(text)
  local samples, types, helps, current = {}, {}, {}, nil
  assert.equal("\n", text:sub(-1))
  for line in text:gmatch "([^\n]*)\n" do
    local name, help = line:match "^# HELP ([%a_:][%w_:]*) (.+)$"
    local typed, kind = line:match "^# TYPE ([%a_:][%w_:]*) (%a+)$"
    if name then
      assert.is_nil(helps[name], name)
      helps[name], current = help, name
    elseif typed then
      assert.equal(current, typed)
      assert.is_nil(types[typed])
      types[typed] = kind
    else
      local sample, labels, value = line:match '^([%a_:][%w_:]*)(%b{}) (%S+)$'
      if not sample then sample, labels, value = line:match "^([%a_:][%w_:]*)() (%S+)$" end
      assert.equal(current, sample, line) -- all of a name stand together, behind what it means
      assert.is_truthy(types[sample], line)
      local key = sample
      if type(labels) == "string" then
        local label, content = labels:match '^{([%a_][%w_]*)="(.*)"}$'
        assert.is_truthy(label, line)
        assert.is_nil(content:gsub("\\[\\\"n]", ""):find '[\\"]', line)
        key = ("%s{%s=%s}"):format(sample, label, (content:gsub("\\[\\\"n]", unescaped)))
      end
      assert.is_nil(samples[key], key)
      samples[key] = assert(tonumber(value), line)
    end
  end
  return samples, types
end

describe("[#sqlite] keel stats --prometheus", function()
  after_each(support.clean_up)

  local run, path, env, store, runs
  before_each(function()
    run, path, env = command.on_store()
    store = support.open(path)
    runs = keel.run_manager { store = store }
  end)

  local function measured()
    local result = run("stats", "--prometheus")
    assert.same({ 0, "" }, { result.code, result.errors })
    return read(result.output)
  end

  it("tells in Prometheus' format what goes on; all names begin with keel_", function()
    assert(runs:set_limit("api", { max = 10, per = 60 }))
    assert(runs:pause "gpu")
    assert(runs:create("t", { handler = "mail", slots = { { name = "gpu", max = 1 } } }))
    local ended = assert(runs:create "u")
    assert.equal("started", runs:try_start(ended.run_id))
    assert(runs:update_run_completion(ended.run_id, { status = "success" }))
    local samples, types = measured()
    for name, kind in pairs(types) do
      assert.matches("^keel_", name)
      assert.equal(name:find "_total$" and "counter" or "gauge", kind)
    end
    for key, value in pairs { ["keel_runs{status=pending}"] = 1, ["keel_runs{status=success}"] = 1,
      ["keel_runs{status=error}"] = 0, ["keel_runs_waiting{handler=mail}"] = 1, ["keel_runs_running{handler=mail}"] = 0,
      ["keel_limit_max{name=api}"] = 10, ["keel_limit_window_seconds{name=api}"] = 60,
      ["keel_limit_paused{name=gpu}"] = 1, ["keel_limit_waiting{name=gpu}"] = 1, keel_pauses = 1,
      ["keel_recent_runs_ended{status=success}"] = 1, keel_recent_runs_started = 1, keel_recent_runs_created = 2,
      ["keel_sessions{state=alive}"] = 1, keel_events_total = store:event_high_water(),
      [("keel_build_info{version=%s}"):format(require("keel.kernel").version)] = 1 } do
      assert.equal(value, samples[key], key)
    end
    assert.is_true(samples.keel_oldest_waiting_seconds > 0)
    assert.is_true(samples.keel_store_bytes > 0)
    assert.is_true(samples.keel_store_log_bytes > 0)
  end)

  it("escapes what a label cannot have, and counts what is called other with the rest", function()
    local name = [[a"b\c ✅]]
    assert(runs:create("t", { handler = name }))
    assert(runs:create("t", { handler = "other" }))
    local samples = measured()
    assert.equal(1, samples[("keel_runs_waiting{handler=%s}"):format(name)])
    assert.equal(1, samples["keel_runs_waiting{handler=other}"])
  end)

  it("keeps names apart that differ only in what is not shown", function()
    local told = { ["a\u{202E}b"] = [[a\u202eb]], [ [[a\u202eb]] ] = [[a\\u202eb]], ["a b"] = "a b",
      ["a\u{2066}b"] = [[a\u2066b]], [ [[a\\u202eb]] ] = [[a\\\\u202eb]], ["it's"] = "it's" }
    for name in pairs(told) do assert(runs:create("t", { handler = name, strategy = "enqueue" })) end
    local samples = measured()
    for _, label in pairs(told) do assert.equal(1, samples[("keel_runs_waiting{handler=%s}"):format(label)], label) end
  end)

  it("has no more than a hundred handlers and names, and the rest as one", function()
    assert(store:transaction(function(tx)
      for i = 1, 130 do
        local name = ("n%03d"):format(i)
        assert(tx:put(name, { thread_id = name, handler = name, claimable = true,
          slots = { { name = name, max = 1 } } }))
      end
      return tx:set_limit("n130", { max = 7 })
    end))
    local samples, counts, sums = measured(), {}, {}
    for key, value in pairs(samples) do
      local family = key:match "^[^{]+"
      counts[family], sums[family] = (counts[family] or 0) + 1, (sums[family] or 0) + value
    end
    for family, count in pairs(counts) do assert.is_true(count <= 101, family) end
    assert.same({ 101, 130, 30 }, { counts.keel_runs_waiting, sums.keel_runs_waiting,
      samples["keel_runs_waiting{handler=other}"] })
    assert.same({ 101, 130, 30 }, { counts.keel_limit_waiting, sums.keel_limit_waiting, samples.keel_limits_left_out })
    assert.equal(7, samples["keel_limit_max{name=n130}"]) -- what is set is told first
  end)

  it("is no JSON, and needs a store", function()
    local result = run("stats", "--prometheus", "--json")
    assert.equal(2, result.code)
    assert.matches("leave --json out", result.errors, 1, true)
    result = command.run({ "stats", "--prometheus" }, { env = { KEEL_STORE = support.path() } })
    assert.same({ 1, "" }, { result.code, result.output })
  end)

  it("passes promtool, where that is installed", function()
    if not os.execute "command -v promtool >/dev/null 2>&1" then return pending "promtool is not installed" end
    assert(runs:set_limit("api", { max = 10, per = 60 }))
    local child = process.start({ "promtool", "check", "metrics" })
    child.pipes[1]:write(run("stats", "--prometheus").output)
    child.pipes[1]:shutdown()
    assert.equal(0, (child:wait()))
    assert.equal("", child.errors .. child.output)
  end)

  it("is written for node_exporter by the example, whole or not at all", function()
    local folder = support.dir()
    local function write(place)
      local child = process.start({ command.root .. "/examples/node-exporter.sh", folder },
        { env = { KEEL = command.program, KEEL_STORE = place, LUA_PATH = ";;", LUA_CPATH = ";;" } })
      return (child:wait())
    end
    local function there()
      local names = {}
      for name in lfs.dir(folder) do
        if name:sub(1, 1) ~= "." then names[#names + 1] = name end
      end
      return names
    end
    assert.is_true(write(support.path()) ~= 0) -- there is no store
    assert.same({}, there())
    assert.equal(0, write(env.KEEL_STORE))
    assert.same({ "keel.prom" }, there())
    assert.equal("rw-r--r--", lfs.attributes(folder .. "/keel.prom", "permissions"))
    assert.equal(0, read(files.read(folder .. "/keel.prom"))["keel_runs{status=pending}"])
    assert.is_true(write(support.path()) ~= 0)
    assert.same({ "keel.prom" }, there())
  end)
end)
