--- Chunks of Lua as they are typed: compiling them, running them, telling what went wrong.
local keel_command = require "keel.command"
local show = require "keel.cli.repl.show"

local chunk = {}

local NAME = "stdin"
local TAIL_CALLS = "(...tail calls...)" -- as Lua's tracebacks have it

--- Compiles a text: an expression, whose value it gives, or statements.
---@param text string `= expression` is the same as the expression
---@param line? integer the one that it begins on, default 1
---@param name? string what it is from; default: standard input
---@return function? compiled
---@return string? problem
---@return boolean? is_incomplete true: more lines may mend it
function chunk.compile(text, line, name)
  local above = ("\n"):rep((line or 1) - 1)
  name = "=" .. (name or NAME)
  text = text:gsub("^%s*=", "return ", 1)
  local compiled, of_expression = load(above .. "return " .. text, name, "t")
  if compiled then return compiled end
  local problem
  compiled, problem = load(above .. text, name, "t")
  if compiled then return compiled end
  if of_expression:find "<eof>$" then problem = of_expression end -- one that goes on: `1 +`
  return nil, problem, problem:find "<eof>$" ~= nil
end

-- Whether a frame is none of the user's: of C, of Keel's Lua files, carried or installed, or of tail calls.
local function is_foreign(line)
  return line:find "^%[C%]: in" or line:find "^keel/" or line:find "^%S*lua[%d./]*/keel/%S*%.lua:" or
    line == TAIL_CALLS
end

-- The frames of the user's chunk: those of the prompt are below the call that runs it, those of the error above it.
local function frames()
  local lines = {}
  for line in debug.traceback("", 4):gmatch "\n\t([^\n]*)" do lines[#lines + 1] = line end
  local last = #lines
  while last > 0 and not lines[last]:find "^%[C%]: in .*'keel%.command%.call'" do last = last - 1 end
  for i = #lines, math.max(last, 1), -1 do lines[i] = nil end
  while lines[1] and is_foreign(lines[1]) do table.remove(lines, 1) end
  if lines[#lines] == TAIL_CALLS then lines[#lines] = nil end -- the chunk, when it returns what a function gives
  if #lines == 1 and lines[1]:find "in main chunk$" then return {} end -- the message says as much
  return lines
end

--- What a value that was raised says.
---@param err any
---@return string
function chunk.message_of(err)
  if type(err) == "string" then return err end
  local meta = debug.getmetatable(err)
  local text = show.text(err)
  if type(meta) == "table" and rawget(meta, "__tostring") then return text end
  return ("a %s was raised: %s"):format(type(err), text)
end

local function explain(err)
  return { value = err, message = chunk.message_of(err), frames = frames() }
end

--- Runs a compiled chunk.
---@param compiled function
---@return table? results from table.pack
---@return { value: any, message: string, frames: string[] }? failure
function chunk.run(compiled)
  local results = table.pack(keel_command.call(compiled, explain))
  local is_interrupted, has_returned = results[1], results[2]
  if not has_returned then return nil, results[3] end
  if is_interrupted then return nil, { message = "interrupted", frames = {} } end -- what it gave is not what it is
  return table.pack(table.unpack(results, 3, results.n))
end

return chunk
