--- What commands in the background have said: a folder for each run, in the state folder of the user who runs it,
--- whatever store the run is in.
---
---   output/EPOCH/RUN/output, output.1, …
---
--- EPOCH is the store's: equal paths may be different stores to different containers. As a restored store has a new
--- one, `.store` in there says which store it was.
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

-- In a folder that is ours alone; what is there already stays.
local function write_file(path, text)
  local file <close> = not keel_command.stat(path) and io.open(path, "w") or nil
  if file then file:write(text) end
end

local function read_file(path)
  local file <close> = keel_command.open_file(path) or nil
  return file and file:read "a"
end

-- Which store this is, for who shares our state folder: what containers have in common has different names there.
local function marker(path)
  if path:find "^postgres" then return nil end
  local host = read_file "/proc/sys/kernel/hostname" or ""
  if not path:find "^/" then path = (keel_command.directory() or "") .. "/" .. path end
  return host:gsub("%s", "") .. " " .. path
end

local EPERM = 1

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
  local folder = base .. "/" .. name_of(store:epoch())
  for _, one in ipairs { base, folder } do
    local is_own, why, number = keel_command.make_own_directory(one)
    if not is_own then return cannot(one, why, number) end
  end
  local mark = marker(path)
  if mark then write_file(folder .. "/.store", mark) end
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
  if name ~= run_id then write_file(folder .. "/.id", run_id) end
  return folder
end

-- Removes the folders of runs that the store does not have. Returns how many.
local function sweep_folder(store, folder)
  local names, _, number = keel_command.entries(folder)
  if not names then return number == 2 and 0 or nil, errors.new("io", "cannot read " .. folder) end
  local count = 0
  for _, name in ipairs(names) do
    local path = folder .. "/" .. name
    local run_id = name:find "^id%-" and read_file(path .. "/.id") or name
    local run, err = store:get(run_id)
    if err and err.code ~= "invalid_request" then return nil, err end
    if not run then
      local removed, problem = keel_command.remove_directory(path)
      if not removed then return nil, errors.new("io", ("cannot remove %s: %s"):format(path, problem)) end
      count = count + 1
    end
  end
  return count
end

--- Removes what was kept of runs that are gone.
---@param store keel.Store
---@param path string of the store
---@return integer? count of runs
---@return keel.Error? err
function kept.sweep(store, path)
  local base, count = root(), 0
  local epoch, mark = name_of(store:epoch()), marker(path)
  for _, name in ipairs(base and keel_command.entries(base) or {}) do
    local folder = base .. "/" .. name
    if name == epoch or mark and read_file(folder .. "/.store") == mark then
      local removed, err = sweep_folder(store, folder)
      if not removed then return nil, err end
      count = count + removed
      if name ~= epoch and #(keel_command.entries(folder) or { 1 }) == 0 then keel_command.remove_directory(folder) end
    end
  end
  return count
end

return kept
