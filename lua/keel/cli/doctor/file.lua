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

--- What to do about a store that cannot be opened.
---@param err keel.Error
---@param is_file boolean
---@return string
function file.advice_on_opening(err, is_file)
  if opening.is_empty(err) then return "nothing is lost: 'keel exec' makes a store of it" end
  local path, owner = err.message:match "cannot open (.*): it belongs to user %d+, the store to user (%d+)"
  if path then return ("as root: chown %s '%s'"):format(owner, path) end
  return file.advice(err.code, is_file)
end

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

-- The files beside a store, which a process needs as it needs the store.
local beside = { "-wal", "-shm", "-wake", "-sessions" }

-- A folder in which another user may put something in the place of the store.
local function look_at_folder(path, findings)
  local folder = path:match "^(.*)/[^/]*$" or "."
  if folder == "" then folder = "/" end
  local about = keel_command.stat(folder)
  if not about then return end
  local user = keel_command.user_id()
  if about.uid ~= user and about.uid ~= 0 then
    findings:add("warning", "folder", ("the folder %s belongs to another user (number %d), who can take the store away")
      :format(folder, about.uid), ("unless that is meant, move the store, or: chown %d '%s'"):format(user, folder))
  end
  local may_all, is_sticky = about.mode & 18 ~= 0, about.mode & 512 ~= 0 -- 022, 01000
  if may_all and not is_sticky then
    findings:add("warning", "folder", ("others than its owner may take away what is in the folder %s (mode %03o)")
      :format(folder, about.mode), ("unless that is meant: chmod go-w '%s'"):format(folder))
  end
end

-- Files beside the store that somebody else has made, or that others may use though they may not use the store.
local function look_beside(path, of_store, findings)
  for _, ending in ipairs(beside) do
    local about = keel_command.stat(path .. ending)
    if about and about.uid ~= of_store.uid then
      findings:add("warning", "beside", ("%s%s belongs to user %d, the store to user %d: one of them cannot use it")
        :format(path, ending, about.uid, of_store.uid), ("as root: chown %d '%s%s'"):format(of_store.uid, path, ending))
    end
    if about and about.mode & 63 & ~of_store.mode ~= 0 then -- 077
      findings:add("warning", "beside", ("others than its owner may use %s%s (mode %03o)"):format(path, ending,
        about.mode), ("as for the store: chmod %03o '%s%s'"):format(of_store.mode, path, ending))
    end
  end
end

--- Looks at who may use a file that is a store, what is beside it, and its folder.
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
  look_beside(path, about, findings)
  look_at_folder(path, findings)
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
