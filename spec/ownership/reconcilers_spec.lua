--- Who recovers a run decides what becomes of it: the built-in reconciler, a function, or the run's own choice.
local keel = require "keel"
local support = require "support"

support.each_store(function(open)
  local function orphan(store, run_id, fields)
    fields = fields or {}
    fields.thread_id, fields.status = "t", "running"
    assert(store:put(run_id, fields))
  end

  local function recover(store, options, manager_options)
    return support.manager(store, manager_options):reconcile_orphaned_inflight_runs(options)
  end

  describe("A reconciler", function()
    it("fail_orphans is the default, and pure", function()
      local fail_orphans = require "keel.reconcilers.fail_orphans"
      local run = { run_id = "r", status = "running" }
      local outcome = fail_orphans(run, { error = "lost", now = "2026-01-01T00:00:00+00:00" })
      assert.same({ "error", "lost" }, { outcome.status, outcome.error })
      assert.same({ run_id = "r", status = "running" }, run)
    end)

    it("as a function decides status, error, code and reason", function()
      local store, seen = open(), nil
      orphan(store, "r", { metadata = { k = "v" } })
      local found = recover(store, { error = "lost", reconciler = function(run, context)
        seen = { run.run_id, run.metadata.k, context.error }
        return { status = "timeout", error = "too late", error_code = "E1", stop_reason = "mine" }
      end })
      assert.same({ "r", "v", "lost" }, seen)
      assert.same({ "r" }, support.pluck(found, "run_id"))
      local run = store:get "r"
      assert.same({ "timeout", "too late", "E1", "mine" }, { run.status, run.error, run.error_code, run.stop_reason })
    end)

    it("is shown a copy: what it changes there changes nothing else", function()
      local store = open()
      local function meddles(run)
        run.run_id, run.thread_id, run.status, run.metadata.k = "another", "u", "success", nil
        return { status = "error", error = "lost" }
      end
      orphan(store, "r", { metadata = { k = "v" } })
      assert.same({ "r" }, support.pluck(recover(store, { reconciler = meddles }), "run_id"))
      assert.same({ "error", "v" }, { store:get("r").status, store:get("r").metadata.k })
      orphan(store, "s")
      local manager = support.manager(store, { reconcilers = { recover_orphans = function(run) meddles(run) end } })
      assert(manager:create_or_reject("t", { multitask_strategy = function(_, inflight)
        return { admit = true, cancel = { inflight[1] } }
      end }))
      assert.equal("interrupt", store:get("s").cancel_action)
    end)

    it("POLICY-10: is in the event of what it decided, with its version", function()
      local store = open()
      local path = support.dir() .. "/tidy.lua"
      require("support.files").write(path, "return function(run) return run.losses < 1 and { requeue = true } or " ..
        "{ status = 'error', error = 'lost twice' } end")
      local tidy = assert(keel.load_policy(path))
      local manager = { reconcilers = { again = tidy } }
      for losses = 0, 1 do orphan(store, "r" .. losses, { reconciler = "again", losses = losses }) end
      orphan(store, "plain")
      assert(support.manager(store, manager):create_or_reject("t", { multitask_strategy = "allow" }))
      local decided = {}
      for _, event in ipairs(support.events(store, { kinds = { "run_finished", "run_requeued" } })) do
        decided[event.run_id] = { event.kind, event.data.reconciler, event.data.reconciler_version, event.data.error }
      end
      local built_in = decided.plain[3]
      assert.matches("^%x+$", built_in)
      assert.same({
        plain = { "run_finished", "recover_orphans", built_in, "the owner of the run is gone" },
        r0 = { "run_requeued", "again", tidy:version() },
        r1 = { "run_finished", "again", tidy:version(), "lost twice" },
      }, decided)
    end)

    it("that gives nil leaves the run alone", function()
      local store = open()
      orphan(store, "r")
      assert.same({}, recover(store, { reconciler = function() return nil end }))
      assert.equal("running", store:get("r").status)
    end)

    it("may give the run back", function()
      local store = open()
      orphan(store, "r")
      recover(store, { reconciler = function() return { requeue = true } end })
      assert.same({ "pending", true }, { store:get("r").status, store:get("r").claimable })
    end)

    it("named by the run wins over the call's", function()
      local store = open()
      orphan(store, "plain")
      orphan(store, "choosy", { reconciler = "its_own" })
      local manager = { reconcilers = { its_own = function() return { status = "interrupted", error = "own" } end } }
      recover(store, { error = "lost", reconciler = "fail_orphans" }, manager)
      assert.same({ "error", "lost" }, { store:get("plain").status, store:get("plain").error })
      assert.same({ "interrupted", "own" }, { store:get("choosy").status, store:get("choosy").error })
    end)

    for what, reconciler in pairs {
      ["raises"] = function() error "no idea" end,
      ["gives a text"] = function() return "error" end,
      ["gives a status that is not final"] = function() return { status = "running" } end,
      ["gives an unknown field"] = function() return { status = "error", colour = "red" } end,
      ["loops for ever"] = function() while true do end end,
    } do
      it("that " .. what .. " changes nothing, and the error says so", function()
        local store = open()
        orphan(store, "r")
        local before = store:get "r"
        local found, err = recover(store, { reconciler = reconciler }, { policy_budget = { instructions = 10000 } })
        assert.same({}, found or {})
        assert.truthy(({ policy_failed = true, policy_budget = true, invalid_request = true })[err.code], err.code)
        assert.same(before, store:get "r")
      end)
    end

    it("decides in an admission as well: the run's own, inside the transaction", function()
      local store = open()
      orphan(store, "choosy", { reconciler = "its_own" })
      local manager = support.manager(store, {
        reconcilers = { its_own = function() return { status = "interrupted", error = "own" } end },
      })
      assert(manager:create_or_reject "t")
      assert.same({ "interrupted", "own" }, { store:get("choosy").status, store:get("choosy").error })
    end)
  end)
end)

