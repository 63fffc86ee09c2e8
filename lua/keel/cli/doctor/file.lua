--- What can be wrong with the file of a store, seen without opening it.
local keel_command = require "keel.command"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"

local file = {}

local LOW_SPACE = 64 << 20 -- bytes
local BIG_LOG = 64 << 20   -- bytes of F-wal: it is begun anew at some 4 MiB unless a reader holds on to it

local advices = {
  store_corrupt = "if it is to be a store, use a backup; if it is another program's file, give --store another name",
  store_version = "an older store is brought up to date by 'keel reconcile'; for a newer one use the newer Keel",
  store_full = "make room on the disk",
  io = "look at its permissions, those of its folder, which reading needs, too, and at the disk",
  replaced = "put a backup in its place with 'keel restore'; what its log held is lost unless its own file is found",
  busy = "another process holds the lock: try again, and look at what is running",
}

--- What to do about an error of opening or reading.
---@param code string
---@param is_file? boolean false: it is on a server
---@return string
function file.advice(code, is_file)
  if is_file == false and code == "io" then return "look at the server, its log, and what the role may do there" end
  if is_file == false and code == "store_corrupt" then return "unless it is another program's schema, use a backup" end
  if is_file == false and code == "store_readonly" then return "name the primary, not a standby" end
  if is_file == false and code == "store_missing" then return "'keel exec' makes one" end
  return advices[code] or "look it up under 'Results and errors' in the reference"
end

--- Looks at who may use a file that is a store.
---@param path string
---@param findings table
function file.look_at_rights(path, findings)
  local about = keel_command.stat(path)
  if not about then return end
  if about.mode & 63 ~= 0 then -- 077
    findings:add("warning", "permissions", ("others than its owner may use %s (mode %03o)"):format(path, about.mode),
      ("unless that is meant: chmod 600 '%s'"):format(path))
  end
  if about.uid ~= keel_command.user_id() then
    findings:add("warning", "owner", ("%s belongs to another user (number %d)"):format(path, about.uid),
      "use it as that user, or the files beside it get two owners")
  end
end

local function look_at_disk(path, findings)
  local free, is_remote = keel_command.space(path)
  if free and free < LOW_SPACE then
    findings:add("warning", "space", ("only %s are free where the store is"):format(output.size(free)),
      "make room; a store on a full disk refuses every change")
  end
  if is_remote then
    findings:add("error", "file_system", ("%s is on another machine's file system"):format(path),
      "move it to a local disk: its locks do not work over the network")
  end
end

local function is_used(store)
  for _, session in ipairs(store:sessions() or {}) do
    if session.alive then return true end
  end
  return false
end

--- Looks at a log that has grown: whether anything keeps it so.
---@param store keel.Store
---@param log_size integer? bytes before the store was opened
---@param findings table
function file.look_at_log(store, log_size, findings)
  if not log_size or log_size <= BIG_LOG then return end
  local log = store:path() .. "-wal"
  if not is_used(store) then
    findings:add("warning", "log_size", ("a process that was killed has left a log of %s, %s"):format(
      output.size(log_size), log), "nothing is lost: the next process that changes something clears it away")
    return
  end
  local needed = store:write_back()
  if needed and needed > BIG_LOG then
    findings:add("warning", "log_size", ("the log beside the store, %s, has grown to %s, and %s of it are being read")
      :format(log, output.size(log_size), output.size(needed)), "a process reads for very long, or is stopped while it"
      .. " reads: end it, and the next changes write the log back")
  end
end

--- How large the log beside a store is; nil: there is none.
---@param path string
---@return integer? bytes
function file.log_size(path)
  local log = keel_command.stat(path .. "-wal")
  return log and log.size
end

--- Looks at the file. False when there is nothing to open.
---@param path string
---@param findings table
---@param is_default? boolean it is the default store, whose folder is made with it
---@return boolean
function file.look(path, findings, is_default)
  local about, problem = keel_command.stat(path)
  if not about then
    local lacking = not is_default and opening.folder_problem(path)
    findings:add("error", "store_missing", ("there is no store at %s: %s"):format(path, lacking or problem),
      (lacking and "then " or "") .. "'keel exec' makes one; --store and KEEL_STORE name another")
    return false
  end
  if about.kind ~= "file" then
    findings:add("error", "io", ("%s is no file"):format(path), "give the path of the store's file")
    return false
  end
  look_at_disk(path, findings)
  return true
end

return file
