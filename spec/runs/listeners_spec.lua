--- Code of the host that is called after a commit, and raises: the change holds, and its caller gets the result.
local Attachment = require "keel.manager.attachment"
local keel = require "keel"
local new_pair = require "support.pair"
local support = require "support"

describe("a listener that raises", function()
  local store, manager, lines, told
  after_each(support.clean_up)

  before_each(function()
    local log
    log, lines = support.log()
    told = 0
    store = support.open ":memory:"
    manager = support.manager(store, { log = log })
  end)

  -- A running run with two listeners that raise, one of them an error that cannot be shown, and one that counts.
  local function listened()
    local run = assert(manager:create_or_reject "t")
    assert(manager:try_start(run.run_id))
    run.abort_event:on_set(function() error "listener" end)
    run.abort_event:on_set(function() error(setmetatable({}, { __tostring = function() error "no" end })) end)
    run.abort_event:on_set(function() told = told + 1 end)
    return run
  end

  local function assert_logged(run)
    assert.equal(1, told)
    assert.equal(2, #lines)
    assert.same({ "error", run.run_id }, { lines[1].level, lines[1].fields.run_id })
    assert.matches("listener", lines[1].fields.error)
    assert.matches("cannot be shown", lines[2].fields.error)
  end

  it("F-17: does not take the newcomer from the caller that was admitted", function()
    local old = listened()
    local run, verdict = manager:create_or_reject("t", { multitask_strategy = "interrupt" })
    assert.equal("created", verdict)
    assert.equal(run, manager:get(run.run_id))
    assert.equal("interrupted", old.status)
    assert_logged(old)
    assert(manager:settle(old.run_id))
    assert.equal("started", assert(manager:try_start(run.run_id)))
  end)

  local changes = {
    cancel = function(run) return manager:cancel(run.run_id) end,
    delete = function(run) return manager:delete(run.run_id) end,
    shutdown = function() return manager:shutdown { timeout = 0 } end,
    heartbeat = function(run)
      assert(store:request_cancel(run.run_id, { action = "rollback" }))
      return #assert(manager:heartbeat()).cancel_requested == 1
    end,
    ["claim of what was lost"] = function(run)
      assert(store:requeue(run.run_id, { fence = run.fence }))
      return manager:claim_next()
    end,
    ["try_start of what was cancelled"] = function(run)
      assert(store:put(run.run_id, { fence = run.fence + 1, status = "interrupted" }))
      manager:update_run_completion(run.run_id, { status = "success" })
      return true
    end,
  }
  for name, change in pairs(changes) do
    it("F-17: does not keep the result of a change back: " .. name, function()
      local run = listened()
      assert.truthy(change(run))
      assert_logged(run)
    end)
  end

  it("F-17: fail_pending says true", function()
    local run = assert(manager:create "t")
    run.abort_event:on_set(function() error "listener" end)
    assert.is_true(manager:fail_pending(run.run_id))
    assert.equal(1, #lines)
  end)

  it("F-17: an observer that raises is logged, and the run is the caller's", function()
    local function fail() error "observer" end
    Attachment.new(manager, { on_add = fail, on_claimable = fail, holds = function() return false end })
    assert.equal("pending", assert(manager:create "a").status)
    assert.is_true(assert(manager:create_or_reject("b", { claimable = true })).claimable)
    assert(manager:claim_next())
    assert.equal(3, #lines)
    assert.matches("observer", lines[1].fields.error)
  end)

  it("raises for the host that gives the signal itself, after the last listener", function()
    local run = listened()
    support.raises("listener", run.abort_event.set, run.abort_event)
    assert.equal(1, told)
  end)

  it("F-17: is logged for a cancel that another session asked for", function()
    local pair = new_pair()
    local run = pair.started()
    run.abort_event:on_set(function() error "listener" end)
    assert.same({ true, "requested" }, { pair.ours:cancel(run.run_id) })
    assert.equal(1, #assert(pair.theirs:heartbeat()).cancel_requested)
  end)
end)

describe("A manager's log", function()
  it("F-17: has what the store fails with, and no answers", function()
    local failures = { "busy", "closed", "io", "no_memory", "replaced", "store_corrupt", "store_full", "store_missing",
      "store_readonly", "store_version" }
    local answers = { "conflict", "invalid_request", "lease_held", "not_found", "runtime_stopped", "stale_owner" }
    local function logged(code)
      local log, lines = support.log()
      local function fail() return nil, { code = code, message = "no", transient = false } end
      support.refused(code, keel.run_manager({ store = { put = fail, get = fail }, log = log }):get "r")
      return #lines
    end
    for _, code in ipairs(failures) do assert.equal(1, logged(code), code) end
    for _, code in ipairs(answers) do assert.equal(0, logged(code), code) end
  end)
end)
