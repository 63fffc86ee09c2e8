--- keel exec under load: many at once, and killed at every stage.
local command = require "support.command"
local files = require "support.files"
local lfs = require "lfs"
local process = require "support.process"
local support = require "support"

local SHELLS, EACH, THREADS = 8, 25, 5

-- What runs on a thread: it fails the test if it is not alone there, then does some real work and exits with a code
-- of its own.
local WORK = [[
mkdir "$1/lock-$2" || { echo overlap >>"$1/wrong"; exit 99; }
printf '%s' "$3" | sha256sum >"$1/sum-$3"
rmdir "$1/lock-$2"
exit $(($3 % 7))
]]

-- One shell: its commands one after the other; what came back is written down.
local SHELL = [[
folder=$1 shell=$2 each=$3 threads=$4 program=$5
i=0
while [ $i -lt $each ]; do
	n=$((shell * each + i))
	"$program" exec --durability normal --thread "t$((n % threads))" --strategy enqueue -- \
		sh "$folder/work.sh" "$folder" $((n % threads)) $n
	echo "$n $?" >>"$folder/codes-$shell"
	i=$((i + 1))
done
]]

describe("Many keel exec at once", function()
  after_each(support.clean_up)

  it("200 real commands from 8 shells on 5 threads: codes right, no overlap, none lost", function()
    local folder, path = support.dir(), support.path()
    files.write(folder .. "/work.sh", WORK)
    files.write(folder .. "/shell.sh", SHELL)
    local shells = {}
    for shell = 0, SHELLS - 1 do
      shells[#shells + 1] = process.start({ "sh", folder .. "/shell.sh", folder, tostring(shell), tostring(EACH),
        tostring(THREADS), command.program }, { env = { KEEL_STORE = path, LUA_PATH = ";;", LUA_CPATH = ";;" } })
    end
    process.turn_until(function()
      for _, child in ipairs(shells) do
        if not child.code then return false end
      end
      return true
    end, 120000)
    local count = 0
    for shell, child in ipairs(shells) do
      assert.equal(0, child.code, child.errors)
      for n, code in files.read(("%s/codes-%d"):format(folder, shell - 1)):gmatch "(%d+) (%d+)" do
        count = count + 1
        assert.equal(n % 7, tonumber(code), "command " .. n)
        assert.is_true(files.exists(folder .. "/sum-" .. n))
      end
    end
    assert.equal(SHELLS * EACH, count)
    assert.is_false(files.exists(folder .. "/wrong"))
    local store = support.open(path)
    assert.equal(count, #support.events(store, { kinds = { "run_finished" } }))
    for thread = 0, THREADS - 1 do
      local running
      for _, event in ipairs(support.events(store, { thread_id = "t" .. thread })) do
        if event.kind == "run_started" then
          assert.is_nil(running)
          running = event.run_id
        elseif event.kind == "run_finished" then
          assert.equal(running, event.run_id)
          running = nil
        end
      end
    end
    assert.same({}, store:verify())
  end)

  -- SIGKILL after so many milliseconds: before the store is open, in admission, in line, while it runs, at its end.
  it("killed at every stage: the thread is free at once, and no command goes on", function()
    local folder, path = support.dir(), support.path()
    local env = { KEEL_STORE = path }
    local stages, n = {}, 0
    for delay = 0, 45, 1 do
      n = n + 1
      local child = command.start({ "exec", "--durability", "normal", "-t", "t", "-s", "enqueue", "--", "sh", "-c",
        ("echo $$ >%s/pid-%d; sleep 0.02 & wait; echo %d >>%s/done"):format(folder, n, n, folder) }, { env = env })
      process.turn_until(function() return child.code end, delay)
      if not child.code then child.handle:kill "sigkill" end
      process.turn_until(function() return child.code end)
      -- The next one must get through.
      local after = command.run({ "exec", "-t", "t", "-s", "enqueue", "--wait", "20", "true" }, { env = env })
      assert.equal(0, after.code, after.errors)
    end
    local store = support.open(path)
    for _, event in ipairs(support.events(store, { kinds = { "run_created" } })) do
      local row = store:get(event.run_id)
      local stage = row.status .. (row.started_at and " started" or "")
      stages[stage] = (stages[stage] or 0) + 1
    end
    assert.is_true(stages["error started"] > 0, "none was killed while it ran")
    assert.is_true(stages["success started"] >= n)
    assert.is_nil(stages["running started"])
    for i = 1, n do
      local pid = files.exists(folder .. "/pid-" .. i) and files.read(folder .. "/pid-" .. i):match "%d+"
      assert.is_falsy(pid and lfs.attributes("/proc/" .. pid .. "/exe"), "a command outlived its run")
    end
    assert.same({}, store:verify())
  end)

  it("killed in line: those behind it go on", function()
    local path = support.path()
    local env = { KEEL_STORE = path }
    local first = command.start({ "exec", "-t", "t", "--", "sh", "-c", "echo up; read line" }, { env = env })
    first:expect "up"
    local second = command.start({ "exec", "-t", "t", "-s", "enqueue", "true" }, { env = env })
    local store = support.open(path, { readonly = true })
    local function is_created(count)
      return process.poll_until(function()
        return #support.events(store, { kinds = { "run_created" } }) == count
      end)
    end
    assert.is_true(is_created(2))
    local third = command.start({ "exec", "-t", "t", "-s", "enqueue", "echo", "mine" }, { env = env })
    assert.is_true(is_created(3))
    second:kill()
    first:say "end"
    assert.equal(0, (third:wait()))
    assert.equal("mine\n", third.output)
  end)
end)
