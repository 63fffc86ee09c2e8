-- server.lua - lifecycles a second of many processes on a server, beside the same in plpgsql by pgbench.
--
-- Each process has a thread of its own, and admits a run there, starts it and ends it, three durable changes and three
-- events, as fast as it can. The yardstick is what somebody would write by hand: three functions on two tables with
-- three indexes, whose events have ids with gaps; pgbench calls them from as many connections. Slices of the two take
-- turns, so that what else the machine does hits both; what is printed are the medians and their ratio. Afterwards the
-- store is verified.
--
-- Usage: lua5.4 tests/bench/server.lua --store URI [--processes N] [--rounds N] [--slice SECONDS] [--delay US]
--          [--relay PROGRAM] [--stored N] [--listeners N]
--   --store      a server's store that nobody else uses; the yardstick's tables are in the schema yard of its database
--   --processes  (default 16)
--   --rounds     slices a side (default 5)
--   --slice      seconds a slice (default 2)
--   --delay      microseconds that a trip takes longer, for both sides (default 0)
--   --relay      the program that sees to that (default build/bench/tests/bench/relay)
--   --stored     runs that have ended and are stored before (default 0)
--   --listeners  further processes that wait for events, in every other slice (default 0): they read the log to its
--                end whenever something is new. Printed is what the writers do with them, beside what they do without,
--                and how long the events of one slice took to be read
-- Needs pgbench, psql, luv, and LUA_PATH and LUA_CPATH to find keel, built with the bench preset. A server that
-- writes as it should is made by: KEEL_TEST_FSYNC=on tests/postgres.sh start FOLDER
local keel = require "keel"
local uv = require "luv"

local options = { processes = 16, rounds = 5, slice = 2, delay = 0, relay = "build/bench/tests/bench/relay",
  stored = 0, listeners = 0,
  store = false, child = false, listener = false }
for i = 1, #arg, 2 do
  local name = arg[i]:match "^%-%-(%l+)$"
  if not name or options[name] == nil then error("unknown option " .. arg[i], 0) end
  options[name] = tonumber(arg[i + 1]) or arg[i + 1] or error(arg[i] .. " must be given a value", 0)
end
local store_uri = options.store or error "--store must name a server's store"

