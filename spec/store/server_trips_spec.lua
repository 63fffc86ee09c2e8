--- Every operation on a server's store, with the connection lost before each of its messages in turn. All that it says
--- must be so: what failed was not done and may be tried again, what succeeded was done, once.
---
--- The suite takes every message of the operations that matter most, and every fifth of the others; KEEL_FAULTS=all
--- takes all, which takes a minute or two.
local keel = require "keel"
local proxies = require "support.proxy"
local support = require "support"

local MOST = 300 -- messages of one operation: more means that something goes round

-- Tries again what failed for a reason that passes, as a host does.
local function again(fn, ...)
  for _ = 1, 20 do
    local result, err = fn(...)
    if result ~= nil or not (type(err) == "table" and err.transient) then return result, err end
  end
  return fn(...)
end

local function events_of(store, run_id)
  return table.concat(support.pluck(support.events(store, { run_id = run_id }), "kind"), " ")
end

local NEW = "run_created"
local STARTED = NEW .. " run_started"

-- Each: `prepare(w)` gives what `act(w, it)` works on; `done(w, it)` says whether it was done: exactly once, or not at
-- all; anything else it raises. `step`: how far it is to the next message that meets with an accident. w: store and
-- runs through the proxy, and witness, a handle that is not disturbed.
local operations = {}

local function run(w, options) return assert(again(w.runs.create_or_reject, w.runs, w.fresh(), options)) end

local function started(w, options)
  local made = run(w, options)
  assert.equal("started", again(w.runs.try_start, w.runs, made.run_id))
  return made
end

-- Whether the events of a run are those of before, or those of after.
local function went(w, it, before, after)
  local found = events_of(w.witness, it.run_id)
  if found ~= before then assert.equal(after, found) end
  return found == after
end

