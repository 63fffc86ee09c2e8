#!/usr/bin/env bash
# Checks what neither compilers nor tests see: the layers of the project, and the habits its files share.
#
# Usage: tests/lint.sh
#
# Prints FILE:LINE: RULE for each violation and exits 1 if there was one. Comments do not count as code. Lua is checked
# by luacheck as well.
set -u
export LC_ALL=C.UTF-8 # a character is a column, whatever the caller's language
cd "$(dirname "$0")/.." || exit 2

problems=$(mktemp) lines=$(mktemp)
trap 'rm -f "$problems" "$lines"' EXIT

# files FOLDER... -- NAME...: the files of these folders with such names.
files() {
	local folders=() names=()
	while [ "$1" != -- ]; do [ -d "$1" ] && folders+=("$1"); shift; done
	shift
	for name in "$@"; do names+=(-o -name "$name"); done
	[ ${#folders[@]} -eq 0 ] || find "${folders[@]}" -type f \( "${names[@]:1}" \) | sort
}

. tests/code.sh

# matching REGEX, but not REGEX...: lines FILE:LINE:TEXT whose text matches the first and none of the others.
matching() {
	local wanted=$1 but
	shift
	if [ $# -eq 0 ]; then grep -E "^[^:]+:[0-9]+:.*($wanted)"; else
		but=$(IFS='|'; echo "$*")
		grep -E "^[^:]+:[0-9]+:.*($wanted)" | grep -vE "^[^:]+:[0-9]+:.*($but)"
	fi
}

# flag RULE: each line FILE:LINE:TEXT of the input breaks the rule.
flag() { sed -E "s|^([^:]+:[0-9]+):.*|\1: $1|" >>"$problems"; }

# checked_by SCRIPT: the rules of a script of Lua, which prints the violations.
checked_by() {
	local found
	found=$(lua5.4 "$1") || [ -n "$found" ] || found="$1:1: it failed"
	[ -z "$found" ] || printf '%s\n' "$found" >>"$problems"
}

# --- Layers ----------------------------------------------------------------------------------------------------------

# As matching, for what follows #include.
c_include() { matching '#[[:space:]]*include[[:space:]]*'"$@"; }

files include kernel -- '*.[ch]' | grep -vE '^kernel/(binding|command)/' | c_code |
	c_include '[<"](lua|lauxlib|lualib)\.h' | flag "lua.h belongs to kernel/binding and kernel/command"
files include kernel -- '*.[ch]' | grep -vE '^kernel/sql/sqlite' | c_code |
	c_include '[<"]sqlite3\.h' | flag "sqlite3.h belongs to kernel/sql/sqlite*.c"
files include kernel -- '*.[ch]' | grep -vE '^kernel/sql/postgres' | c_code |
	c_include '[<"]libpq-fe\.h' | flag "libpq-fe.h belongs to kernel/sql/postgres*.c"

files include -- '*.h' | c_code |
	c_include '' '<keel/[a-z_]+\.h>' '<std[a-z]+\.h>' | flag "a public header includes public and standard headers only"
files kernel/base -- '*.[ch]' | c_code |
	c_include '"' '"base/' | flag "base depends on nothing above it"
files kernel/sql -- '*.[ch]' | c_code |
	c_include '"' '"(base|sql)/' | flag "the SQL drivers depend on base only"
# The domain, from the bottom up: a folder includes its own headers and those of the folders before it.
below='base/|sql/sql\.h|schema/schema\.h'
for folder in store event run worker housekeeping; do
	below="$below|$folder/"
	files kernel/$folder -- '*.[ch]' | c_code |
		c_include '"' "\"($below)" |
		flag "kernel/$folder depends on base, sql/sql.h, the schema and the folders below it"
done
find kernel -maxdepth 1 -name '*.[ch]' | sort | c_code |
	c_include '"' "\"($below)" | flag "the domain depends on base, sql/sql.h, the schema and its own folders"
alone='base/assert\.h|base/monotonic\.h' # headers alone: nothing of the kernel is called through them
files kernel/binding -- '*.[ch]' | c_code |
	c_include '' '"(sandbox/)?[a-z_]+\.h"' "\"($alone)" '<keel/[a-z_]+\.h>' '<(lua|lauxlib|lualib|jansson|sha2)\.h>' \
		'<(std[a-z]+|string|errno|limits|inttypes|float|locale|math|time|dirent|fcntl|unistd|sys/[a-z]+)\.h>' |
	flag "the binding is a client of include/keel; besides Lua, Jansson, libmd and the system it sees nothing"
files kernel/binding kernel/command -- '*.[ch]' | c_code |
	c_include '"' "\"($alone)" | while IFS= read -r line; do
		name=$(sed -E 's/.*"([^"]*)".*/\1/' <<<"$line")
		[ -f "$(cut -d/ -f1-2 <<<"$line")/$name" ] || echo "$line"
	done | flag "of private headers, binding and command include their own, base/assert.h and base/monotonic.h"

# Includes alone do not show what is called through include/keel, nor who calls whom in a folder.
checked_by tests/calls.lua

{ find kernel -maxdepth 1 -name '*.[ch]'; files kernel/{store,event,run,worker,housekeeping} -- '*.[ch]'; } |
	sort | c_code |
	grep -iE '^[^:]+:[0-9]+:.*(sqlite|postgres|\bpragma\b)' | flag "the domain names no driver"

# The folders of lua/keel, from the bottom up: a file requires what is below it, and no files each other in a circle.
checked_by tests/requires.lua

outside='(os|io|debug|package|coroutine)[[:space:]]*[.[]|(_G|_ENV|require|load|loadfile|dofile|print|collectgarbage)\b'
files lua/keel/strategies lua/keel/reconcilers lua/keel/diagnostics -- '*.lua' | lua_code |
	matching "[^A-Za-z0-9_.]($outside)|\bclock\b" |
	flag "a policy is pure: it requires nothing and has neither clock nor I/O"
sql='select\b.*\bfrom|insert (or [a-z]+ )?into|update [a-z_]+ set|delete from|create (table|index)|pragma'
files lua -- '*.lua' | lua_code | grep -iE "^[^:]+:[0-9]+:.*\b($sql)\b" |
	flag "no SQL in Lua"

# A manager is looked into through manager/attachment.lua only.
files lua/keel -- '*.lua' | grep -v '^lua/keel/manager/' | lua_code |
	matching '\b_?manager\._' | flag "no file outside of lua/keel/manager looks into a manager (manager/attachment.lua)"

# Numbers have a decimal point, whatever the host's locale says: the C library's conversions do not know that, nor does
# string.format of Lua. number_text of the binding is the one place.
files include kernel -- '*.[ch]' | grep -vxE 'kernel/binding/number\.c' | c_code |
	matching '%[-+ #0-9.*]*(l|L)?[eEfFgGaA]([^A-Za-z]|$)|\b(strto(f|d|ld)|atof)\b' "'%f'" |
	flag "no number is formatted or read by the locale (binding/number.c)"
files lua/keel -- '*.lua' | grep -v '/_meta/' | lua_code |
	matching '%[-+ #0-9.]*[eEfFgG]([^A-Za-z]|$)|%[0-9]*\.[0-9]+a' '%f\[' |
	flag "no number is formatted by the locale (kernel.number_text)"

# What a store says reaches a terminal through one door, which takes the escape sequences out. The others print no text
# of a store, or pass on what a command of the user's says.
files lua/keel/cli -- '*.lua' | grep -vE 'cli/(terminal|progress|ask|help|top/live|repl/init)\.lua$' |
	lua_code |
	grep -E '^[^:]+:[0-9]+:.*((^|[^.[:alnum:]_])print *[("]|io\.(stdout|stderr) *(:write|\)))' |
	flag "the command prints through cli/terminal.lua"

# --- The contract ----------------------------------------------------------------------------------------------------

# A function may share the comment of the paragraph it is in.
files include -- '*.h' | xargs -r awk '
	FNR == 1 || /^[[:space:]]*$/ { commented = 0 }
	/^[A-Za-z_].*\(/ && !/^(typedef|struct|union|enum|extern|static)/ {
		if (!/^KEEL_API /) print FILENAME ":" FNR ": a public function starts with KEEL_API"
		else if (!commented) print FILENAME ":" FNR ": a public function has a comment above it"
	}
	/^(struct|union|enum) [A-Za-z0-9_ *]*\(/ { print FILENAME ":" FNR ": a public function starts with KEEL_API" }
	/\/\*/ { commented = 1 }' >>"$problems"

# --- Every file ------------------------------------------------------------------------------------------------------

files include kernel lua spec tests examples .ci -- '*.[ch]' '*.in' '*.lua' '*.sh' '*.sql' '*.cmake' CMakeLists.txt \
	setup run | xargs -r grep -Hn '' | sed 's/\t/    /g' >"$lines"
grep -E '^[^:]+:[0-9]+:.{121,}' "$lines" | flag "more than 120 columns"
grep -E '[[:space:]]$' "$lines" | flag "white space at the end of the line"

# What another version of it would change is a matter of taste. The copy that is looked at is git's, so that files that
# are not the project's may lie about.
if clang-format --version 2>/dev/null | grep -q ' version 14\.'; then
	git ls-files '*.[ch]' | xargs -r clang-format --dry-run 2>&1 | grep ': warning:' |
		sed -E 's/^([^:]+:[0-9]+):.*/\1:/' | sort -u | flag "clang-format -i would change it"
fi

# --- Nothing that nobody reaches -------------------------------------------------------------------------------------

# unused WORDS: the first words of the input's lines FILE WORD that no line of the file WORDS has for another FILE.
unused() { awk 'NR == FNR { if (users[$2] != $1) count[$2]++; users[$2] = $1; next }
	!($2 in count) || (count[$2] == 1 && users[$2] == $1) { print $1 ":1: " }' "$1" -; }

files lua spec kernel examples -- '*.lua' '*.c' | xargs -r grep -oHE "[\"'][A-Za-z0-9_.]+[\"']" |
	sed -E "s/:[\"']/ /; s/[\"']$//" | sort -u >"$lines"
files lua spec -- '*.lua' | grep -vE '^lua/keel/(strategies|reconcilers|diagnostics|_meta)/|_spec\.lua$' |
	sed -E 's,^(lua|spec)/(.*)\.lua$,& \2,; s,/init$,,; :dots s,( .*)/,\1.,; t dots' |
	unused "$lines" | sed 's/$/nothing requires it/' >>"$problems"
files include kernel tests examples -- '*.[ch]' '*.cmake' '*.in' |
	xargs -r grep -HE '^#[[:space:]]*include' |
	sed -E 's|^([^:]+):.*[<"]([^>"]*/)?([^/>"]+)[>"].*|\1 \3|' | sort -u >"$lines"
files include kernel tests -- '*.h' | sed -E 's|.*/([^/]+)$|& \1|' |
	unused "$lines" | sed 's/$/nothing includes it/' >>"$problems"
folders='base|sql|store|event|run|worker|housekeeping|binding|binding/sandbox|binding/postgres|command'
built="kernel/(($folders)/)?[^/]+|tests/(support[^/]*|(unit|fault|crash|fuzz|cost|bench|compile/[a-z]+)/[^/]+)"
files kernel tests -- '*.c' | grep -vxE "$built" |
	sed 's/$/:1: no target builds it/' >>"$problems"

# --- Assertions ------------------------------------------------------------------------------------------------------

tests/assertions.sh >/dev/null || echo "tests/assertions.sh:1: fewer than 2 assertions in 100 lines" >>"$problems"

# --- Migrations ------------------------------------------------------------------------------------------------------

# Stores that have a migration do not run it again. Until the first release its hash may be put right on purpose, with
# `sha256sum */*.sql >released.sha256`; afterwards a change is another migration.
(cd kernel/schema && sha256sum --check --quiet released.sha256 2>&1) | grep ': FAILED' |
	sed -E 's|^([^:]+): .*|kernel/schema/\1:1: a released migration is never edited (CONTRIBUTING.md)|' \
		>>"$problems"

checked_by tests/predicates.lua
checked_by tests/schemas.lua

# --- What is written down ---------------------------------------------------------------------------------------------

# The tour names every file of the kernel; kernel/BEHAVIOURS.md and the specs name the same behaviours; links lead
# somewhere.
checked_by tests/documents.lua

# The comment above each public function is the reference: it has a text, and a type for each argument.
checked_by tests/reference.lua

# --- Lua -------------------------------------------------------------------------------------------------------------

if [ -n "$(files lua spec examples -- '*.lua')" ]; then
	luacheck --quiet --no-color --formatter plain lua spec examples >>"$problems" 2>&1 ||
		[ -s "$problems" ] || echo ".luacheckrc:1: luacheck could not run" >>"$problems"
fi

cat "$problems"
[ ! -s "$problems" ]
