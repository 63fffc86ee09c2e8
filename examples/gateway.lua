-- gateway.lua - a chat gateway with an HTTP front: an answer is a stream of events, and a second message of a user
-- interrupts the answer to the first.
-- Usage: lua5.4 gateway.lua [PORT], then curl --no-buffer --data 'why is the sky blue?' localhost:PORT/ada
-- Without PORT it asks itself two things as one user, and ends. keel must be on Lua's path, and luv installed.
local keel, uv = require "keel", require "luv"

local function sleep(seconds) -- how the store waits: the loop goes on meanwhile
  local waiting, timer = coroutine.running(), uv.new_timer()
  timer:start(math.ceil(seconds * 1000), 0, function() timer:close() keel.assert(coroutine.resume(waiting)) end)
  coroutine.yield()
end
local folder = keel.assert(uv.fs_mkdtemp "/tmp/keel-gateway-XXXXXX")
local store = keel.assert(keel.open(folder .. "/chat.db", { sleep = sleep }))
local runs = keel.run_manager { store = store, strategy = "interrupt" }

local function answer(context) -- in place of a model: a word at a time
  for word in context.run.kwargs.message:gmatch "%S+" do
    local ok, err = context.sleep(0.02)
    if not ok then return nil, err end
    context.event { kind = "token", data = { text = word:upper() } }
  end
end
local executor = keel.assert(keel.executor { manager = runs, handlers = answer, kill_grace = 1 })
local function hang_up(client, text) client:write(text) client:shutdown(function() client:close() end) end

-- The stream: what the log says of a run goes to the client that has asked.
store:session_id()
local waiter, cursor, clients = keel.assert(store:event_waiter()), nil, {}
local watched, tick = uv.new_poll(waiter:descriptor()), uv.new_timer()
local function follow()
  while waiter:look(cursor) do
    local page = keel.assert(store:read_events(cursor, 256, { kinds = { "token", "run_finished" } }))
    cursor = page.cursor
    for _, event in ipairs(page.events) do
      local client, is_end = clients[event.run_id], event.kind == "run_finished"
      local text = ("event: %s\ndata: %s\n\n"):format(event.kind, keel.json.encode(event.data))
      if client and is_end then hang_up(client, text) elseif client then client:write(text) end
      if is_end then clients[event.run_id] = nil end
    end
  end
end
watched:start("r", follow)
tick:start(250, 250, follow) -- a wake-up can be lost

-- The front: POST /USER with a message
local function serve(client, user, message)
  client:read_stop()
  local run, err = runs:create_or_reject(user, { user_id = user, kwargs = { message = message } })
  if not run then return hang_up(client, ("HTTP/1.1 503 Try again\r\n\r\n%s\n"):format(err)) end
  client:write "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
  clients[run.run_id] = client
  client:read_start(function(_, data) -- who goes away wants no answer
    if not data and clients[run.run_id] then coroutine.wrap(runs.cancel)(runs, run.run_id) end
  end)
end

local server = uv.new_tcp()
keel.assert(server:bind("127.0.0.1", tonumber(arg[1] or 0)))
keel.assert(server:listen(128, function()
  local client, request = uv.new_tcp(), ""
  server:accept(client)
  client:read_start(function(_, data)
    request = request .. (data or "")
    local user, size, body = request:match "^POST /(%w+) .-[Ll]ength: (%d+).-\r\n\r\n(.*)$"
    if user and #body >= tonumber(size) then return coroutine.wrap(serve)(client, user, body) end
    if not data then client:close() end
  end)
end))
executor:start()

local function stop()
  executor:stop { timeout = 1, drain = false }
  for _, handle in ipairs { server, watched, tick } do handle:close() end
end

local function ask(name, message, on_first, on_end) -- a client, for the example
  local client = uv.new_tcp()
  client:connect("127.0.0.1", server:getsockname().port, function()
    client:write(("POST /ada HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s"):format(#message, message))
    client:read_start(function(_, data)
      for line in (data or ""):gmatch "data: (%b{})" do
        local said = keel.json.decode(line)
        print(name, said.text or said.status)
        if on_first then on_first = on_first() end
      end
      if not data then client:close(on_end) end
    end)
  end)
end

if arg[1] then
  local signal = uv.new_signal()
  signal:start("sigint", function() signal:close() stop() end)
else
  ask("first", ("on and "):rep(100), function() ask("second", "stop it", nil, stop) end)
end
uv.run()
store:close()
os.execute("rm -r " .. folder)
