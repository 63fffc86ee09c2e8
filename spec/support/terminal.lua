--- A terminal of the spec's own: tmux without a screen, typed into and looked at. What is waited for is looked for
--- again and again until a deadline; nothing sleeps for a fixed time.
local command = require "support.command"
local files = require "support.files"
local process = require "support.process"
local support = require "support"

local M = {}
local Terminal = {}
Terminal.__index = Terminal

local open = {}

local SETTINGS = [[
set -g status off
set -g default-terminal screen-256color
set -g default-shell /bin/sh
set -s escape-time 0
]]

-- The command that starts the server gives what runs there its environment.
local function tmux(self, ...)
  local child = process.start({ "tmux", "-u", "-S", self.folder .. "/socket", "-f", self.folder .. "/settings", ... },
    { env = self.env })
  local code = child:wait()
  return code == 0 and child.output, child.errors
end

--- Starts a command, a list, on a terminal. options: `env`, `width` (100), `height` (30), `cwd`.
function M.start(words, options)
  options = options or {}
  local env = { LUA_PATH = ";;", LUA_CPATH = ";;", NO_COLOR = "1", LC_ALL = "C.UTF-8", TMUX = "" }
  for name, value in pairs(options.env or {}) do env[name] = value end
  local self = setmetatable({ folder = support.dir(), env = env }, Terminal)
  files.write(self.folder .. "/settings", SETTINGS)
  local arguments = { "new-session", "-d", "-x", tostring(options.width or 100), "-y", tostring(options.height or 30),
    "-c", options.cwd or require("lfs").currentdir(), "--" }
  table.move(words, 1, #words, #arguments + 1, arguments)
  open[#open + 1] = self
  assert(tmux(self, table.unpack(arguments)))
  return self
end

--- Starts `keel WORDS` on a terminal. A shell waits for it: tmux forgets exit codes now and then.
function M.keel(words, options)
  return M.start({ "/bin/sh", "-c", [[trap : INT; "$@"; echo "ended with $?"; read -r _]], "sh", command.program,
    table.unpack(words) }, options)
end

--- Presses keys by tmux's names: "Enter", "Tab", "C-c", "Up".
function Terminal:press(...)
  assert(tmux(self, "send-keys", "-t", ":", ...))
end

--- Types a text as it is.
function Terminal:type(text)
  assert(tmux(self, "send-keys", "-t", ":", "-l", "--", text))
end

--- Pastes a text, in brackets if the program has asked the terminal for them.
function Terminal:paste(text)
  assert(tmux(self, "set-buffer", "--", text))
  assert(tmux(self, "paste-buffer", "-p", "-t", ":"))
end

--- Types a line and Enter.
function Terminal:enter(line)
  self:type(line)
  self:press "Enter"
end

--- What is on the screen, without the empty lines at its end.
function Terminal:screen()
  return (assert(tmux(self, "capture-pane", "-p", "-t", ":")):gsub("%s+$", ""))
end

--- One of tmux's formats: "alternate_on", "cursor_flag".
function Terminal:ask(name)
  return (assert(tmux(self, "display-message", "-p", "-t", ":", "#{" .. name .. "}")):gsub("\n$", ""))
end

--- Gives it another size, and waits until the program has been told: tmux takes its time.
function Terminal:resize(width, height)
  assert(tmux(self, "resize-window", "-t", ":", "-x", tostring(width), "-y", tostring(height)))
  local size, said = ("%d %d"):format(height, width), nil
  assert(process.poll_until(function()
    local pipe <close> = assert(io.popen(("stty -F '%s' size"):format(self:ask "pane_tty")))
    said = pipe:read "l"
    return said == size
  end), ("the size is %s and should be %s"):format(said, size))
end

--- Waits until `check(screen)` holds.
function Terminal:wait_until(check, what)
  local screen
  local found = process.poll_until(function()
    screen = self:screen()
    return check(screen)
  end)
  if not found then error(("%s; the screen is:\n%s"):format(what or "it did not come about", screen), 2) end
  return screen
end

--- Waits until a plain text is on the screen.
function Terminal:expect(text)
  return self:wait_until(function(screen) return screen:find(text, 1, true) end, "not there: " .. text)
end

--- Waits until the last line is this.
function Terminal:expect_last(text)
  return self:wait_until(function(screen)
    return screen:match "[^\n]*$" == text
  end, "the last line is not: " .. text)
end

--- Waits until `keel` has ended; gives its exit code.
function Terminal:ended()
  local screen = self:wait_until(function(screen) return screen:find "ended with %d+$" end, "it has not ended")
  return tonumber(screen:match "%d+$")
end

--- Ends all terminals, and what runs on them.
function M.close_all()
  for i = #open, 1, -1 do
    tmux(open[i], "kill-server")
    open[i] = nil
  end
end
support.before_clean_up(M.close_all)

return M
