--- What a strategy reads before it decides: questions by name, each a count of runs or starts. Checked before a
--- transaction, answered in it.
local check = require "keel.check"
local errors = require "keel.errors"
local kernel = require "keel.kernel"

local questions = {}

local MOST = 8 -- questions of a strategy

local counts = { "inflight", "pending", "running", "started" }
local filters = { "batch_id", "handler", "slot", "thread_id", "user_id" }
local members = { "batch_id", "count", "handler", "per", "rate", "slot", "thread_id", "user_id" }

local is_member, is_count = {}, {}
for _, name in ipairs(members) do is_member[name] = true end
for _, name in ipairs(counts) do is_count[name] = true end

-- "a, b and c"
local function listed(names)
  return table.concat(names, ", ", 1, #names - 1) .. " and " .. names[#names]
end

-- What is wrong with the count of a question; nil: nothing.
local function check_count(given)
  local count = given.count
  if count == nil then return "has no count" end
  if not is_count[count] then
    local nearest = check.did_you_mean(count, counts)
    return ("has the unknown count '%s'%s"):format(tostring(count),
      nearest ~= "" and nearest or "; there are " .. listed(counts))
  end
end

-- What is wrong with the names of its members.
local function check_members(given)
  for name in next, given do
    if not is_member[name] then
      return ("has the unknown field '%s'%s"):format(tostring(name), check.did_you_mean(name, members))
    end
  end
end

-- What is wrong with whom it counts.
local function check_filter(given)
  local started, filter = given.count == "started", nil
  for _, name in ipairs(filters) do
    if given[name] ~= nil then
      if started then return ("counts starts, which have a rate and per, and no %s"):format(name) end
      if filter then return ("has %s and %s: a question has one filter"):format(filter, name) end
      filter = name
    end
  end
  filter = started and "rate" or filter
  if started and given.rate == nil then return "counts starts, and has no rate" end
  if filter and not check.is_id(given[filter]) then
    return ("must have a text of 1 to %d bytes without control characters as %s"):format(kernel.limits.id, filter)
  end
  for _, name in ipairs { "rate", "per" } do
    if not started and given[name] ~= nil then return ("has %s, which is for count = \"started\""):format(name) end
  end
  local per = given.per
  if started and not (type(per) == "number" and per >= 1e-6 and per <= 1e9) then
    return "must have a number of seconds greater than 0 as per"
  end
end

-- A question in a table of its own, or what is wrong with it.
local function question_of(answer)
  if type(answer) ~= "table" then return nil, "must be a table, got a " .. type(answer) end
  local problem = check_members(answer) or check_count(answer) or check_filter(answer)
  if problem then return nil, problem end
  local question = {}
  for name, value in next, answer do question[name] = value end
  return question
end

--- Checks what `reads` returned.
---@param answer any
---@return table<string, keel.Question>? questions in tables of their own
---@return string? problem names the question
function questions.check(answer)
  if type(answer) ~= "table" then return nil, "reads must return a table of questions, got a " .. type(answer) end
  local asked, count = {}, 0
  for name, one in next, answer do
    if type(name) ~= "string" or not utf8.len(name) then
      return nil, "reads must return a table of questions by name: they have no order"
    end
    count = count + 1
    if count > MOST then return nil, ("reads asks more than %d questions"):format(MOST) end
    local problem
    asked[name], problem = question_of(one)
    if problem then return nil, ("question '%s' %s"):format(name, problem) end
  end
  return asked
end

--- Checks answers that a test gives by hand: a number for each question, and nothing else.
---@param read table
---@param asked table<string, keel.Question>
---@return string? problem
function questions.check_answers(read, asked)
  local names = {}
  for name in next, asked do
    names[#names + 1] = name
    local count = read[name]
    if math.type(count) ~= "integer" or count < 0 then
      return ("question '%s' wants a whole number from 0 as its answer, got %s"):format(name, tostring(count))
    end
  end
  for name in next, read do
    if not asked[name] then
      return ("nothing is asked by the name '%s'%s"):format(tostring(name), check.did_you_mean(name, names))
    end
  end
end

--- Answers questions in an open transaction.
---@param tx keel.Transaction
---@param asked table<string, keel.Question>
---@return table<string, integer>? read
---@return keel.Error? err
function questions.answer(tx, asked)
  if not tx.count_runs then return nil, errors.no_method "count_runs" end -- a store in other clothes
  local read = {}
  for name, question in next, asked do
    local count, err = tx:count_runs(question)
    if not count then return nil, err end
    read[name] = count
  end
  return read
end

return questions
