--- What the kernel asks a server for while it works is found through indexes, whatever the server believes of the
--- tables. The texts are those that it sends: a child that does all that programs do tells them (KEEL_TRACE=sql).
local json = require("keel").json
local support = require "support"

local given = os.getenv "KEEL_TEST_POSTGRES"

-- Housekeeping is not in it: what looks at the whole store may scan.
local WORK = [[
  local store = assert(keel.open((...)))
  local runs = assert(keel.run_manager { store = store, lease_ttl = 60 })
  local started = assert(runs:create_or_reject("t", { idempotency_key = "k", user_id = "u", batch_id = "b" }))
  assert(runs:create_or_reject("t", { idempotency_key = "k", user_id = "u" }))
  runs:create_or_reject("t")
  assert(runs:try_start(started.run_id))
  assert(runs:heartbeat())
  assert(store:update_run_progress(started.run_id, { total_tokens = 1 }))
  assert(store:renew_runs(60))
  assert(store:find_by_key("k", { user_id = "u" }))
  assert(store:next_owner())
  assert(store:count_inflight "t")
  assert(store:transaction(function(tx)
    for _, count in ipairs { "inflight", "pending", "running" } do
      for _, filter in ipairs { "user_id", "handler", "batch_id", "thread_id", "slot" } do
        assert(tx:count_runs { count = count, [filter] = "t" })
      end
      assert(tx:count_runs { count = count })
    end
    return tx:count_runs { count = "started", rate = "api", per = 60 }
  end))
  assert(store:put(started.run_id, { user_id = "v" }))
  assert(store:gate(started.run_id))
  assert(store:lease_left(started.run_id))
  assert(runs:create_or_reject("t", { multitask_strategy = "enqueue" }))
  assert(runs:create_or_reject("t", { multitask_strategy = "interrupt" }))
  for i = 1, 3 do
    assert(store:put("c" .. i, { thread_id = "q", claimable = true, concurrency = 1, handler = i == 3 and "h" or nil }))
  end
  assert(store:put("w", { thread_id = "w", claimable = true, waits_for = { "c1" } }))
  assert(store:put("d", { thread_id = "d", claimable = true, scheduled_at = -1, deadline = 3600 }))
  assert(store:put("later", { thread_id = "d", claimable = true, scheduled_at = 3600 }))
  for _ = 1, 3 do
    local run = runs:claim_next() or runs:claim_next { handlers = { "h" } }
    if run then
      store:requeue(run.run_id, { fence = run.fence })
      local again = runs:claim_next()
      if again then runs:update_run_completion(again.run_id, { status = "success", total_tokens = 5 }) end
    end
  end
  local source = assert(runs:create("source")).run_id
  local dependent = assert(runs:create("after", { claimable = true, after = { source } })).run_id
  assert(store:gate(dependent))
  assert(runs:explain(dependent))
  assert(runs:try_start(source))
  assert(runs:set_status(source, "success"))
  local parent = assert(runs:create("parent")).run_id
  local child = assert(runs:create("child", { parent_run_id = parent })).run_id
  assert(runs:create("below", { parent_run_id = child, claimable = true }))
  assert(runs:cancel(parent))
  assert(store:set_limit("gpu", { max = 5 }))
  for _ = 1, 2 do
    assert(runs:create("limited", { claimable = true, handler = "gpu", slots = { { name = "gpu", max = 1 } },
      rates = { { name = "api", max = 9, per = 60 } } }))
  end
  local limited = assert(runs:claim_next { handlers = { "gpu" } })
  runs:claim_next { handlers = { "gpu" } }
  assert(runs:set_status(limited.run_id, "success"))
  assert(store:pause("gpu", { reason = "r" }))
  assert(store:resume "gpu")
  assert(store:limits())
  runs:cancel(started.run_id)
  store:request_cancel("w")
  runs:explain "c1"
  runs:wait("c1", { timeout = 0 })
  runs:list_by_thread "t"
  runs:has_inflight "t"
  assert(store:list_by_thread "t")
  assert(store:list_inflight {})
  assert(store:list_inflight { overdue = true })
  assert(store:list_inflight { thread_id = "t", session_id = store:session_id() })
  assert(store:list_inflight { batch_id = "b" })
  assert(store:list_runs { batch_id = "b" })
  assert(runs:batch "b")
  local failed = assert(runs:create("failed", { batch_id = "b", after = { "c1" } })).run_id
  assert(runs:set_status(failed, "error"))
  assert(runs:retry_all { batch_id = "b" })
  assert(runs:cancel_all { batch_id = "nobody's" })
  assert(store:newest_retry(failed))
  assert(runs:reconcile_orphaned_inflight_runs { error = "lost" })
  assert(runs:tick())
  assert(runs:schedule("s", { cron = "* * * * *", thread_id = "s" }))
  assert(runs:schedules())
  assert(runs:tick())
  assert(runs:unschedule "s")
  local lease = assert(store:acquire_lease("n", { ttl = 60 }))
  assert(store:renew_lease("n", lease.token, 60))
  store:acquire_lease("n", { ttl = 60 })
  assert(store:release_lease("n", lease.token) ~= nil)
  assert(store:sessions())
  store:claim_for_takeover("c2", { error = "lost" })
  store:settle("c2", {})
  assert(store:delete "later")
  assert(store:session_alive(1) ~= nil)
  local runtime = assert(keel.runtime { store = store, runtime_id = "rt" })
  local worker = assert(runtime:create_worker { idempotency_key = "w" }).worker_ref
  assert(runtime:create_worker { idempotency_key = "w" })
  for i = 1, 3 do
    assert(runtime:send_input(worker, { kind = "user", content = "c" .. i, idempotency_key = "i" .. i }))
  end
  assert(runtime:transcript_projection(worker))
  assert(runtime:summary())
  assert(runtime:list_workers())
  assert(runtime:worker_detail(worker))
  assert(runtime:diagnostics())
  assert(store:list_workers("rt", { active = true }))
  assert(runtime:read_events())
  assert(runtime:stop_worker(worker, "enough"))
  local dispatcher = keel.dispatcher { store = store }
  local function make() return { test_dir = "/srv", batch_id = "b" } end
  local test = assert(dispatcher:prepare_atomic("m", "h", make))
  assert(dispatcher:prepare_atomic("m", "h", make))
  assert(dispatcher:active_by_machine "m")
  assert(dispatcher:find_by_test_dir_hash_and_machine("h", "m"))
  assert(dispatcher:batch "b")
  test.status = "completed"
  assert(dispatcher:update(test))
  for _ = 1, 130 do
    assert(store:append_event { kind = "k", thread_id = "t", run_id = started.run_id, worker_ref = worker })
  end
  for _, filter in ipairs { {}, { run_id = started.run_id }, { thread_id = "t" }, { runtime_id = "rt" },
    { worker_ref = worker }, { kinds = { "k" } } } do
    assert(store:read_events(nil, 10, filter))
  end
  assert(store:wait_events(nil, { timeout = 0 }) ~= nil)
  assert(runs:shutdown { timeout = 0 })
  store:close()
]]

