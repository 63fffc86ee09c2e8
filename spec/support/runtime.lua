--- Verbs of the runtime's specs.
local keel = require "keel"
local support = require "support"

local M = {}

--- A runtime on a store of its own; what is not given has small, known values.
function M.open(store, options)
  local given = { store = store, runtime_id = "rt", retry = support.retry() }
  for name, value in pairs(options or {}) do given[name] = value end
  return assert(keel.runtime(given))
end

--- What a complete request for a worker looks like: it leaves no diagnostics.
function M.request(more)
  local request = { intent = { kind = "task", objective = "count the sheep" }, config_bundle = { id = "bundle-1" },
    requested_capabilities = { { name = "shell", reason = "to run things" } } }
  for name, value in pairs(more or {}) do request[name] = value end
  return request
end

function M.worker(runtime, more)
  return assert(runtime:create_worker(M.request(more))).worker_ref
end

--- Sends texts, alternately from the user and the system.
function M.say(runtime, ref, ...)
  local acks = {}
  for i, content in ipairs { ... } do
    acks[i] = assert(runtime:send_input(ref, { kind = i % 2 == 1 and "user" or "system", content = content }))
  end
  return table.unpack(acks)
end

--- The kinds of all events of a runtime, in order, joined by spaces.
function M.kinds(runtime)
  local kinds, cursor = {}, nil
  repeat
    local batch = assert(runtime:read_events(cursor))
    for _, event in ipairs(batch.events) do kinds[#kinds + 1] = event.kind end
    cursor = batch.cursor
  until not batch.has_more
  return table.concat(kinds, " ")
end

--- All of a transcript's contents, page by page.
function M.contents(runtime, ref)
  local contents, start = {}, 0
  while start do
    local part = assert(runtime:transcript_projection(ref, { start = start }))
    for _, item in ipairs(part.items) do contents[#contents + 1] = item.content end
    start = part.next_start
  end
  return contents
end

--- All that a runtime shows, as one text: for "exactly as before".
function M.everything(runtime)
  local shown = { summary = assert(runtime:summary()), diagnostics = keel.array(assert(runtime:diagnostics())),
    workers = keel.array {}, events = keel.array {} }
  for i, summary in ipairs(assert(runtime:list_workers())) do
    shown.workers[i] = { summary = summary, detail = assert(runtime:worker_detail(summary.worker_ref)),
      contents = keel.array(M.contents(runtime, summary.worker_ref)) }
  end
  local cursor = assert(runtime:event_cursor_from_start())
  repeat
    local batch = assert(runtime:read_events(cursor))
    table.move(batch.events, 1, #batch.events, #shown.events + 1, shown.events)
    cursor = batch.cursor
  until not batch.has_more
  return assert(keel.json.encode(shown))
end

return M
