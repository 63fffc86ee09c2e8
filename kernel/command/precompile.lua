-- Writes the C source behind scripts.h: the Lua files of a folder, compiled.
--
-- Usage: lua5.4 precompile.lua FOLDER OUTPUT.c FILE …      (the files, seen from the folder)
--
-- A file that is not Lua is carried as it is, by its path.
-- Without files it writes an empty list. What is compiled keeps its line numbers, for tracebacks, but not the names of
-- local variables: they are half of what is read each time a command starts.
local folder, output = arg[1], arg[2]

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return assert(file:read "a")
end

--- Leaves the names of local variables and upvalues out of compiled code (the format of ldump.c in Lua 5.4).
local function without_names(code)
  local at, out, kept = 1, {}, 1
  local function skip(count) at = at + count end
  local function size() -- seven bits a byte, the last is marked
    local value, byte = 0, nil
    repeat
      byte = code:byte(at)
      value, at = value << 7 | byte & 0x7F, at + 1
    until byte & 0x80 ~= 0
    return value
  end
  local function text() skip(math.max(size() - 1, 0)) end
  local function each(fn) for _ = 1, size() do fn() end end
  local constants = { [0x03] = function() skip(8) end, [0x13] = function() skip(8) end, [0x04] = text, [0x14] = text }
  local function constant()
    local read = constants[code:byte(at)]
    skip(1)
    if read then read() end
  end
  -- What a list of names was becomes an empty one.
  local function drop(fn)
    out[#out + 1] = code:sub(kept, at - 1) .. "\x80"
    each(fn)
    kept = at
  end
  local function body()
    text()
    size()
    size()
    skip(3)
    skip(size() * 4)
    each(constant)
    skip(size() * 3)
    each(body)
    skip(size())
    each(function() size() size() end)
    drop(function() text() size() size() end)
    drop(text)
  end
  skip(4 + 1 + 1 + 6 + 3 + 8 + 8 + 1) -- the header, and how many upvalues there are
  body()
  assert(at == #code + 1, "this Lua writes compiled code in another way")
  return table.concat(out) .. code:sub(kept)
end

local texts = { '#include "scripts.h"\n\n#include <stddef.h>\n' }
local list = {}

local function carry(module, path, shown)
  local code = read(path)
  if shown:find "%.lua$" then
    local chunk = assert(load(code, "@" .. shown, "t"))
    if not module:find "^keel%.strategies%." and not module:find "^keel%.reconcilers%." and
      not module:find "^keel%.diagnostics%." then
      code = without_names(string.dump(chunk))
      assert(load(code, shown, "b"))
    end
  end
  local bytes = {}
  for at = 1, #code, 24 do
    bytes[#bytes + 1] = "\t" .. code:sub(at, at + 23):gsub(".", function(c) return c:byte() .. "," end)
  end
  local number = #list + 1
  texts[#texts + 1] = ("static const unsigned char code_%d[] = {\n%s\n};\n"):format(number, table.concat(bytes, "\n"))
  list[number] = ('\t{"%s", code_%d, sizeof code_%d},\n'):format(module, number, number)
end

for i = 3, #arg do
  local stem, count = arg[i]:gsub("%.lua$", "")
  local name = count > 0 and stem:gsub("/init$", ""):gsub("/", ".") or arg[i]
  carry(name, folder .. "/" .. arg[i], arg[i])
end
-- What it needs of others, where that is: otherwise it is looked for when the command runs.
local argparse = #arg > 2 and package.searchpath("argparse", package.path)
if argparse then carry("argparse", argparse, "argparse.lua") end
texts[#texts + 1] = ("const struct command_script command_scripts[] = {\n%s\t{NULL, NULL, 0},\n};\n"):format(
  table.concat(list))

local file <close> = assert(io.open(output, "wb"))
assert(file:write(table.concat(texts, "\n")))
