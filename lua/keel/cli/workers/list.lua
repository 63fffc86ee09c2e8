--- keel workers list: the workers of a runtime, or the runtimes.
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local usage = require "keel.cli.usage"

local function print_runtimes(store, given)
  local rows, after = {}, nil
  repeat
    local runtimes, err = store:list_runtimes { after = after }
    if not runtimes then return nil, err end
    for _, runtime in ipairs(runtimes) do
      if given.json then output.json(runtime) end
      rows[#rows + 1] = { runtime.runtime_id, runtime.status, runtime.active_worker_count,
        runtime.stopped_worker_count, runtime.cancelled_worker_count, runtime.diagnostic_count,
        runtime.display_name }
      after = runtime.runtime_id
    end
  until #runtimes == 0
  if given.json then return end
  if #rows == 0 then return output.note(given, "there is no runtime") end
  output.table({ "~RUNTIME", "STATUS", ">ACTIVE", "?>STOPPED", "?>CANCELLED", "?>REMARKS", "NAME" }, rows)
end

local function print_workers(store, given)
  local workers, is_cut = store:list_workers(given.runtime,
    { active = given.active, limit = given.limit, after = given.after })
  if not workers then return nil, opening.no_worker(is_cut, given.runtime, given.after) end
  local rows, now = {}, store:now()
  for i, worker in ipairs(workers) do
    if given.json then output.json(worker) end
    local intent = worker.intent or {}
    rows[i] = { worker.status, worker.worker_id, output.duration(output.between(worker.created_at, now)),
      worker.transcript_len, intent.kind, intent.objective or intent.role or intent.purpose }
  end
  if given.json then return end
  if #rows == 0 then return output.note(given, "there is no such worker") end
  output.table({ "STATUS", "<WORKER", "?>AGE", "?>ENTRIES", "?INTENT", "WHAT" }, rows)
  if is_cut then output.note(given, "there are more, and much to read: --after " .. workers[#workers].worker_id) end
end

return {
  about = "Lists the workers of a runtime, in order of creation; without a runtime, the runtimes there are.",
  arguments = { { "runtime", "the id of the runtime", optional = true } },
  options = {
    { "--active", about = "only those that run" },
    { "--limit", "-n", value = "N", convert = usage.integer(1, 1000), about = "how many (default 100, at most 1000)" },
    { "--after", value = "WORKER", about = "go on behind this worker" },
  },
  run = function(given)
    if not given.runtime and (given.active or given.limit or given.after) then
      return nil, usage.error "--active, --limit and --after are about the workers of a runtime; give its id, too"
    end
    local store <close>, err = opening.store(given, "read")
    if not store then return nil, err end
    return (given.runtime and print_workers or print_runtimes)(store, given)
  end,
}
