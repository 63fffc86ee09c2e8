--- Who has the write lock of a store that is a file, and for how long, as far as that can be seen.
---
--- The system tells which process has which lock (proc(5), /proc/locks), but not since when. A holder is watched for a
--- moment: who has the lock each time, while nothing new is in the log, has had it all the while.
local keel_command = require "keel.command"
local kernel = require "keel.kernel"
local output = require "keel.cli.output"

local lock = {}

local WATCHED, STEP = 1, 0.05 -- seconds
local WRITE_BYTE = 120        -- of STORE-shm, as SQLite has it: who writes has it locked

-- The process that has a byte of a file locked for writing; nil: none, or that cannot be seen.
local function holder_of(path, byte)
  local about = keel_command.stat(path)
  local file <close> = about and io.open "/proc/locks" or nil
  for line in file and file:lines() or function() end do
    local pid, device, inode, first, last = line:match "^%d+: POSIX +%S+ +WRITE (%d+) (%x+:%x+):(%d+) (%d+) (%w+)$"
    local is_it = pid and device == about.device and tonumber(inode) == about.inode
    if is_it and (not byte or tonumber(first) <= byte and (last == "EOF" or tonumber(last) >= byte)) then
      return tonumber(pid)
    end
  end
end

-- What a process was started as.
local function command_of(pid)
  local file <close> = io.open(("/proc/%d/cmdline"):format(pid), "rb")
  local text = file and file:read(200) or ""
  text = text:gsub("%z+$", ""):gsub("%z", " ")
  return text ~= "" and (" (%s)"):format(text) or ""
end

local function add(findings, pid, for_so_long)
  local is_stopped = lock.is_stopped(pid)
  local how_long = for_so_long and (", and written nothing, for at least %s"):format(output.duration(for_so_long)) or ""
  findings:add("warning", "write_lock", ("process %d%s %s the write lock%s%s: nobody else can change anything"):format(
    pid, command_of(pid), for_so_long and "has had" or "has", how_long, is_stopped and "; it is stopped" or ""),
    (is_stopped and "let it go on: kill -CONT %d, or end it: kill %d" or
      "unless it is about to end by itself, end it: kill %d"):format(pid, pid), { pid = pid, seconds = for_so_long })
end

--- Whether a process is stopped, by SIGSTOP or Ctrl-Z. Nil: it cannot be seen.
---@param pid integer
---@return boolean?
function lock.is_stopped(pid)
  local file <close> = io.open(("/proc/%d/stat"):format(pid))
  local state = file and file:read "a":match "%) (%a)"
  return state and (state == "T" or state == "t")
end

--- Looks who has the lock of a store that cannot be opened.
---@param path string
---@param findings table
function lock.look_at_file(path, findings)
  local pid = holder_of(path)
  if pid then add(findings, pid) end
end

--- Looks who has the write lock of an open store; watches for a moment when somebody has.
---@param store keel.Store
---@param findings table
function lock.look(store, findings)
  local index, since = store:path() .. "-shm", kernel.monotonic()
  local pid, newest = holder_of(index, WRITE_BYTE), store:event_high_water()
  while pid and kernel.monotonic() - since < WATCHED do
    store:sleep(STEP)
    if holder_of(index, WRITE_BYTE) ~= pid or store:event_high_water() ~= newest then return end
  end
  if pid then add(findings, pid, kernel.monotonic() - since) end
end

return lock
