--- Histories for the gate: made at random from a seed, played on a store and on the model, compared after every step. A
--- history that fails is made as short as it can be, and printed as a script.
local Model = require "support.gate_model"
local keel = require "keel"
local kernel = require "keel.kernel"

local history = {}

local EPOCH = keel.seconds "2026-01-01T00:00:00+00:00"

-- --- A world: the model, and managers of one store ------------------------------------------------------------------

--- Opens a world. `open(options)` opens the store once more.
---@param open fun(options: table): keel.Store
---@param managers integer handles; a store in memory has one
function history.world(open, managers)
  local world = { model = Model.new(), stores = {}, open = open }
  function world.clock() return EPOCH + world.model.now end
  function world.reopen(i) world.stores[i] = open { clock = world.clock, durability = "off" } end
  for i = 1, managers do world.reopen(i) end
  return world
end

-- --- Steps ----------------------------------------------------------------------------------------------------------

-- By kind: may(model, step) says whether it fits what there is now; play does it to both sides, and gives what the
-- store came to and what it should have; write gives the line of a script.
local steps = {}

local function run_of(model, step) return model.runs[step.run] end
local function is_pending(model, step) return run_of(model, step) and run_of(model, step).status == "pending" end
local function is_running(model, step) return run_of(model, step) and run_of(model, step).status == "running" end
local function is_in_flight(model, step) return is_pending(model, step) or is_running(model, step) end

-- The fields of a row.
local function row_of(fields, now)
  local row = { thread_id = fields.thread, priority = fields.priority, handler = fields.handler,
    concurrency = fields.concurrency, strict = fields.strict, slots = fields.slots, rates = fields.rates,
    after = fields.after, batch_id = fields.batch_id, claimable = not fields.owner or nil, attempt = 1 }
  if fields.at then row.scheduled_at = fields.at - now end -- a number is from now, by the store's clock
  return row
end

steps.admit = {
  may = function(model, step)
    if model.runs[step.run] then return false end
    for _, source in ipairs(step.after or {}) do
      if source.run_id and not model.runs[source.run_id] then return false end
      if source.batch_id and not model:has_batch(source.batch_id) then return false end
    end
    return true
  end,
  play = function(world, step)
    local store = world.stores[step.owner or step.by]
    local row = row_of(step, world.model.now)
    if step.owner then row.session_id = store:session_id() end
    local ok, err = store:put(step.run, row)
    world.model:admit({ id = step.run, thread = step.thread, priority = step.priority, handler = step.handler,
      concurrency = step.concurrency, strict = step.strict, slots = step.slots, rates = step.rates, after = step.after,
      batch_id = step.batch_id, at = step.at }, step.owner)
    return ok or err, true
  end,
  write = function(step, now)
    local row = row_of(step, now)
    return ("assert(stores[%d]:put(%q, %s))"):format(step.owner or step.by, step.run, history.show(row,
      step.owner and ("session_id = stores[%d]:session_id()"):format(step.owner)))
  end,
}

steps.claim = {
  may = function() return true end,
  play = function(world, step)
    local run, err = world.stores[step.by]:claim_next { handlers = step.handlers, threads = step.threads }
    local expected = world.model:next_claim(step)
    if expected then world.model:start(expected, step.by) end
    return err or run and run.run_id, expected and expected.id
  end,
  write = function(step)
    return ("print('claimed', stores[%d]:claim_next(%s))"):format(step.by,
      history.show { handlers = step.handlers, threads = step.threads })
  end,
}

steps.start = {
  may = function(model, step) return is_pending(model, step) and run_of(model, step).owner ~= nil end,
  play = function(world, step)
    local run = run_of(world.model, step)
    local found, written, gate = world.stores[run.owner]:start(step.run)
    local reason = world.model:reasons(run)[1]
    if not reason then world.model:start(run, run.owner) end
    return found and (gate and gate.gate or written.status) or written, reason or "running"
  end,
  write = function(step) return ("print('started', stores[%d]:start(%q))"):format(step.by, step.run) end,
}

