--- The keys of keel top: what was typed, as keys, and what they mean.
local keys = {}

keys.escape, keys.enter, keys.backspace = "\27", "\n", "\127"

-- What keys mean where runs are chosen, and what is said of them: { keys, action, about }.
local meanings = {
  { { "j", "\27[B", "\27OB" }, "down", "j, Down", "the next run" },
  { { "k", "\27[A", "\27OA" }, "up", "k, Up", "the run before" },
  { { "g", "\27[H" }, "first", "g, Home", "the first run" },
  { { "G", "\27[F" }, "last", "G, End", "the last run" },
  { { "\n", "\r" }, "show", "Enter", "all about the chosen run: fields, why it does not run, events" },
  { { "/" }, "filter", "/", "only runs with a text in thread, handler or status; Esc: all" },
  { { "c" }, "cancel", "c", "cancel the chosen run, after a question" },
  { { "r" }, "retry", "r", "try the chosen run again, after a question" },
  { { "p" }, "pause", "p", "pause or resume the thread of the chosen run, after a question" },
  { { "R", "\12" }, "redraw", "R, Ctrl-L", "read again" },
  { { "?" }, "help", "?", "this" },
  { { "\27" }, "back", "Esc", "back, or without the filter" },
  { { "q", "Q" }, "quit", "q", "back, or leave" },
}

local actions = {}
for _, meaning in ipairs(meanings) do
  for _, key in ipairs(meaning[1]) do actions[key] = meaning[2] end
end

--- What a key means; nil: nothing.
---@param key string
---@return string? action
function keys.action(key) return actions[key] end

--- The keys in what was typed: sequences of the terminal, and characters.
---@param typed string
---@return string[]
function keys.split(typed)
  local list, i = {}, 1
  while i <= #typed do
    local key = typed:match("^\27[%[O][%d;]*[%a~]", i) or typed:match("^[\194-\244][\128-\191]+", i) or typed:sub(i, i)
    list[#list + 1] = key
    i = i + #key
  end
  return list
end

--- A line of text after a key: a character is added, backspace takes one away.
---@param text string
---@param key string
---@return string
function keys.edited(text, key)
  if key == keys.backspace or key == "\b" then return (text:gsub("[%z\1-\127\194-\244][\128-\191]*$", "")) end
  if key == "\21" then return "" end -- Ctrl-U
  if key:find "^[%c\127]" or not utf8.len(key) then return text end
  return text .. key
end

--- The keys and what they do, as rows.
---@return table[]
function keys.help()
  local rows = {}
  for i, meaning in ipairs(meanings) do rows[i] = { meaning[3], meaning[4] } end
  return rows
end

return keys
