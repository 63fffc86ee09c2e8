--- Keeping a store in bounds: what is older than it is to be kept goes with the ticks, in steps so small that whoever
--- wants to write hardly notices.
local check = require "keel.check"
local errors = require "keel.errors"
local kernel = require "keel.kernel"

local retention = {}

local OPTIONS = { before = "number", keep_last = "integer" }
local LEAST, MOST = 64, 1000 -- rows that a step looks at: fewer cost no less, as each step has its commit
local SHORT, LONG = 0.004, 0.008 -- seconds: a step that takes less may be longer, one that takes more is too long
local OF_A_TICK = 0.1        -- seconds of steps in one tick
local REST = 60              -- seconds at most from the end of a walk to the next
local CENTURY = 100 * 366 * 86400

--- Checks what a manager is given.
---@param given? table
---@param name string the function's
---@return keel.Error? err invalid_request (retention)
function retention.check(given, name)
  if given == nil then return nil end
  local options = check.options(given, OPTIONS, 1, name, 1)
  if not options.before and not options.keep_last then
    return errors.invalid("retention", "must have before, a number of seconds, or keep_last")
  end
  if options.before and not (check.is_duration(options.before) and options.before <= CENTURY) then
    return errors.invalid("retention", "before must be a number of seconds, from 0 to a century")
  end
  if options.keep_last and options.keep_last < 0 then
    return errors.invalid("retention", "keep_last must be at least 0")
  end
end

-- Whether a walk is to be begun, or to be gone on with.
local function is_time(self, wanted, now)
  local state = self.pruning
  if not state.ended then return true end
  local rest = math.min(REST, (wanted.before or REST) / 10)
  return now - state.ended >= rest or now < state.ended -- the clock may have been put back
end

local function step(self, wanted, now)
  local state = self.pruning
  local began = kernel.monotonic()
  local done, err = self.client:call("prune_step", { before = kernel.time_text(now - (wanted.before or 0)),
    keep_last = wanted.keep_last, limit = state.limit, next_run = state.next_run, next_worker = state.next_worker })
  if not done then return nil, err end
  local took = kernel.monotonic() - began
  if took < SHORT then state.limit = math.min(state.limit * 2, MOST) end
  if took > LONG then state.limit = math.max(state.limit // 2, LEAST) end
  state.next_run, state.next_worker = done.next_run, done.next_worker
  return done
end

--- Takes some steps of a tick, if a manager is to keep its store in bounds.
---@param self keel.ManagerCore
---@return keel.Error? err
function retention.work_off(self)
  local wanted = self.context.retention
  if not wanted or not self.client:has "prune_step" then return nil end
  local now = kernel.time_seconds(self.client:now())
  self.pruning = self.pruning or { limit = LEAST }
  if not is_time(self, wanted, now) then return nil end
  self.pruning.ended = nil
  local until_then = kernel.monotonic() + OF_A_TICK
  repeat
    local done, err = step(self, wanted, now)
    if not done then return err end
    if not done.more then
      self.pruning = { limit = self.pruning.limit, ended = now }
      return nil
    end
    self.client:sleep(0)
  until kernel.monotonic() >= until_then
end

return retention
