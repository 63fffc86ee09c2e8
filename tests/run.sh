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
specs=("$@") nothing_changed=
[ -z "$tags" ] || [ ${#specs[@]} -gt 0 ] || specs=(spec)

# What tests leave behind goes with this folder. Specs that give up root's rights work in it, too.
work=$(mktemp -d)
ram= server= beside=
# clean_up: ends what is still going on, with all that it has started.
clean_up() {
	[ -z "$beside" ] || kill -- "-$beside" 2>/dev/null
	[ -z "$server" ] || tests/postgres.sh stop "$work/server"
	rm -rf "$work" "$ram"
}
trap clean_up EXIT
chmod 755 "$work"
mkdir -m 1777 "$work/tmp"
export TMPDIR=$work/tmp
# Thousands of small stores need no disk.
ram=$(mktemp -d -p /dev/shm 2>/dev/null) || ram=$TMPDIR
chmod 1777 "$ram"

# count PASSED FAILED TEXT: of a step, with its line of the summary. In a file, for steps that go on beside others.
: >"$work/counts"
count() { echo "$1 $2 $3" >>"$work/counts"; }

# broken TEXT: counts a step that went wrong as a whole.
broken() { count 0 1 "$1"; }

# finish: the summary, the total and the end.
finish() {
	local passed=0 failed=0 more_passed more_failed text
	printf '\n'
	while read -r more_passed more_failed text; do
		echo "$text"
		passed=$((passed + more_passed)) failed=$((failed + more_failed))
	done <"$work/counts"
	echo "$passed passed, $failed failed"
	[ "$failed" -eq 0 ]
	exit
}

step() { printf '\n--- %s\n' "$1"; }

# start_beside COMMAND ...: runs it beside what follows; end_beside shows what it said and says, until it ends.
start_beside() {
	set -m # a group of its own
	"$@" >"$work/beside" 2>&1 </dev/null &
	beside=$!
	set +m
}
end_beside() {
	tail --pid="$beside" --lines=+1 --follow "$work/beside"
	wait "$beside" || broken "what went on beside others was ended"
	beside=
}

# build PRESET: says what it does only when it fails.
build() {
	step "build $1"
	if ! { cmake --preset "$1" && cmake --build --preset "$1" --parallel "$(nproc)"; } >"$work/build.$1" 2>&1; then
		cat "$work/build.$1"
		broken "build $1: failed"
		return 1
	fi
	echo "build/$1"
}

run_ctest() { # PRESET [OPTION OF CTEST ...]
	local preset=$1 line
	shift
	step "C tests: $preset"
	ctest --preset "$preset" "$@" --parallel "$(nproc)" 2>&1 | tee "$work/ctest.$preset"
	line=$(grep -aE '^[0-9]+% tests passed, [0-9]+ tests? failed out of [0-9]+' "$work/ctest.$preset" | tail -n 1)
	if [[ $line =~ ([0-9]+)\ tests?\ failed\ out\ of\ ([0-9]+) ]] && [ "${BASH_REMATCH[2]}" -gt 0 ]; then
		count $((BASH_REMATCH[2] - BASH_REMATCH[1])) "${BASH_REMATCH[1]}" "ctest $preset: $line"
	else
		broken "ctest $preset: no test ran"
	fi
}

# As many processes as there are processors run the specs, a part of the files after another: parts take unequal times.
run_busted() { # PRESET [NAME=VALUE ...] runs the specs with the module of that preset
	local preset=$1 line files=("${specs[@]}") part parts=$((4 * $(nproc))) counts=(0 0 0 0) i
	shift
	step "specs: $preset"
	[ ${#files[@]} -gt 0 ] || files=(spec examples/policies)
	mapfile -t files < <(find "${files[@]}" -name '*_spec.lua' | sort)
	rm -f "$work"/busted.*
	( # whose jobs are these alone
		for ((part = 0; part < parts; part++)); do
			mine=()
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
	)
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
	count "${counts[0]}" $((counts[1] + counts[2])) "busted $preset: $line"
}

# Those that fail everything in turn are the longest C tests: under the sanitizers, which miss nothing, they take some
# of the places; --fast takes all, without them. What is about processes starts slowly under the sanitizers.
run_sanitized() {
	renice -n 10 -p "$BASHPID" >/dev/null # what is beside it is about processes that wait for each other
	build asan && KEEL_FAULTS=few TMPDIR=$ram run_ctest asan --label-exclude crash
	run_cost
}

run_lint() {
	step "lint"
	if tests/lint.sh | tee "$work/lint"; then
		count 0 0 "lint: no problems"
	else
		broken "lint: $(wc -l <"$work/lint") problems"
	fi
}

run_cost() {
	step "cost"
	if tests/cost/run.sh 2>&1 | tee "$work/cost"; then
		count 1 0 "$(tail -n 1 "$work/cost")"
	else
		broken "cost: a figure differs from tests/cost/record"
	fi
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
		count 0 0 "stores on PostgreSQL were left out: $(tail -n 1 "$work/word")"
	fi
fi

if [ ${#specs[@]} -eq 0 ] || [ -n "$quick" ]; then checked=1; else checked=; fi
[ -z "$checked" ] || start_beside run_lint
build dev || finish
if [ -n "$quick" ] && [ ${#specs[@]} -eq 0 ]; then
	mapfile -t specs < <(changed_specs)
	[ ${#specs[@]} -gt 0 ] || nothing_changed=1
fi
if [ -n "$checked" ]; then
	end_beside
	if [ -n "$quick" ]; then
		run_ctest dev --label-regex unit
	elif [ -n "$fast" ]; then
		run_ctest dev
	else
		# Processes that wait for each other leave time for others.
		start_beside run_sanitized
		run_ctest dev --label-exclude fault
	fi
fi
[ -n "$nothing_changed" ] || run_busted dev
[ -z "$beside" ] || end_beside
if [ -n "$asan_specs" ] && build asan; then
	# The interpreter is not sanitized, so the runtime has to be there before it; what Lua leaves to the end of the
	# process is no leak.
	run_busted asan LD_PRELOAD="$(cc -print-file-name=libasan.so)" ASAN_OPTIONS=detect_leaks=0 \
		UBSAN_OPTIONS=print_stacktrace=1
fi
finish
