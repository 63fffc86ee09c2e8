#!/bin/sh
# Installs a build under a fresh prefix and uses what is there as users would: from Lua, and from C through pkg-config
# and through CMake, linked shared and static.
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

export LUA_CPATH=none # what follows brings keel.kernel along
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name keel.pc)")
LD_LIBRARY_PATH=$(dirname "$PKG_CONFIG_PATH")
export PKG_CONFIG_PATH LD_LIBRARY_PATH

for lua in lua5.4 lua-5.4 lua54 lua; do
	pkg-config --exists "$lua" && break
done

echo "from C, with pkg-config"
# shellcheck disable=SC2046  # these are lists
"${CC:-cc}" -o "$folder/host" "$here/consumer/main.c" $(pkg-config --cflags --libs keel-lua "$lua")
"$folder/host"
# Of libkeel alone, without Lua.
printf '#include <keel/keel.h>\nint main(void) { return keel_code_name(KEEL_OK) == 0; }\n' >"$folder/plain.c"
# shellcheck disable=SC2046
"${CC:-cc}" -o "$folder/plain" "$folder/plain.c" $(pkg-config --cflags --libs keel)
"$folder/plain"

echo "from C, with CMake"
cmake -S "$here/consumer" -B "$folder/consumer" -D "CMAKE_PREFIX_PATH=$prefix" >/dev/null
cmake --build "$folder/consumer" >/dev/null
"$folder/consumer/shared"
env -u LD_LIBRARY_PATH "$folder/consumer/static"
