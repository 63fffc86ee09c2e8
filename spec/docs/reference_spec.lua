--- The reference names everything there is. Its examples are run by pages_spec.lua.
local keel = require "keel"
local kernel = require "keel.kernel"
local lfs = require "lfs"
local read = require("support.files").read
local support = require "support"

local ROOT = debug.getinfo(1, "S").source:match "^@(.-)spec/docs/[^/]*$"
local REFERENCE = read(ROOT .. "lua/keel/README.md")
local META = read(ROOT .. "lua/keel/_meta/kernel.lua")

-- --- Names -----------------------------------------------------------------------------------------------------------

-- The text of the reference's sections of these titles.
local function sections(...)
  local found = {}
  for i, title in ipairs { ... } do
    local start = assert(REFERENCE:find("\n## " .. title .. "\n", 1, true), "no section " .. title)
    found[i] = REFERENCE:sub(start, (REFERENCE:find("\n## ", start + 1, true)))
  end
  return table.concat(found)
end

-- The part of the types that defines a class.
local function class(name)
  local text = assert(META:match("%-%-%-@class " .. name:gsub("%.", "%%.") .. "%f[\n:].-\n\n"), "no class " .. name)
  local parent = text:match "^%-%-%-@class [%w.]+: (keel%.Given)\n"
  return parent and text .. class(parent) or text
end

local function has_field(text, name)
  return text:find("%-%-%-@field " .. name .. "%f[?%s]") ~= nil
end

-- `name` in the text of a document; and as it is called, `x:name(`.
local function is_named(text, name) return text:find("`" .. name .. "`", 1, true) ~= nil end
local function is_called(text, name) return text:find("[`:.]" .. name .. " ?[({]") ~= nil end

