--- What can be wrong with the server that has a store.
local output = require "keel.cli.output"

local server = {}

local BIG_SKEW = 1       -- seconds between two clocks: leases and deadlines are judged by those of the hosts
local LONG_HELD = 1      -- seconds of a transaction that others wait for: Keel's take milliseconds
local LONG_OPEN = 300    -- seconds of a transaction: a busy store makes dead rows by the thousand meanwhile
local MANY_DEAD = 100000 -- rows, and more than half as many as live
local FEW_LEFT = 10      -- connections

-- Each looks at what store:server() tells and gives severity, code, message and advice, or nothing.
local rules = {
  function(about)
    if not about.lacking then return end
    return "error", "rights", "the role may not do what a process with this store does: " .. about.lacking,
      "as the schema's owner: GRANT what is missing, as the page on PostgreSQL lists; unless the role only reads"
  end,
  function(about)
    if about.fsync then return end
    return "error", "fsync", "the server does not write to its disk (fsync = off): after a crash of its machine the"
      .. " database may be damaged", "set fsync = on in postgresql.conf and reload it (pg_ctl reload)"
  end,
  function(about)
    -- What is off is set on by each store that promises the disk.
    if about.synchronous_commit ~= "local" or not about.has_standbys then return end
    return "warning", "synchronous_commit", ("the server has standbys to wait for, and commits do not"
      .. " (synchronous_commit = %s): a failover may lose what was acknowledged"):format(about.synchronous_commit),
      "set synchronous_commit = on for the role or in postgresql.conf"
  end,
  function(about)
    if not about.standby then return end
    return "warning", "standby", "the server is a standby: it can only be read, and cannot tell who is alive",
      "name the primary, or several hosts with target_session_attrs=read-write"
  end,
  function(about)
    local skew = math.abs(about.clock_skew)
    if skew < BIG_SKEW then return end
    return "warning", "clock_skew", ("the server's clock is %s %s this machine's"):format(output.duration(skew),
      about.clock_skew > 0 and "ahead of" or "behind"), "keep the clocks of all machines together, with chrony or ntpd"
  end,
  function(about)
    if about.blocked == 0 or about.blocking < LONG_HELD then return end
    return "warning", "write_lock", ("process %d of the server has had a transaction open for %s that %s for"):format(
      about.blocking_pid, output.duration(about.blocking), about.blocked == 1 and "another connection waits" or
      about.blocked .. " other connections wait"),
      ("unless it is about to end by itself, end it: SELECT pg_terminate_backend(%d)"):format(about.blocking_pid)
  end,
  function(about)
    if about.oldest < LONG_OPEN then return end
    local whose = about.oldest_pid > 0 and "process " .. about.oldest_pid or "a prepared transaction"
    return "warning", "oldest_transaction", ("%s has had a transaction open for %s: what is deleted meanwhile stays in"
      .. " the tables"):format(whose, output.duration(about.oldest)), about.oldest_pid > 0 and
      ("end it: pg_terminate_backend(%d)"):format(about.oldest_pid) or
      "look at pg_prepared_xacts, and end what nobody needs (ROLLBACK PREPARED)"
  end,
  function(about)
    if about.autovacuum then return end
    return "warning", "autovacuum", "autovacuum is off: what was deleted stays in the tables, and searches get slower",
      "set autovacuum = on in postgresql.conf and reload it (pg_ctl reload)"
  end,
  function(about)
    if about.dead_rows < MANY_DEAD or about.dead_rows * 2 < about.rows then return end
    return "warning", "dead_rows", ("%d rows are dead and %d live: vacuuming is behind"):format(about.dead_rows,
      about.rows), "VACUUM the tables of the schema now; if it happens again, let autovacuum work harder"
      .. " (autovacuum_vacuum_cost_limit)"
  end,
  function(about)
    local left = about.connections_max - about.connections
    if left >= FEW_LEFT then return end
    return "warning", "connections", ("%d of %d connections are taken; each open store needs one"):format(
      about.connections, about.connections_max), "end what is not needed, or raise max_connections (or the limit of the"
      .. " role or database) and start the server anew"
  end,
}

--- Says what is wrong with what is known of a server.
---@param about keel.Server
---@param findings table
function server.judge(about, findings)
  for _, rule in ipairs(rules) do
    local severity, code, message, advice = rule(about)
    if severity then findings:add(severity, code, message, advice) end
  end
end

--- Looks at the server of a store.
---@param store keel.Store
---@param findings table
function server.look(store, findings)
  local about, err = store:server()
  if about then return server.judge(about, findings) end
  findings:add("error", err.code, "the server does not tell about itself: " .. err.message,
    require("keel.cli.doctor.file").advice(err.code, false))
end

return server
