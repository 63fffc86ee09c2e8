#!/usr/bin/env bash
# Breaks one operator or constant of the code at a time, in a copy of the tree, and sees whether the tests notice.
#
# Usage: tests/mutate/run.sh [--seed N] [--count N] [--near] [FOLDER ...]    20 places in kernel and lua/keel unless
#                                                                            told otherwise
#
#   --near    only the tests that are nearest to a file (near.lua): a place that survives takes a minute in place of
#             seven, and some that survive are noticed by others
#
# A line a place: what noticed, or SURVIVED. A survivor is a missing test, dead code, or a change that changes nothing.
# What is broken may signal processes at random: run it where nothing else matters. Exits 1 if anything survived, and if
# the tests fail as the code stands.
set -euo pipefail

cd "$(dirname "$0")/../.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -coz --exclude-standard | xargs -0 cp --parents -t "$copy"
cd "$copy"
git init -q && git add -A
export TMPDIR=$copy/tmp
mkdir -m 1777 tmp
chmod 755 "$copy"
lua=${LUA:-lua5.4}
export LUA_PATH="$copy/lua/?.lua;$copy/lua/?/init.lua;$copy/spec/?.lua;;" LUA_CPATH="$copy/build/dev/lua/?.so;;"
BUSTED="$lua $(command -v busted)"
export BUSTED
cmake --preset dev >build.log 2>&1 || { cat build.log; exit 1; }
"$lua" tests/mutate/mutate.lua "$@"
