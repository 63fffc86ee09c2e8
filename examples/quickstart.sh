#!/bin/sh
# Runs examples/quickstart.lua from a fresh clone on: installs what is missing (.ci/setup), builds the Lua module and
# the keel command.
#
# Usage: examples/quickstart.sh [DIRECTORY]      (see quickstart.lua; LUA names the interpreter, lua5.4 by default)
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)

"$root/.ci/setup" build
# Only what goes wrong is worth reading: compilers say it on standard error.
cmake -S "$root" --preset release >/dev/null
cmake --build "$root/build/release" --target keel_kernel keel_command --parallel "$(nproc)" >/dev/null

LUA_PATH="$root/lua/?.lua;$root/lua/?/init.lua;${LUA_PATH_5_4:-${LUA_PATH:-;}}"
LUA_CPATH="$root/build/release/lua/?.so;${LUA_CPATH_5_4:-${LUA_CPATH:-;}}"
export LUA_PATH LUA_CPATH
unset LUA_PATH_5_4 LUA_CPATH_5_4 # they would win
KEEL=$root/build/release/keel exec "${LUA:-lua5.4}" "$root/examples/quickstart.lua" "$@"
