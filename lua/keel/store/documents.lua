--- Rows whose documents are read when somebody looks at them: a thread may have many megabytes of them, and most
--- policies look at none.
local kernel = require "keel.kernel"

local documents = {}

local names = { "metadata", "kwargs", "token_usage_by_model", "result" }
local is_document = {}
for _, name in ipairs(names) do is_document[name] = true end

---@class keel.PutOff how the documents of a row are read, and which have been
---@field store keel.Store|keel.Transaction
---@field run_id string
---@field seen table<string, boolean>

---@type table<table, keel.PutOff>
local put_off = setmetatable({}, { __mode = "k" })

-- Reads a document into its row. Returns its size, and whether it was longer than max_bytes, so that it was not.
local function read(row, name, max_bytes)
  local state = put_off[row]
  if not state or state.seen[name] then return 0, false end
  local value, err, size = state.store:get_document(state.run_id, name, max_bytes)
  if value == nil and err then error(err, 0) end
  if max_bytes and size > max_bytes then return 0, true end
  state.seen[name] = true
  rawset(row, name, value)
  return size, false
end

local Row = {}

function Row.__index(row, name)
  if not is_document[name] then return nil end
  read(row, name)
  return rawget(row, name)
end

function Row.__pairs(row)
  for _, name in ipairs(names) do read(row, name) end
  return next, row, nil
end

--- Whether a store can read a document by itself. Others give their rows whole.
---@param store any
---@return boolean
function documents.are_apart(store)
  local ok, method = pcall(function() return store.get_document end)
  return ok and method ~= nil
end

--- Lists runs in flight whose documents are read when somebody looks at them.
---@param store keel.Store|keel.Transaction
---@param query table as for list_inflight
---@return table[]? rows
---@return keel.Error|boolean? err or true: there are more, though the limit is not reached
function documents.list_inflight(store, query)
  query.brief = documents.are_apart(store) or nil
  return documents.put_off(store, store:list_inflight(query))
end

--- Makes rows that were read without their documents look as if they had them.
---@param store keel.Store|keel.Transaction
---@param rows? table[]
---@param more? any passed on
---@return table[]? rows
---@return any more
function documents.put_off(store, rows, more)
  if not documents.are_apart(store) then return rows, more end
  for _, row in ipairs(rows or {}) do
    put_off[row] = { store = store, run_id = row.run_id, seen = {} }
    setmetatable(row, Row)
  end
  return rows, more
end

--- A copy of a row that shares no document with it.
---@param row table
---@return table
function documents.copy(row)
  local copy, state = kernel.json.copy(row), put_off[row]
  if state then
    local seen = {}
    for name in next, state.seen do seen[name] = true end
    put_off[copy] = { store = state.store, run_id = state.run_id, seen = seen }
  end
  return copy
end

-- --- For scripts ----------------------------------------------------------------------------------------------------

-- A script in a sandbox gets copies, of documents of a bounded size. In a JSON text that is longer than this there is
-- more than it is shown; and of all rows together it is shown no more than this.
local LONGEST, ALL = 256 << 10, 2 << 20

-- Stands for a document that is not read: the sandbox leaves out what it cannot copy, and says so.
local function left_out() end

local function show(row, left)
  for _, name in ipairs(names) do
    if not put_off[row].seen[name] then
      local size, is_longer = read(row, name, math.min(LONGEST, left))
      left = left - size
      if is_longer then rawset(row, name, left_out) end
    end
  end
  return left
end

--- Reads the documents of rows as far as a script in a sandbox is shown them.
---@param ... any the arguments of a policy: rows, and lists of them
function documents.show(...)
  local left = ALL
  for _, argument in ipairs { ... } do
    if put_off[argument] then
      left = show(argument, left)
    elseif type(argument) == "table" then
      for _, row in ipairs(argument) do
        if put_off[row] then left = show(row, left) end
      end
    end
  end
end

return documents
