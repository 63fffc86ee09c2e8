#!/usr/bin/env bash
# Counts assertions, those of the compiler too, per 100 lines of code: what is neither blank nor comment.
#
# Usage: tests/assertions.sh [FOLDER ...]     kernel/run and kernel/store, which need at least 2, unless told otherwise
set -eu
cd "$(dirname "$0")/.."
. tests/code.sh

[ $# -gt 0 ] || set -- kernel/run kernel/store
for folder in "$@"; do
	find "$folder" -name '*.[ch]' | c_code | awk -v folder="$folder" '
		{
			sub(/^[^:]*:[0-9]+: /, "")
			lines += /[^[:space:]]/
			assertions += gsub(/(KEEL_ASSERT|KEEL_LUA_PUSHED|_Static_assert)\(/, "")
		}
		END {
			printf "%s: %d assertions in %d lines, %.1f per 100\n", folder, assertions, lines, 100 * assertions / lines
			exit 100 * assertions < 2 * lines
		}' || few=1
done
[ -z "${few:-}" ]
