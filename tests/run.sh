#!/usr/bin/env bash
# Runs everything that is checked, from a fresh clone on: installs what is missing (.ci/setup), builds with warnings as
# errors, lints, runs the C tests, the C tests again under AddressSanitizer and UBSan (those of tests/fault only then,
# those of tests/crash only before) and the Lua specs, and counts what a run costs.
#
# Usage: tests/run.sh [--fast | --quick | --server] [--asan-specs] [SPEC ...]
#
#   --quick        while working: lint, the C tests in tests/unit, and the specs of the folders that differ from HEAD
#   --fast         no sanitizers, nothing counted
#   --server       the specs alone, on stores on a PostgreSQL server where they would take a file, but for those that
#                  are about files
#   --asan-specs   runs the specs with the sanitized module as well
#   SPEC ...       only these spec files or folders: no lint, no C tests
#
# The last line is "N passed, N failed": C programs and specs together; a step that could not run, ran no test or found
# problems counts as one failure. Exits 1 if anything failed. LUA names the interpreter (lua5.4).
set -uo pipefail

cd "$(dirname "$0")/.." || exit 1
root=$PWD
lua=${LUA:-lua5.4}

fast= quick= asan_specs= tags=
while [ $# -gt 0 ]; do
	case $1 in
	--fast) fast=1 ;;
	--quick) quick=1 ;;
	--server) export KEEL_TEST_STORE=postgres; tags=--exclude-tags=files ;;
	--asan-specs) asan_specs=1 ;;
	-h | --help) sed -n '2,/^set/{/^set/d; s/^# \{0,1\}//; p}' "$0"; exit 0 ;;
	-*) echo "tests/run.sh: unknown option $1" >&2; exit 2 ;;
	*) break ;;
	esac
	shift
