#!/usr/bin/env bash
# Builds the preset bench and measures the lifecycle of a run beside plain C; what it prints are ratios.
#
# Usage: tests/bench/run.sh [OPTION ...]      the options are those of lifecycle.c, e.g. --runs 1000000
set -euo pipefail

cd "$(dirname "$0")/../.."
.ci/setup build
cmake --preset bench >/dev/null
cmake --build --preset bench --parallel "$(nproc)" >/dev/null
export LUA_PATH="$PWD/lua/?.lua;$PWD/lua/?/init.lua;;" LUA_CPATH="$PWD/build/bench/lua/?.so;;"
exec build/bench/tests/bench/lifecycle "$@"
