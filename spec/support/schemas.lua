--- Schemas on the server of the tests that are used again: making one takes longer than most tests do.
-- Each process has its own. A test gets one that looks as if nobody had used it.
local process = require "support.process"
local uv = require "luv"

local M = {}

-- As an empty store, but for its epoch.
local WIPE <const> = [[
SET search_path = "%s"; DO $$ DECLARE name text; BEGIN
FOR name IN SELECT relname FROM pg_class JOIN pg_depend ON objid = pg_class.oid WHERE relkind = 'r'
AND relname NOT IN ('schema_version', 'store') AND refclassid = 'pg_namespace'::regclass
AND refobjid = current_schema()::regnamespace
LOOP EXECUTE format('DELETE FROM %%I', name); END LOOP;
FOR name IN SELECT relname FROM pg_class JOIN pg_depend ON objid = pg_class.oid WHERE relkind = 'S'
AND refclassid = 'pg_namespace'::regclass AND refobjid = current_schema()::regnamespace
LOOP PERFORM setval(name::regclass, 1, false); END LOOP;
UPDATE store SET event_low_water = 1, reconciler = NULL; END $$;
SELECT 'wiped';
]]

local psql, output, ended
local spare, taken = {}, {}

local function start(server)
  local input, said, complaints = uv.new_pipe(), uv.new_pipe(), uv.new_pipe()
  output, ended = "", false
  local handle = assert(uv.spawn("psql", {
    args = { "--quiet", "--tuples-only", "--no-align", "--no-psqlrc", server }, stdio = { input, said, complaints },
  }, function() ended = true end))
  said:read_start(function(_, data) output = output .. (data or "") end)
  complaints:read_start(function(_, data) output = output .. (data or "") end)
  -- A loop that a test runs to its end does not wait for them.
  for _, each in ipairs { handle, said, complaints, input } do each:unref() end
  psql = input
end

-- Whether a schema could be wiped. What a test has broken is left alone.
local function wipe(uri)
  if not psql then start((uri:gsub("&schema=.*", ""))) end
  output = ""
  psql:write(WIPE:format(uri:match "schema=([%w_]+)"):gsub("\n", " ") .. "\n")
  process.turn_until(function() return ended or output:find "\n" end)
  return output == "wiped\n"
end

--- The uri of a store without content; `make` gives one that nobody has used.
function M.take(make)
  local uri = table.remove(spare) or make()
  taken[#taken + 1] = uri
  return uri
end

--- After a test, when its stores are closed: wipes what was taken.
function M.give_back()
  for i = #taken, 1, -1 do
    if wipe(taken[i]) then spare[#spare + 1] = taken[i] end
    taken[i] = nil
  end
end

return M
