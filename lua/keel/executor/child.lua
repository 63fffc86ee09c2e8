--- A child process of a run: its output is collected, and it does not outlive its run.
---
--- It leads a process group of its own, and signals go to that group. They are sent only while the leader has not
--- been waited for: until then no stranger can have its number. When it has ended, what is left of its group is killed
--- on the spot, for the same reason.
local broken_pipe = require "keel.executor.broken_pipe"
local check = require "keel.check"
local errors = require "keel.errors"
local kernel = require "keel.kernel"

---@class keel.Child
---@field pid integer
---@field code? integer the exit code, once it has ended
---@field signal? integer the signal that ended it, else 0
local Child = {}
Child.__index = Child
Child.__name = "keel.child"

local MAX_OUTPUT = 1024 * 1024 -- bytes kept of each stream by default; of more, the last
local LAST_WORDS = 1           -- seconds for output that comes after the end: a daemon may hold the pipe

local known = { cwd = "string", env = "table", input = "string", output = "string", max_output = "integer" }
local outputs = { collect = true, inherit = true, ignore = true }

-- A number is written with a point: what reads it need not have the host's locale.
local function text_of(value)
  return type(value) == "number" and kernel.number_text(value) or tostring(value)
end

-- A word as the system takes it: it would end at a zero byte.
local function checked(word, i)
  if type(word) ~= "string" and type(word) ~= "number" then
    error(("bad argument #1 to 'spawn' (word %d is a %s)"):format(i, type(word)), 5)
  elseif type(word) == "string" and word:find("\0", 1, true) then
    error(("bad argument #1 to 'spawn' (word %d has a zero byte)"):format(i), 5)
  end
  return text_of(word)
end

-- The words of a command and its options.
local function parse(command)
  if type(command) == "string" then command = { "/bin/sh", "-c", command } end
  check.type(command, "table", 1, "spawn")
  local words, options = {}, {}
  for key, value in pairs(command) do
    if math.type(key) ~= "integer" then options[key] = value end
  end
  for i, word in ipairs(command) do words[i] = checked(word, i) end
  check.options(options, known, 1, "spawn")
  if #words == 0 then error("bad argument #1 to 'spawn' (a command has at least one word)", 3) end
  if options.output and not outputs[options.output] then
    error("bad argument #1 to 'spawn' (option 'output' must be one of: collect, inherit, ignore)", 3)
  end
  return words, options
end

-- The environment as a list: the process's own with changes; false takes a name out.
local function environment(uv, changes)
  if not changes then return nil end
  local list = {}
  for name, value in pairs(uv.os_environ()) do
    if changes[name] == nil then list[#list + 1] = name .. "=" .. value end
  end
  for name, value in pairs(changes) do
    if value then list[#list + 1] = name .. "=" .. text_of(value) end
  end
  return list
end

-- Keeps the last `max` bytes of what a pipe says.
local function collect(self, stream, pipe, max)
  local chunks, size, dropped = {}, 0, 0
  self._streams = self._streams + 1
  self[stream] = function()
    local text = table.concat(chunks)
    local cut = math.max(#text - max, 0)
    return text:sub(cut + 1), dropped + cut
  end
  pipe:read_start(self._loop:guard(function(_, data)
    if data then
      chunks[#chunks + 1] = data
      size = size + #data
      if size > 2 * max and #chunks > 1 then
        local text = table.concat(chunks)
        chunks = { text:sub(-max) }
        dropped, size = dropped + #text - #chunks[1], #chunks[1]
      end
      return
    end
    self._streams = self._streams - 1
    self:_settle()
  end))
end

local function close_all(handles)
  for _, handle in pairs(handles) do
    if not handle:is_closing() then handle:close() end
  end
end

--- Starts a command. Raises for unknown options and wrong types. Fails with io when it cannot be started.
---@param loop keel.ExecutorLoop
---@param command string|table
---@param grace number seconds between SIGTERM and SIGKILL
---@return keel.Child? child
---@return keel.Error? err
function Child.spawn(loop, command, grace)
  local words, options = parse(command)
  local uv, output = loop.uv, options.output or "collect"
  local pipes = { uv.new_pipe(false) }
  if output == "collect" then pipes[2], pipes[3] = uv.new_pipe(false), uv.new_pipe(false) end
  local stdio = { pipes[1] }
  if output ~= "ignore" then stdio[2], stdio[3] = pipes[2] or 1, pipes[3] or 2 end
  local self = setmetatable({ _loop = loop, _pipes = pipes, _streams = 0, _grace = grace, _waiters = {} }, Child)
  local handle, pid = uv.spawn(words[1], {
    args = table.move(words, 2, #words, 1, {}), stdio = stdio, env = environment(uv, options.env), cwd = options.cwd,
    detached = true,
  }, loop:guard(function(code, signal) self:_ended(code, signal) end))
  if not handle then
    close_all(pipes)
    local folder = options.cwd and " in " .. options.cwd or "" -- the fault may be either's
    return nil, errors.new("io", ("cannot start %s%s: %s"):format(words[1], folder, tostring(pid)))
  end
  self._handle, self.pid = handle, pid
  local max = options.max_output or MAX_OUTPUT
  if pipes[2] then
    collect(self, "_output", pipes[2], max)
    collect(self, "_errors", pipes[3], max)
  end
  if options.input then
    local release = broken_pipe.catch(uv)
    pipes[1]:write(options.input, loop:guard(function()
      release()
      close_all { pipes[1] }
    end))
  else
    close_all { pipes[1] }
  end
  return self
end

-- The leader has ended, and has been waited for this very moment.
function Child:_ended(code, signal)
  self._loop.uv.kill(-self.pid, "sigkill") -- the rest of its group, if there is any
  self.code, self.signal = code, signal
  if self._cancel_kill then self._cancel_kill() end
  self._cancel_wait = self._loop:after(LAST_WORDS, function()
    self._streams = 0
    self:_settle()
  end)
  self:_settle()
end

-- When it has ended and said all it had to say, whoever waits goes on.
function Child:_settle()
  if not self.code or self._streams > 0 or self.settled then return end
  self.settled = true
  self._cancel_wait()
  close_all(self._pipes)
  close_all { self._handle }
  for _, waiter in ipairs(self._waiters) do waiter:wake() end
end

--- Sends a signal to its process group. False when it has ended.
---@param signal? string|integer default "sigterm"
---@return boolean sent
function Child:kill(signal)
  if self.code then return false end
  return self._loop.uv.kill(-self.pid, signal or "sigterm") == 0
end

--- Ends it: SIGTERM, and after the grace SIGKILL.
function Child:terminate()
  if self.code or self._cancel_kill then return end
  self:kill "sigterm"
  self._cancel_kill = self._loop:after(self._grace, function() self:kill "sigkill" end)
end

--- Waits until it has ended. In the coroutine of a handler.
---@return { code: integer, signal: integer, output: string, errors: string, dropped: integer } result output and
--- errors: what it wrote to its two streams, the last `max_output` bytes of each; dropped: how many bytes that left out
function Child:wait()
  if not self.settled then
    if not self._loop:drives((coroutine.running())) then
      error("wait is to be called in the coroutine of the handler", 2)
    end
    local waiter = self._loop:waiter()
    table.insert(self._waiters, waiter)
    waiter:wait()
  end
  local result = { code = self.code, signal = self.signal, output = "", errors = "", dropped = 0 }
  if self._output then
    local dropped
    result.output, result.dropped = self._output()
    result.errors, dropped = self._errors()
    result.dropped = result.dropped + dropped
  end
  return result
end

return Child
