--- The manual page, keel(1), in the language of man(7): made of what `keel help` is made of.
local commands = require "keel.cli.commands"
local kernel = require "keel.kernel"
local usage = require "keel.cli.usage"

-- What troff or a terminal would take for something else.
local special = { ["\\"] = "\\e", ["-"] = "\\-", ["'"] = "\\(aq", ["^"] = "\\(ha", ["~"] = "\\(ti", ["…"] = "..." }

-- A text as it is; what stands between backquotes is bold.
local function plain(text)
  return (text:gsub("[%z\1-\127\194-\244][\128-\191]*", function(character)
    if special[character] then return special[character] end
    return #character > 1 and ("\\[u%04X]"):format(utf8.codepoint(character)) or nil
  end):gsub("`([^`]*)`", "\\fB%1\\fR"))
end

local function bold(text) return "\\fB" .. plain(text) .. "\\fR" end
local function italic(text) return "\\fI" .. plain(text) .. "\\fR" end

-- Every element is a line of the page. A line of text must not begin with a dot, which would be a request.
local function add(page, text)
  page[#page + 1] = text:gsub("^%.", "\\&.")
end

local function request(page, name, ...)
  local words = { "." .. name }
  for _, word in ipairs { ... } do words[#words + 1] = '"' .. word:gsub('"', "\\(dq") .. '"' end
  page[#page + 1] = table.concat(words, " ")
end

-- Paragraphs, with empty lines between them.
local function add_text(page, text)
  local is_first = true
  for paragraph in (text .. "\n\n"):gmatch "(.-)\n\n+" do
    if not is_first then request(page, "PP") end
    is_first = false
    for line in paragraph:gmatch "[^\n]+" do add(page, plain(line)) end
  end
end

-- A term and what it means.
local function add_item(page, term, meaning)
  request(page, "TP")
  add(page, term)
  add(page, plain(meaning))
end

local function add_option(page, option)
  local names = { bold(option[1]) }
  if option[2] then table.insert(names, 1, bold(option[2])) end
  local term = table.concat(names, ", ") .. (option.value and " " .. italic(option.value) or "")
  local choices = option.choices and (" (%s: %s)"):format(option.value, table.concat(option.choices, ", ")) or ""
  add_item(page, term, option.about .. choices)
end

local function add_command(page, name, command)
  request(page, "SS", plain(name .. " " .. usage.synopsis(command)))
  add_text(page, command.about)
  for _, argument in ipairs(command.arguments or {}) do
    add_item(page, italic(argument[1]:upper()), argument[2])
  end
  for _, option in ipairs(command.options or {}) do add_option(page, option) end
  if command.more then
    request(page, "PP")
    add_text(page, command.more)
  end
end

local function add_commands(page, name, known)
  for _, entry in ipairs(known) do
    local full = name .. " " .. entry.name
    if entry.commands then
      add_commands(page, full, entry.commands)
    else
      add_command(page, full, require(entry.module))
    end
  end
end

local examples = {
  { "keel exec --thread backup -- rsync -a ~/work /mnt/backup",
    "Runs a backup, or exits with 75 when one runs already." },
  { "keel exec --thread deploy --strategy interrupt -- ./deploy",
    "Ends the deployment that runs with SIGTERM, then starts this one." },
  { "keel exec --strategy limit --set max=2 --thread gpu --timeout 1h --attempts 3 -- ./train",
    "Two at a time, for at most an hour each, up to three times." },
  { "keel exec --detach -- make world; keel runs output --follow @",
    "In the background; what it says is shown until it has ended. Ctrl-C leaves the command alone." },
  { "keel runs create --attempts 3 -- ./convert film.mkv; keel work --concurrency 2",
    "Put in line, and worked off, two at a time." },
}

--- The page.
---@return string
return function()
  local page = {}
  page[#page + 1] = '.\\" Made by: keel help --man'
  request(page, "TH", "KEEL", "1", "", "Keel " .. kernel.version, "User Commands")
  page[#page + 1] = ".nh\n.ad l" -- nobody can copy an option that was hyphenated
  request(page, "SH", "NAME")
  add(page, "keel \\- run commands and programs durably, one at a time or as you say")
  request(page, "SH", "SYNOPSIS")
  add(page, bold "keel" .. " [" .. italic "OPTION" .. " ...] " .. italic "COMMAND" .. " [" .. italic "ARGUMENT" ..
    " ...]")
  request(page, "SH", "DESCRIPTION")
  add_text(page, [[
Keel keeps runs in a store: what was asked for, whether it may start, who owns it and what became of it. The answer
outlives crashes, and a run whose process was killed is known to be an orphan at once.

`keel help` lists the commands, `keel help COMMAND` explains one.]])
  request(page, "SH", "COMMANDS")
  add_commands(page, "keel", commands)
  request(page, "SH", "COMMON OPTIONS")
  add(page, plain "Every command takes these, and they may stand in front of its name.")
  for _, option in ipairs(usage.common) do add_option(page, option) end
  request(page, "SH", "EXIT STATUS")
  for _, code in ipairs(usage.exit_codes) do add_item(page, bold(tostring(code[1])), code[2]) end
  request(page, "SH", "ENVIRONMENT")
  for _, variable in ipairs(usage.environment) do add_item(page, bold(variable[1]), variable[2]) end
  request(page, "SH", "FILES")
  add_item(page, italic "~/.local/state/keel/keel.db",
    "the store, unless another one is named; `$XDG_STATE_HOME` takes the place of ~/.local/state")
  add_item(page, italic "~/.local/state/keel/output/",
    "what commands have said that ran in the background, or for `keel work`; `keel runs prune` removes it")
  request(page, "SH", "EXAMPLES")
  for _, example in ipairs(examples) do add_item(page, bold(example[1]), example[2]) end
  request(page, "SH", "SEE ALSO")
  add(page, table.concat({ bold "flock" .. "(1)", bold "timeout" .. "(1)", bold "nq" .. "(1)", bold "tsp" .. "(1)" },
    ",\n"))
  return table.concat(page, "\n") .. "\n"
end
