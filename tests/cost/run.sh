#!/usr/bin/env bash
# Counts what a run costs, in figures without noise, and compares them with the record: more than 3 % (an executor's:
# 5 %) either way fails. A figure that rises needs a commit that says why; one that falls is recorded, so that it stays.
#
# Usage: tests/cost/run.sh            counts and compares with tests/cost/record
#        tests/cost/run.sh --record   counts and writes the record
#
# Instructions are those of valgrind's callgrind, of the whole process; allocations are its count of malloc and its
# kin; without valgrind neither is counted. Pages are frames appended to the write-ahead log; steps and flushes are
# those of tests/cost/steps.c. The last line is "cost: N figures, N failed".
set -euo pipefail

cd "$(dirname "$0")/../.."
record=tests/cost/record
valgrind=1
if ! command -v valgrind >/dev/null; then
	echo "cost: valgrind is not here: no instructions and no allocations are counted"
	valgrind=
fi
cmake --preset release >/dev/null
cmake --build --preset release --target keel_kernel --parallel "$(nproc)" >/dev/null
cmake --preset dev >/dev/null
cmake --build --preset dev --target cost_steps --parallel "$(nproc)" >/dev/null
export LUA_PATH="$PWD/lua/?.lua;$PWD/lua/?/init.lua;;" LUA_CPATH="$PWD/build/release/lua/?.so;;"
lua=${LUA:-lua5.4}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# instructions WHAT COUNT FILE: of one process.
instructions() {
	local out=$work/$1.$2.callgrind
	valgrind --tool=callgrind --callgrind-out-file=/dev/null "$lua" tests/cost/work.lua "$@" 2>"$out" >/dev/null ||
		{ cat "$out" >&2; return 1; }
	sed -nE 's/.*Collected : ([0-9]+).*/\1/p' "$out"
}
allocations() {
	local out=$work/$1.$2.memcheck
	valgrind --leak-check=no --undef-value-errors=no "$lua" tests/cost/work.lua "$@" 2>"$out" >/dev/null ||
		{ cat "$out" >&2; return 1; }
	sed -nE 's/.*total heap usage: ([0-9,]+) allocs.*/\1/p' "$out" | tr -d ,
}
frames() { "$lua" tests/cost/work.lua "$@" 2>&1 | sed -nE 's/^frames ([0-9]+)$/\1/p'; }

# difference FUNCTION WHAT FEW MANY STORE DIVISOR: what one more costs. STORE is "memory" or "disk".
difference() {
	local few many folder
	folder=$(mktemp -d -p "$work")
	few=$($1 "$2" "$3" "$([ "$5" = memory ] && echo :memory: || echo "$folder/few")")
	many=$($1 "$2" "$4" "$([ "$5" = memory ] && echo :memory: || echo "$folder/many")")
	awk -v few="$few" -v many="$many" -v by="$6" 'BEGIN { printf "%.4g", (many - few) / by }'
}

# count NAME FUNCTION ...: a figure of the record, if it can be counted here.
count() {
	[ -n "$valgrind" ] || [ "$2" = frames ] || return 0
	local figure
	figure=$(difference "${@:2}")
	echo "$1 $figure"
}

# Several at a time: each uses one processor.
counts() {
	{
		count lifecycle_memory_instructions instructions manager 100 400 memory 300
		count lifecycle_disk_instructions instructions manager 100 400 disk 300
	} >"$work/a" &
	{
		count admission_memory_allocations allocations admission 100 300 memory 200
		count lifecycle_disk_pages_a_commit frames pages 10 30 disk 60
		count executor_disk_instructions instructions executor 200 600 disk 400
	} >"$work/b" &
	build/dev/tests/cost/steps >"$work/c" &
	wait %1 && wait %2 && wait %3
	cat "$work/a" "$work/b" "$work/c"
}

counts >"$work/now"
if [ "${1:-}" = --record ]; then
	{ sed '/^[^#]/d' "$record" 2>/dev/null || true; cat "$work/now"; } >"$work/record"
	cp "$work/record" "$record"
	cat "$record"
	exit 0
fi
awk -v valgrind="$valgrind" '
	FNR == NR { if ($0 !~ /^#/ && NF == 2) recorded[$1] = $2; next }
	{
		was = recorded[$1]; delete recorded[$1]; figures++
		bound = $1 ~ /^executor/ ? 0.05 : 0.03
		if (was == "") verdict = "is not in the record"
		else if ($2 > was * (1 + bound)) verdict = "COSTS MORE than the record says"
		else if ($2 < was * (1 - bound)) verdict = "costs less: record it (tests/cost/run.sh --record)"
		else verdict = ""
		if (verdict != "") failed++
		printf "%-34s %10s, recorded %10s  %s\n", $1, $2, was, verdict
	}
	END {
		for (name in recorded) {
			if (!valgrind && name ~ /(instructions|allocations)$/) continue
			print name " was not counted"
			failed++
		}
		printf "cost: %d figures, %d failed\n", figures, failed
		exit failed > 0
	}' "$record" "$work/now"
