-- Runs the chunks of sandbox.c in the sandbox and judges what comes of them; and judges random tables as decisions.
local chance, make_chunk, iterations, seconds = ...
local kernel = require "keel.kernel"
local decision = require "keel.policy.decision"
local diagnostics = require "keel.policy.diagnostic"
local outcomes = require "keel.policy.outcome"

local INSTRUCTIONS, SECONDS, BYTES = 30000, 0.25, 1 << 20
local ROOM = (1 << 20) + (256 << 10) + 4096 -- for the state itself, and for what is granted after the stop

local counts, longest = {}, 0

local function count(what) counts[what] = (counts[what] or 0) + 1 end

-- --- Decisions ------------------------------------------------------------------------------------------------------

local inflight, ids = {}, { f1 = true }
for i = 1, 4 do
  inflight[i] = { run_id = "r" .. i, status = i > 2 and "pending" or "running", thread_id = "t",
    metadata = { n = i, list = { "a", "b" } } }
  ids["r" .. i] = true
end

local function are_known(list)
  for _, id in ipairs(list) do assert(ids[id], id) end
end

-- A decision that passes speaks of runs that were shown, in numbers within bounds; one that does not, has a reason.
local function judge(value)
  local made, problem = decision.check(value, inflight, { "f1" })
  count(made and "decided" or "refused")
  if made then
    assert(type(made.admit) == "boolean" and (made.action == "interrupt" or made.action == "rollback"))
    are_known(made.cancel)
    are_known(made.after)
    are_known { made.reuse }
    are_known { made.replace }
    assert(not made.concurrency or math.type(made.concurrency) == "integer" and made.concurrency >= 1)
    for _, name in ipairs { "delay", "within" } do
      assert(not made[name] or made[name] >= 0 and made[name] <= 1e9, name)
    end
  else
    assert(type(problem) == "string" and #problem > 0)
  end
  for _, check in ipairs { outcomes.check, diagnostics.check } do
    made, problem = check(value)
    assert(made and problem == nil or type(problem) == "string")
  end
end

local values = { true, false, 0, 1, -1, 1.5, 0 / 0, 1 / 0, -1 / 0, math.maxinteger, math.mininteger, 1e18, "", "all",
  "r1", "r9", "f1", "interrupt", "rollback", "error", inflight[1], inflight[3], kernel.null, print, io.stdout,
  coroutine.create(print), kernel.array {} }
local names = { "admit", "cancel", "action", "after", "reuse", "reason", "concurrency", "delay", "within", "replace",
  "position", "status", "error", "requeue", "stop_reason", "error_code", "severity", "code", "message", "subject" }
local OF_DECISIONS = 11

-- Any value: tables with holes, with themselves inside, with odd keys.
local function any(depth)
  if depth > 3 or chance(3) < 3 then return values[chance(#values)] end
  local t = {}
  for _ = 1, chance(5) - 1 do
    local value = chance(20) == 1 and t or any(depth + 1)
    local kind = chance(4)
    if kind == 1 then
      t[#t + 1] = value
    elseif kind == 2 then
      t[chance(5)] = value
    elseif kind == 3 then
      t[names[chance(#names)]] = value
    elseif value == value then
      t[value] = true
    end
  end
  return t
end

local function nearly_a_decision()
  local t = { admit = chance(3) > 1 }
  for _ = 1, chance(4) - 1 do t[names[chance(OF_DECISIONS)]] = any(1) end
  return t
end

-- --- Chunks ---------------------------------------------------------------------------------------------------------

local ends = { failed = true, budget = true }
local limits = { instructions = true, bytes = true, seconds = true }

local function call(box)
  local begun = kernel.monotonic()
  local ok, result, reason, line = box:call(INSTRUCTIONS, SECONDS, BYTES,
    { now = "x", options = {}, metadata = { 1 } }, inflight)
  longest = math.max(longest, kernel.monotonic() - begun)
  local instructions, bytes = box:usage()
  assert(instructions >= 0 and bytes >= 0 and bytes <= BYTES + ROOM, bytes)
  assert(line == nil or math.type(line) == "integer" and line > 0)
  if ok then
    judge(result)
    return "returned"
  end
  assert(ends[result], result)
  assert(type(reason) == "string" and (result == "failed" or limits[reason]), reason)
  return result == "budget" and reason or result
end

local function try(chunk)
  local box, problem = kernel.sandbox(chunk, "fuzz")
  if not box then
    assert(type(problem) == "string")
    return count "not loaded"
  end
  local first, second = call(box), call(box) -- a box that was used, or made again, does the same
  count(first)
  assert(first == second or first == "seconds" or second == "seconds", second)
end

local globals, begun, done = 0, kernel.monotonic(), 0
for _ in pairs(_G) do globals = globals + 1 end
while done < iterations and kernel.monotonic() - begun < seconds do
  local chunk = make_chunk()
  local ok, problem = pcall(try, chunk)
  if not ok then error(("%s\n--- the chunk:\n%s\n---"):format(problem, chunk)) end
  for _ = 1, 5 do
    judge(any(0))
    judge(nearly_a_decision())
  end
  assert(inflight[1].run_id == "r1" and #inflight == 4 and inflight[2].metadata.list[2] == "b", "what was shown")
  assert(not debug.gethook() and ("x").rep == string.rep, "the host's state")
  done = done + 1
end
for _ in pairs(_G) do globals = globals - 1 end
assert(globals == 0, "a global has come or gone")

local told = {}
for what, n in pairs(counts) do told[#told + 1] = what .. " " .. n end
table.sort(told)
print(("%d chunks: %s"):format(done, table.concat(told, ", ")))
print(("longest call %.1f ms, of a budget of %.0f ms"):format(longest * 1000, SECONDS * 1000))
