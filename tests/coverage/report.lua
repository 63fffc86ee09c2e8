--- Prints which part of the lines of lua/keel was run, by folder, and the lines of a file that were not.
---
--- Usage: lua5.4 tests/coverage/report.lua COUNTS [FILE]    from the project's root
local hits = {}
for line in io.lines(arg[1]) do hits[line] = true end

-- The lines that have code, as the compiler sees them.
local function lines_of(path)
  local lines, seen = {}, {}
  local listing <close> = assert(io.popen(("luac5.4 -l -l -p '%s'"):format(path)))
  for text in listing:lines() do
    local line = tonumber(text:match "^\t%d+\t%[(%d+)%]")
    if line and not seen[line] then
      seen[line] = true
      lines[#lines + 1] = line
    end
  end
  table.sort(lines)
  return lines
end

local folders, order, all = {}, {}, { run = 0, total = 0 }
local files <close> = assert(io.popen "git ls-files 'lua/keel/*.lua'")
for path in files:lines() do
  if not path:find "/_meta/" then
    local folder = path:match "^lua/keel/([^/]+)/" or "."
    local sum = folders[folder]
    if not sum then
      sum = { run = 0, total = 0 }
      folders[folder] = sum
      order[#order + 1] = folder
    end
    local missing = {}
    for _, line in ipairs(lines_of(path)) do
      local run = hits[path .. ":" .. line] and 1 or 0
      sum.run, sum.total = sum.run + run, sum.total + 1
      all.run, all.total = all.run + run, all.total + 1
      if run == 0 then missing[#missing + 1] = line end
    end
    if path == arg[2] then print(path .. ": not run: " .. table.concat(missing, " ")) end
  end
end
for _, folder in ipairs(order) do
  local sum = folders[folder]
  print(("%5.1f %% of %5d lines  lua/keel/%s"):format(100 * sum.run / sum.total, sum.total, folder))
end
print(("%5.1f %% of %5d lines  in all"):format(100 * all.run / all.total, all.total))
