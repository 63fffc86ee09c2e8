--- keel workers list: the workers of a runtime.
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local usage = require "keel.cli.usage"

return {
  about = "Lists the workers of a runtime, in order of creation.",
  arguments = { { "runtime", "the id of the runtime" } },
  options = {
    { "--active", about = "only those that run" },
    { "--limit", "-n", value = "N", convert = usage.integer(1), about = "how many (default 100, at most 1000)" },
    { "--after", value = "WORKER", about = "go on behind this worker" },
  },
  run = function(given)
    local store <close>, err = opening.store(given, "read")
    if not store then return nil, err end
    local workers
    workers, err = store:list_workers(given.runtime,
      { active = given.active, limit = given.limit, after = given.after })
    if not workers then return nil, err end
    local rows = {}
    for i, worker in ipairs(workers) do
      if given.json then output.json(worker) end
      local intent = worker.intent or {}
      rows[i] = { worker.status, worker.worker_id, output.duration(output.between(worker.created_at, store:now())),
        worker.transcript_len, intent.kind, intent.objective or intent.role or intent.purpose }
    end
    if given.json then return end
    if #rows == 0 then return output.note(given, "there is no such worker") end
    output.table({ "STATUS", "WORKER", ">AGE", ">ENTRIES", "INTENT", "WHAT" }, rows)
  end,
}