steps.finish = {
  may = is_in_flight,
  play = function(world, step)
    local ok, err = world.stores[step.by]:update_status(step.run, step.status, { finalizing = step.finalizing })
    world.model:finish(run_of(world.model, step), step.status, step.finalizing)
    return ok or err, true
  end,
  write = function(step)
    return ("assert(stores[%d]:update_status(%q, %q, { finalizing = %s }))"):format(step.by, step.run, step.status,
      step.finalizing)
  end,
}

steps.settle = {
  may = function(model, step) return run_of(model, step) and run_of(model, step).finalizing end,
  play = function(world, step)
    local ok, err = world.stores[step.by]:settle(step.run)
    world.model:settle(run_of(world.model, step))
    return err or ok, true
  end,
  write = function(step) return ("assert(stores[%d]:settle(%q))"):format(step.by, step.run) end,
}

steps.requeue = {
  may = is_running,
  play = function(world, step)
    local ok, err = world.stores[step.by]:requeue(step.run, { delay = step.delay, attempt = step.attempt })
    world.model:give_back(run_of(world.model, step), step.delay)
    return ok or err, true
  end,
  write = function(step)
    return ("assert(stores[%d]:requeue(%q, { delay = %s, attempt = %s }))"):format(step.by, step.run, step.delay,
      step.attempt)
  end,
}

steps.delete = {
  may = run_of,
  play = function(world, step)
    local ok, err = world.stores[step.by]:delete(step.run)
    world.model:delete(run_of(world.model, step))
    return ok or err, true
  end,
  write = function(step) return ("assert(stores[%d]:delete(%q))"):format(step.by, step.run) end,
}

steps.prioritize = {
  may = is_pending,
  play = function(world, step)
    local ok, err = world.stores[step.by]:put(step.run, { priority = step.priority })
    run_of(world.model, step).priority = step.priority
    return ok or err, true
  end,
  write = function(step)
    return ("assert(stores[%d]:put(%q, { priority = %d }))"):format(step.by, step.run, step.priority)
  end,
}

