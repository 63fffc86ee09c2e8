--- What an executor is given, checked.
local Attachment = require "keel.manager.attachment"
local Retry = require "keel.retry"
local check = require "keel.check"
local errors = require "keel.errors"
local kernel = require "keel.kernel"

local CONCURRENCY, CONCURRENCY_MAX = 16, 1000
local INTERVAL = 1   -- seconds between two ticks; with leases shorter, as two may come late
local POLL = 0.01    -- seconds between two looks at the log where nobody wakes
local KILL_GRACE = 5 -- seconds between SIGTERM and SIGKILL

local known = { manager = "table", handlers = "function|table", concurrency = "integer", loop = "table",
  threads = "table", reconciler = "string|function|policy", interval = "number", poll = "number", kill_grace = "number",
  backoff = "retry policy" }

local function find_luv()
  local found, luv = pcall(require, "luv")
  if found then return luv end
  error("keel.executor needs luv, the binding of libuv: install the Debian package lua-luv, or the rock luv ("
    .. tostring(luv):match "^[^\n]*" .. ")", 4)
end

-- Whether a table is a list of texts, without holes.
local function is_list_of_texts(list)
  local count = 0
  for _, value in next, list do
    if type(value) ~= "string" then return false end
    count = count + 1
  end
  return count == #list
end

local function check_needed(options)
  local problem = Attachment.problem_with(options.manager)
  if problem then error(("bad argument #1 to 'executor' (%s)"):format(problem), 4) end
  if not options.handlers then error("bad argument #1 to 'executor' (option 'handlers' is missing)", 4) end
  for name, handler in next, type(options.handlers) == "table" and options.handlers or {} do
    if type(name) ~= "string" or type(handler) ~= "function" then
      error(("bad argument #1 to 'executor' (option 'handlers' must map names to functions; '%s' is a %s)"):format(
        errors.text(name), type(handler)), 4)
    end
  end
  if options.threads and not is_list_of_texts(options.threads) then
    error("bad argument #1 to 'executor' (option 'threads' must be a list of strings)", 4)
  end
  if options.loop and type(options.loop.new_idle) ~= "function" then
    error("bad argument #1 to 'executor' (option 'loop' must be luv, or a module with its functions)", 4)
  end
end

-- What no claim takes would be asked for again and again: threads, and names of handlers.
local function check_claims(options)
  local threads, err = options.threads or {}, nil
  local max = kernel.limits.list -- of one claim
  if #threads > max then
    return errors.new("limit_too_large", ("threads has %d entries, at most %d"):format(#threads, max),
      { field = "threads", requested = #threads, max = max })
  end
  for i, id in ipairs(threads) do err = err or check.id(id, "threads", ("threads[%d]"):format(i)) end
  for name in next, type(options.handlers) == "table" and options.handlers or {} do
    err = err or check.id(name, "handlers", ("a name of handlers, '%s',"):format(errors.cut(name, 40)))
  end
  return err
end

-- Numbers that make no sense are the caller's input, as for a manager.
local function out_of_range(options)
  local concurrency = options.concurrency or CONCURRENCY
  if concurrency < 1 then
    return errors.new("invalid_request", "concurrency must be at least 1", { field = "concurrency" })
  end
  if concurrency > CONCURRENCY_MAX then
    return errors.new("limit_too_large", ("concurrency is %d, at most %d"):format(concurrency, CONCURRENCY_MAX),
      { field = "concurrency", requested = concurrency, max = CONCURRENCY_MAX })
  end
  return check.duration(options.interval, "interval", true) or check.duration(options.poll, "poll", true)
    or check.duration(options.kill_grace, "kill_grace")
    or Attachment.check_reconciler(options.manager, options.reconciler)
end

--- Checks the options of Executor.new, which calls this, and fills in what was left out.
---@param given table
---@return table? options as given, with loop
---@return keel.Error? err
return function(given)
  given = check.options(given, known, 1, "executor", 1)
  check_needed(given)
  local err = out_of_range(given) or check_claims(given)
  if err then return nil, err end
  local options = {}
  for name, value in pairs(given) do options[name] = value end
  options.loop = given.loop or find_luv()
  options.concurrency = given.concurrency or CONCURRENCY
  options.interval = given.interval or math.min(INTERVAL, (Attachment.lease_of(given.manager) or math.huge) / 3)
  options.poll, options.kill_grace = given.poll or POLL, given.kill_grace or KILL_GRACE
  options.backoff = given.backoff or Retry.new { initial_delay = 1, max_delay = 300 }
  return options
end
