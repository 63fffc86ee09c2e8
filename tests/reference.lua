--- The reference of functions and types, made from the comments above them, which are the only text about them.
--
-- Usage: lua5.4 tests/reference.lua [FOLDER]
--
-- With FOLDER, writes its pages there: a heading for each function, so that one can be linked to, its text, parameters
-- and results; and the fields of each type. Without it, only looks: prints FILE:LINE and what is missing, for
-- tests/lint.sh. `cmake --build build/dev --target reference` writes build/dev/reference.
local check = dofile "tests/check.lua"
local comments = dofile "tests/comments.lua"

-- --- What is public: for each page, the objects, how one is called, and where its methods are ------------------------

local KERNEL = "lua/keel/_meta/kernel.lua"

-- { page, { title, how it is called, the tables of the methods in the code, files as of ls; only, but: names; names:
-- those that are called otherwise } … }
local PAGES = {
  { "module", { "The module", "keel.", { "kernel" }, KERNEL, only = "open restore array" },
    { "Errors", "keel.", { "errors" }, "lua/keel/errors.lua", only = "assert" },
    { "Times", "keel.", { "local" }, "lua/keel/init.lua" },
    { "Seconds", "keel.", { "kernel" }, KERNEL, only = "time_seconds", names = { time_seconds = "seconds" } },
    { "JSON", "keel.json.", { "json" }, KERNEL },
    { "Managers", "keel.", { "Manager" }, "lua/keel/manager/init.lua", names = { new = "run_manager" } },
    { "Shared commits", "keel.", { "local" }, "lua/keel/store/shared_commits.lua", only = "new",
      names = { new = "shared_commits" } },
    { "Dispatchers", "keel.", { "Dispatcher" }, "lua/keel/dispatcher/init.lua", only = "new",
      names = { new = "dispatcher" } },
    { "Of dispatchers", "keel.dispatcher.", { "record" }, "lua/keel/dispatcher/record.lua", only = "is_terminal" },
    { "Hashes", "keel.dispatcher.", { "kernel" }, KERNEL, only = "hash_dir" },
    { "Policies", "keel.", { "LoadedPolicy" }, "lua/keel/policy/loaded.lua", only = "load",
      names = { load = "load_policy" } },
    { "Executors", "keel.", { "Executor" }, "lua/keel/executor/init.lua", only = "new", names = { new = "executor" } },
    { "Runtimes", "keel.", { "Runtime" }, "lua/keel/runtime/init.lua", only = "new", names = { new = "runtime" } },
    { "Schedules", "keel.", { "definition" }, "lua/keel/schedule/init.lua", only = "next_occurrence" },
    { "Retry policies", "keel.", { "Retry" }, "lua/keel/retry.lua", only = "new", names = { new = "retry_policy" } },
  },
  { "store", { "Stores and transactions", "store:", { "Operations" }, KERNEL },
    { "Stores alone", "store:", { "Store" }, KERNEL },
    { "Transactions alone", "tx:", { "Transaction" }, KERNEL },
    { "Event waiters", "waiter:", { "EventWaiter" }, KERNEL },
    { "Shared commits", "shared:", { "own" }, "lua/keel/store/shared_commits.lua", only = "flush" },
    { "Leases", "lease:", { "Lease" }, "lua/keel/store/lease.lua" } },
  { "runs", { "Run managers", "runs:", { "Creating", "Starting", "Status", "Cancelling", "Retrying", "Reading",
      "Explaining", "Owning", "Waiting", "Recovering", "Reserving", "Removing", "Scheduling", "Limiting", "Shutdown",
      "Measuring", "Diagnosing" },
      "lua/keel/manager/*.lua" },
    { "Abort events", "run.abort_event:", { "AbortEvent" }, "lua/keel/manager/abort_event.lua", but = "new" },
    { "Retry policies", "policy:", { "Retry" }, "lua/keel/retry.lua", but = "new" } },
  { "executor", { "Executors", "executor:", { "Executor" }, "lua/keel/executor/init.lua lua/keel/executor/stopping.lua",
      but = "new" },
    { "Processes of a handler", "child:", { "Child" }, "lua/keel/executor/child.lua", but = "spawn" } },
  { "dispatcher", { "Dispatchers", "tests:", { "Dispatcher" }, "lua/keel/dispatcher/init.lua", but = "new" } },
  { "runtime", { "Runtimes", "rt:", { "Runtime" }, "lua/keel/runtime/*.lua", but = "new" },
    { "Subscriptions", "subscription:", { "Subscription" }, "lua/keel/runtime/subscription.lua", but = "new" } },
  { "policies", { "Loaded policies", "policy:", { "LoadedPolicy" }, "lua/keel/policy/loaded.lua", but = "load" },
    { "Testing", "keel.testing.", { "testing" }, "lua/keel/testing.lua" } },
}

