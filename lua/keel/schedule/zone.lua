--- Time zones: what the system's zone files say of them. The one place that reads those, and the environment.
local errors = require "keel.errors"
local kernel = require "keel.kernel"
local Rule = require "keel.schedule.zone_rule"
local tzif = require "keel.schedule.tzif"

---@class keel.Zone
local Zone = {}
Zone.__index = Zone

local FOLDERS = { "/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo" }
local FILE_MAX = 1 << 20 -- bytes: the longest there is has some 4 KiB
local NAME_MAX = 128

-- --- Reading files --------------------------------------------------------------------------------------------------

local function bytes_of(path)
  local file <close> = io.open(path, "rb")
  local bytes = file and file:read(FILE_MAX) -- of a folder: nil
  return bytes
end

local function folders()
  local own = os.getenv "TZDIR"
  return own and own ~= "" and { own } or FOLDERS
end

local function from_file(path)
  local bytes = bytes_of(path)
  local data = bytes and tzif.read(bytes)
  return data and setmetatable(data, Zone)
end

-- A name as there are some: no way out of the folder.
local function is_name(name)
  return #name <= NAME_MAX and name:find "^[%w][%w_+/.-]*$" ~= nil and not name:find("..", 1, true)
end

local function by_name(name)
  if not is_name(name) then return nil end
  for _, folder in ipairs(folders()) do
    local zone = from_file(folder .. "/" .. name)
    if zone then return zone end
  end
end

-- Of the zones that the system lists, the one that was probably meant, as a question.
local function nearest(name)
  local written, list = { utc = "UTC", ["local"] = "local" }, { "utc", "local" }
  for _, folder in ipairs(folders()) do
    for line in (bytes_of(folder .. "/tzdata.zi") or ""):gmatch "[^\n]+" do
      local zone = line:match "^Z (%S+)" or line:match "^L %S+ (%S+)"
      if zone then
        list[#list + 1] = zone:lower()
        written[zone:lower()] = zone
      end
    end
  end
  local found = kernel.nearest(name:lower(), list)
  return found and ("; did you mean '%s'?"):format(written[found]) or ""
end

-- --- Zones ----------------------------------------------------------------------------------------------------------

local function of_rule(rule)
  return setmetatable({ times = {}, offsets = {}, rule = rule }, Zone)
end

local utc = of_rule(Rule.read "UTC0")

-- The zone of this process, as the C library finds it: TZ, else /etc/localtime, else UTC.
local function of_process()
  local tz = os.getenv "TZ"
  if not tz then return from_file "/etc/localtime" or utc end
  local name = tz:gsub("^:", "")
  if name == "" then return utc end
  if name:sub(1, 1) == "/" then return from_file(name) end
  local rule = Rule.read(name)
  return by_name(name) or rule and of_rule(rule)
end

--- Finds a zone. Fails with invalid_request (field "timezone").
---@param name string "UTC", "local" (what TZ says, else /etc/localtime), or the name of one of the system's
---@return keel.Zone? zone
---@return keel.Error? err
function Zone.find(name)
  if name == "UTC" then return utc end
  if name == "local" then
    local zone = of_process()
    if zone then return zone end
    return nil, errors.invalid("timezone", ("is local, and TZ is '%s', which is no zone of this system")
      :format(errors.cut(os.getenv "TZ", NAME_MAX)))
  end
  local zone = by_name(name)
  if zone then return zone end
  local problem = ("'%s' is no zone of this system%s"):format(errors.cut(name, NAME_MAX), nearest(name))
  return nil, errors.invalid("timezone", problem)
end

--- What holds at a time.
---@param time integer seconds since the epoch
---@return integer offset seconds east of UTC
---@return number from when that began
---@return number till when it ends
function Zone:at(time)
  local times, offsets = self.times, self.offsets
  local last = #times
  if self.rule and (last == 0 or time >= times[last]) then
    local offset, from, till = self.rule:at(time)
    if last > 0 and from < times[last] then from = times[last] end
    return offset, from, till
  end
  local low, high = 0, last -- times[low] <= time < times[high + 1]
  while low < high do
    local middle = (low + high + 1) // 2
    if times[middle] <= time then low = middle else high = middle - 1 end
  end
  return offsets[low], times[low] or -math.huge, times[low + 1] or math.huge
end

return Zone
