--- keel backup: a copy of the store while it is used.
local keel_command = require "keel.command"
local kernel = require "keel.kernel"
local opening = require "keel.cli.opening"
local output = require "keel.cli.output"
local progress = require "keel.cli.progress"
local terminal = require "keel.cli.terminal"
local usage = require "keel.cli.usage"

local BLOCK = 1 << 16 -- bytes that are passed on at a time

local function copy(store, path, given)
  local bar <close> = progress.new(given, "copying")
  bar:watch(store)
  return store:backup(path)
end

local function fail(message)
  return nil, { code = "io", message = message, transient = false }
end

-- A copy in a folder of our own, opened and unlinked: nothing is left of it, unless this is killed while it is made.
-- Returns the open file and its size, or nil and the error.
local function unnamed_copy(store, given)
  local base = os.getenv "TMPDIR"
  local folder = ("%s/keel-%s"):format(base and base ~= "" and base or "/tmp", kernel.new_id())
  local made, problem = keel_command.make_directory(folder)
  if not made then return fail(("cannot make the folder %s for the copy: %s"):format(folder, problem)) end
  local path = folder .. "/copy.db"
  local done, err = copy(store, path, given)
  local about = done and keel_command.stat(path)
  local file = done and io.open(path, "rb")
  os.remove(path)
  os.remove(folder)
  if not done then return nil, err end
  if not file then return fail(("cannot read the copy in %s"):format(folder)) end
  return file, about and about.size or 0
end

-- Writes a copy to standard output. Returns its size, or nil and the error.
local function stream(store, given)
  local file <close>, size = unnamed_copy(store, given)
  if not file then return nil, size end
  local bar <close> = progress.new(given, "writing")
  local written = 0
  for block in function() return file:read(BLOCK) end do
    local ok, problem = terminal.pass(block)
    if not ok then return fail(("cannot write the copy to standard output: %s"):format(problem)) end
    written = written + #block
    bar:show(written, size)
  end
  local ok, problem = io.stdout:flush()
  if not ok then return fail(("cannot write the copy to standard output: %s"):format(problem)) end
  if written ~= size then return fail(("only %d of the copy's %d bytes could be read"):format(written, size)) end
  return written
end

return {
  about = "Copies the store as it is now into a new file, while others go on. The copy is a store of its own. - writes "
    .. "it to standard output.",
  arguments = { { "file", "where to; must not be there yet; or -" } },
  run = function(given)
    local is_streamed = given.file == "-"
    if is_streamed and keel_command.is_terminal(1) then
      return nil, usage.error "a copy is no text for a terminal; write: keel backup - >FILE, or a pipe"
    end
    local store <close>, err = opening.store(given, "read")
    if not store then return nil, err end
    if is_streamed then
      local size, problem = stream(store, given)
      if not size then return nil, problem end
      return output.note(given, "keel backup: " .. output.size(size))
    end
    local done, problem = copy(store, given.file, given)
    if not done then return nil, problem end
    local about = keel_command.stat(given.file) or { size = 0 }
    if given.json then
      output.json { path = given.file, bytes = about.size }
    elseif not given.quiet then
      terminal.print(("%s: %s"):format(given.file, output.size(about.size)))
    end
  end,
}