operations["admit"] = {
  step = 1,
  prepare = function(w) return { thread_id = w.fresh() } end,
  act = function(w, it) return w.runs:create_or_reject(it.thread_id) end,
  done = function(w, it)
    local list = assert(w.witness:list_by_thread(it.thread_id))
    assert.is_true(#list <= 1)
    return #list == 1 and went(w, list[1], "", NEW)
  end,
}
operations["put"] = {
  prepare = function(w) return { run_id = w.fresh() } end,
  act = function(w, it) return w.store:put(it.run_id, { thread_id = "put" }) end,
  done = function(w, it) return w.witness:get(it.run_id) ~= nil and went(w, it, "", NEW) end,
}
operations["start"] = {
  step = 1,
  prepare = run,
  act = function(w, it) return w.runs:try_start(it.run_id) end,
  done = function(w, it) return went(w, it, NEW, STARTED) end,
}
operations["finish"] = {
  step = 1,
  prepare = started,
  act = function(w, it) return w.runs:update_run_completion(it.run_id, { status = "success" }) end,
  done = function(w, it) return went(w, it, STARTED, STARTED .. " run_finished") end,
}
operations["finish with a slot"] = {
  prepare = function(w) return started(w, { slots = { { name = "gpu", max = 9 } } }) end,
  act = function(w, it) return w.runs:update_run_completion(it.run_id, { status = "success" }) end,
  done = function(w, it) return went(w, it, STARTED, STARTED .. " run_finished") end,
}
operations["progress"] = {
  prepare = started,
  act = function(w, it) return w.runs:update_run_progress(it.run_id, { total_tokens = 7 }) end,
  done = function(w, it) return w.witness:get(it.run_id).total_tokens == 7 end,
}
operations["cancel"] = {
  prepare = run,
  act = function(w, it) return w.runs:cancel(it.run_id) end,
  done = function(w, it) return w.witness:get(it.run_id).status == "interrupted" end,
}
operations["claim"] = {
  step = 1,
  prepare = function(w) return run(w, { claimable = true }) end,
  act = function(w) return w.runs:claim_next() end,
  done = function(w, it) return went(w, it, NEW, STARTED) end,
  last = function(w, it) assert(again(w.runs.set_status, w.runs, it.run_id, "success")) end,
}
operations["claim again of nothing"] = {
  prepare = function(w)
    local claimed, err = again(w.runs.claim_next, w.runs)
    assert(claimed == nil and err == nil, err)
    return {}
  end,
  act = function(w) return w.runs:claim_next() end,
}
operations["give back"] = {
  prepare = function(w)
    run(w, { claimable = true })
    return assert(again(w.runs.claim_next, w.runs))
  end,
  act = function(w, it) return w.runs:requeue(it.run_id) end,
  done = function(w, it) return went(w, it, STARTED, STARTED .. " run_requeued") end,
  last = function(w)
    local claimed = assert(again(w.runs.claim_next, w.runs))
    assert(again(w.runs.set_status, w.runs, claimed.run_id, "success"))
  end,
}
operations["heartbeat"] = { prepare = started, act = function(w) return w.runs:heartbeat() end }
operations["recover"] = {
  prepare = function() return {} end,
  act = function(w) return w.runs:reconcile_orphaned_inflight_runs { error = "lost" } end,
}
operations["delete"] = {
  prepare = function(w)
    local made = started(w)
    assert(again(w.runs.set_status, w.runs, made.run_id, "success"))
    return made
  end,
  act = function(w, it) return w.store:delete(it.run_id) end,
  done = function(w, it) return w.witness:get(it.run_id) == nil end,
}
operations["a transaction of two puts"] = {
  prepare = function(w) return { one = w.fresh(), two = w.fresh() } end,
  act = function(w, it)
    return w.store:transaction(function(tx)
      for _, id in pairs(it) do
        local put, err = tx:put(id, { thread_id = "pairs" })
        if not put then return nil, err end
      end
    end)
  end,
  done = function(w, it)
    local one, two = w.witness:get(it.one), w.witness:get(it.two)
    assert.equal(one == nil, two == nil)
    return one ~= nil
  end,
}
operations["event append"] = {
  prepare = function(w) return { message = w.fresh() } end,
  act = function(w, it) return w.store:append_event { kind = "note", message = it.message } end,
  done = function(w, it)
    local count = 0
    for _, event in ipairs(support.events(w.witness)) do
      if event.message == it.message then count = count + 1 end
    end
    assert.is_true(count <= 1)
    return count == 1
  end,
}
operations["event read"] = { prepare = function() return {} end,
  act = function(w) return w.store:read_events(nil, 5) end }
operations["event read of a run"] = { prepare = run,
  act = function(w, it) return w.store:read_events(nil, 5, { run_id = it.run_id }) end }
operations["wait for events"] = { prepare = run,
  act = function(w) return w.store:wait_events(nil, { timeout = 5 }) end }
operations["lease"] = {
  prepare = function(w) return { name = w.fresh() } end,
  act = function(w, it) return w.store:acquire_lease(it.name, { ttl = 60 }) end,
  done = function(w, it)
    local grant = w.witness:get_lease(it.name)
    return grant ~= nil and grant.token == 1
  end,
}
operations["lease renewed"] = {
  step = 1,
  prepare = function(w)
    local name = w.fresh()
    return { name = name, token = assert(again(w.store.acquire_lease, w.store, name, { ttl = 60 })).token }
  end,
  act = function(w, it) return w.store:renew_lease(it.name, it.token, 600) end,
}
operations["lease released"] = {
  prepare = operations["lease renewed"].prepare,
  act = function(w, it) return w.store:release_lease(it.name, it.token) end,
  done = function(w, it) return not w.witness:get_lease(it.name).held end,
}
operations["runtime"] = {
  prepare = function(w) return { id = w.fresh() } end,
  act = function(w, it) return w.store:open_runtime(it.id) end,
  done = function(w, it) return w.witness:runtime_summary(it.id) ~= nil end,
}
local function runtime(w)
  local it = { id = w.fresh() }
  assert(again(w.store.open_runtime, w.store, it.id))
  return it
end
local REQUEST = { intent = {}, profile = {}, requested_capabilities = {}, workspace_refs = {}, mount_refs = {} }
operations["worker"] = {
  prepare = runtime,
  act = function(w, it) return w.store:create_worker(it.id, REQUEST) end,
  done = function(w, it)
    local list = assert(w.witness:list_workers(it.id))
    assert.is_true(#list <= 1)
    return #list == 1
  end,
}
local function worker(w)
  local it = runtime(w)
  it.ref = assert(again(w.store.create_worker, w.store, it.id, REQUEST)).worker_ref
  return it
end
operations["worker's input"] = {
  prepare = worker,
  act = function(w, it) return w.store:send_worker_input(it.id, it.ref, { kind = "user", content = "hello" }) end,
  done = function(w, it)
    local items = assert(w.witness:read_transcript(it.id, it.ref)).items
    assert.is_true(#items <= 1)
    return #items == 1
  end,
}
operations["worker ended"] = {
  prepare = worker,
  act = function(w, it) return w.store:end_worker(it.id, it.ref, "stopped") end,
  done = function(w, it) return #assert(w.witness:list_workers(it.id, { active = true })) == 0 end,
}
operations["diagnostic"] = {
  prepare = runtime,
  act = function(w, it)
    return w.store:record_diagnostic(it.id, { severity = "info", code = "c", message = "m" })
  end,
  done = function(w, it)
    local list = assert(w.witness:list_diagnostics(it.id))
    assert.is_true(#list == 0 or (#list == 1 and list[1].count == 1))
    return #list == 1
  end,
}
operations["prune"] = { prepare = function() return {} end,
  act = function(w) return w.store:prune_step { before = "2000-01-01T00:00:00Z" } end }
operations["listing"] = { prepare = started,
  act = function(w) return w.store:list_inflight { overdue = true } end }
operations["verify"] = { step = 40, prepare = function() return {} end, act = function(w) return w.store:verify() end }
operations["opening"] = {
  prepare = function() return {} end,
  act = function(w)
    local opened, err = keel.open(w.uri)
    if not opened then return nil, err end
    opened:close()
    return true
  end,
}

-- How often an operation waits for an answer: a change of a run is two, the question with its locks and the rest with
-- the commit.
local trips = { start = 2, finish = 2, cancel = 2, progress = 2, ["event append"] = 2, admit = 3, put = 3, delete = 3,
  ["event read"] = 3, listing = 3, heartbeat = 1, claim = 8, ["finish with a slot"] = 3,
  ["claim again of nothing"] = 1 }

describe("A server that ends the connection before the N-th message of an operation", function()
  if not os.getenv "KEEL_TEST_POSTGRES" then return pending "KEEL_TEST_POSTGRES names no server" end
  local proxy, w
  before_each(function()
    local uri = support.server_uri()
    local made = 0
    w = { witness = support.open(uri) }
    proxy = proxies.start(uri)
    w.uri, w.store = proxy.uri, support.open(proxy.uri)
    w.runs = support.manager(w.store, { retry = keel.retry_policy { max_attempts = 1 } })
    function w.fresh()
      made = made + 1
      return "x" .. made
    end
  end)
  after_each(support.clean_up)

  -- One try, the N-th message of which meets with an accident, if it has so many.
  local function try(name, operation, n)
    local where = ("%s, message %d"):format(name, n)
    local it = operation.prepare(w)
    proxy:lose("trip", n)
    local result, err = operation.act(w, it)
    local lost = proxy:told().lost
    proxy:lose "count"
    if result == nil and err ~= nil then
      assert.is_true(lost, where .. ": " .. tostring(err))
      assert.is_table(err, where)
      assert.is_true(err.transient, where .. ": " .. tostring(err))
    end
    local failed = result == nil and err ~= nil
    if operation.done then assert.equal(not failed, operation.done(w, it), where .. ": " .. tostring(err)) end
    if failed then
      result, err = again(operation.act, w, it)
      assert.is_nil(err, where .. ", again: " .. tostring(err))
      assert.is_not_nil(result, where)
      if operation.done then assert.is_true(operation.done(w, it), where .. ", again") end
    end
    if operation.last then operation.last(w, it) end
    return lost
  end

  it("waits for the server as seldom as it can, once its statements are known there", function()
    local counted = {}
    for _, name in ipairs(support.sorted_keys(trips)) do -- what one leaves, the next may find
      local operation = operations[name]
      for _ = 1, 2 do
        local given = operation.prepare(w)
        proxy:lose "count"
        local result, err = operation.act(w, given)
        counted[name] = proxy:told().trips
        assert.is_true(result ~= nil or err == nil, name .. ": " .. tostring(err))
        if operation.last then operation.last(w, given) end
      end
    end
    assert.same(trips, counted)
  end)

  for _, name in ipairs(support.sorted_keys(operations)) do
    it("PG-4: has done or undone it, as it says: " .. name, function()
      again(w.store.session_id, w.store)
      local step = os.getenv "KEEL_FAULTS" == "all" and 1 or operations[name].step or 5
      local n = 1
      while try(name, operations[name], n) and n < MOST do n = n + step end
      assert.is_true(n > 1 and n < MOST, "messages: " .. n)
      assert.same({}, w.witness:verify())
    end)
  end
end)
