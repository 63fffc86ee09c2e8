-- slots.lua - claims a second of many processes that share few slots.
--
-- Each of the processes claims a run, ends it at once, and makes another of the same slot in its place, so that as many
-- wait all the time; when nothing can start it waits for news. Each run wants one of the slots, by chance. What is
-- printed: claims a second of all, the least and the most of one process, how many claims found
-- nothing, and the longest time in which nobody claimed. Afterwards the log is read: no slot had more than its places.
--
-- Usage: lua5.4 tests/bench/slots.lua [--processes N] [--slots N] [--max N] [--waiting N] [--seconds S] [--seed N]
--          [--store URI] [--durability NAME]
--   --processes   (default 16)
--   --slots       names (default 4), each with
--   --max         places (default 1); 0: the runs wait for nothing, and are on so many threads
--   --waiting     runs that wait (default 400)
--   --seconds     how long (default 5)
--   --seed        of what slot a run wants (default 1)
--   --store       a path or a uri of a server; default a new file in $TMPDIR or /tmp, which is removed
--   --durability  full or normal (default), or off
-- Needs LUA_PATH and LUA_CPATH to find keel, built with the release preset, and luv.
local keel = require "keel"
local uv = require "luv"

local options = { processes = 16, slots = 4, max = 1, waiting = 400, seconds = 5, seed = 1, durability = "normal",
  store = false, child = false }
for i = 1, #arg, 2 do
  local name = arg[i]:match "^%-%-(%l+)$"
  if not name or options[name] == nil then error("unknown option " .. arg[i], 0) end
  options[name] = tonumber(arg[i + 1]) or arg[i + 1] or error(arg[i] .. " must be given a value", 0)
end

local function open()
  return assert(keel.open(options.store, { durability = options.durability }))
end

local function make(runs, slot)
  local slots = options.max > 0 and { { name = "slot" .. slot, max = options.max } } or nil
  assert(runs:create("t" .. slot, { claimable = true, slots = slots }))
end

-- One of the processes: works until the time is over, and prints what it did.
local function work()
  local store = open()
  local runs = keel.run_manager { store = store }
  local claims, empty, longest = 0, 0, 0
  io.stdout:write "ready\n"
  io.stdout:flush()
  io.read "l"
  local began = uv.hrtime()
  local last, over = began, began + options.seconds * 1e9
  while uv.hrtime() < over do
    local high = assert(store:event_high_water())
    local run = runs:claim_next()
    if run then
      local time = uv.hrtime()
      longest, last = math.max(longest, time - last), time
      claims = claims + 1
      assert(runs:set_status(run.run_id, "success"))
      make(runs, run.thread_id:sub(2))
    else
      empty = empty + 1
      store:wait_events({ epoch = store:epoch(), next_event_id = high + 1 }, { timeout = 0.5 })
    end
  end
  io.stdout:write(("%d %d %d\n"):format(claims, empty, longest // 1000))
  io.stdout:flush()
  io.read "l"
  store:close()
end

-- The most runs that held each slot at once, and the longest time between two starts, by the log.
local function look_back(store)
  local holding, most, held, cursor, last, gap = {}, 0, {}, nil, nil, 0
  repeat
    local page = assert(store:read_events(cursor, 1000, { kinds = { "run_started", "run_finished" } }))
    for _, event in ipairs(page.events) do
      local slot = event.thread_id
      if event.kind == "run_started" then
        holding[slot] = (holding[slot] or 0) + 1
        held[event.run_id] = true
        most = math.max(most, holding[slot])
        local at = keel.seconds(event.at)
        gap, last = math.max(gap, last and at - last or 0), at
      elseif held[event.run_id] then
        holding[slot] = holding[slot] - 1
      end
    end
    cursor = page.cursor
  until not page.has_more
  return most, gap
end

-- Starts a process like this one; `answer(line)` is called for each line of its.
local function start(index)
  local input, output = uv.new_pipe(), uv.new_pipe()
  local words = { arg[0], "--child", tostring(index) }
  for name, value in pairs(options) do
    if value then words[#words + 1], words[#words + 2] = "--" .. name, tostring(value) end
  end
  local child = { lines = {}, input = input }
  child.handle = assert(uv.spawn(arg[-1], { args = words, stdio = { input, output, 2 } }, function() end))
  local text = ""
  output:read_start(function(_, data)
    text = text .. (data or "")
    for line in text:gmatch "([^\n]*)\n" do table.insert(child.lines, line) end
    text = text:match "[^\n]*$"
  end)
  return child
end

local function hear(child)
  while #child.lines == 0 do uv.run "once" end
  return table.remove(child.lines, 1)
end

if options.child then return work() end

local temporary = not options.store and os.tmpname()
options.store = options.store or temporary
if temporary then os.remove(temporary) end
local store = open()
local runs = keel.run_manager { store = store }
math.randomseed(options.seed)
for _ = 1, options.waiting do make(runs, math.random(options.slots)) end
local children = {}
for i = 1, options.processes do children[i] = start(i) end
for _, child in ipairs(children) do assert(hear(child) == "ready") end
for _, child in ipairs(children) do child.input:write "go\n" end
local sum, none, least, greatest = 0, 0, math.huge, 0
for _, child in ipairs(children) do
  local claims, empty = hear(child):match "(%d+) (%d+)"
  claims = tonumber(claims)
  sum, none = sum + claims, none + tonumber(empty)
  least, greatest = math.min(least, claims), math.max(greatest, claims)
end
for _, child in ipairs(children) do child.input:write "end\n" end
local most, gap = look_back(store)
print(("%d processes, %d slots of %d, %d waiting, seed %d, %s s, %s"):format(options.processes, options.slots,
  options.max, options.waiting, options.seed, options.seconds, store:backend()))
print(("%.0f claims a second; %d to %d a process; %.2f found nothing for each that did; longest pause %.0f ms"):format(
  sum / options.seconds, least, greatest, none / math.max(sum, 1), gap * 1000))
assert(options.max == 0 or most <= options.max, "a slot had more than its places")
assert(#store:verify() == 0)
store:close()
if temporary then
  for _, ending in ipairs { "", "-wal", "-shm", "-sessions", "-wake" } do os.remove(temporary .. ending) end
end