--- The built-in scripts, without a store: what they make of a run and a cause.
describe("The built-in reconciler", function()
  local NOW <const> = "2026-01-01T00:00:00+00:00"

  local function decide(name, run, cause, text)
    return require("keel.reconcilers." .. name)(run, { now = NOW, error = text, cause = cause })
  end

  for _, name in ipairs { "fail_orphans", "requeue_orphans", "expire_deadlines" } do
    it("RUN-39: " .. name .. " times out a run whose deadline has passed", function()
      local outcome = decide(name, { run_id = "r", losses = 0 }, "deadline")
      assert.same({ "timeout", "deadline" }, { outcome.status, outcome.stop_reason })
      assert.is_string(outcome.error)
      assert.equal("mine", decide(name, { run_id = "r", losses = 0 }, "deadline", "mine").error)
    end)

    it(name .. " changes nothing of what it is shown", function()
      local run = setmetatable({}, { __index = { run_id = "r", losses = 1, max_losses = 1 },
        __newindex = function() error "written" end })
      for _, cause in ipairs { "deadline", "lease", "owner" } do decide(name, run, cause, "lost") end
      assert.is_nil(next(run))
    end)
  end

  for _, cause in ipairs { "lease", "owner" } do
    it("fail_orphans fails a run lost for its " .. cause, function()
      local outcome = decide("fail_orphans", { run_id = "r", losses = 0 }, cause)
      assert.same({ "error", "orphan_recovered" }, { outcome.status, outcome.stop_reason })
      assert.is_true(#outcome.error > 0)
      assert.equal("lost", decide("fail_orphans", { run_id = "r", losses = 0 }, cause, "lost").error)
    end)

    it("OWN-12: requeue_orphans gives back a run lost for its " .. cause .. " until max_losses", function()
      for losses, given_back in pairs { [0] = true, true, false, false } do
        local outcome = decide("requeue_orphans", { run_id = "r", losses = losses, max_losses = 2 }, cause, "lost")
        if given_back then
          assert.same({ requeue = true, error = "lost" }, outcome)
        else
          assert.same({ "error", "lost", "losses_exhausted" }, { outcome.status, outcome.error, outcome.error_code })
        end
      end
    end)

    it("expire_deadlines leaves a run lost for its " .. cause .. " alone", function()
      assert.is_nil(decide("expire_deadlines", { run_id = "r", losses = 0 }, cause, "lost"))
    end)
  end
end)

describe("What a reconciler decides", function()
  local store
  after_each(support.clean_up)

  before_each(function()
    store = support.open ":memory:"
    assert(store:put("r", { thread_id = "t", status = "running" }))
  end)

  local function recover(outcome)
    return support.manager(store):reconcile_orphaned_inflight_runs { reconciler = function() return outcome end }
  end

  it("may put the next try off", function()
    local clock = support.clock()
    store = support.open(":memory:", { clock = clock.read, monotonic = clock.read })
    assert(store:put("r", { thread_id = "t", status = "running" }))
    assert.equal(1, #recover { requeue = true, delay = 30, error = "lost" })
    local manager = support.manager(store)
    clock.advance(29)
    assert.is_nil(manager:claim_next())
    clock.advance(1)
    assert.equal("r", assert(manager:claim_next()).run_id)
  end)

  for what, outcome in pairs {
    ["delay"] = { status = "error", delay = 3 },
    ["both"] = { status = "error", requeue = true },
    ["status must be"] = setmetatable({}, { __index = { status = "error" }, __pairs = error }),
    ["error is not valid UTF-8"] = { status = "error", error = "\xff" },
    ["status"] = { status = "pending" },
    ["colour"] = { status = "error", colour = "red" },
    ["error"] = { status = "error", error = 5 },
    ["error_code"] = { status = "error", error_code = {} },
    ["stop_reason"] = { status = "error", stop_reason = false },
    ["requeue"] = { requeue = "yes" },
    ["table"] = "error",
  } do
    it("is refused when it is malformed, naming " .. what, function()
      local before = store:get "r"
      local found, err = recover(outcome)
      assert.same({ 0, "policy_failed", "custom" }, { #found, err.code, err.policy })
      assert.is_truthy(err.reason:find(what, 1, true), err.reason)
      assert.same(before, store:get "r")
    end)
  end

  for name, delay in pairs { negative = -1, NaN = 0 / 0, infinite = math.huge } do
    it("is refused when its delay is " .. name, function()
      local _, err = recover { requeue = true, delay = delay }
      assert.same({ "policy_failed", "running" }, { err.code, store:get("r").status })
      assert.is_truthy(err.reason:find "delay")
    end)
  end

  it("and the store refuses leaves the run, and does not keep newcomers from their answer", function()
    local manager = support.manager(store, { reconcilers = {
      recover_orphans = function() return { status = "error", error = ("x"):rep((16 << 20) + 1) } end,
    } })
    support.refused("conflict", manager:create_or_reject "t")
    assert.equal("running", store:get("r").status)
    local found, err = manager:reconcile_orphaned_inflight_runs()
    assert.same({ 0, "limit_too_large" }, { #found, err.code })
  end)
end)
