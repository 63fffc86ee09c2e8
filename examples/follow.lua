-- follow.lua - a follower in another process: it keeps its place in a file, is stopped and started again, and sees each
-- event once.
--
-- Usage: lua5.4 follow.lua STORE PLACE [N]     prints what ends, from the place on; with N it leaves after so many
--        lua5.4 follow.lua                     makes runs, and follows them from two processes, one after the other
-- keel must be on Lua's path.
local keel = require "keel"

-- --- The follower ----------------------------------------------------------------------------------------------------

local function read_place(path)
  local file <close> = io.open(path, "r")
  return file and keel.assert(keel.json.decode(file:read "a")) or nil -- nil: from the start of the log
end

-- Beside it and renamed: half a place is never there.
local function write_place(path, cursor)
  do
    local file <close> = keel.assert(io.open(path .. ".new", "w"))
    keel.assert(file:write((keel.assert(keel.json.encode(cursor)))))
  end
  keel.assert(os.rename(path .. ".new", path))
end

local function follow(store, path, count)
  local cursor = read_place(path)
  while count > 0 do
    local page, err = store:read_events(cursor, math.min(count, 256), { kinds = { "run_finished" } })
    if not page and err.code == "wrong_runtime" then -- the store was restored from a backup: its log is another one
      page = keel.assert(store:read_events(nil, math.min(count, 256), { kinds = { "run_finished" } }))
    end
    keel.assert(page, err)
    if page.gap then print "events were pruned before they could be read" end
    for _, event in ipairs(page.events) do print(event.id, event.thread_id, event.data.status) end
    count = count - #page.events
    cursor = page.cursor
    write_place(path, cursor) -- after the work: a crash in between repeats a page, and loses nothing
    if count > 0 and not page.has_more then keel.assert(store:wait_events(cursor)) end
  end
end

if arg[1] then
  return follow(keel.assert(keel.open(arg[1])), arg[2], tonumber(arg[3]) or math.huge)
end

-- --- The example -----------------------------------------------------------------------------------------------------

local pipe <close> = keel.assert(io.popen "mktemp -d")
local folder = pipe:read "l"
local store = keel.assert(keel.open(folder .. "/runs.db"))
local runs = keel.run_manager { store = store }

local function finish(thread, status)
  local run = keel.assert(runs:create(thread))
  keel.assert(runs:set_status(run.run_id, status))
end

local function follower(count)
  local lua = os.getenv "LUA" or "lua5.4"
  return keel.assert(io.popen(("%s '%s' '%s/runs.db' '%s/place' %d"):format(lua, arg[0], folder, folder, count)))
end

finish("build", "success")
for round = 1, 2 do
  local running <close> = follower(2)
  finish("test " .. round, "error") -- it learns of this one while it waits
  print(("follower %d heard"):format(round))
  io.write(running:read "a")
  finish("deploy " .. round, "success") -- no follower is there: the next one reads it
end
store:close()
os.execute("rm -r " .. folder)
