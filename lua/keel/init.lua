--- keel: a durable run kernel. This file is the face: what users write starts here.
local check = require "keel.check"
local errors = require "keel.errors"
local kernel = require "keel.kernel"

require "keel.store"

--- The time in so many seconds from now, by the system's clock, as text. Raises for anything but a number of at most a
--- century.
---@param seconds_from_now? number without it: now
---@return string time RFC 3339, UTC
local function time(seconds_from_now)
  if seconds_from_now == nil then return kernel.now() end
  check.type(seconds_from_now, "number", 1, "time")
  local text, err = errors.time(seconds_from_now, "seconds_from_now", kernel.now())
  if not text then error(("bad argument #1 to 'time' (%s)"):format(err.message), 2) end
  return text
end

local keel = {
  version = kernel.version,
  --- Opens a store, and makes it or brings it up to date if need be.
  --- Raises for an unknown option or a wrong type. Fails with invalid_request, store_missing, store_corrupt,
  --- store_version, store_readonly, store_full, io, busy, no_memory.
  ---@type fun(uri: string, options?: keel.StoreOptions): keel.Store?, keel.Error?
  open = kernel.open,
  --- `assert` for hosts that show only texts: raises "file:line: code: message" in place of an error table.
  assert = errors.assert,
  time = time,
  --- A time as seconds since the epoch. Fails with invalid_request (time) for what is none.
  seconds = kernel.time_seconds,
  --- Puts a backup in the place of a store.
  --- Raises for wrong types. Fails with busy (a live session has the store open), invalid_request, store_missing,
  --- store_corrupt, store_version, store_readonly, store_full, io, no_memory.
  ---@type fun(backup: string, path: string): true?, keel.Error?
  restore = kernel.restore,
  --- JSON null, in tables that become JSON.
  null = kernel.null,
  --- Marks a table as a JSON array.
  array = kernel.array,
  --- JSON text of values, and back.
  json = kernel.json,
  load_policy = require("keel.policy.loaded").load,
  testing = require "keel.testing",
  next_occurrence = require("keel.schedule").next_occurrence,
  retry_policy = require("keel.retry").new,
  run_manager = require("keel.manager").new,
  shared_commits = require("keel.store.shared_commits").new,
  --- Makes an executor. Needs luv, which nothing else here does: it is looked for when the first executor is made.
  executor = require("keel.executor").new,
  dispatcher = require "keel.dispatcher",
  runtime = require("keel.runtime").new,
}

return keel
