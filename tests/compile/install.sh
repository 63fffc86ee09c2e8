#!/bin/sh
# Installs a build under an empty prefix and uses what is there as users would: from Lua, from the shell, and from C
# through pkg-config and through CMake, linked shared and static. Then takes it away again.
#
# Usage: install.sh BUILD_FOLDER
set -eu

build=$1
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
prefix=$folder/prefix

cmake --install "$build" --prefix "$prefix" >/dev/null
export LUA_PATH="$prefix/share/lua/5.4/?.lua;$prefix/share/lua/5.4/?/init.lua"

echo "from Lua"
LUA_CPATH="$prefix/lib/lua/5.4/?.so" "${LUA:-lua5.4}" -e 'assert(require("keel").open ":memory:"):close()'

echo "from the shell"
# In another folder than it was installed to, and without being told where its files are.
mv "$prefix" "$folder/moved"
[ "$(LUA_PATH=';;' "$folder/moved/bin/keel" exec --store "$folder/keel.db" echo it runs)" = "it runs" ]
mv "$folder/moved" "$prefix"
# The path of the programs leads to the manual page and, through bash-completion, to the completion.
PATH="$prefix/bin:$PATH" man -w keel >"$folder/page"
[ "$(cat "$folder/page")" = "$prefix/share/man/man1/keel.1" ]
"$prefix/bin/keel" help --man | cmp - "$prefix/share/man/man1/keel.1"
bash -c "cd '$prefix/share' && . bash-completion/completions/keel && complete -p keel" >/dev/null
[ -f "$prefix/share/zsh/site-functions/_keel" ]
[ -f "$prefix/share/fish/vendor_completions.d/keel.fish" ]

export LUA_CPATH=none # what follows brings keel.kernel along
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name keel.pc)")
export PKG_CONFIG_PATH
libraries=$(dirname "$PKG_CONFIG_PATH")

for lua in lua5.4 lua-5.4 lua54 lua; do
	pkg-config --exists "$lua" && break
done

# Runs a command without a word unless it fails: the linker warns of a static glibc.
quietly() {
	"$@" >"$folder/log" 2>&1 || { cat "$folder/log" >&2; exit 1; }
}

# Compiles SOURCE, and runs it, shared and with not one shared library. The rest are modules of pkg-config.
with_pkgconfig() {
	source=$1
	shift
	# shellcheck disable=SC2046  # these are lists
	quietly "${CC:-cc}" -o "$folder/shared" "$source" $(pkg-config --cflags --libs "$@")
	LD_LIBRARY_PATH=$libraries "$folder/shared"
	# shellcheck disable=SC2046
	quietly "${CC:-cc}" -static -o "$folder/static" "$source" $(pkg-config --static --cflags --libs "$@")
	"$folder/static"
}

echo "from C, with pkg-config"
with_pkgconfig "$here/consumer/main.c" keel-lua "$lua"
# Of libkeel alone, without Lua.
printf '#include <keel/keel.h>\nint main(void) { return keel_code_name(KEEL_OK) == 0; }\n' >"$folder/plain.c"
with_pkgconfig "$folder/plain.c" keel

echo "from C, with CMake"
for package in Keel keel; do # either way of writing it
	quietly cmake -S "$here/consumer" -B "$folder/$package" -D "CMAKE_PREFIX_PATH=$prefix" -D "PACKAGE=$package"
done
quietly cmake --build "$folder/Keel"
"$folder/Keel/shared" # it knows where the libraries are
"$folder/Keel/preload"
"$folder/Keel/static"

echo "pages and examples"
pages=$prefix/share/doc/keel
sed -n 's/.*](\(lua[^)#]*\.md\)[^)]*).*/\1/p' "$pages/README.md" >"$folder/links"
while read -r link; do
	[ -f "$pages/$link" ] || { echo "README.md leads to $link, which is not installed" >&2; exit 1; }
done <"$folder/links"
[ -x "$pages/examples/quickstart.sh" ]

echo "gone again"
cmake --build "$build" --target uninstall >/dev/null
[ -z "$(find "$prefix" ! -type d)" ]
[ -z "$(find "$prefix" -name keel)" ]
