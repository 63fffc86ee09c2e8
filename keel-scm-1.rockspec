rockspec_format = "3.0"
package = "keel"
version = "scm-1"
source = {
  -- `luarocks make` in a clone; no release is published yet.
  url = "git+file://.",
}
description = {
  summary = "A durable run kernel for Lua",
  detailed = [[
Keel keeps runs, workers, leases and an event log in one transactional store. Lua scripts decide what should happen;
the kernel makes the decision and its effect one transaction, and knows at once when the owner of a run has died.]],
  license = "MIT",
}
supported_platforms = { "linux" }
dependencies = {
  "lua ~> 5.4",
  "argparse ~> 0.7", -- the keel command
}
external_dependencies = {
  SQLITE3 = { header = "sqlite3.h" },
  JANSSON = { header = "jansson.h" },
  MD = { header = "sha2.h" },
}
build = {
  type = "cmake",
  variables = {
    CMAKE_BUILD_TYPE = "Release",
    CMAKE_INSTALL_PREFIX = "$(PREFIX)",
    KEEL_LIBRARY = "OFF",
    KEEL_LUA_LIBDIR = "$(LIBDIR)",
    KEEL_LUA_SHAREDIR = "$(LUADIR)",
    KEEL_COMMAND_LUADIR = "../share/lua/5.4", -- LUADIR is where LuaRocks takes them from, not where they will be
    LUA_INCDIR = "$(LUA_INCDIR)",
  },
}
test = {
  type = "command",
  command = "tests/run.sh",
}
