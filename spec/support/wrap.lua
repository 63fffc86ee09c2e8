--- A store in front of a store: forwards everything, counts the calls, and lets a spec make some of them fail.
local M = {}

local function forwarder(target, name)
  return function(...) return target[name](target, ...) end
end

local decorate

--- What may begin a transaction hands out a decorated one.
local special = {}

function special.begin(target, overrides, calls)
  return function(...)
    local tx, err = target:begin(...)
    if not tx then return nil, err end
    return decorate(tx, overrides.tx or {}, calls, "tx.")
  end
end

function special.transaction(target, overrides, calls)
  return function(fn)
    return target:transaction(function(tx) return fn(decorate(tx, overrides.tx or {}, calls, "tx.")) end)
  end
end

function decorate(target, overrides, calls, prefix)
  local proxy = {}
  return setmetatable(proxy, {
    __index = function(_, name)
      local member = target[name]
      local override = overrides[name]
      if type(member) ~= "function" and type(override) ~= "function" then return member end
      -- A store in other clothes need not have it: then decisions go through begin, put and commit, which specs fail.
      if name == "admit" and not override then return nil end
      local forward = prefix == "" and special[name] and special[name](target, overrides, calls)
        or forwarder(target, name)
      return function(self, ...)
        assert(rawequal(self, proxy), name .. " is a method: call it with a colon")
        calls[prefix .. name] = calls[prefix .. name] + 1
        calls.total = calls.total + 1
        if type(override) == "function" then return override(forward, ...) end
        return forward(...)
      end
    end,
    __close = function(_, err)
      local close = (getmetatable(target) or {}).__close
      if close then close(target, err) end
    end,
  })
end

--- `overrides` = { put = function(forward, …) … end, tx = { commit = function(forward, …) … end } }.
-- Gives the wrapper and a table of how often each method was called ("put", "tx.put", "total").
function M.wrap(store, overrides)
  local calls = setmetatable({}, { __index = function() return 0 end })
  return decorate(store, overrides or {}, calls, ""), calls
end

--- An override that fails the first `times` calls with `err` (a table: nil, err; a text: raised), then forwards.
function M.fail(times, err)
  return function(forward, ...)
    if times <= 0 then return forward(...) end
    times = times - 1
    if type(err) == "string" then error(err, 0) end
    return nil, err
  end
end

return M
