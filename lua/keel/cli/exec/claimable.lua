--- A command as a run that anybody may claim: what those commands have in common that make such, now or by a schedule.
local exec = require "keel.cli.exec"
local kernel = require "keel.kernel"
local usage = require "keel.cli.usage"
local words = require "keel.cli.exec.words"

local claimable = {}

--- The handler of such runs.
claimable.HANDLER = "command"

-- The options of keel exec that a run keeps for whoever works it off. Those about one run a schedule cannot have.
local kept = { ["--thread"] = true, ["--strategy"] = true, ["--set"] = true, ["--timeout"] = true,
  ["--attempts"] = true, ["--user"] = true, ["--priority"] = true, ["--metadata"] = true, ["--slot"] = true,
  ["--rate"] = true }
local of_one_run = { ["--key"] = true, ["--until"] = true, ["--after"] = true, ["--after-any"] = true, ["--in"] = true,
  ["--at"] = true }

--- The options.
---@param is_of_many? boolean without those that are about one run
---@return table[]
function claimable.options(is_of_many)
  local list = {}
  for _, option in ipairs(exec.options) do
    if kept[option[1]] or not is_of_many and of_one_run[option[1]] then list[#list + 1] = option end
  end
  return list
end

--- What create takes for a command, without its thread; with the strategy's options checked.
---@param given table the options, as usage.read has them, with `command`
---@param directory? string where it is to run
---@return keel.CreateOptions? asked
---@return keel.Error? err
function claimable.asked(given, directory)
  local asked, err = require("keel.cli.gate").asked(given)
  if not asked then return nil, err end
  local strategy
  strategy, err = exec.strategy_of(given.strategy)
  if err then return nil, err end
  local set = exec.set_of(given)
  local right, wrong = exec.check_set(strategy or "reject", set)
  if not right then return nil, wrong end
  local kwargs = words.kept(given.command, directory)
  asked.handler, asked.claimable, asked.kwargs = claimable.HANDLER, true, kwargs
  asked.fingerprint = kernel.sha256(assert(kernel.json.encode(kwargs)))
  asked.multitask_strategy, asked.strategy_options = strategy, set
  asked.timeout, asked.max_attempts, asked.priority = given.timeout, given.attempts, given.priority
  asked.user_id, asked.metadata = given.user, given.metadata
  asked.idempotency_key, asked.idempotency_until = given.key, given["until"]
  return asked
end

--- The error of a command that was not given.
---@param name string the subcommand
---@param synopsis string
---@return keel.Error
function claimable.no_command(name, synopsis)
  return usage.error(("which command? Write: %s %s"):format(name, synopsis))
end

return claimable