local function set_of(words)
  local set = {}
  for word in (words or ""):gmatch "%S+" do set[word] = true end
  return words and set
end

-- The functions of an object, in order: { name, arguments, doc }.
local function functions_of(object)
  local functions, tables = {}, set_of(table.concat(object[3], " "))
  local only, but = set_of(object.only), set_of(object.but) or {}
  for _, path in ipairs(check.lines("ls " .. object[4])) do
    comments.each_line(path, function(line, number, comment)
      local owner, name, arguments = line:match "^%s*function (%w+)[.:](%l[%w_]*)%((.-)%)"
      if not owner then owner, name, arguments = line:match "^(local) function (%l[%w_]*)%((.-)%)" end
      if not owner or not tables[owner] or but[name] or only and not only[name] then return end
      local doc = comments.parse(comment)
      local function lacks(what) check.complain(path, number, "%s: the comment above it has no %s", name, what) end
      if not doc.text:find "%S" then lacks "text" end
      local known = {}
      for _, param in ipairs(doc.params) do known[param.name] = param.type ~= "" end
      for argument in arguments:gmatch "%a[%w_]*" do
        if not known[argument] then lacks("type of " .. argument) end
      end
      functions[#functions + 1] = { name = (object.names or {})[name] or name, arguments = arguments, doc = doc }
    end)
  end
  assert(functions[1], object[1] .. ": there are no functions")
  return functions
end

-- --- Writing pages ---------------------------------------------------------------------------------------------------

local known, names = comments.types()
local mentioned = {} -- types that a page names: these, and what they name, are shown

local function cell(text) return (text:gsub("%s+", " "):gsub("|", "\\|")) end

-- A type as code, with a link to each type in it.
local function shown(text)
  local out, linked = cell(("`%s`"):format(text)), {}
  for name in text:gmatch "keel%.%u[%w_]*" do
    if known[name] and known[name].says and not linked[name] then
      linked[name], mentioned[name] = true, true
      out = out .. (" [%s](types.md#%s)"):format(name:match "%.(.*)", name:lower():gsub("%.", ""))
    end
  end
  return out
end

local function table_of(head, rows)
  if not rows[1] then return nil end
  local out = { "| " .. head .. " | type | |", "|---|---|---|" }
  for _, row in ipairs(rows) do out[#out + 1] = "| " .. table.concat(row, " | ") .. " |" end
  return table.concat(out, "\n") .. "\n"
end

local function named(name, optional) return ("`%s`%s"):format(name, optional and ", optional" or "") end

-- The members of an inline table type, `{ name: type, name?: type }`, with what a text says of each,
-- "name: …; name: …", and what it says besides.
local function members(param)
  local inside = param.type:match "^{(.*)}$"
  local rows, of = {}, {}
  while inside and inside:find "%S" do
    local name, optional, after = inside:match "^%s*([%w_]+)(%??): (.*)$"
    if not name then return {}, param.text end
    local end_at, depth = #after + 1, 0
    for i = 1, #after do
      local c = after:sub(i, i)
      if c:find "[%(%[{<]" then depth = depth + 1 elseif c:find "[%)%]}>]" then depth = depth - 1 end
      if c == "," and depth == 0 and after:find("^%s*[%w_]+%??: ", i + 1) then
        end_at = i
        break
      end
    end
    of[name] = { named(name, optional == "?"), shown((after:sub(1, end_at - 1):gsub("%s+$", ""))), "" }
    rows[#rows + 1] = of[name]
    inside = after:sub(end_at + 1)
  end
  local text = "; " .. param.text -- "; name: what it is. other: what that is, and third: …"
  for name in pairs(of) do
    for _, before in ipairs { "; ", "%. ", ", and ", ", " } do
      text = text:gsub(before .. name .. ": ", "\0" .. name .. ": ")
    end
  end
  for name, said in text:gmatch "%z([%w_]+): (%Z*)" do of[name][3] = cell(said) end
  return rows, (text:match "^%Z*":gsub("^; ", ""))
end

local function function_of(as, fn)
  local out = { ("## `%s%s(%s)`\n"):format(as, fn.name, fn.arguments), fn.doc.text .. "\n" }
  local parameters, options, results = {}, {}, {}
  for _, param in ipairs(fn.doc.params) do
    local rows, rest = members(param)
    local type = rows[1] and "table, below" or shown(param.type)
    parameters[#parameters + 1] = { named(param.name, param.optional), type, cell(rest) }
    if rows[1] then options[#options + 1] = table_of(("`%s` has"):format(param.name), rows) end
  end
  for _, result in ipairs(fn.doc.returns) do -- what the language server takes for its name begins the text
    local name, text = result.text:match "^([%l_]+)%f[%s\0] ?(.*)$"
    results[#results + 1] = { name and ("`%s`"):format(name) or "", shown(result.type), cell(text or result.text) }
  end
  out[#out + 1] = table_of("parameter", parameters)
  for _, one in ipairs(options) do out[#out + 1] = one end
  out[#out + 1] = table_of("result", results)
  return table.concat(out, "\n")
end

local NOTE = "<!-- Made by tests/reference.lua from the comments in the code: change those. -->\n"

local function page_of(page)
  local out = { NOTE }
  for i = 2, #page do
    out[#out + 1] = ("# %s\n"):format(page[i][1])
    for _, fn in ipairs(functions_of(page[i])) do out[#out + 1] = function_of(page[i][2], fn) end
  end
  return table.concat(out, "\n")
end

local function type_of(one)
  local out, rows = { ("## %s\n"):format(one.name) }, {}
  if one.text:find "%S" then out[#out + 1] = one.text:match "^%s*(.*)$" .. "\n" end
  if one.parent and one.parent:find "^keel%.%u" then
    out[#out + 1] = "With the fields of " .. shown(one.parent) .. ".\n"
  end
  if one.is and one.is ~= "" then
    local type, text = comments.take_type(one.is)
    out[#out + 1] = shown(type):gsub("\\|", "|") .. (text ~= "" and " " .. text or "") .. "\n"
  end
  for _, field in ipairs(one.fields) do
    local type, text = comments.take_type(field.raw)
    rows[#rows + 1] = { named(field.name, field.optional), type ~= "" and shown(type) or "", cell(text) }
  end
  out[#out + 1] = table_of("field", rows)
  return table.concat(out, "\n")
end

-- The types that are mentioned, and those that they mention.
local function page_of_types()
  local texts, again = {}, true
  while again do
    again = false
    for _, name in ipairs(names) do
      if mentioned[name] and not texts[name] then texts[name], again = type_of(known[name]), true end
    end
  end
  local out = { NOTE, "# Types\n" }
  for _, name in ipairs(names) do out[#out + 1] = texts[name] end
  return table.concat(out, "\n")
end

local written = {}
for _, page in ipairs(PAGES) do written[page[1]] = page_of(page) end
written.types = page_of_types()
if arg[1] then
  assert(os.execute(("mkdir -p '%s'"):format(arg[1])))
  for name, text in pairs(written) do
    local file <close> = assert(io.open(("%s/%s.md"):format(arg[1], name), "w"))
    assert(file:write(text))
  end
end
check.finish()
