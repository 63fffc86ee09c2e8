-- Writes the C source behind scripts.h: the Lua files of a folder, compiled.
--
-- Usage: lua5.4 precompile.lua FOLDER OUTPUT.c FILE.lua …      (the files, seen from the folder)
--
-- Without files it writes an empty list. What is compiled keeps its line numbers, for tracebacks.
local folder, output = arg[1], arg[2]

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return assert(file:read "a")
end

local texts = { '#include "scripts.h"\n\n#include <stddef.h>\n' }
local list = {}

local function carry(module, path, shown)
  local code = string.dump(assert(load(read(path), "@" .. shown, "t")))
  local bytes = {}
  for at = 1, #code, 24 do
    bytes[#bytes + 1] = "\t" .. code:sub(at, at + 23):gsub(".", function(c) return c:byte() .. "," end)
  end
  local number = #list + 1
  texts[#texts + 1] = ("static const unsigned char code_%d[] = {\n%s\n};\n"):format(number, table.concat(bytes, "\n"))
  list[number] = ('\t{"%s", code_%d, sizeof code_%d},\n'):format(module, number, number)
end

for i = 3, #arg do
  carry(arg[i]:gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", "."), folder .. "/" .. arg[i], arg[i])
end
-- What it needs of others, where that is: otherwise it is looked for when the command runs.
local argparse = #arg > 2 and package.searchpath("argparse", package.path)
if argparse then carry("argparse", argparse, "argparse.lua") end
texts[#texts + 1] = ("const struct host_script host_scripts[] = {\n%s\t{NULL, NULL, 0},\n};\n"):format(
  table.concat(list))

local file <close> = assert(io.open(output, "wb"))
assert(file:write(table.concat(texts, "\n")))
