--- "Did you mean …?"
local suggest = {}

local SHORT = 4 -- letters; two mistakes in so few make any word of another

-- How many letters have to be changed, added, left out or swapped with their neighbour to make one word of another.
local function distance(a, b)
  local rows = { [0] = {} }
  for j = 0, #b do rows[0][j] = j end
  for i = 1, #a do
    rows[i] = { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j) and 0 or 1
      local best = math.min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + same)
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        best = math.min(best, rows[i - 2][j - 2] + 1)
      end
      rows[i][j] = best
    end
  end
  return rows[#a][#b]
end

local function name_of(item)
  return type(item) == "table" and item.name or item
end

--- The known word that was probably meant: one that begins like it, or is at most two mistakes away, one if it is
--- short. The dashes of options do not count.
---@param word string
---@param known (string|{ name: string })[]
---@return string?
function suggest.nearest(word, known)
  if #word > 64 then return nil end -- nobody mistypes that much
  word = word:lower():gsub("^%-+", "")
  local best, least = nil, math.min(#word, #word <= SHORT and 2 or 3)
  for _, item in ipairs(known) do
    local name = name_of(item)
    local bare = name:gsub("^%-+", "")
    local far = distance(word, bare)
    if #word >= 2 and bare:sub(1, #word) == word then far = 1 end
    if far < least then best, least = name, far end
  end
  return best
end

--- Names in a row.
---@param known (string|{ name: string })[]
---@return string
function suggest.list(known)
  local names = {}
  for i, item in ipairs(known) do names[i] = name_of(item) end
  return table.concat(names, ", ")
end

return suggest