-- Fails with those of a table's keys for which `is_there` is false. `wanted(key, value)` leaves keys out. `where` is
-- where they should be.
local function each_key(map, wanted, is_there, where)
  local missing, count = {}, 0
  for key, value in pairs(map) do
    if wanted(key, value) then
      count = count + 1
      if not is_there(key) then missing[#missing + 1] = key end
    end
  end
  table.sort(missing)
  assert(count > 0, "there is nothing to look for")
  assert(#missing == 0, ("not documented%s: %s"):format(where and " in " .. where or "", table.concat(missing, ", ")))
end

local function any() return true end

-- A method for users; `maker` is not called on an object.
local function public(maker)
  return function(name, value) return type(value) == "function" and not name:find "^_" and value ~= maker end
end

describe("The reference names", function()
  after_each(support.clean_up)

  local function handles()
    local store = support.open ":memory:"
    return store, assert(store:begin())
  end

  it("every method of stores and transactions", function()
    local text = sections("The store", "Transactions", "Sessions", "Leases", "Events and cursors",
      "Worker runtimes", "Schedules", "Statuses")
    for _, handle in ipairs { handles() } do
      each_key(getmetatable(handle).__index, any, function(name) return is_called(text, name) end)
    end
  end)

  it("every method and field of leases", function()
    local text = sections "Leases"
    local lease = assert(support.open(":memory:"):lease("name", { ttl = 1 }))
    each_key(getmetatable(lease), public(), function(name) return is_called(text, name) end)
    local function shown(name) return not name:find "^_" end
    each_key(lease, shown, function(name) return is_named(text, "lease." .. name) end)
  end)

  it("every method of the run manager, of abort events and of retry policies", function()
    local manager = keel.run_manager { store = ":memory:" }
    local run = assert(manager:create "t")
    local function in_section(...)
      local text = sections(...)
      return function(name) return is_called(text, name) end
    end
    each_key(getmetatable(manager), public(keel.run_manager), in_section("The run manager", "Schedules", "Statuses"))
    local abort_event = getmetatable(run.abort_event)
    each_key(abort_event, public(abort_event.new), in_section "The run manager")
    each_key(getmetatable(keel.retry_policy()), public(keel.retry_policy), in_section "Retry policies")
  end)

  it("every method of the dispatcher, every field of a test run, and what needs no dispatcher", function()
    local text = sections "The test dispatcher"
    local dispatcher = keel.dispatcher { store = ":memory:" }
    local methods = getmetatable(dispatcher)
    each_key(methods, public(methods.new), function(name) return is_called(text, name) end)
    each_key(keel.dispatcher, any, function(name) return text:find("keel.dispatcher." .. name .. "(", 1, true) end)
    each_key(assert(dispatcher:create { machine = "m", test_dir_hash = "h" }), any,
      function(name) return is_named(text, name) end)
  end)

  it("every method, option and limit of executors, and all that a handler is given", function()
    local text = sections "The executor"
    local runs = keel.run_manager { store = ":memory:" }
    local executor = assert(keel.executor { manager = runs, handlers = function(context)
      each_key(context, any, function(name) return text:find("`context%." .. name .. "%f[^%w_]") end)
      local child = assert(context.spawn "true")
      each_key(getmetatable(child), public(getmetatable(child).spawn), function(name) return is_called(text, name) end)
      each_key(child:wait(), any, function(name) return text:find("%f[%w]" .. name .. "%f[^%w]") end)
    end })
    assert(runs:create "t")
    assert.equal(1, executor:drain())
    assert.equal("success", runs:list_by_thread("t")[1].status, runs:list_by_thread("t")[1].error)
    local methods = getmetatable(executor)
    each_key(methods, public(methods.new), function(name) return is_called(text, name) end)
    each_key(executor:stats(), any, function(name) return text:find("%f[%w]" .. name .. "%f[^%w]") end)
    executor:stop()
    local known = read(ROOT .. "lua/keel/executor/options.lua"):match "local known = (%b{})"
    each_key(load("return " .. known)(), any, function(name) return is_named(text, name) end)
  end)

  it("everything in keel and keel.json", function()
    local text = sections "Conventions"
    each_key(keel, any, function(name) return text:find("`keel%." .. name .. "%f[^%w_]") end)
    each_key(keel.json, any, function(name) return is_called(text, name) end)
  end)

  it("everything in keel.testing", function()
    local text = sections "Testing policies"
    each_key(keel.testing, any, function(name) return text:find("`testing%." .. name .. "%f[^%w]") end)
  end)

  it("every method of loaded policies", function()
    local loaded = require "keel.policy.loaded"
    each_key(loaded, public(loaded.load), function(name)
      return name == "is" or is_called(sections "Scripts from files", name)
    end)
  end)

  it("every field of a run", function()
    local text = sections "The run record"
    local manager = keel.run_manager { store = ":memory:" }
    local run = assert(manager:create "t")
    assert(manager:cancel(run.run_id))
    each_key(kernel.run_fields, any, function(name) return is_named(text, name) end, "The run record")
    each_key(run, any, function(name) return is_named(text, name) end)
  end)

  it("every option of create, and what a strategy and a reconciler are told", function()
    local manager = keel.run_manager { store = ":memory:" }
    local given, seen, context = {}, nil, nil
    each_key(kernel.run_fields, function(name)
      return (pcall(manager.create, manager, "t", { [name] = keel.null }))
    end, function(name)
      given[name] = ({ string = "x", integer = 1, boolean = false, table = {} })[kernel.run_fields[name]]
      return is_named(sections "The run manager", name) and has_field(class "keel.CreateOptions", name)
    end, "The run manager, or keel.Given of _meta")
    given.on_disconnect, given.scheduled_at, given.deadline = "cancel", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"
    given.reconciler, given.parent_run_id = "fail_orphans", assert(manager:create "p").run_id
    given.multitask_strategy = function(request) seen = request return { admit = true } end
    assert(manager:create_or_reject("t", given))
    each_key(seen, any, function(name)
      return is_named(sections "Strategies", name) and has_field(class "keel.Request", name)
    end, "Strategies, or keel.Given of _meta")

    local store = support.open ":memory:"
    assert(store:put("orphan", { thread_id = "t" }))
    assert(keel.run_manager { store = store }:reconcile_orphaned_inflight_runs {
      error = "lost", reconciler = function(_, told) context = told end,
    })
    each_key(context, any, function(name)
      return sections "Reconcilers":find("%f[%w]" .. name .. "%f[^%w]") and
        has_field(class "keel.RecoveryContext", name)
    end)
  end)

  it("every method of runtimes and subscriptions, and every field of what they give", function()
    local text = sections "Worker runtimes"
    local runtime = assert(keel.runtime { store = ":memory:" })
    each_key(getmetatable(runtime), public(keel.runtime), function(name) return is_called(text, name) end)
    local subscription = getmetatable(assert(runtime:subscribe_events()))
    each_key(subscription, public(subscription.new), function(name) return is_called(text, name) end)
    local worker = assert(runtime:create_worker { config_bundle = { id = "b" } })
    assert(runtime:send_input(worker, { kind = "user", content = "hi", run_id = "r" }))
    local part = assert(runtime:transcript_projection(worker))
    for _, shown in ipairs { runtime:summary(), worker, runtime:list_workers()[1], part, part.items[1],
      runtime:read_events(), runtime:diagnostics()[1] } do
      each_key(shown, any, function(name) return text:find("%f[%w_]" .. name .. "%f[^%w_]") end)
    end
    for _, name in ipairs(require("keel.policy").built_in "diagnostics") do assert(is_named(text, name), name) end
  end)

  it("every built-in strategy and reconciler", function()
    for folder, title in pairs { strategies = "Strategies", reconcilers = "Reconcilers" } do
      for file in lfs.dir(ROOT .. "lua/keel/" .. folder) do
        local name = file:match "^(.*)%.lua$"
        assert(not name or is_named(sections(title), name), file)
        assert(not name or require("keel.policy").find(folder, name), file .. " is not listed in keel.policy")
      end
    end
  end)

  it("every error code, and every limit of the headers with its value", function()
    for name in read(ROOT .. "include/keel/error.h"):gmatch 'X%([%u_]+, %-%d+, "([%l_]+)"' do
      local known = name == "misuse" or is_named(REFERENCE, name) and META:find('---| "' .. name .. '"', 1, true)
      assert(known, name)
    end
    local limits, count = sections "Limits", 0
    for header in lfs.dir(ROOT .. "include/keel") do
      local text = header:find "%.h$" and read(ROOT .. "include/keel/" .. header) or ""
      for name, value in text:gmatch "%f[%w](KEEL_[%u_]+) = ([%d *]+)" do
        if name:find "_MAX$" or name:find "_DEFAULT$" then
          count = count + 1
          local row = limits:match("\n|([^\n]*)`" .. name .. "`")
          assert(row and row:find("%f[%d]" .. load("return " .. value)() .. "%f[%D]"), name)
        end
      end
    end
    assert.is_true(count >= 10)
  end)
end)

describe("The types of the C module name", function()
  after_each(support.clean_up)

  it("every function and value of it", function()
    each_key(kernel, any, function(name)
      return META:find("\nfunction kernel." .. name .. "(", 1, true) or has_field(class "keel.kernel", name)
    end)
    each_key(kernel.json, any, function(name) return META:find("\nfunction json." .. name .. "(", 1, true) end)
  end)

  it("every method of stores and transactions", function()
    local store = support.open ":memory:"
    for own, handle in pairs { Store = store, Transaction = assert(store:begin()) } do
      each_key(getmetatable(handle).__index, any, function(name)
        return META:find("\nfunction Operations:" .. name .. "(", 1, true) or
          META:find("\nfunction " .. own .. ":" .. name .. "(", 1, true)
      end)
    end
  end)

  it("every field of a run", function()
    local run = assert(keel.run_manager { store = ":memory:" }:create "t")
    each_key(kernel.run_fields, any, function(name) return has_field(class "keel.Run", name) end)
    each_key(run, any, function(name) return has_field(class "keel.Run", name) end)
  end)

  it("every type that annotations use, here or where it belongs", function()
    local defined, used = {}, {}
    local function look(folder)
      for name in lfs.dir(folder) do
        local path = folder .. "/" .. name
        if lfs.attributes(path, "mode") == "directory" then
          if name:sub(1, 1) ~= "." then look(path) end
        elseif name:find "%.lua$" then
          for line in io.lines(path) do
            local comment = line:match "^%s*%-%-%-(.*)$" or ""
            for new in comment:gmatch "@%l+ (keel%.%u%w*)" do
              if comment:find "^@class" or comment:find "^@alias" then defined[new] = true end
            end
            for old in comment:gmatch "keel%.%u%w*" do used[old] = true end
          end
        end
      end
    end
    look(ROOT .. "lua")
    each_key(used, any, function(name) return defined[name] end)
  end)
end)

describe("The pages that are made from the comments", function()
  after_each(support.clean_up)

  it("have a heading for every method, and for every type that they name", function()
    local folder = support.dir()
    local made = ("cd '%s' && lua5.4 tests/reference.lua '%s'"):format(ROOT == "" and "." or ROOT, folder)
    assert.is_true(os.execute(made))
    local function has(page, called)
      local text = read(("%s/%s.md"):format(folder, page))
      return function(name) return text:find(("\n## `%s%s("):format(called, name), 1, true) end
    end
    local store = support.open ":memory:"
    local tx = assert(store:begin())
    local manager = keel.run_manager { store = ":memory:" }
    each_key(getmetatable(store).__index, any, has("store", "store:"))
    each_key(getmetatable(tx).__index, any, function(name)
      return has("store", "store:")(name) or has("store", "tx:")(name)
    end)
    each_key(getmetatable(manager), public(keel.run_manager), has("runs", "runs:"))
    each_key(keel, function(_, value) return type(value) == "function" end, has("module", "keel."))
    each_key(keel.testing, function(_, value) return type(value) == "function" end, has("policies", "keel.testing."))
    local dispatcher = getmetatable(keel.dispatcher { store = ":memory:" })
    each_key(dispatcher, public(dispatcher.new), has("dispatcher", "tests:"))
    local runtime = getmetatable(assert(keel.runtime { store = ":memory:" }))
    each_key(runtime, public(runtime.new), has("runtime", "rt:"))

    local types, linked = read(folder .. "/types.md"), 0
    for _, page in ipairs { "module", "store", "runs", "executor", "dispatcher", "runtime", "policies", "types" } do
      for name, anchor in read(("%s/%s.md"):format(folder, page)):gmatch "%[(%w+)%]%(types%.md#(%w+)%)" do
        linked = linked + 1
        assert.equal(("keel" .. name):lower(), anchor)
        assert(types:find("\n## keel." .. name .. "\n", 1, true), name)
      end
    end
    assert.is_true(linked > 200)
  end)
end)