local YARDSTICK <const> = [[
DROP SCHEMA IF EXISTS yard CASCADE; CREATE SCHEMA yard; SET search_path = yard;
CREATE TABLE runs (id bigserial PRIMARY KEY, thread text NOT NULL, status int NOT NULL DEFAULT 0, metadata text,
  created timestamptz DEFAULT now(), started timestamptz, ended timestamptz);
CREATE INDEX ON runs (thread, id) WHERE status < 2;
CREATE INDEX ON runs (status, id);
CREATE TABLE events (id bigserial PRIMARY KEY, run_id bigint NOT NULL, kind text NOT NULL,
  at timestamptz DEFAULT now());
CREATE FUNCTION admit(whose text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE made bigint;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended(whose, 0));
  IF EXISTS (SELECT 1 FROM yard.runs WHERE thread = whose AND status < 2) THEN RAISE 'busy'; END IF;
  INSERT INTO yard.runs (thread, metadata) VALUES (whose, repeat('what callers attach ', 15)) RETURNING id INTO made;
  INSERT INTO yard.events (run_id, kind) VALUES (made, 'run_created');
  RETURN made;
END $$;
CREATE FUNCTION start(which bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE yard.runs SET status = 1, started = now() WHERE id = which AND status = 0;
  IF NOT FOUND THEN RAISE 'not pending'; END IF;
  INSERT INTO yard.events (run_id, kind) VALUES (which, 'run_started');
END $$;
CREATE FUNCTION finish(which bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE yard.runs SET status = 2, ended = now() WHERE id = which AND status = 1;
  IF NOT FOUND THEN RAISE 'not running'; END IF;
  INSERT INTO yard.events (run_id, kind) VALUES (which, 'run_finished');
END $$;
]]
local SCRIPT <const> = [[
SELECT yard.admit('t' || :client_id) AS id \gset
SELECT yard.start(:id);
SELECT yard.finish(:id);
]]

local METADATA = { note = ("what callers attach "):rep(14) }

-- One of the processes: a slice for each line it reads.
local function work()
  local store = assert(keel.open(store_uri))
  local runs = keel.run_manager { store = store }
  io.stdout:write "ready\n"
  io.stdout:flush()
  for seconds in io.lines() do
    local count, over = 0, uv.hrtime() + tonumber(seconds) * 1e9
    while uv.hrtime() < over do
      local run = assert(runs:create_or_reject("t" .. options.child, { metadata = METADATA }))
      assert(runs:try_start(run.run_id) == "started")
      assert(runs:update_run_completion(run.run_id, { status = "success" }))
      count = count + 1
    end
    io.stdout:write(("%d\n"):format(count))
    io.stdout:flush()
  end
  store:close()
end

-- One of those who listen: a slice for each line it reads. Says how many events it read, and the sum of their ages in
-- milliseconds.
local function listen()
  for seconds in io.lines() do
    local store = assert(keel.open(store_uri))
    local appended = assert(store:append_event { kind = "listening" })
    local cursor = { next_event_id = appended + 1, epoch = store:epoch() }
    assert(store:wait_events(cursor, { timeout = 0.1 }) ~= nil)
    io.stdout:write "ready\n"
    io.stdout:flush()
    local over, count, ages = uv.hrtime() + tonumber(seconds) * 1e9, 0, 0
    while uv.hrtime() < over do
      if store:wait_events(cursor, { timeout = 0.1 }) then
        local page = assert(store:read_events(cursor, 1000))
        local now = keel.seconds(keel.time())
        for _, event in ipairs(page.events) do ages = ages + (now - keel.seconds(event.at)) * 1000 end
        cursor, count = page.cursor, count + #page.events
      end
    end
    store:close()
    io.stdout:write(("%d %.0f\n"):format(count, ages))
    io.stdout:flush()
  end
end
if options.child then return work() end
if options.listener then return listen() end

local function start(program, words)
  local input, output = uv.new_pipe(), uv.new_pipe()
  local child = { lines = {}, input = input }
  child.handle = assert(uv.spawn(program, { args = words, stdio = { input, output, 2 } }, function() end))
  local text = ""
  output:read_start(function(_, data)
    text = text .. (data or "")
    for line in text:gmatch "([^\n]*)\n" do table.insert(child.lines, line) end
    text = text:match "[^\n]*$"
    child.ended = not data
  end)
  return child
end

local function hear(child)
  while #child.lines == 0 and not child.ended do uv.run "once" end
  return table.remove(child.lines, 1) or error "a process has ended"
end

local folder = assert(uv.fs_mkdtemp((os.getenv "TMPDIR" or "/tmp") .. "/keel-bench-XXXXXX"))

local function write(name, text)
  local path = folder .. "/" .. name
  local file <close> = assert(io.open(path, "w"))
  assert(file:write(text))
  return path
end

local function output_of(command)
  local pipe <close> = assert(io.popen(command))
  return pipe:read "a"
end

local host = store_uri:match "host=([^&]+)" or error "--store must be on a server with a socket: ?host=FOLDER"
local near = store_uri:gsub("&schema=[%w_]+", "")
local far, relay = near, nil
assert(os.execute(("PGOPTIONS=--client-min-messages=warning psql --quiet --file=%q %q"):format(
  write("yard.sql", YARDSTICK), near)))
if options.delay > 0 then
  relay = start(options.relay, { folder .. "/.s.PGSQL.5432", host .. "/.s.PGSQL.5432",
    tostring(math.floor(options.delay)) })
  assert(hear(relay) == "ready")
  far, store_uri = near:gsub("host=[^&]+", "host=" .. folder), store_uri:gsub("host=[^&]+", "host=" .. folder)
end

local function pgbench()
  local said = output_of(("pgbench --no-vacuum --client=%d --jobs=2 --time=%d --file=%q %q 2>&1"):format(
    options.processes, math.max(1, math.floor(options.slice)), folder .. "/yard.script", far))
  return tonumber(said:match "tps = ([%d.]+)") or error(said)
end

local children, listeners = {}, {}
local function lifecycles()
  local sum = 0
  for _, child in ipairs(children) do child.input:write(options.slice .. "\n") end
  for _, child in ipairs(children) do sum = sum + tonumber(hear(child)) end
  return sum / options.slice
end

-- The same while the others listen, and the mean age of an event when it was read.
local function lifecycles_heard()
  for _, listener in ipairs(listeners) do listener.input:write(options.slice + 1 .. "\n") end
  for _, listener in ipairs(listeners) do assert(hear(listener) == "ready") end
  local rate, count, ages = lifecycles(), 0, 0
  for _, listener in ipairs(listeners) do
    local read, age = hear(listener):match "(%d+) (%d+)"
    count, ages = count + read, ages + age
  end
  return rate, ages / count
end

local function median(list)
  table.sort(list)
  return (list[(#list + 1) // 2] + list[#list // 2 + 1]) / 2
end

write("yard.script", SCRIPT)
local store = assert(keel.open(options.store))
if options.stored > 0 then
  for first = 1, options.stored, 1000 do
    assert(store:transaction(function(tx)
      for i = first, math.min(first + 999, options.stored) do
        local put, err = tx:put("stored" .. i, { thread_id = "s" .. i % 1000, status = "success" })
        if not put then return nil, err end
      end
    end))
  end
end
for i = 1, options.processes do
  children[i] = start(arg[-1], { arg[0], "--child", tostring(i), "--store", store_uri })
end
for i = 1, options.listeners do
  listeners[i] = start(arg[-1], { arg[0], "--listener", tostring(i), "--store", options.store })
end
for _, child in ipairs(children) do assert(hear(child) == "ready") end
local ours, yards, heard, ages = {}, {}, {}, {}
for i = 1, options.rounds do
  ours[i], yards[i] = lifecycles(), pgbench()
  if options.listeners > 0 then heard[i], ages[i] = lifecycles_heard() end
end
for _, child in ipairs(children) do child.input:shutdown() end
for _, listener in ipairs(listeners) do listener.input:shutdown() end
print(("%d processes, %d us a trip more, %d runs stored before, %d slices of %g s"):format(options.processes,
  options.delay, options.stored, options.rounds, options.slice))
print(("keel %.0f lifecycles a second, plpgsql %.0f: %.2f"):format(median(ours), median(yards),
  median(ours) / median(yards)))
if options.listeners > 0 then
  print(("while %d listen %.0f: %.2f; an event is read after %.1f ms"):format(options.listeners, median(heard),
    median(heard) / median(ours), median(ages)))
end
assert(#store:verify() == 0)
store:close()
if relay then relay.handle:kill "sigterm" end
assert(os.execute("rm -r " .. folder))
