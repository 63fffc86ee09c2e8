#!/usr/bin/env bash
# Says which lines the tests run: of C (gcovr, a Debian package) and of Lua (a counter of our own).
#
# Usage: tests/coverage/run.sh [FILE.lua]    with a file of lua/keel: also its lines that were not run
#
# What the counter does not see: the command's Lua files, which run in processes of their own, and built-in policies,
# whose budget has a hook of its own.
set -euo pipefail

cd "$(dirname "$0")/../.."
.ci/setup build test
command -v gcovr >/dev/null || { echo "coverage: apt-get install gcovr" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --preset coverage >/dev/null
cmake --build --preset coverage --parallel "$(nproc)" >"$work/build" 2>&1 || { cat "$work/build"; exit 1; }
find build/coverage -name '*.gcda' -delete
ctest --preset coverage --label-exclude compile --parallel "$(nproc)" >"$work/ctest" 2>&1 || tail -n 20 "$work/ctest"
export LUA_PATH="$PWD/lua/?.lua;$PWD/lua/?/init.lua;$PWD/spec/?.lua;;" LUA_CPATH="$PWD/build/coverage/lua/?.so;;"
KEEL_COVERAGE=$work/lines "${LUA:-lua5.4}" "$(command -v busted)" --helper=tests/coverage/lines.lua \
	>"$work/specs" 2>&1 || tail -n 20 "$work/specs"
gcovr --root . --filter 'kernel/' --filter 'include/' build/coverage --txt "$work/gcovr" --print-summary
sort -u "$work/lines" >"$work/counts"
"${LUA:-lua5.4}" tests/coverage/report.lua "$work/counts" "$@"
