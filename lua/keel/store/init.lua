--- What of a store is better said in Lua.
local kernel = require "keel.kernel"
local leases = require "keel.store.lease"
local check = require "keel.check"
local errors = require "keel.errors"

local methods = { __name = "keel.store" }

--- Runs fn(tx) in a writing transaction: commits when fn returns, rolls back when it raises (the error passes through)
--- or returns nil and an error. fn cannot yield.
--- Fails with what begin, commit or fn fail with.
---@generic T
---@param fn fun(tx: keel.Transaction): T?, keel.Error?
---@return T? ... what fn returned; true when it returned nothing
---@return keel.Error? err
function methods:transaction(fn)
  if type(fn) ~= "function" then
    error("bad argument #1 to 'transaction' (function expected, got " .. type(fn) .. ")", 2)
  end
  local tx, err = self:begin()
  if not tx then return nil, err end
  local results = table.pack(kernel.pcall(fn, tx))
  if not results[1] then
    tx:rollback()
    error(results[2], 0)
  end
  if results[2] == nil and results[3] ~= nil then
    tx:rollback()
    return nil, results[3]
  end
  local committed
  committed, err = tx:commit()
  if not committed then return nil, err end
  if results.n == 1 then return true end
  return table.unpack(results, 2, results.n)
end

local function add(counts, step)
  for _, name in ipairs { "runs", "workers", "transcript_entries", "diagnostics", "events" } do
    counts[name] = (counts[name] or 0) + step[name]
  end
  return counts
end

--- Deletes what is old: events from the beginning of the log, and runs and workers that have ended. Step by step, each
--- a transaction of its own, between which others may write and the store's sleep may yield.
--- Raises for unknown options and wrong types. Fails with invalid_request (before, keep_last, statuses; neither before
--- nor keep_last) and what writing fails with; the steps before that stay done.
---@param options { before?: string|number, keep_last?: integer, statuses?: string[], dry_run?: boolean } before: a
--- time, what ended or happened earlier, default now; keep_last: the newest so many runs of each thread, workers of
--- each runtime, and events stay, default 0; statuses: of runs and workers, default all final ones; dry_run: count
--- what would go, and delete nothing
---@param after_step? fun(counts: table) called after each step, with the counts so far; what it raises passes through
---@return { runs: integer, workers: integer, transcript_entries: integer, diagnostics: integer, events: integer }?
--- counts
---@return integer|keel.Error unused bytes that store:compact() would give back now, 0 when it was dry; or the error
function methods:prune(options, after_step)
  options = check.options(options, { before = "time", keep_last = "integer", statuses = "table",
    dry_run = "boolean" }, 1, "prune")
  if after_step ~= nil then check.type(after_step, "function", 2, "prune") end
  if not options.before and not options.keep_last then
    return nil, errors.new("invalid_request", "before or keep_last must be given", { field = "before" })
  end
  local before, problem = errors.time(options.before or 0, "before", self:now())
  if not before then return nil, problem end
  local place = { before = before, keep_last = options.keep_last, statuses = options.statuses,
    dry_run = options.dry_run }
  local counts = {}
  local unused
  repeat
    local step, err = self:prune_step(place)
    if not step then return nil, err end
    add(counts, step)
    unused = step.unused_bytes
    if after_step then after_step(counts) end
    place.next_run, place.next_worker, place.next_event = step.next_run, step.next_worker, step.next_event
    if step.more then self:sleep(0) end
  until not step.more
  return counts, unused
end

--- Grants a name to this store's session, until it is released, expires, or the session ends. Raises for wrong types.
--- Fails with lease_held (owner, expires_at), also when this session holds it, and invalid_request (name, ttl, owner).
---@param name string id
---@param options { ttl: number, owner?: string } ttl: seconds, more than 0; owner: what others see, default the store's
---@return keel.Lease? lease
---@return keel.Error? err
function methods:lease(name, options)
  return leases.acquire(self, name, options)
end

for name, method in pairs(check.methods(methods, "begin")) do
  if type(method) == "function" then kernel.store_methods[name] = method end
end

return kernel.store_methods
