--- keel workers show: all about one worker.
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"

return {
  about = "Shows a worker with all its fields.",
  arguments = { { "runtime", "the id of the runtime" }, { "worker", "the id of the worker" } },
  run = function(given)
    local store <close>, err = opening.store(given, "read")
    if not store then return nil, err end
    local worker
    worker, err = store:get_worker(given.runtime, { runtime_id = given.runtime, worker_id = given.worker })
    if not worker then
      return nil, opening.no_worker(err, given.runtime, given.worker)
    end
    if given.json then return output.json(worker) end
    local names, rows = {}, {}
    for name in pairs(worker) do names[#names + 1] = name end
    table.sort(names)
    for i, name in ipairs(names) do
      local value = worker[name]
      if type(value) == "table" and next(value) == nil then value = nil end
      rows[i] = { name, value }
    end
    output.fields(rows)
  end,
}
