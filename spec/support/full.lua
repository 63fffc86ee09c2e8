--- A store with something in every table, and what a file of one holds.
local keel = require "keel"
local runtimes = require "support.runtime"
local support = require "support"

local M = {}

--- Fills the tables. What is in flight: seven runs, two of them somebody's.
function M.fill(store)
  local session = store:session_id()
  local runs = support.manager(store)
  assert(store:put("ended", { thread_id = "t", status = "error", error = "zero \0, one \1, two \2", exit_code = 3,
    metadata = { text = "\0", list = { 1, 2.5 } }, batch_id = "b", idempotency_key = "k", user_id = "ü" }))
  assert(store:put("running", { thread_id = "t", status = "running", session_id = session }))
  assert(store:put("stopping", { thread_id = "u", status = "running", session_id = session }))
  assert(store:request_cancel "stopping")
  assert(store:put("claimable", { thread_id = "v", claimable = true, priority = -3 }))
  assert(store:put("queued", { thread_id = "t", claimable = true, concurrency = 1, handler = "h" }))
  assert(store:put("later", { thread_id = "w", claimable = true, scheduled_at = store:now(),
    deadline = "2096-10-02T07:06:40Z" }))
  assert(runs:create("x", { scheduled_at = "2096-10-02T07:06:40Z", deadline = "2097-10-02T07:06:40Z" }))
  local leased = support.manager(store, { lease_ttl = 60 })
  assert(leased:try_start(assert(leased:create "y").run_id))
  assert(store:acquire_lease("n", { ttl = 60 }))
  assert(keel.dispatcher { store = store }:prepare_atomic("m1", "h1", function() return { test_dir = "/srv" } end))
  assert(store:transaction(function(tx)
    for i = 1, 70 do -- beyond a block of the log
      assert(tx:append_event { kind = "note", run_id = "ended", thread_id = "t", data = { number = i } })
    end
  end))
  assert(runs:schedule("nightly", { cron = "0 4 * * *", thread_id = "nights" }))
  assert(store:set_limit("gpu", { max = 5 }))
  for _ = 1, 2 do
    assert(runs:create("limited", { claimable = true, handler = "gpu", slots = { { name = "gpu", max = 1 } },
      rates = { { name = "api", max = 9, per = 60 } } }))
  end
  assert(runs:claim_next { handlers = { "gpu" } })
  assert(runs:create("after", { claimable = true, after = { "claimable" }, parent_run_id = "claimable" }))
  assert(runs:cancel(assert(runs:retry "ended").run_id))
  local runtime = runtimes.open(store)
  assert(runtime:create_worker())
  runtimes.say(runtime, runtimes.worker(runtime), "a", "b")
  assert(store:transaction(function(tx) -- more than are worked off in one: what comes after it would go on
    for i = 1, 1001 do assert(tx:put("after" .. i, { thread_id = "after", after = { "queued" } })) end
    return tx:update_status("queued", "interrupted")
  end))
end

local function sqlite(path, sql)
  local pipe <close> = assert(io.popen(("sqlite3 -readonly '%s' \"%s\""):format(path, sql)))
  return assert(pipe:read "a")
end

--- The rows of each table of a store in a file, as text: { [table] = rows }. Without the sessions, and the epoch.
function M.rows(path)
  local rows, queries = {}, {}
  for name, columns in sqlite(path, "SELECT t.name, group_concat('replace(quote(' || c.name || '), char(10), char(9))')"
    .. " FROM sqlite_schema t JOIN pragma_table_info(t.name) c WHERE t.type = 'table' AND t.name <> 'sessions'"
    .. " AND c.name <> 'epoch' GROUP BY t.name"):gmatch "([^\n|]+)|([^\n]+)" do
    if not name:find "^sqlite_" then
      rows[name] = ""
      queries[#queries + 1] = ("SELECT '%s', %s FROM %s ORDER BY %s;"):format(name, columns, name, columns)
    end
  end
  for name, row in sqlite(path, table.concat(queries)):gmatch "([^\n|]+)|([^\n]+)" do
    rows[name] = rows[name] .. row .. "\n"
  end
  return rows
end

return M
