#!/bin/sh
# Three commands on one thread: 2 interrupts 1, and 3 waits for its turn. Then their history.
#
# Usage: exec.sh      (KEEL names the keel command)
set -eu

keel=${KEEL:-keel}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export KEEL_STORE="$folder/exec.db"
cd "$folder"

# Until a command succeeds, for a while.
cat >wait_for <<'END'
#!/bin/sh
tries=0
until "$@" >/dev/null 2>&1; do
	tries=$((tries + 1))
	[ "$tries" -lt 600 ] || exit 1
	sleep 0.05
done
END
# What is run: it takes until somebody makes the file done-N.
cat >deploy <<'END'
#!/bin/sh
echo "version $1 is on its way"
: >"started-$1"
./wait_for test -e "done-$1"
echo "version $1 is there"
END
chmod +x wait_for deploy

show() {
	printf '\n$ keel'
	printf ' %s' "$@"
	printf '\n'
	"$keel" "$@"
}

echo "Three commands on one thread: 2 interrupts 1, and 3 waits for 2."
show exec --thread deploy -- ./deploy 1 &
./wait_for test -e started-1
show exec --thread deploy --strategy interrupt -- ./deploy 2 &
./wait_for test -e started-2
show exec --thread deploy --strategy enqueue -- ./deploy 3 &
./wait_for sh -c '"$0" runs list --status pending --json | grep -q .' "$keel"
: >done-3
: >done-2
wait

show runs list
show events
