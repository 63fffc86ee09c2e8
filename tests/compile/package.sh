#!/bin/sh
# Makes the Debian package, installs it in a bare Debian 12 and uses it there, from the shell and from Lua. Not part of
# the suite: it fetches a Debian and takes minutes. Needs root, debootstrap and dpkg-dev.
#
# Usage: package.sh [FOLDER]     FOLDER keeps the Debian for the next time
set -eu

here=$(cd "$(dirname "$0")/../.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
debian=${1:-$folder/debian}

cd "$here"
cmake --preset release >/dev/null
cmake --build build/release --parallel "$(nproc)" >/dev/null
cpack --config build/release/CPackConfig.cmake -B "$folder/package"
if ! [ -d "$debian/etc" ]; then
	debootstrap --variant=minbase bookworm "$debian" >"$folder/log" || { cat "$folder/log"; exit 1; }
fi
cp "$folder"/package/keel_*.deb "$debian/tmp/keel.deb"
cp /etc/resolv.conf "$debian/etc/"
chroot "$debian" sh -eu -c '
	apt-get update -qq
	apt-get install -y -qq /tmp/keel.deb >/dev/null
	cd /tmp
	keel --store new.db exec echo it runs
	keel --store new.db runs list
	lua5.4 -e "assert(require([[keel]]).open [[new.db]]):close()"
	apt-get purge -y -qq keel >/dev/null
	! find / -xdev -name "*keel*" ! -path "/tmp/*" ! -path "/root/*" ! -path "/var/*" | grep .
'
echo "the package works"
