--- keel runs list: the newest runs.
local describe = require "keel.cli.describe"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local shape = require "keel.cli.shape"
local usage = require "keel.cli.usage"

return {
  about = "Lists runs, the newest first.",
  options = {
    { "--thread", "-t", value = "KEY", about = "only those of this thread" },
    { "--status", value = "STATUS", choices = { "pending", "running", "success", "error", "timeout", "interrupted" },
      about = "only those in this status" },
    { "--user", value = "U", about = "only those for this user" },
    { "--batch", value = "BATCH", about = "only those of this batch" },
    { "--limit", "-n", value = "N", convert = usage.integer(1, 1000), about = "how many (default 20, at most 1000)" },
    { "--after", value = "RUN", about = "go on behind this run, with older ones" },
  },
  run = function(given)
    local store <close>, err = opening.store(given, "read")
    if not store then return nil, err end
    local runs, is_cut
    runs, is_cut = store:list_runs { thread_id = given.thread, status = given.status, user_id = given.user,
      batch_id = given.batch, after = given.after, limit = given.limit or 20 }
    if not runs then return nil, is_cut end
    if given.json then
      for _, run in ipairs(runs) do output.json(shape.fields(run)) end
    elseif #runs == 0 then
      output.note(given, "there is no such run")
    else
      local orphans = {}
      for _, run in ipairs(runs) do orphans[run.run_id] = opening.is_orphan(store, run) end
      describe.print_runs(runs, store:now(), orphans)
    end
    if is_cut then output.note(given, "there are more, and much to read: --after " .. runs[#runs].run_id) end
  end,
}