-- The texts that the work sends, and what the connection is set to before.
local function texts_of_work(uri)
  local child = support.spawn(WORK, { uri }, { env = { KEEL_TRACE = "sql" } })
  local code = child:wait()
  assert.equal(0, code, child.errors)
  local texts, seen, settings = {}, {}, nil
  for text in child.errors:gmatch "sql: ([^\n]+)" do
    assert.is_nil(text:find "%.%.%.$", "a text is longer than a line of the trace")
    if text:find "^SET search_path" then settings = settings or text end
    local is_dml = text:find "^SELECT" or text:find "^UPDATE" or text:find "^DELETE" or text:find "^INSERT"
    local is_opening = text:find("schema_version", 1, true) -- the schema is looked at once
    if is_dml and not is_opening and not text:find "^SELECT pg_" and not seen[text] then
      seen[text] = true
      texts[#texts + 1] = text
    end
  end
  return texts, assert(settings, "the trace has no settings: " .. child.errors:sub(1, 500))
end

local function psql(script)
  local path = support.dir() .. "/script"
  require("support.files").write(path, script)
  local pipe <close> = assert(io.popen(("psql --quiet --tuples-only --no-align --file='%s' '%s' 2>&1"):format(path,
    given)))
  return assert(pipe:read "a")
end

-- The plans of texts, each as the server's tree.
local function plans_of(texts, settings)
  local script = { settings, ";\n" }
  for i, text in ipairs(texts) do
    local count = 0
    for number in text:gmatch "%$(%d+)" do count = math.max(count, tonumber(number)) end
    local values = count > 0 and ("(%s)"):format(("NULL, "):rep(count - 1) .. "NULL") or ""
    script[#script + 1] = ("\\echo plan %d\nPREPARE p%d AS %s;\nEXPLAIN (VERBOSE, FORMAT JSON) EXECUTE p%d%s;\n")
      :format(i, i, text, i, values)
  end
  local plans, at = {}, nil
  for line in psql(table.concat(script)):gmatch "[^\n]*" do
    at = tonumber(line:match "^plan (%d+)$") or at
    if at and not line:find "^plan " then plans[at] = (plans[at] or "") .. line .. "\n" end
  end
  return plans
end

-- One row, or as many as there are processes, leases, and runs that are being stopped: few, and looked at whole.
local small = { store = true, schema_version = true, sessions = true, schedules = true, leased = true, stopping = true }

-- What a plan does besides searching. `limited`: an ordered walk below ends early.
local function faults(node, limited, found, young)
  local kind, relation = node["Node Type"], node["Relation Name"]
  if kind == "Seq Scan" and not small[relation] then found[#found + 1] = "scans " .. relation end
  if kind:find "^Index" and not node["Index Cond"] and not limited and not small[relation]
    and not young[node["Index Name"]] then
    found[#found + 1] = ("walks all of %s"):format(node["Index Name"])
  end
  for i, child in ipairs(node.Plans or {}) do
    -- A question whether there is any row ends with the first one.
    local is_exists = child["Parent Relationship"] == "InitPlan" and (child.Output or {})[1] == nil
    local passes = kind == "Limit" or limited and (kind == "Subquery Scan" or kind == "Result" or kind == "LockRows"
      or kind == "Nested Loop" and i == 1)
    faults(child, passes or is_exists, found, young)
  end
  return found
end

local RUNS = [[
INSERT INTO runs (run_id, thread_id, created_at, idempotency_key) SELECT 'r' || n, 't' || n % 1000, n, 'k' || n
  FROM generate_series(1, 50000) n;
INSERT INTO outcomes (seq, status, fence, revision, updated_at, priority) SELECT seq, 2, 1, 1, 1, 0 FROM runs
  WHERE seq > 20000;
]]
local REST = [[
INSERT INTO live (thread_id, seq, status, priority, created_at, fence, revision, updated_at, claimable, session_id)
  SELECT thread_id, seq, seq % 2, 0, created_at, 1, 1, 1, 1 - seq % 2, NULLIF(seq % 2, 0) FROM runs WHERE seq <= 20000;
INSERT INTO claims (line, priority, seq, thread_id, handler) SELECT seq % 7, 0, seq, thread_id, 'default'
  FROM runs WHERE seq <= 20000 AND seq % 2 = 0;
INSERT INTO keys (idempotency_key, user_id, seq) SELECT idempotency_key, '', seq FROM runs;
INSERT INTO events (id, kind, at, run_id, thread_id) SELECT n, 'k', n, 'r' || n, 't' || n % 1000
  FROM generate_series(1, 50000) n;
INSERT INTO events_of_run SELECT DISTINCT run_id, (id + 63) / 64 FROM events;
INSERT INTO events_of_thread SELECT DISTINCT thread_id, (id + 63) / 64 FROM events;
INSERT INTO later SELECT n, n FROM generate_series(1, 5000) n;
INSERT INTO due SELECT n, n FROM generate_series(1, 5000) n;
INSERT INTO lines (line, places, handler, ready, parked_name, priority, seq) SELECT n, 'p' || n, 'default', n % 2,
  CASE WHEN n % 2 = 0 THEN 'thread:t' || n END, 0, n FROM generate_series(1, 5000) n;
INSERT INTO runtimes (runtime_id, display_name, status, event_id, projection_max, batch_max, active_count,
  stopped_count, cancelled_count, diagnostic_count, diagnostic_last, created_at)
  SELECT 'rt' || n, '', 0, n, 1, 1, 1, 0, 0, 0, 0, 0
  FROM generate_series(1, 1000) n;
INSERT INTO workers (runtime, worker_id, status, intent, profile, requested_capabilities, capability_count,
  workspace_refs, mount_refs, transcript_len, last_event_id, created_at) SELECT n % 1000 + 1, 'w' || n, n % 2,
  '{}', '{}', '[]', 0, '[]', '[]', 0, 1, 0 FROM generate_series(1, 5000) n;
INSERT INTO transcripts (event_id, worker, sequence, role, content) SELECT n, n % 1000 + 1, n / 1000, 'user', ''
  FROM generate_series(1, 5000) n;
INSERT INTO diagnostics (runtime, id, severity, code, message, count) SELECT n % 1000 + 1, n, 'info', 'c' || n, '', 1
  FROM generate_series(1, 5000) n;
INSERT INTO dispatched SELECT n FROM generate_series(1, 5000) n;
INSERT INTO fingerprints SELECT 'f' || n, 't', n FROM generate_series(1, 5000) n;
INSERT INTO batches SELECT 'b' || n, n % 2, n FROM generate_series(1, 5000) n;
INSERT INTO limits (name, paused) SELECT 'l' || n, n % 2 FROM generate_series(1, 5000) n;
INSERT INTO holds SELECT 'l' || n % 500, n % 3, 1, n FROM generate_series(1, 5000) n;
INSERT INTO starts (name, at) SELECT 'l' || n % 500, n FROM generate_series(1, 5000) n;
INSERT INTO edges (source, dependent, wanted) SELECT n, n + 1, 1 FROM generate_series(1, 5000) n;
INSERT INTO counted SELECT n % 3 + 1, 'i' || n % 500, n % 2, n FROM generate_series(1, 5000) n;
INSERT INTO retries SELECT 'r' || n, n + 1 FROM generate_series(1, 5000) n;
INSERT INTO children SELECT 'r' || n, n + 1 FROM generate_series(1, 5000) n;
INSERT INTO windows SELECT 'l' || n, 1 FROM generate_series(1, 5000) n;
INSERT INTO leases (name, token, session_id, owner) SELECT 'l' || n, 1, 1, '' FROM generate_series(1, 1000) n;
INSERT INTO events_of_runtime SELECT 'rt' || id % 1000, id FROM events WHERE id < 5000;
INSERT INTO events_of_worker SELECT 'w' || id % 1000, id FROM events WHERE id < 5000;
]]

describe("What a server is asked for [#postgres]", function()
  if not given then return pending "KEEL_TEST_POSTGRES names no server" end
  after_each(support.clean_up)

  local texts, settings
  -- `young`: indexes that may be walked, too.
  local function in_state(fill, young)
    if not texts then texts, settings = texts_of_work(support.server_uri()) end
    local uri = support.server_uri()
    support.open(uri):close()
    local schema = uri:match "schema=([%w_]+)"
    local problem = psql(("SET search_path = %s;\n%s"):format(schema, fill))
    assert.equal("", problem)
    local found = {}
    for i, plan in pairs(plans_of(texts, (settings:gsub("spec_[%w_]+", schema)))) do
      local tree = json.decode(plan)
      if not tree then
        found[#found + 1] = ("%s\n  is not planned: %s"):format(texts[i], plan)
      else
        local list = faults(tree[1].Plan, false, {}, young or {})
        if #list > 0 then found[#found + 1] = ("%s\n  %s"):format(texts[i], table.concat(list, "; ")) end
      end
    end
    table.sort(found)
    assert.equal("", table.concat(found, "\n"))
  end

  it("is a good part of what there is", function()
    texts, settings = texts_of_work(support.server_uri())
    assert.is_true(#texts > 100, #texts)
  end)

  -- Of a table that was never analyzed the server takes ten pages for granted. So the few rows that are leased, or to
  -- be stopped, seem to be thousands, and it may begin at the other table. ANALYZE mends it, once.
  local young = { live_pkey = true, runs_pkey = true, lines_parked = true }

  it("is searched for in an empty store", function() in_state("", young) end)

  it("is searched for in a large one that nobody analyzed", function() in_state(RUNS .. REST, young) end)

  it("is searched for in one that was analyzed while tables were empty", function()
    in_state("ANALYZE;\n" .. RUNS .. "ANALYZE;\n" .. REST)
  end)
end)
