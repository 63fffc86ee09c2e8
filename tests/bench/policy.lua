-- What a sandboxed decision costs: the same strategy as a function of the host and as a loaded file, over four runs in
-- flight as a store gives them; alone, and in whole admissions at durability `full`. The sides take turns, so that what
-- else the machine does hits both.
--
-- Usage: lua5.4 tests/bench/policy.lua [ROUNDS] [FOLDER]
--   ROUNDS   of 2000 decisions and 100 admissions a side (default 15)
--   FOLDER   where the store and the script are made, and removed again (default: $TMPDIR or /tmp)
-- Needs LUA_PATH and LUA_CPATH to find keel, built with the release preset.
local keel = require "keel"
local kernel = require "keel.kernel"
local policies = require "keel.policy"

local rounds = tonumber(arg[1]) or 15
local base = ("%s/keel-bench-policy-%d"):format(arg[2] or os.getenv "TMPDIR" or "/tmp", math.random(1 << 30))
local DECISIONS, ADMISSIONS, INFLIGHT = 2000, 100, 4

local SOURCE = [[
return function(request, inflight)
  local quota, mine = request.options.per_user or 2, 0
  for _, run in ipairs(inflight) do
    if run.user_id == request.user_id then mine = mine + 1 end
  end
  if mine >= quota then
    return { admit = false, reason = ("%s has %d of %d runs in flight"):format(request.user_id, mine, quota) }
  end
  return { admit = true }
end
]]

local function median(list)
  table.sort(list)
  return list[#list // 2 + 1]
end

-- Seconds that one call of fn takes, on the average of `count`.
local function time_of(count, fn)
  local begun = kernel.monotonic()
  for i = 1, count do fn(i) end
  return (kernel.monotonic() - begun) / count
end

local file = assert(io.open(base .. ".lua", "w"))
file:write(SOURCE)
file:close()
local trusted = { name = "custom", version = "x", call = assert(load(SOURCE))() }
local loaded = assert(keel.load_policy(base .. ".lua"))
local boxed = loaded:as_policy()

local store = assert(keel.open(base .. ".db", { durability = "full" }))
local runs = keel.run_manager { store = store, strategies = { trusted = trusted.call, loaded = loaded,
  watched = assert(keel.load_policy(base .. ".lua", { reload = true })) } }
local metadata = { source = "gateway", tags = { "nightly", "eu-west" }, temperature = 0.7 }
for _ = 1, INFLIGHT do assert(runs:create("t", { user_id = "ada", metadata = metadata })) end
local rows = assert(store:list_inflight { thread_id = "t" })
local fields = 0
for _ in pairs(rows[1]) do fields = fields + 1 end

-- --- A decision alone -----------------------------------------------------------------------------------------------

local request = { thread_id = "t", user_id = "bob", options = { per_user = 3 }, metadata = metadata, kwargs = {},
  priority = 0, multitask_strategy = "x", inflight_count = #rows, finalizing = {}, now = store:now() }
local function deciding(policy)
  return function() assert(policies.call(policy, policies.default_budget, request, rows).admit) end
end
local alone = { trusted = {}, boxed = {} }
for i = 0, rounds do
  local of_trusted = time_of(DECISIONS, deciding(trusted))
  local of_boxed = time_of(DECISIONS, deciding(boxed))
  if i > 0 then -- the first round warms up
    alone.trusted[i], alone.boxed[i] = of_trusted, of_boxed
  end
end
local in_host, in_box = median(alone.trusted) * 1e6, median(alone.boxed) * 1e6
print(("a decision over %d runs of %d fields: host %.2f us, sandbox %.2f us: %.2f us more"):format(#rows, fields,
  in_host, in_box, in_box - in_host))

local fresh = time_of(500, function()
  local box = assert(kernel.sandbox(SOURCE, "bench"))
  assert(box:check(1000000, 1, 16 << 20))
end)
print(("a fresh sandbox, chunk compiled and run: %.1f us"):format(fresh * 1e6))

-- --- Whole admissions -----------------------------------------------------------------------------------------------

local function admitting(name)
  local options = { multitask_strategy = name, user_id = "bob", metadata = metadata,
    strategy_options = request.options }
  return function()
    local begun = kernel.monotonic()
    local run = assert(runs:create_or_reject("t", options))
    local took = kernel.monotonic() - begun
    assert(runs:delete(run.run_id))
    return took
  end
end
local sides = { "trusted", "loaded", "watched" }
local whole, admit = {}, {}
for _, name in ipairs(sides) do whole[name], admit[name] = {}, admitting(name) end
for _ = 1, rounds * ADMISSIONS do
  for _, name in ipairs(sides) do table.insert(whole[name], (admit[name]())) end
end
local plain = median(whole.trusted) * 1e6
for _, name in ipairs(sides) do
  local took = median(whole[name]) * 1e6
  print(("an admission at full, strategy %-8s %8.1f us  ratio %.3f"):format(name .. ":", took, took / plain))
end
print(("the sandboxed decision is %.1f %% of an admission at full"):format(in_box / plain * 100))

store:close()
for _, ending in ipairs { ".lua", ".db", ".db-wal", ".db-shm", ".db-sessions", ".db-wake" } do
  os.remove(base .. ending)
end
