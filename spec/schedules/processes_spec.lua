--- Schedules and real processes: many that tick, some that are killed, and executors that sleep.
local keel = require "keel"
local support = require "support"

local uris = { sqlite = support.path, postgres = os.getenv "KEEL_TEST_POSTGRES" and support.server_uri or nil }

-- Opens the store with a clock that a file has, so that processes agree on the time.
local HEAD = [[
local uri, clock_file = ...
local function time()
  local file <close> = assert(io.open(clock_file))
  return tonumber(file:read "a")
end
local store = assert(keel.open(uri, { clock = time, lock_timeout = 20, durability = "off" }))
]]

for backend, uri_of in pairs(uris) do
  describe("[#" .. backend .. "]", function()
    after_each(support.clean_up)

    local uri, clock_file, store, now

    local function set_time(seconds)
      now = seconds
      local fresh = clock_file .. ".fresh" -- whoever reads it finds one time or the other
      local file = assert(io.open(fresh, "w"))
      file:write(("%d"):format(seconds))
      file:close()
      assert(os.rename(fresh, clock_file))
    end

    before_each(function()
      uri, clock_file = uri_of(), support.dir() .. "/clock"
      set_time(1767225600)
      store = support.open(uri, { clock = function() return now end, lock_timeout = 20, durability = "off" })
    end)

    -- How often each occurrence was made or refused.
    local function counts()
      local list = {}
      for _, event in ipairs(support.events(store, { kinds = { "run_created", "run_rejected" } })) do
        local occurrence = event.data and event.data.occurrence
        if occurrence then
          local key = event.data.schedule .. " " .. occurrence
          list[key] = (list[key] or 0) + 1
        end
      end
      return list
    end

    it("SCHEDULE-1: twenty processes that tick make each occurrence once", function()
      local runs = support.manager(store)
      for i = 1, 3 do
        local strategy = i == 3 and "reject" or "allow"
        assert(runs:schedule("s" .. i, { every = 60, options = { multitask_strategy = strategy } }))
      end
      local children = {}
      for i = 1, 20 do
        children[i] = support.spawn(HEAD .. [[
          local runs = assert(keel.run_manager { store = store, max_wait = 30 })
          while hear() do
            local report, err = runs:tick()
            say(report and not err and #report.scheduled or tostring(err))
          end
        ]], { uri, clock_file })
      end
      for round = 1, 5 do
        set_time(1767225600 + 60 * round)
        for _, child in ipairs(children) do child:say "tick" end
        local made = 0
        for _, child in ipairs(children) do
          local said = child:hear()
          made = made + assert(tonumber(said), said)
        end
        assert.equal(round == 1 and 3 or 2, made) -- the third finds its first one there
      end
      local seen = 0
      for key, count in pairs(counts()) do
        assert.equal(1, count, key)
        seen = seen + 1
      end
      assert.equal(15, seen)
      assert.same({}, store:verify())
    end)

    it("SCHEDULE-1: a process that is killed at any step of making an occurrence leaves it made once, or to the next",
      function()
        local runs = support.manager(store)
        assert(runs:schedule("s", { every = 60, options = { multitask_strategy = "allow" } }))
        local died, step = 0, 0
        repeat
          step = step + 1
          set_time(now + 60)
          local child = support.spawn(HEAD .. [[
            local _, _, at_step = ...
            local calls, left = 0, tonumber(at_step)
            local function count(name)
              calls = calls + 1
              if calls == left then
                say("dies at " .. name)
                io.stdout:flush()
                hear() -- for ever: the other side kills
              end
            end
            local function counted(object, prefix)
              return setmetatable({}, { __index = function(_, name)
                local member = object[name]
                if type(member) ~= "function" or name == "admit" then return name ~= "admit" and member or nil end
                return function(_, ...)
                  count("before " .. prefix .. name)
                  local results = table.pack(member(object, ...))
                  if name == "begin" and results[1] then results[1] = counted(results[1], "tx.") end
                  count("after " .. prefix .. name)
                  return table.unpack(results, 1, results.n)
                end
              end })
            end
            local front = counted(store, "")
            local runs = assert(keel.run_manager { store = front })
            runs:tick()
            say "done"
          ]], { uri, clock_file, step })
          local said = child:hear()
          child:kill()
          if said ~= "done" then died = died + 1 end
          assert(runs:tick())
        until said == "done"
        assert.is_true(died >= 20, died .. " steps")
        local seen = 0
        for key, count in pairs(counts()) do
          assert.equal(1, count, key)
          seen = seen + 1
        end
        assert.equal(step, seen)
        assert.same({}, store:verify())
      end)

    it("SCHEDULE-8: an executor that ticks once an hour wakes for the next occurrence, whoever has made the schedule",
      function()
        local child = support.spawn([[
          local uri = ...
          local store = assert(keel.open(uri, { lock_timeout = 20, durability = "off" }))
          local runs = assert(keel.run_manager { store = store })
          local executor = assert(keel.executor { manager = runs, interval = 3600, handlers = function(context)
            say("ran " .. context.run.schedule)
          end })
          executor:start()
          say "ready"
          require "luv".run()
        ]], { uri })
        child:expect "ready"
        local real = support.open(uri, { lock_timeout = 20, durability = "off" })
        local runs = support.manager(real)
        local began = keel.seconds(keel.time())
        assert(runs:schedule("soon", { every = 0.3 }))
        for _ = 1, 3 do child:expect "ran soon" end
        local took = keel.seconds(keel.time()) - began
        assert.is_true(took >= 0.9 and took < 10, took)
        runs:unschedule "soon"
        child:kill()
      end)

    it("SCHEDULE-8: a host that sleeps until next_due() makes each occurrence in time", function()
      local child = support.spawn([[
        local uri = ...
        local store = assert(keel.open(uri, { lock_timeout = 20, durability = "off" }))
        local runs = assert(keel.run_manager { store = store })
        assert(runs:schedule("s", { every = 0.25, options = { multitask_strategy = "allow" } }))
        local ticks, made = 0, 0
        while made < 4 do
          store:sleep(assert(runs:next_due()))
          made = made + #assert(runs:tick()).scheduled
          ticks = ticks + 1
        end
        say(made, ticks <= 8)
      ]], { uri })
      child:expect "4\ttrue"
    end)
  end)
end

