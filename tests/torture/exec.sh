#!/usr/bin/env bash
# Builds and runs the torture of keel exec: many commands at once, and killed; see exec.lua.
#
# Usage: tests/torture/exec.sh [--seed N] [--shells N] [--each N] [--threads N] [--kills N] [--strategy NAME] [--keep]
set -euo pipefail

cd "$(dirname "$0")/../.."
.ci/setup build test
cmake --preset release >/dev/null
cmake --build --preset release --parallel "$(nproc)" >/dev/null
export LUA_PATH="$PWD/lua/?.lua;$PWD/lua/?/init.lua;;"
export LUA_CPATH="$PWD/build/release/lua/?.so;;" KEEL_PROGRAM="$PWD/build/release/keel"
exec "${LUA:-lua5.4}" tests/torture/exec.lua "$@"
