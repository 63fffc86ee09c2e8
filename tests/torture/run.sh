#!/usr/bin/env bash
# Builds and runs the torture: processes that fight for threads while they are killed and stopped; see run.lua.
#
# Usage: tests/torture/run.sh [--seed N] [--seconds N] [--processes N] [--lease] [--threads NAMES] [--kills N]
#                             [--durability NAME] [--store URI] [--keep] [--stop-gracefully]
set -euo pipefail

cd "$(dirname "$0")/../.."
.ci/setup build test
cmake --preset release >/dev/null
cmake --build --preset release --parallel "$(nproc)" >/dev/null
export LUA_PATH="$PWD/lua/?.lua;$PWD/lua/?/init.lua;;"
export LUA_CPATH="$PWD/build/release/lua/?.so;;"
exec "${LUA:-lua5.4}" tests/torture/run.lua "$@"
