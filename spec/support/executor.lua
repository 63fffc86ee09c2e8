--- Executors for specs: each is stopped after the test, and the loop is turned until something has come to pass.
local keel = require "keel"
local process = require "support.process"

local M = {}
local made = {}

--- An executor on the manager.
function M.new(manager, handlers, options)
  local given = { manager = manager, handlers = handlers, interval = 0.05, kill_grace = 0.2 }
  for name, value in pairs(options or {}) do given[name] = value end
  local executor = assert(keel.executor(given))
  made[#made + 1] = executor
  return executor
end

--- The same, and started.
function M.started(...)
  local executor = M.new(...)
  executor:start()
  return executor
end

--- Turns the loop until `done()`, or fails. What other processes do is no event of this loop.
function M.await(done, what)
  if not process.poll_until(done, 10000) then error("in vain waited for " .. (what or "something"), 2) end
end

--- Turns the loop until runs have a status in the store.
function M.await_status(store, ids, status)
  M.await(function()
    for _, id in ipairs(type(ids) == "table" and ids or { ids }) do
      local row = store:get(id)
      if not row or row.status ~= status then return false end
    end
    return true
  end, status)
end

--- Before the stores are closed.
function M.clean_up()
  for i = #made, 1, -1 do
    made[i]:stop { timeout = 0 }
    made[i] = nil
  end
end

return M
