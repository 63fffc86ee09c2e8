#!/bin/sh
# Makes the rock from a copy of the sources, in an empty tree and without the network, and uses it as `luarocks path`
# tells to.
#
# Usage: rock.sh
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

mkdir "$folder/keel"
tar -C "$root" --exclude=./build --exclude=./.git -cf - . | tar -C "$folder/keel" -xf -
cd "$folder/keel"

# argparse, which it depends on, is the system's here: LuaRocks would fetch it.
CMAKE_TOOLCHAIN_FILE=$root/tests/compile/quick.cmake HOME=$folder \
	luarocks --lua-version 5.4 make --deps-mode=none --tree "$folder/tree" keel-scm-1.rockspec \
	>"$folder/log" 2>&1 || { cat "$folder/log" >&2; exit 1; }

cd "$folder"
echo "from Lua"
(
	eval "$(HOME=$folder luarocks --lua-version 5.4 path --tree "$folder/tree")"
	"${LUA:-lua5.4}" -e 'assert(require("keel").open ":memory:"):close()'
)
echo "from the shell"
[ "$("$folder/tree/bin/keel" exec --store "$folder/keel.db" echo it runs)" = "it runs" ]
