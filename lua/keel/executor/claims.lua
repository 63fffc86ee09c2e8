--- When it is worth looking for a run that anybody may claim, and for how many at once.
---
--- Whoever has nothing to do would look for one; where there are none, that is a transaction each for nothing. So looks
--- are counted: what is told of allows one more, one that found a run allows two, as where there was one there may be
--- more, and one that found none, or failed, ends it until something is told again: the next tick does.
local errors = require "keel.errors"

---@class keel.ExecutorClaims
---@field on_later? fun(seconds: number) told when one may be there to claim by time alone
local Claims = {}
Claims.__index = Claims

---@param manager keel.RunManager
---@param options { threads?: string[], handlers?: string[], most: integer,
--- log?: fun(level: string, message: string, fields: table) } most: looks at once
function Claims.new(manager, options)
  local asked = {}
  for _, name in ipairs(options.handlers or {}) do asked[name] = true end
  return setmetatable({
    _manager = manager,
    _asked = asked, -- handlers as a set
    _threads = options.threads,
    _handlers = options.handlers,
    _most = options.most,
    _log = options.log,
    _told = nil, -- what a claim failed with last
    _looks = 1,  -- that are worth it now
    _news = 0,   -- counts what was told: a look that began before it says nothing about it
    _due = nil,  -- when a run that was given back may be claimed, in seconds
  }, Claims)
end

--- One more run may be there to claim.
function Claims:expect()
  self._looks = math.min(self._looks + 1, self._most)
  self._news = self._news + 1
end

--- Whether those who an event says may find something to start are of those that are looked for here.
---@param ready? any `ready` of its data; nil: nobody
---@return boolean
function Claims:is_meant(ready)
  if self._threads then return true end -- what waits on a thread is looked at whether anybody was told of it or not
  if type(ready) ~= "table" then return false end
  if ready.all then return true end
  for _, name in ipairs(type(ready.handlers) == "table" and ready.handlers or {}) do
    if not self._handlers or self._asked[name] then return true end
  end
  return false
end

--- A run that waited may be able to start.
function Claims:expect_some()
  self._looks = math.max(self._looks, 1)
  self._news = self._news + 1
end

--- One will be there to claim.
---@param time number
function Claims:expect_at(time)
  self._due = math.min(self._due or time, time)
end

--- When the next is expected.
---@return number? seconds
function Claims:due()
  return self._due
end

--- Whether one that was expected for a later time is to be looked for now.
---@param now number
---@return boolean
function Claims:is_due(now)
  if not self._due or self._due > now then return false end
  self._due = nil
  return true
end

--- Whether to look for one.
---@return boolean
function Claims:is_worth_it()
  return self._looks > 0
end

-- Says why a claim has failed, once while that is the same: it is tried again with every tick.
local function tell(self, err)
  local text = err and errors.text(err)
  if text and text ~= self._told and self._log then self._log("error", "no run can be claimed", { error = text }) end
  self._told = text
end

--- Claims a run, if that is worth a try. In a coroutine that may wait.
---@return keel.Run? record running
function Claims:take()
  if self._looks <= 0 then return nil end
  self._looks = self._looks - 1
  local seen = self._news
  local record, err = self._manager:claim_next { threads = self._threads, handlers = self._handlers }
  tell(self, err)
  if record then
    self._looks = math.min(self._looks + 2, self._most)
  elseif seen == self._news then
    self._looks = 0
    -- A rate that was found full is not known to anybody else.
    local seconds = self.on_later and not err and self._manager:next_due()
    if seconds and seconds > 0 then self.on_later(seconds) end
  end
  return record
end

return Claims
