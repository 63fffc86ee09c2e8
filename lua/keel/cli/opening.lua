--- Which store a subcommand works on, and opening it.
local keel_command = require "keel.command"
local kernel = require "keel.kernel"
local output = require "keel.cli.output"
local owner = require "keel.store.owner"
local state = require "keel.cli.state"
local terminal = require "keel.cli.terminal"

require "keel.store"

local opening = {}

local function fail(code, message)
  return nil, { code = code, message = message, transient = false }
end

--- The path of the store, and whether it is the default one.
---@param options { store?: string }
---@return string? path
---@return keel.Error|boolean is_default
function opening.path(options)
  local path = options.store or state.given "KEEL_STORE"
  if path == "" then return fail("usage", "--store needs the name of a file") end
  if path == ":memory:" then
    return fail("usage", "a store in memory would end with this command; give --store a file")
  end
  if path then return path, false end
  local folder = state.directory()
  if not folder then
    return fail("usage", "there is no HOME to keep a store in; give --store FILE or set KEEL_STORE")
  end
  return folder .. "/keel.db", true
end

--- Whether a store is on a server: then there is no file to look at, and its name may have a password.
---@param path string
---@return boolean
function opening.is_on_server(path)
  return path:find "^postgres://" ~= nil or path:find "^postgresql://" ~= nil
end

--- Whether an error of opening is about a file without content: a store that has yet to be made, as after a full disk.
---@param err keel.Error
---@return boolean
function opening.is_empty(err)
  return err.code == "store_corrupt" and err.message:find "the file is empty$" ~= nil
end

local ENOENT, ENOTDIR = 2, 20

--- What keeps a store from being made at a path: its folder is not there. Only the default one's is made.
---@param path string
---@return string? problem
function opening.folder_problem(path)
  local folder = path:match "^(.+)/[^/]*$"
  if not folder then return nil end
  local about, _, number = keel_command.stat(folder)
  if about and about.kind ~= "directory" or number == ENOTDIR then return folder .. " is no folder" end
  if number == ENOENT then return ("there is no folder %s: make it first, with mkdir -p"):format(folder) end
end

--- Makes the directory of the default store, 0700.
---@param path string the store's
---@return true? done
---@return keel.Error? err
function opening.make_folder(path)
  local folder = path:match "^(.*)/"
  local made, problem = state.make_directories(folder)
  if not made then return fail("io", ("cannot make %s: %s"):format(folder, problem)) end
  return true
end

--- Opens the store. The default one's directory is made if need be, 0700.
---@param options { store?: string, durability?: string }
---@param how "make"|"change"|"read" "make": a store that is not there is made
---@param sleep? fun(seconds: number) how it waits
---@return keel.Store? store
---@return keel.Error? err
function opening.store(options, how, sleep)
  local path, is_default = opening.path(options)
  if not path then return nil, is_default end
  if how == "make" and is_default then
    local made, problem = opening.make_folder(path)
    if not made then return nil, problem end
  end
  local store, err = kernel.open(path, { create = how == "make", readonly = how == "read",
    durability = options.durability, sleep = sleep })
  -- What is left out of what is read is said beside it.
  if store then store:tell_damage(function(_, message) terminal.say("keel: ", output.plain(message)) end) end
  if not store and opening.is_on_server(path) then return nil, err end
  local problem = not store and not is_default and (err.code == "store_missing" or err.code == "io") and
    opening.folder_problem(path)
  if problem then return fail("store_missing", problem .. "; --store names another file") end
  if not store and err.code == "store_missing" and how ~= "make" then
    return fail("store_missing", ("there is no store at %s yet; 'keel exec' makes one, --store names another"):format(
      path))
  end
  if not store and opening.is_empty(err) then
    return fail(err.code, err.message .. "; 'keel exec' makes a store of it, --store names another file")
  end
  if not store and (err.code == "store_corrupt" or err.code == "io") then
    return fail(err.code, err.message .. "; --store names another file")
  end
  if not store and err.code == "store_version" and how == "read" and err.message:find "older" then
    return fail("store_version", ("%s was made by an older version; 'keel reconcile' brings it up to date"):format(
      path))
  end
  return store, err
end

--- The error of a run that is not there.
---@param run_id string
---@return keel.Error
function opening.no_run(run_id)
  return { code = "not_found", message = ("there is no run %s; 'keel runs list' lists them"):format(run_id),
    run_id = run_id, transient = false }
end

--- What to tell when a worker or its runtime is not there; other errors stay as they are.
---@param err keel.Error? nil: there is no such worker
---@param runtime_id string
---@param worker_id? string
---@return keel.Error
function opening.no_worker(err, runtime_id, worker_id)
  if err and err.code ~= "not_found" then return err end
  local message = ("there is no worker %s; 'keel workers list %s' lists them"):format(worker_id, runtime_id)
  if not worker_id or err and err.message:find "no runtime" then
    message = ("there is no runtime %s; 'keel workers list' lists them"):format(runtime_id)
  end
  return { code = "not_found", message = message, transient = false }
end

--- Whether the process that has a run in flight is gone.
---@param store keel.Store
---@param run table
---@return boolean
function opening.is_orphan(store, run)
  if kernel.final[run.status] then return false end
  return owner.is_gone(run, function(session_id) return store:session_alive(session_id) ~= false end)
end

--- Opens the store, with a manager on it.
---@param options table
---@param how "make"|"change"|"read"
---@return keel.Store? store
---@return keel.RunManager|keel.Error manager
function opening.manager(options, how)
  local store, err = opening.store(options, how)
  if not store then return nil, err end
  local manager
  manager, err = require("keel.manager").new { store = store }
  if not manager then
    store:close()
    return nil, err
  end
  return store, manager
end

--- Whether what is in a store may be run as a command: whoever can write to it may have written that, and it would be
--- run as us. A server says itself who may.
---@param path string
---@return true? is_ours
---@return keel.Error? err
function opening.check_writers(path)
  local about = not opening.is_on_server(path) and keel_command.stat(path)
  if not about then return true end
  local message
  if about.uid ~= keel_command.user_id() then
    message = ("%s belongs to user %d: its commands are run by nobody else"):format(path, about.uid)
  elseif about.mode & 18 ~= 0 then -- 022: its group, or all
    message = ("others may write to %s, and would have commands run as you: chmod go-w first"):format(path)
  end
  if message then return nil, { code = "io", message = message, transient = false } end
  return true
end

return opening
