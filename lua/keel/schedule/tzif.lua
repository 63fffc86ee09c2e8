--- The zone files of the system (TZif, RFC 8536), from their bytes.
local Rule = require "keel.schedule.zone_rule"

local tzif = {}

local HEADER = 44 -- bytes

-- What a header counts: bytes of the file from `at`.
local function read_header(bytes, at)
  if #bytes < at + HEADER - 1 or bytes:sub(at, at + 3) ~= "TZif" then return nil end
  local counts = { version = bytes:byte(at + 4) }
  counts.ut, counts.standard, counts.leap, counts.times, counts.types, counts.letters =
    (">I4I4I4I4I4I4"):unpack(bytes, at + 20)
  return counts
end

-- How many bytes follow a header.
local function size_of(counts, wide)
  return counts.times * (wide + 1) + counts.types * 6 + counts.letters + counts.leap * (wide + 4) +
    counts.standard + counts.ut
end

-- The times at which the offset from UTC changes, and each offset; offsets[0] is that before the first.
local function read_block(bytes, at, counts, wide)
  local times, offsets, of_type = {}, {}, {}
  local format = wide == 8 and ">i8" or ">i4"
  local types_at = at + counts.times * wide
  local infos_at = types_at + counts.times
  for i = 1, counts.types do of_type[i - 1] = (">i4"):unpack(bytes, infos_at + (i - 1) * 6) end
  offsets[0] = of_type[0]
  for i = 1, counts.times do
    times[i] = format:unpack(bytes, at + (i - 1) * wide)
    offsets[i] = of_type[bytes:byte(types_at + i - 1)]
    if not offsets[i] or i > 1 and times[i] <= times[i - 1] then return nil end
  end
  return { times = times, offsets = offsets }
end

--- Reads the bytes of a zone file.
---@param bytes string
---@return { times: integer[], offsets: table<integer, integer>, rule: keel.ZoneRule? }? data times: seconds since the
--- epoch, ascending; offsets: seconds east of UTC from each on, [0] before the first; rule: for what comes after them
function tzif.read(bytes)
  local at, wide = 1, 4
  local counts = read_header(bytes, at)
  if not counts then return nil end
  if counts.version >= ("2"):byte() then -- the same again, with wide times
    at, wide = 1 + HEADER + size_of(counts, 4), 8
    counts = read_header(bytes, at)
    if not counts then return nil end
  end
  local body = at + HEADER
  if counts.leap > 0 then return nil end -- of the folder `right`, whose seconds are not those of the clock
  if counts.types == 0 or #bytes < body + size_of(counts, wide) - 1 then return nil end
  local data = read_block(bytes, body, counts, wide)
  if not data or wide == 4 then return data end
  local footer = bytes:match("^\n([^\n]*)\n", body + size_of(counts, wide))
  if not footer then return nil end
  if footer ~= "" then
    data.rule = Rule.read(footer)
    if not data.rule then return nil end
  end
  return data
end

return tzif
