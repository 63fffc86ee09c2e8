--- keel workers transcript: what a worker was told.
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local terminal = require "keel.cli.terminal"
local usage = require "keel.cli.usage"

return {
  about = "Prints the transcript of a worker, oldest entry first.",
  arguments = { { "runtime", "the id of the runtime" }, { "worker", "the id of the worker" } },
  options = {
    { "--start", value = "N", convert = usage.integer(0), about = "leave out the first N entries" },
    { "--limit", "-n", value = "N", convert = usage.integer(1), about = "how many (default: all)" },
  },
  run = function(given)
    local store <close>, err = opening.store(given, "read")
    if not store then return nil, err end
    local ref = { runtime_id = given.runtime, worker_id = given.worker }
    local start, left = given.start or 0, given.limit or math.huge
    while start and left > 0 do
      local part
      part, err = store:read_transcript(given.runtime, ref, { start = start })
      if not part then return nil, opening.no_worker(err, given.runtime, given.worker) end
      for _, item in ipairs(part.items) do
        if left <= 0 then break end
        left = left - 1
        if given.json then
          output.json(item)
        else
          local head = output.paint(("[%d %s]"):format(item.sequence, terminal.plain(item.role)), "grey")
          terminal.print(head .. " " .. terminal.lines(item.content))
        end
      end
      start = part.next_start
    end
  end,
}
