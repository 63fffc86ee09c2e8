#!/usr/bin/env bash
# Counts assertions, those of the compiler too, per 100 lines of code: what is neither blank nor comment.
#
# Usage: tests/assertions.sh [FOLDER ...]     kernel/run and kernel/store, which need at least 2, unless told otherwise
set -eu
cd "$(dirname "$0")/.."

[ $# -gt 0 ] || set -- kernel/run kernel/store
for folder in "$@"; do
	find "$folder" -name '*.[ch]' -exec cat {} + | awk -v folder="$folder" '
		{
			text = $0; code = ""
			while (text != "") {
				if (inside) {
					if (!(at = index(text, "*/"))) break
					text = substr(text, at + 2); inside = 0
				} else if (at = index(text, "/*")) {
					code = code substr(text, 1, at - 1); text = substr(text, at + 2); inside = 1
				} else { code = code text; break }
			}
			lines += code ~ /[^[:space:]]/
			assertions += gsub(/(KEEL_ASSERT|_Static_assert)\(/, "", code)
		}
		END {
			printf "%s: %d assertions in %d lines, %.1f per 100\n", folder, assertions, lines, 100 * assertions / lines
			exit 100 * assertions < 2 * lines
		}' || few=1
done
[ -z "${few:-}" ]