done
specs=("$@")
[ -z "$tags" ] || [ ${#specs[@]} -gt 0 ] || specs=(spec)

passed=0 failed=0 summary=() nothing_changed=

# finish: the summary, the total and the end.
finish() {
	printf '\n'
	[ ${#summary[@]} -eq 0 ] || printf '%s\n' "${summary[@]}"
	echo "$passed passed, $failed failed"
	[ "$failed" -eq 0 ]
	exit
}

# broken TEXT: counts a step that went wrong as a whole.
broken() {
	summary+=("$1")
	failed=$((failed + 1))
}

step() { printf '\n--- %s\n' "$1"; }

# build PRESET: says what it does only when it fails.
build() {
	step "build $1"
	if ! { cmake --preset "$1" && cmake --build --preset "$1" --parallel "$(nproc)"; } >"$work/build" 2>&1; then
		cat "$work/build"
		broken "build $1: failed"
		return 1
	fi
	echo "build/$1"
}

run_ctest() { # PRESET [OPTION OF CTEST ...]
	local preset=$1 line
	shift
	step "C tests: $preset"
	ctest --preset "$preset" "$@" --parallel "$(nproc)" 2>&1 | tee "$work/ctest"
	line=$(grep -aE '^[0-9]+% tests passed, [0-9]+ tests? failed out of [0-9]+' "$work/ctest" | tail -n 1)
	if [[ $line =~ ([0-9]+)\ tests?\ failed\ out\ of\ ([0-9]+) ]] && [ "${BASH_REMATCH[2]}" -gt 0 ]; then
		summary+=("ctest $preset: $line")
		passed=$((passed + BASH_REMATCH[2] - BASH_REMATCH[1]))
		failed=$((failed + BASH_REMATCH[1]))
	else
		broken "ctest $preset: no test ran"
	fi
}

# As many processes as there are processors run the specs, a part of the files after another: parts take unequal times.
run_busted() { # PRESET [NAME=VALUE ...] runs the specs with the module of that preset
	local preset=$1 line files=("${specs[@]}") part parts=$((4 * $(nproc))) counts=(0 0 0 0)
	shift
	step "specs: $preset"
	[ ${#files[@]} -gt 0 ] || files=(spec examples/policies)
	mapfile -t files < <(find "${files[@]}" -name '*_spec.lua' | sort)
	rm -f "$work"/busted.*
	for ((part = 0; part < parts; part++)); do
		local mine=() i
		for ((i = part; i < ${#files[@]}; i += parts)); do mine+=("${files[i]}"); done
		[ ${#mine[@]} -gt 0 ] || continue
		while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n; done
		# Absolute, for the processes that specs start; what the caller has set comes last.
		env "$@" \
			LUA_PATH="$root/lua/?.lua;$root/lua/?/init.lua;$root/spec/?.lua;${LUA_PATH:-;}" \
			LUA_CPATH="$root/build/$preset/lua/?.so;${LUA_CPATH:-;}" \
			"$lua" "$(command -v busted)" $tags "${mine[@]}" 2>&1 | tee "$work/busted.$part" &
	done
	wait
	for part in "$work"/busted.*; do
		line=$(sed 's/\x1b\[[0-9;]*m//g' "$part" |
			grep -aE '^[0-9]+ success(es)? / [0-9]+ failures? / [0-9]+ errors? / [0-9]+ pending' | tail -n 1)
		if [[ $line =~ ^([0-9]+)[^0-9]+([0-9]+)[^0-9]+([0-9]+)[^0-9]+([0-9]+) ]] &&
			[ $((BASH_REMATCH[1] + BASH_REMATCH[2] + BASH_REMATCH[3])) -gt 0 ]; then
			for i in 0 1 2 3; do counts[i]=$((counts[i] + BASH_REMATCH[i + 1])); done
		else
			broken "busted $preset: no spec ran, or not all did"
		fi
	done
	line="${counts[0]} successes / ${counts[1]} failures / ${counts[2]} errors / ${counts[3]} pending"
	summary+=("busted $preset: $line")
	passed=$((passed + counts[0]))
	failed=$((failed + counts[1] + counts[2]))
}

# Prints the folders of spec/ that are about the files that differ from HEAD, and the specs that differ.
changed_specs() {
	{ git diff --name-only HEAD; git ls-files --others --exclude-standard; } | while IFS= read -r file; do
		case $file in
		spec/*_spec.lua | examples/policies/*_spec.lua) [ ! -f "$file" ] || echo "$file" ;;
		lua/keel/cli/* | kernel/command/*) echo spec/cli ;;
		lua/keel/executor/*) echo spec/executor ;;
		lua/keel/dispatcher/*) echo spec/dispatch ;;
		lua/keel/runtime/* | lua/keel/diagnostics/* | kernel/worker/*) echo spec/runtime ;;
		lua/keel/policy/* | lua/keel/strategies/* | lua/keel/testing.lua) echo spec/strategies ;;
		lua/keel/manager/* | lua/keel/admission/*) echo spec/runs ;;
		lua/keel/recovery.lua | lua/keel/reconcilers/*) echo spec/ownership ;;
		lua/keel/retry.lua) echo spec/retry ;;
		kernel/binding/sandbox/*) echo spec/sandbox ;;
		kernel/binding/* | lua/keel/*.lua) echo spec/binding ;;
		kernel/event/*) echo spec/events ;;
		kernel/*.[ch] | kernel/schema/* | lua/keel/store/*) echo spec/store ;;
		esac
		case $file in *.md | lua/keel/_meta/*) echo spec/docs ;; esac
	done | sort -u
}

.ci/setup build test || { broken "setup: failed"; finish; }
# A build that make began goes on with make.
if command -v ninja >/dev/null; then export CMAKE_GENERATOR=${CMAKE_GENERATOR:-Ninja}; fi

# What tests leave behind goes with this folder. Specs that give up root's rights work in it, too.
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || tests/postgres.sh stop "$work/server"; rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -m 1777 "$work/tmp"
export TMPDIR=$work/tmp
# The names with a version would win over those set above.
[ -z "${LUA_PATH_5_4:-}" ] || LUA_PATH=$LUA_PATH_5_4
[ -z "${LUA_CPATH_5_4:-}" ] || LUA_CPATH=$LUA_CPATH_5_4
unset LUA_PATH_5_4 LUA_CPATH_5_4

# A server of our own for stores on PostgreSQL, where it is installed.
if [ -z "${KEEL_TEST_POSTGRES:-}" ]; then
	if KEEL_TEST_POSTGRES=$(tests/postgres.sh start "$work/server" 2>"$work/word"); then
		export KEEL_TEST_POSTGRES
		server=1
	else
		unset KEEL_TEST_POSTGRES
		summary+=("stores on PostgreSQL were left out: $(tail -n 1 "$work/word")")
	fi
fi

build dev || finish
if [ -n "$quick" ] && [ ${#specs[@]} -eq 0 ]; then
	mapfile -t specs < <(changed_specs)
	[ ${#specs[@]} -gt 0 ] || nothing_changed=1
fi
if [ -n "$quick" ] || [ ${#specs[@]} -eq 0 ]; then
	step "lint"
	if tests/lint.sh | tee "$work/lint"; then
		summary+=("lint: no problems")
	else
		broken "lint: $(wc -l <"$work/lint") problems"
	fi
	if [ -n "$quick" ]; then
		run_ctest dev --label-regex unit
	elif [ -n "$fast" ]; then
		run_ctest dev
	else
		# Those that fail everything in turn are the longest: under the sanitizers, which miss nothing, they take some
		# of the places; --fast takes all, without them.
		run_ctest dev --label-exclude fault
		# What is about processes starts slowly under the sanitizers.
		build asan && KEEL_FAULTS=few run_ctest asan --label-exclude crash
	fi
fi
[ -n "$nothing_changed" ] || run_busted dev
if [ ${#specs[@]} -eq 0 ] && [ -z "$fast$quick" ]; then
	step "cost"
	if tests/cost/run.sh 2>&1 | tee "$work/cost"; then
		passed=$((passed + 1))
		summary+=("$(tail -n 1 "$work/cost")")
	else
		broken "cost: a figure differs from tests/cost/record"
	fi
fi
if [ -n "$asan_specs" ] && build asan; then
	# The interpreter is not sanitized, so the runtime has to be there before it; what Lua leaves to the end of the
	# process is no leak.
	run_busted asan LD_PRELOAD="$(cc -print-file-name=libasan.so)" ASAN_OPTIONS=detect_leaks=0 \
		UBSAN_OPTIONS=print_stacktrace=1
fi
finish