-- The runs that a clock is set back for: they were due, and are not any more.
local function made_early(model, seconds)
  local early = {}
  for _, run in pairs(model.runs) do
    local at = run.status == "pending" and run.at
    if at and at <= model.now and at > model.now + seconds then early[#early + 1] = run end
  end
  return early
end

steps.advance = {
  may = function() return true end,
  play = function(world, step)
    local early = made_early(world.model, step.seconds)
    world.model:advance(step.seconds)
    -- Who waits behind one that is not due any more learns of it when something happens to that one, or on its thread.
    for _, run in ipairs(early) do
      if run.owner then assert(world.stores[run.owner]:start(run.id)) end
      assert(world.stores[1]:put(run.id, { priority = run.priority }))
    end
    -- What a clock that was put back leaves in the future counts from now on once somebody looks for something to do.
    if step.seconds < 0 then world.stores[1]:claim_next { threads = { "nobody's" } } end
    return true, true
  end,
  write = function(step)
    local line = ("now = now + %d"):format(step.seconds)
    if step.seconds < 0 then
      line = line .. " -- and what is early by it is written to\nstores[1]:claim_next { threads = { \"nobody's\" } }"
    end
    return line
  end,
}

-- The process of a manager dies, and another one recovers what it left.
steps.die = {
  may = function(_, step) return step.by ~= step.owner end,
  play = function(world, step)
    local session = world.stores[step.owner]:session_id()
    world.stores[step.owner]:close()
    while world.stores[step.by]:session_alive(session) do kernel.sleep(0.001) end -- a server takes a moment
    local lost = {}
    for _, run in pairs(world.model.runs) do
      if run.owner == step.owner and not Model.is_final(run) then lost[#lost + 1] = run.id end
    end
    table.sort(lost)
    local taken, expected = {}, {}
    for i, id in ipairs(lost) do
      local run = world.model.runs[id]
      taken[i] = world.stores[step.by]:claim_for_takeover(id, { requeue = step.requeue }) and id or id .. " is left"
      expected[i] = Model.is_final(run) and id .. " is left" or id -- it may have been failed by the one before
      if not Model.is_final(run) then
        if step.requeue then world.model:give_back(run) else world.model:finish(run, "error") end
      end
      if step.requeue and run.status == "pending" then run.tried = true end -- a loss counts as a try
    end
    world.reopen(step.owner)
    return table.concat(taken, " "), table.concat(expected, " ")
  end,
  write = function(step)
    return ("stores[%d]:close() recover(stores[%d], { requeue = %s }) stores[%d] = open()"):format(step.owner, step.by,
      step.requeue, step.owner)
  end,
}

steps.limit = {
  may = function() return true end,
  play = function(world, step)
    local ok, err = world.stores[step.by]:set_limit(step.name, { max = step.max or keel.null,
      per = step.per or keel.null, paused = step.paused })
    local limit = world.model.limits[step.name] or {}
    limit.max, limit.per = step.max, step.per
    if step.paused ~= nil then limit.paused = step.paused end
    world.model.limits[step.name] = limit
    return ok and true or err, true
  end,
  write = function(step)
    return ("assert(stores[%d]:set_limit(%q, { max = %s, per = %s, paused = %s }))"):format(step.by, step.name,
      step.max or "keel.null", step.per or "keel.null", step.paused)
  end,
}

steps.pause = {
  may = function() return true end,
  play = function(world, step)
    local store = world.stores[step.by]
    local ok, err
    if step.paused then ok, err = store:pause(step.name) else ok, err = store:resume(step.name) end
    local limit = world.model.limits[step.name] or {}
    limit.paused = step.paused
    world.model.limits[step.name] = limit
    return err or ok ~= nil, true
  end,
  write = function(step)
    return ("assert(stores[%d]:%s(%q) ~= nil)"):format(step.by, step.paused and "pause" or "resume", step.name)
  end,
}

-- --- Comparing ------------------------------------------------------------------------------------------------------

-- What the store and the model say of all runs, as a text each.
local function states(world)
  local model, store = world.model, world.stores[1]
  local said, meant = {}, {}
  for id, run in pairs(model.runs) do
    local row = store:get(id)
    local settled = row and not row.finalizing
    local gate = row and row.status == "pending" and store:gate(id)
    said[#said + 1] = ("%s %s %s %s"):format(id, row and row.status, settled and "settled" or "finalizing",
      gate and gate.gate or "")
    local reason = run.status == "pending" and (model:reasons(run)[1] or "open")
    meant[#meant + 1] = ("%s %s %s %s"):format(id, run.status, run.finalizing and "finalizing" or "settled",
      reason or "")
  end
  table.sort(said)
  table.sort(meant)
  return table.concat(said, "\n"), table.concat(meant, "\n")
end

-- Plays a step; nil, or in what the two differ.
local function play(world, step, is_last)
  local kind = steps[step.kind]
  if not kind.may(world.model, step) then return nil end
  local said, meant = kind.play(world, step)
  if said ~= meant then
    return ("it gave %s instead of %s"):format(tostring(said), tostring(meant))
  end
  local seen, wanted = states(world)
  if seen ~= wanted then return ("the store says\n%s\nthe model\n%s"):format(seen, wanted) end
  if is_last then
    local problems = world.stores[1]:verify()
    if #problems > 0 then return "verify: " .. keel.json.encode(keel.array(problems)) end
  end
end

--- Plays a list of steps in a new world. Gives nil, or the number of the step that failed and why.
---@param world table
---@param list table[]
---@param verify_every? integer steps
---@return integer? failed
---@return string? why
function history.play(world, list, verify_every)
  for i, step in ipairs(list) do
    local why = play(world, step, i == #list or i % (verify_every or 50) == 0)
    if why then return i, why end
    history.forget(world)
  end
end

-- --- At random ------------------------------------------------------------------------------------------------------

local THREADS = { "a", "b", "c" }
local HANDLERS = { "default", "h" }
local SLOTS = { "gpu", "net", "user:1" }
local RATES = { { name = "mail", per = 10 }, { name = "net", per = 25 } }

--- A generator of steps from a seed. `features` says what they may use: { after, limits, pause, managers }.
function history.generator(seed, features)
  local state = seed * 2654435761 % 2 ^ 31 | 0
  local function chance(n) -- from 1 to n
    state = (state * 1103515245 + 12345) & 0x7fffffff
    return (state >> 8) % n + 1
  end
  local function one_of(list) return list[chance(#list)] end
  local made = 0
  local makers = {}

  local function any(model, is)
    local ids = {}
    for id, run in pairs(model.runs) do
      if not is or is(run) then ids[#ids + 1] = id end
    end
    table.sort(ids)
    return ids[1] and one_of(ids)
  end
  local function manager() return chance(features.managers) end

  local function add_limits(step)
    if chance(3) > 1 then
      step.slots = {}
      for i = 1, chance(2) do step.slots[i] = { name = SLOTS[(chance(3) + i) % 3 + 1], max = chance(3) } end
      if step.slots[2] and step.slots[2].name == step.slots[1].name then step.slots[2] = nil end
    end
    if chance(4) == 1 then
      local rate = one_of(RATES)
      step.rates = { { name = rate.name, max = chance(3), per = rate.per } }
    end
  end

  function makers.admit(model)
    made = made + 1
    local step = { kind = "admit", run = "r" .. made, thread = one_of(THREADS), priority = chance(4) == 1 and chance(3)
      or nil, by = manager(), owner = chance(3) == 1 and manager() or nil }
    if chance(2) == 1 then step.concurrency = chance(2) end
    if step.concurrency and chance(4) == 1 then step.strict = true end
    if chance(4) == 1 then step.handler = "h" end
    if chance(5) == 1 then step.at = model.now + chance(20) end
    if features.limits and chance(2) == 1 then add_limits(step) end
    if features.after and chance(3) == 1 then
      step.batch_id = one_of { "B", "C" }
    end
    local source = features.after and chance(3) == 1 and any(model)
    if source then
      step.after = { { run_id = source, on = one_of { "success", "final" } } }
      local other = chance(3) == 1 and any(model)
      if other and other ~= source then step.after[2] = { run_id = other, on = one_of { "success", "final" } } end
    elseif features.after and chance(6) == 1 then
      local batch = step.batch_id == "B" and "C" or "B"
      if model:has_batch(batch) then
        step.after = { { batch_id = batch, on = one_of { "success", "final" } } }
      end
    end
    if step.after then step.batch_id = nil end -- it might wait for its own batch, which is refused
    return step
  end

  function makers.claim()
    local asked = chance(4)
    return { kind = "claim", by = manager(), handlers = asked == 1 and { one_of(HANDLERS) } or nil,
      threads = asked == 2 and { one_of(THREADS) } or nil }
  end
  local function of(kind, is, complete)
    makers[kind] = function(model)
      local id = any(model, is)
      if not id then return nil end
      local step = { kind = kind, run = id, by = manager() }
      if complete then complete(step, model) end
      return step
    end
  end
  of("start", function(run) return run.status == "pending" and run.owner end,
    function(step, model) step.by = model.runs[step.run].owner end)
  of("finish", function(run) return run.status == "running" end, function(step)
    step.status = one_of { "success", "success", "error", "timeout", "interrupted" }
    step.finalizing = chance(4) == 1
  end)
  of("settle", function(run) return run.finalizing end)
  of("requeue", function(run) return run.status == "running" end, function(step)
    step.delay = chance(2) == 1 and chance(15) or nil
    step.attempt = chance(2) == 1
  end)
  of("delete")
  of("prioritize", function(run) return run.status == "pending" end, function(step) step.priority = chance(4) - 1 end)
  of("cancel", function(run) return run.status == "pending" end, function(step)
    step.kind, step.status, step.finalizing = "finish", "interrupted", false
  end)
  function makers.advance()
    local back = chance(6) == 1
    return { kind = "advance", seconds = back and -chance(12) or chance(10) }
  end
  function makers.die()
    local owner = manager()
    return { kind = "die", owner = owner, by = owner % features.managers + 1, requeue = chance(2) == 1 }
  end
  function makers.limit()
    local rate = chance(3) == 1 and one_of(RATES)
    local max = chance(4) > 1 and chance(4) - 1 or nil
    return { kind = "limit", by = manager(), name = rate and rate.name or one_of(SLOTS), max = max,
      per = max and rate and chance(2) == 1 and rate.per or nil }
  end
  function makers.pause()
    return { kind = "pause", by = manager(), paused = chance(3) == 1,
      name = one_of { "gpu", "net", "mail", "thread:a", "thread:b", "*" } }
  end

  local weights = { admit = 8, claim = 8, start = 4, finish = 7, settle = 3, requeue = 2, delete = 1, prioritize = 1,
    cancel = 1, advance = 3, die = features.managers > 1 and 1 or 0, limit = features.limits and 2 or 0,
    pause = features.pause and 2 or 0 }
  local kinds = {}
  for kind, weight in pairs(weights) do
    for _ = 1, weight do kinds[#kinds + 1] = kind end
  end
  table.sort(kinds)

  --- The next step. A world of too many runs is slow, and tells nothing that a small one does not.
  return function(model)
    local step
    repeat
      local kind, in_flight = one_of(kinds), 0
      for _, run in pairs(model.runs) do in_flight = in_flight + (Model.is_settled(run) and 0 or 1) end
      if kind == "admit" and in_flight >= 14 then kind = "finish" end
      step = makers[kind](model)
    until step
    return step
  end
end

-- --- Shrinking and printing -----------------------------------------------------------------------------------------

-- A value as Lua.
function history.show(value, more)
  if type(value) == "table" then
    local parts, names = {}, {}
    for _, item in ipairs(value) do parts[#parts + 1] = history.show(item) end
    for name in pairs(value) do
      if type(name) == "string" then names[#names + 1] = name end
    end
    table.sort(names)
    for _, name in ipairs(names) do parts[#parts + 1] = name .. " = " .. history.show(value[name]) end
    if more then parts[#parts + 1] = more end
    return "{ " .. table.concat(parts, ", ") .. " }"
  end
  return type(value) == "string" and ("%q"):format(value) or tostring(value)
end

--- The shortest part of a list that still fails: steps are left out, in halves, quarters, … as long as it does.
---@param list table[] its last step fails
---@param fails fun(list: table[]): boolean
---@return table[]
function history.shrink(list, fails)
  local size = #list // 2
  while size >= 1 do
    local i, removed = 1, false
    while i <= #list do
      local shorter = table.move(list, 1, i - 1, 1, {})
      table.move(list, i + size, #list, #shorter + 1, shorter)
      if #shorter < #list and fails(shorter) then
        list, removed = shorter, true
      else
        i = i + size
      end
    end
    if not (removed and size == 1) then size = size // 2 end
  end
  return list
end

--- A history as a script.
---@param list table[]
---@param managers integer
---@return string
function history.script(list, managers)
  local lines = { "local keel = require 'keel'", "local now, path = 0, os.tmpname()", "os.remove(path)",
    ("local function open() return assert(keel.open(path, { clock = function() return %d + now end })) end")
      :format(EPOCH), "local function recover(store, how)",
    "  for _, run in ipairs(store:list_inflight {}) do store:claim_for_takeover(run.run_id, how) end", "end",
    "local stores = {}", ("for i = 1, %d do stores[i] = open() end"):format(managers) }
  local now = 0
  for _, step in ipairs(list) do
    lines[#lines + 1] = steps[step.kind].write(step, now)
    if step.kind == "advance" then now = now + step.seconds end
  end
  return table.concat(lines, "\n")
end

--- Plays steps made at random, and compares. Raises with the shortest history that fails, as a script.
---@param new_world fun(): table
---@param seed integer
---@param count integer steps
---@param features table
function history.check(new_world, seed, count, features)
  local generate, list, world = history.generator(seed, features), {}, new_world()
  for i = 1, count do
    local step = generate(world.model)
    list[i] = step
    local why = play(world, step, i % 50 == 0 or i == count)
    if why then
      local function fails(shorter) return history.play(new_world(), shorter, math.huge) ~= nil end
      list = fails(list) and history.shrink(list, fails) or list
      local _, reason = history.play(new_world(), list, math.huge)
      error(("seed %d, step %d: %s\nat its shortest: %s\n%s"):format(seed, i, why, reason,
        history.script(list, features.managers)), 0)
    end
    history.forget(world)
  end
end

--- Forgets, in the model, runs that have ended and that nobody waits for, but for some that newcomers may name.
function history.forget(world)
  local model, ended = world.model, {}
  for _, run in pairs(model.runs) do
    if Model.is_settled(run) then ended[#ended + 1] = run end
  end
  table.sort(ended, function(a, b) return a.seq < b.seq end)
  for i = 1, #ended - 6 do model.runs[ended[i].id] = nil end
end

return history
