--- Where what a command says goes: it is the command's own, in the foreground; kept in a folder too, with --keep; only
--- kept, in the background, and until it has failed, with --quiet-unless-failed.
local keel_command = require "keel.command"
local opening = require "keel.cli.opening"
local readable = require("keel.errors").readable
local terminal = require "keel.cli.terminal"

local output = {}

-- Not loaded before it is needed: a command in the foreground should not wait for it.
local function kept() return require "keel.cli.kept" end

local function cannot(path, problem)
  return nil, { code = "io", message = ("cannot keep the output in %s: %s"):format(path, problem), transient = false }
end

--- Makes sure, before there is a run, that the output of one can be kept if nobody sees it.
---@param course table
---@return true? ready
---@return keel.Error? err
function output.prepare(course)
  local given = course.options
  if not (given.detach or given.quiet_unless_failed) then return true end
  if given.keep then
    local made, problem = keel_command.make_directory(given.keep)
    if not made then return cannot(given.keep, problem) end
    return true
  end
  local err
  course.parent, err = kept().prepare(course.store, (opening.path(given)))
  if not course.parent then return nil, err end
  return true
end

-- The folder that the user named, with one for the run.
local function make_named(course)
  local given = course.options.keep
  local folder = given .. "/" .. course.run.run_id
  for _, path in ipairs { given, folder } do
    local made, problem = keel_command.make_directory(path)
    if not made then return cannot(path, problem) end
  end
  if not folder:find "^/" and course.directory then folder = course.directory .. "/" .. folder end
  return folder
end

local function make_unnamed(course)
  return kept().make(course.parent, course.run.run_id)
end

--- Makes the folder that the output is kept in, if it is, and tells the run. Twice is fine.
---@param course table
---@return true? made
---@return keel.Error? err
function output.make(course)
  if course.folder or not (course.options.keep or course.parent) then return true end
  local run, make = course.run, course.options.keep and make_named or make_unnamed
  local folder, err = make(course)
  if not folder then return nil, err end
  local ok
  ok, err = course.store:put(run.run_id, { logs_path = readable(folder), fence = run.fence })
  if not ok then return nil, err end
  course.folder = folder
  return true
end

--- Starts the command.
---@param course table
---@return boolean? started
---@return string? problem
function output.start(course)
  local supervisor, folder = course.supervisor, course.folder
  if not folder then
    local started, problem = supervisor:start()
    return started, not started and "cannot watch over a command: " .. problem or nil
  end
  local given = course.options
  local out, err = folder .. "/stdout", folder .. "/stderr"
  if course.parent and given.detach then out, err = folder .. "/output", folder .. "/output" end
  local started, problem = supervisor:start(out, err, { is_hidden = given.detach or given.quiet_unless_failed,
    takes_errors = given.detach, part_size = course.parent and kept().part_size })
  return started, not started and ("cannot keep the output in %s: %s"):format(folder, problem) or nil
end

--- Shows what was only kept, because the command has failed.
---@param course table
function output.show(course)
  local said = require "keel.cli.said"
  for _, source in ipairs(course.folder and said.sources(course.folder) or {}) do
    local _, problem = said.show(source)
    if problem then terminal.say("keel exec: ", problem) end
  end
end

return output
