--- The execution backend of a runtime: the host's object that makes workers work.
---
--- It is asked in the writing transaction of a change, when everything else is certain, and may refuse: nothing has
--- then happened. So it is asked about inputs in the order of the transcript. It must be quick, cannot yield, and must
--- not use the store's handle. A commit that fails after it agreed is the one thing it cannot know: a worker it spawned
--- is then cancelled again; about the others it is asked anew when the caller tries again.
local check = require "keel.check"
local errors = require "keel.errors"
local kernel = require "keel.kernel"

local backend = {}

local methods = { "spawn", "dispatch_input", "stop", "cancel" }

--- Raises unless a value is a backend.
---@param object any
function backend.check(object)
  for _, name in ipairs(methods) do
    local ok, method = pcall(function() return object[name] end)
    if not ok or not check.is_callable(method) then
      error(("bad argument #1 to 'runtime' (option 'backend' has no method '%s')"):format(name), 3)
    end
  end
end

--- What keeps a refusal from being tried again: it is an answer, even if the backend is only busy now.
backend.refused = errors.new("conflict", "the backend refused")

-- The error of a refusal, however it was said. A backend's errors are objects of anybody's making.
local function refusal_of(err)
  if err == nil then return errors.new("conflict", "the backend refused") end
  local is_bare = type(err) == "table" and getmetatable(err) == nil
  if is_bare and err.message == nil then
    if err.code == nil then return errors.from "the backend refused" end
    err = setmetatable({ message = "the backend refused" }, { __index = err })
  end
  return errors.from(err)
end

--- Asks a backend. Returns true when it agrees.
---@param object table
---@param method string
---@return true? agreed
---@return keel.Error? err
function backend.ask(object, method, ...)
  local ok, agreed, err = kernel.pcall(object[method], object, ...)
  if ok and agreed then return true end
  if not ok then return nil, refusal_of(agreed) end
  return nil, refusal_of(err)
end

return backend
