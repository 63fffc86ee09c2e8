--- A connection to a server that is lost at a chosen place; the program behind it is tests/server/proxy.lua.
local command = require "support.command"
local process = require "support.process"
local support = require "support"

local M = {}
local Proxy = {}
Proxy.__index = Proxy

--- In front of the server of a uri, on sockets: `uri` is the same store through it. Gone after the test.
function M.start(uri)
  local proxy = setmetatable({ folder = support.dir() }, Proxy)
  local host = assert(uri:match "host=([^&]+)", "the server has a socket")
  proxy.uri = uri:gsub("host=[^&]+", "host=" .. proxy.folder)
  proxy.child = process.start { os.getenv "KEEL_LUA" or "lua5.4", command.root .. "/tests/server/proxy.lua",
    proxy.folder .. "/.s.PGSQL.5432", host .. "/.s.PGSQL.5432", (uri:gsub("&schema=[%w_]+", "")) }
  proxy.child:expect "ready"
  return proxy
end

--- Loses the connection at a place: `client` and `server` after so many bytes of either, `trip` by ending the server's
--- process before the message reaches it, `mute` by keeping from the client what the server says to it; `count`
--- loses nothing, and counts.
function Proxy:lose(what, count)
  self.child:say(count and ("%s %d"):format(what, count) or what)
  self.child:expect "ok"
end

--- What has passed since: { trips, client, server, lost }.
function Proxy:told()
  self.child:say "tell"
  local trips, client, server, lost = self.child:hear():match "^(%d+) (%d+) (%d+) (%d)$"
  return { trips = tonumber(trips), client = tonumber(client), server = tonumber(server), lost = lost == "1" }
end

--- Cuts what was muted.
function Proxy:unmute()
  self.child:say "unmute"
  self.child:expect "ok"
end

return M
