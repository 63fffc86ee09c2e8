--- A proxy in front of a PostgreSQL server that loses connections when it is told to. A program of its own: whoever
--- uses the store blocks meanwhile. Started by spec/support/proxy.lua.
--
-- Usage: lua5.4 tests/server/proxy.lua SOCKET SERVER_SOCKET ADMINISTRATOR_URI
--
-- It listens at SOCKET, and reads commands from its input; each is answered with a line:
--
--   client N   the connection is cut when N bytes more have gone from the client to the server
--   server N   the same, from the server to the client
--   trip N     the server's process is ended (pg_terminate_backend) before the N-th message from now on reaches it
--   mute N     the N-th message from now on reaches the server, and nothing it says reaches the client any more
--   count      nothing is lost; counts from now on
--   tell       TRIPS CLIENT_BYTES SERVER_BYTES LOST(0 or 1), since the last of the above
--   drop       cuts all connections
--   unmute     drop, for those that were muted
local uv = require "luv"

local socket_path, server_path, administrator = ...

local pairs_open, plan, seen = {}, nil, nil

local function say(...)
  io.stdout:write(table.concat({ ... }, " "), "\n")
  io.stdout:flush()
end

local function start_over(new_plan)
  plan, seen = new_plan, { trips = 0, client = 0, server = 0, lost = false }
end
start_over()

-- --- The administrator -----------------------------------------------------------------------------------------------

local psql_input = uv.new_pipe()
assert(uv.spawn("psql", {
  args = { "--quiet", "--tuples-only", "--no-align", administrator }, stdio = { psql_input, nil, 2 },
}, function() end))

-- Ends a process of the server, which says so to its client and closes the connection.
local function terminate(pid)
  psql_input:write(("SELECT pg_terminate_backend(%d);\n"):format(pid))
end

-- --- Connections -----------------------------------------------------------------------------------------------------

local function close(handle)
  if not handle:is_closing() then handle:close() end
end

local function drop(pair)
  pairs_open[pair] = nil
  pair.dropped = true
  close(pair.client)
  close(pair.server)
end

local function forward(pair, side, data)
  if pair.dropped or pair.dying then return end
  local to = side == "client" and pair.server or pair.client
  if plan and plan.what == side and #data >= plan.count - seen[side] then
    data, plan, pair.dying = data:sub(1, plan.count - seen[side]), nil, true
  end
  seen[side] = seen[side] + #data
  if pair.dying then
    seen.lost = true
    to:write(data, function() drop(pair) end)
  elseif #data > 0 then
    to:write(data)
  end
end

-- The bytes up to the end of the next message that wants an answer: of a query, or a mark. nil: it is not there yet.
local function next_exchange(pair)
  local data, at = pair.pending, 1
  if not pair.started then
    if #data < 8 then return nil end
    local size, code = string.unpack(">I4I4", data)
    if #data < size then return nil end
    pair.started, pair.raw = code == 196608, code ~= 196608
    pair.pending = data:sub(size + 1)
    return data:sub(1, size), false
  end
  while #data >= at + 4 do
    local kind, size = data:sub(at, at), string.unpack(">I4", data, at + 1)
    at = at + 1 + size
    if #data < at - 1 then return nil end
    if kind == "Q" or kind == "S" or kind == "H" or kind == "X" then
      pair.pending = data:sub(at)
      return data:sub(1, at - 1), kind == "Q" or kind == "S"
    end
  end
end

local function pass_on(pair)
  while not pair.paused and not pair.dropped do
    if pair.raw then
      local data = pair.pending
      pair.pending = ""
      return forward(pair, "client", data)
    end
    local data, is_trip = next_exchange(pair)
    if not data then return end
    if is_trip then seen.trips = seen.trips + 1 end
    local due = is_trip and plan and plan.count == seen.trips and plan.what
    if due == "trip" or due == "mute" then
      plan, seen.lost = nil, true
      pair.muted = due == "mute"
    end
    if due == "trip" then
      pair.paused = true -- for good
      terminate(pair.backend)
    else
      forward(pair, "client", data)
    end
  end
end

-- Which process of the server serves the connection is in its first messages.
local function find_backend(pair, data)
  pair.beginning = pair.beginning .. data
  local at = 1
  while #pair.beginning >= at + 4 do
    local kind, size = pair.beginning:sub(at, at), string.unpack(">I4", pair.beginning, at + 1)
    if #pair.beginning < at + size then return end
    if kind == "K" then
      pair.backend = string.unpack(">I4", pair.beginning, at + 5)
      return
    end
    at = at + 1 + size
  end
end

local function ended(pair, side)
  if not pair.muted or side == "client" then drop(pair) end
end

local listener = assert(uv.new_pipe())
assert(listener:bind(socket_path))
assert(uv.fs_chmod(socket_path, tonumber("777", 8)))
assert(listener:listen(64, function()
  local pair = { client = uv.new_pipe(), server = uv.new_pipe(), pending = "", beginning = "" }
  listener:accept(pair.client)
  pairs_open[pair] = true
  pair.server:connect(server_path, function(problem)
    if problem or pair.dropped then return drop(pair) end
    pair.client:read_start(function(_, data)
      if not data then return ended(pair, "client") end
      pair.pending = pair.pending .. data
      pass_on(pair)
    end)
    pair.server:read_start(function(_, data)
      if not data then return ended(pair, "server") end
      if not pair.backend then find_backend(pair, data) end
      if not pair.muted then forward(pair, "server", data) end
    end)
  end)
end))

-- --- Commands --------------------------------------------------------------------------------------------------------

local commands = {
  tell = function() say(seen.trips, seen.client, seen.server, seen.lost and 1 or 0) end,
  drop = function()
    for pair in pairs(pairs_open) do drop(pair) end
    say "ok"
  end,
  unmute = function()
    for pair in pairs(pairs_open) do
      if pair.muted then drop(pair) end
    end
    say "ok"
  end,
}

local function command(line)
  local what, count = line:match "^(%a+) ?(%d*)$"
  if commands[what] then return commands[what]() end
  start_over(what ~= "count" and { what = what, count = math.tointeger(tonumber(count)) } or nil)
  say "ok"
end

local input, text = uv.new_pipe(), ""
input:open(0)
input:read_start(function(_, data)
  if not data then os.exit(0) end
  text = text .. data
  for line in text:gmatch "([^\n]*)\n" do command(line) end
  text = text:match "[^\n]*$"
end)
say "ready"
uv.run()
