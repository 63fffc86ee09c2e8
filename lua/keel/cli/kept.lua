--- What commands in the background have said: a folder for each run, in the state folder of the user who runs it,
--- whatever store the run is in.
---
---   output/EPOCH-INODE/RUN/output, output.1, …
---
--- EPOCH is the store's, and INODE its file's: a copy of a file has the same epoch, and equal paths may be different
--- stores to different containers. A store that was restored has another folder; what is in its old one stays.
local errors = require "keel.errors"
local kernel = require "keel.kernel"
local keel_command = require "keel.command"
local state = require "keel.cli.state"

local kept = {}

--- Bytes of the beginning, and of each of the parts behind it: kept.h.
kept.part_size = 2 * 1024 * 1024

-- An id as the name of a folder. Nothing keeps the writer of a store from ids that are none.
local function name_of(run_id)
  if #run_id <= 128 and run_id:find "^%w[%w._-]*$" then return run_id end
  return "id-" .. kernel.sha256(run_id)
end

local function root()
  local folder = state.directory()
  return folder and folder .. "/output"
end

-- In a folder that is ours alone; what is there already stays. Returns whether it is there.
local function write_file(path, text)
  if keel_command.stat(path) then return true end
  local file <close> = io.open(path, "w") or nil
  return file ~= nil and file:write(text) ~= nil and file:close() == true
end

local function read_file(path)
  local file <close> = keel_command.open_file(path) or nil
  return file and file:read "a"
end

-- The folder of a store, in that of all.
local function folder_of(store, path)
  local about = not path:find "^postgres" and keel_command.stat(path)
  return name_of(store:epoch()) .. (about and ("-%d"):format(about.inode) or "")
end

local EPERM, ENOENT = 1, 2

local function cannot(path, problem, number)
  if number == EPERM then problem = "it is not yours, or others may write to it" end
  return nil, { code = "io", message = ("cannot keep the output in %s: %s"):format(path, problem), transient = false }
end

--- Makes the folder for all runs of a store.
---@param store keel.Store
---@param path string of the store
---@return string? folder
---@return keel.Error? err
function kept.prepare(store, path)
  local base = root()
  if not base then
    return nil, { code = "usage", transient = false,
      message = "there is no HOME to keep the output in; set XDG_STATE_HOME, or give --keep DIR" }
  end
  local made, problem = state.make_directories(state.directory())
  if not made then return cannot(state.directory(), problem) end
  local folder = base .. "/" .. folder_of(store, path)
  for _, one in ipairs { base, folder } do
    local is_own, why, number = keel_command.make_own_directory(one)
    if not is_own then return cannot(one, why, number) end
  end
  write_file(folder .. "/.store", path .. "\n") -- for people
  return folder
end

--- Makes the folder for a run, in that of its store.
---@param parent string
---@param run_id string
---@return string? folder
---@return keel.Error? err
function kept.make(parent, run_id)
  local name = name_of(run_id)
  local folder = parent .. "/" .. name
  local made, problem, number = keel_command.make_own_directory(folder)
  if not made then return cannot(folder, problem, number) end
  if name ~= run_id and not write_file(folder .. "/.id", run_id) then return cannot(folder, "the disk may be full") end
  return folder
end

-- The run of a folder; nil: it does not say, or not yet.
local function run_of(path, name)
  if not name:find "^id%-" then return name end
  local run_id = read_file(path .. "/.id")
  return run_id ~= "" and run_id or nil
end

--- Removes what was kept of runs that are gone. What cannot be removed is told when all the rest is done.
---@param store keel.Store
---@param path string of the store
---@return integer? count of runs
---@return keel.Error? err
function kept.sweep(store, path)
  local base = root()
  if not base then return 0 end
  local folder, count, failure = base .. "/" .. folder_of(store, path), 0, nil
  local names, _, number = keel_command.entries(folder)
  if not names then
    if number == ENOENT then return 0 end
    return nil, errors.new("io", "cannot read " .. folder)
  end
  for _, name in ipairs(names) do
    local one = folder .. "/" .. name
    local run_id = run_of(one, name)
    local run, err = true, nil
    if run_id then run, err = store:get(run_id) end
    if err and err.code ~= "invalid_request" then return nil, err end
    if not run then
      local removed, problem, why = keel_command.remove_directory(one)
      if removed then
        count = count + 1
      elseif why ~= ENOENT then -- else somebody else has just done it
        failure = failure or errors.new("io", ("cannot remove %s: %s"):format(one, problem))
      end
    end
  end
  if failure then return nil, failure end
  return count
end

return kept
