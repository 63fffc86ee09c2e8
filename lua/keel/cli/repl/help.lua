--- help() at the prompt: what is at hand, and what the documentation says of a thing.
local documents = require "keel.cli.repl.documents"
local fill = require "keel.cli.repl.fill"
local keel_command = require "keel.command"
local pager = require "keel.cli.repl.pager"
local terminal = require "keel.cli.terminal"
local width = require "keel.cli.width"

local MENTIONS = 10 -- places that are shown
local LEAST = 24 -- columns of a text; where the terminal has fewer, it breaks lines as it does

-- The section of the reference on each kind of object, by the name of its metatable, and the names under which the
-- types of the C module describe its functions.
local kinds = {
  ["keel.store"] = { section = "The store", types = { "Store:", "Operations:" } },
  ["keel.transaction"] = { section = "Transactions", types = { "Transaction:", "Operations:" } },
  ["keel.run_manager"] = { section = "The run manager" },
  ["keel.executor"] = { section = "The executor" },
  ["keel.dispatcher"] = { section = "The test dispatcher" },
  ["keel.runtime"] = { section = "Worker runtimes" },
  ["keel.subscription"] = { section = "Worker runtimes" },
  ["keel.lease"] = { section = "Leases" },
  ["keel.retry_policy"] = { section = "Retry policies" },
  ["keel.policy"] = { section = "Scripts from files" },
  ["keel.cli.events"] = { section = "Events and cursors" },
}

-- --- Printing -------------------------------------------------------------------------------------------------------

-- Prints a text of the documentation. What is no terminal gets it as it was written.
local function print_text(text)
  local columns = keel_command.size()
  terminal.print(columns and fill(text, math.max(columns, LEAST)) or text)
end

-- Prints lines of a name and a text, the texts in a column of their own.
local function print_names(entries)
  local widest, columns = 0, keel_command.size()
  for _, entry in ipairs(entries) do widest = math.max(widest, #entry[1]) end
  local margin = (" "):rep(widest + 2)
  for _, entry in ipairs(entries) do
    local text = columns and width.fill(entry[2], math.max(columns - #margin, LEAST)) or entry[2]
    local line = (entry[1] .. margin):sub(1, #margin) .. text:gsub("\n", "\n" .. margin)
    terminal.print((line:gsub("%s+$", "")))
  end
end

local function print_function(fn)
  local doc = documents.of(fn)
  if not doc then
    terminal.print "there is no text about this function: nothing stands above it, or its file is not there to be read"
    return
  end
  terminal.print(doc.signature .. "\n")
  print_text((doc.text:gsub("%s+$", "")))
  for _, part in ipairs { { "Parameters", doc.parameters }, { "Returns", doc.returns } } do
    if #part[2] > 0 then terminal.print("\n" .. part[1]) end
    for _, line in ipairs(part[2]) do print_text("  " .. line) end
  end
end

local function first_sentence(text)
  text = text:gsub("%s+", " ")
  return text:match "^(.-[.:])%s" or text:match "^(.-)%s*$"
end

-- The functions of an object or a module by name. `new` of an object is what made it, and none of its methods.
local function functions_of(thing)
  local found = {}
  local levels = 0
  while thing ~= nil and levels < 8 do
    if type(thing) == "table" then
      for name, value in next, thing do
        local is_named = type(name) == "string" and not name:find "^_" and (levels == 0 or name ~= "new")
        if type(value) == "function" and is_named and not found[name] then found[name] = value end
      end
    end
    local meta = debug.getmetatable(thing)
    thing, levels = type(meta) == "table" and rawget(meta, "__index") or nil, levels + 1
  end
  return found
end

-- A global that is this thing.
local function name_of(thing, globals)
  local names = {}
  for name, value in next, globals do
    if rawequal(value, thing) and type(name) == "string" and name:find "^%a" then names[#names + 1] = name end
  end
  table.sort(names)
  return names[1] or "it"
end

local function print_object(thing, globals)
  local found, names, entries = functions_of(thing), {}, {}
  for name in pairs(found) do names[#names + 1] = name end
  table.sort(names)
  local meta = debug.getmetatable(thing)
  local kind = kinds[type(meta) == "table" and rawget(meta, "__name") or ""]
  if #names == 0 and not kind then
    terminal.print("there is no text about this: it is a " .. type(thing))
    return
  end
  for i, name in ipairs(names) do
    local doc = documents.of(found[name])
    entries[i] = { name, doc and first_sentence(doc.text) or "" }
  end
  print_names(entries)
  if kind then
    terminal.print(("\nAll of it: help %q. One of these: help(%s.%s)"):format(kind.section, name_of(thing, globals),
      names[1]))
  end
end

local function print_titles(word, is_there)
  if not is_there then
    terminal.print "the reference is not here: it belongs beside keel's Lua files, as README.md"
    return
  end
  if word then terminal.print(("no section of the reference is called %q; there are:"):format(word)) end
  local titles = documents.titles()
  terminal.print("  " .. table.concat(titles, "\n  "))
  local names = documents.page_names(titles)
  if names[1] then terminal.print("and pages on tasks:\n  " .. table.concat(names, "\n  ")) end
end

-- Where a word is mentioned that is no section's: the titles, and a line of each.
local function print_mentions(word, mentions)
  local columns = keel_command.size() or math.huge
  terminal.print(("no section is called %q; it is mentioned in:"):format(word))
  for i = 1, math.min(#mentions, MENTIONS) do
    local entry = mentions[i]
    terminal.print(("  help %q  %s"):format(entry.title, entry.count == 1 and "once" or entry.count .. " times"))
    terminal.print("      " .. width.cut(entry.seen, math.max(columns - 6, LEAST)))
  end
  if #mentions > MENTIONS then terminal.print(("  … (%d more)"):format(#mentions - MENTIONS)) end
end

local function print_section(word)
  local found, is_there = documents.sections(word)
  local page = #found ~= 1 and documents.page(word)
  if page then return print_text((page:gsub("%s+$", ""))) end
  local mentions = #found == 0 and documents.search(word) or {}
  if #mentions > 0 then return print_mentions(word, mentions) end
  if #found == 0 then return print_titles(word, is_there) end
  if #found == 1 then return print_text((found[1].text:gsub("%s+$", ""))) end
  terminal.print "there are several:"
  for _, section in ipairs(found) do terminal.print(("  help %q"):format(section.title)) end
end

--- Tells what is at hand: a table of { name, what it is } in order.
---@param builtins { [1]: string, [2]: string }[]
---@param globals table those of the prompt
---@return fun(...: any) help
return function(builtins, globals)
  local explain
  --- Explains a thing: help() lists what is at hand, help(runs) what an object can do, help(runs.create) a function,
  --- help "strategies" gives a section of the reference, help "quotas" a page on a task, and what is the name of
  --- neither is looked for in both.
  ---@param thing? any
  local function help(...)
    return pager(explain, ...)
  end
  function explain(...)
    local thing = ...
    if select("#", ...) == 0 then
      print_names(builtins)
      print_text("\nhelp(thing) explains one of these or a function, help \"strategies\" gives a section of the"
        .. " reference, or a page:")
      print_titles(nil, (select(2, documents.sections "")))
    elseif type(thing) == "string" then
      print_section(thing)
    elseif type(thing) == "function" then
      print_function(thing)
    elseif thing == nil then
      terminal.print "there is nothing of that name: it is nil"
    else
      print_object(thing, globals)
    end
  end
  return help
end
