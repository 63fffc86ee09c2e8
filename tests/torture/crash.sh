#!/usr/bin/env bash
# Builds and runs crashes of a PostgreSQL server under load; see crash.lua.
#
# Usage: tests/torture/crash.sh [--seed N] [--crashes N] [--writers N] [--readers N] [--durability NAME] [--control]
#                               [--keep]
set -euo pipefail

cd "$(dirname "$0")/../.."
.ci/setup build test
cmake --preset release >/dev/null
cmake --build --preset release --parallel "$(nproc)" >/dev/null
export LUA_PATH="$PWD/lua/?.lua;$PWD/lua/?/init.lua;;"
export LUA_CPATH="$PWD/build/release/lua/?.so;;"
exec "${LUA:-lua5.4}" tests/torture/crash.lua "$@"
