--- Owners in name spaces of their own, as in containers: who is dead, who is a stranger, and what nobody can tell.
local command = require "support.command"
local support = require "support"

-- Runs a script of bash in name spaces of its own: what it said, and its folder. Nil when they cannot be made here.
local function isolated(script)
  local folder = support.dir()
  local file = assert(io.open(folder .. "/script", "w"))
  file:write("cd '", folder, "'\nK='", command.program, "'\n", script)
  file:close()
  local probe = os.execute "unshare -m unshare -pf --mount-proc true >/dev/null 2>&1"
  if not probe then return nil end
  local pipe = assert(io.popen(("timeout 60 unshare -m bash '%s/script' 2>&1"):format(folder)))
  local said = pipe:read "a"
  pipe:close()
  return said, folder
end

-- A run whose command still goes when the only process that has it is killed with its name space.
local KILLED = [[unshare -pf --kill-child --mount-proc sh -c "$K --store $S exec -t job -- sleep 100 &
  until $K --store $S runs list 2>/dev/null | grep -q running; do :; done; exit 0" >/dev/null 2>&1
]]

-- Name spaces that are held open, so that the numbers of those that have gone are not given to the next.
local HELD = [[
  for i in 1 2 3; do unshare -pf --kill-child sh -c "touch held$i; exec sleep 50" & done
  until [ -e held1 -a -e held2 -a -e held3 ]; do :; done
]]

describe("A container", function()
  after_each(support.clean_up)

  it("F-57: that is started anew on the same layers, in a new mount, finds its run dead", function()
    local said = isolated([[
      mkdir l t m x; mount -t tmpfs none t; mkdir t/u t/w
      O=lowerdir=l,upperdir=t/u,workdir=t/w; mount -t overlay overlay -o $O m || { echo none; exit; }
      S=m/k.db
    ]] .. KILLED .. HELD .. [[
      umount m; mount -t tmpfs none x; mount -t overlay overlay -o $O m
      unshare -pf --mount-proc timeout 20 $K --store $S exec -t job -- echo ran; echo "rc $?"
      kill -9 $(jobs -p)
    ]])
    if not said or said:find "none" then return pending "name spaces and overlays cannot be made here" end
    assert.matches("ran\nrc 0", said)
  end)

  it("F-61: is not judged by pids that are counted elsewhere", function()
    -- The owner is process 2 of its name space; here process 2, and its neighbours, are stopped strangers.
    local said = isolated [[
      mkfifo up down
      unshare -pf --kill-child --mount-proc bash -c '"$0" --store p.db exec -t job -- sh -c "echo >up; read x <down"' \
        "$K" & read x <up
      unshare -pf --kill-child --mount-proc bash -c 'for i in 1 2 3 4 5 6 7 8; do sleep 50 & kill -STOP $!; done
        "$0" --store p.db doctor; echo "rc $?"; "$0" --store p.db doctor --json' "$K"
      echo >down; wait
    ]]
    if not said then return pending "name spaces cannot be made here" end
    assert.matches("all is well\nrc 0", said)
    assert.is_nil(said:find("stopped", 1, true), said)
    assert.is_nil(said:find("process is gone", 1, true), said)
  end)

  it("F-61: is named as of another name space where its pid is told", function()
    local said = isolated [[
      mkfifo up down
      unshare -pf --kill-child --mount-proc bash -c '"$0" --store p.db exec -t job -- sh -c "echo >up; read x <down"' \
        "$K" & read x <up
      "$K" --store p.db reconcile --session 1; echo "rc $?"
      echo >down; wait
    ]]
    if not said then return pending "name spaces cannot be made here" end
    assert.matches("session 1 is alive: end its process, %d+ of another name space, instead", said)
    assert.is_nil(said:find("rc 0", 1, true), said)
  end)

  it("F-64: has an owner's name that can be read, whatever its host is called", function()
    local said, folder = isolated [[
      unshare -u bash -c 'printf "a\tb\344" >/proc/sys/kernel/hostname && "$0" --store h.db exec true
        echo "rc $?"' "$K"
    ]]
    if not said or said:find "hostname: " then return pending "a host cannot be named here" end
    assert.equal("rc 0\n", said)
    assert.matches("^a%?b%?:%d+$", support.open(folder .. "/h.db"):sessions()[1].owner)
  end)

  -- What remains to judge a living owner by when the side file is gone, of which it must not be taken for dead.
  local evidence = {
    ["a boot id of its own, in its name space of processes"] = [[
      echo 11111111-1111-1111-1111-111111111111 >boot
      unshare -mpf --kill-child --mount-proc bash -c 'mount --bind boot /proc/sys/kernel/random/boot_id || echo none
        ]],
    ["a start time of its own, in its name space of time"] = [[
      unshare -T true || { echo none; exit; }
      unshare -T --boottime 100000 -f --kill-child bash -c ']],
  }
  for what, begin in pairs(evidence) do
    it("F-60: that lives is not taken for dead by " .. what, function()
      local said = isolated("mkfifo up down\n" .. begin .. [[
        "$0" --store b.db exec -t job -- sh -c "echo >up; read x <down"; echo "owner $?"' "$K" & read x <up
        rm b.db-sessions
        "$K" --store b.db exec -t job -- echo beside; echo "rc $?"
        echo >down; wait
      ]])
      if not said or said:find "none" then return pending "name spaces cannot be made here" end
      assert.matches("whether session 1, which has it, is alive cannot be told here", said)
      assert.matches("rc 75\nowner 0\n", said)
      assert.is_nil(said:find("beside", 1, true), said)
    end)
  end

  it("F-57, F-60: whose side file is gone cannot be judged: that is said, and a person ends its session", function()
    local said = isolated("S=q.db\n" .. KILLED .. [[
      rm q.db-sessions
      $K --store $S exec -t job -- echo beside; echo "rc $?"
      $K --store $S doctor
      $K --store $S reconcile --session 1
      $K --store $S exec -t job -- echo after; echo "rc $?"
    ]])
    if not said then return pending "name spaces cannot be made here" end
    assert.matches("whether session 1, which has it, is alive cannot be told here", said)
    assert.matches("rc 75", said)
    assert.matches("whose process may be gone, which cannot be told here", said)
    assert.matches("after\nrc 0", said)
  end)
end)
