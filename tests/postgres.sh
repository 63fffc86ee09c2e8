#!/usr/bin/env bash
# A throw-away PostgreSQL server for the tests: sockets only, no password, gone with its folder.
#
# Usage: tests/postgres.sh start FOLDER   makes a server in the new folder and prints the uri of its database; exits 3
#                                         with a word when PostgreSQL is not installed
#        tests/postgres.sh standby FOLDER OTHER  makes one that follows the server in the folder OTHER
#        tests/postgres.sh restart FOLDER  kills it, as a crash would, and starts it again
#        tests/postgres.sh stop FOLDER    ends it, and leaves of its folder what it has said
#
# PostgreSQL does not run as root: for root the server is another user's. $KEEL_TEST_FSYNC=on makes it write as a server
# should; without it nothing waits for the disk. $KEEL_TEST_LISTEN is an address that it listens at besides.
set -euo pipefail

find_program() {
	command -v "$1" 2>/dev/null || find /usr/lib/postgresql/*/bin -name "$1" 2>/dev/null | sort -V | tail -n 1
}
initdb=$(find_program initdb) pg_ctl=$(find_program pg_ctl)
as=()
if [ "$(id -u)" -eq 0 ]; then
	user=$(id -un postgres 2>/dev/null || echo nobody)
	as=(setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups env HOME=/tmp)
fi

case ${1:-} in
start)
	if [ -z "$initdb" ] || [ -z "$pg_ctl" ]; then
		echo "PostgreSQL is not installed" >&2
		exit 3
	fi
	folder=$2
	mkdir -p "$folder"
	chmod 755 "$folder"
	[ ${#as[@]} -eq 0 ] || chown "$user" "$folder"
	cd "$folder"
	"${as[@]}" "$initdb" --pgdata "$folder/data" --username keel --auth trust --encoding UTF8 --locale C.UTF-8 \
		--no-sync >"$folder/initdb.log"
	[ -z "${KEEL_TEST_LISTEN:-}" ] || echo "host all all ${KEEL_TEST_LISTEN%.*}.0/24 trust" >>"$folder/data/pg_hba.conf"
	"${as[@]}" "$pg_ctl" start --wait --silent --pgdata "$folder/data" --log "$folder/server.log" --options "\
-c listen_addresses=${KEEL_TEST_LISTEN:-} -c unix_socket_directories=$folder -c fsync=${KEEL_TEST_FSYNC:-off} \
-c max_connections=200"
	echo "postgresql:///postgres?host=$folder&user=keel"
	;;
standby)
	basebackup=$(find_program pg_basebackup)
	folder=$2
	mkdir -p "$folder"
	chmod 755 "$folder"
	[ ${#as[@]} -eq 0 ] || chown "$user" "$folder"
	cd "$folder"
	"${as[@]}" "$basebackup" --pgdata "$folder/data" --host "$3" --username keel --write-recovery-conf \
		--checkpoint fast --no-sync
	"${as[@]}" "$pg_ctl" start --wait --silent --pgdata "$folder/data" --log "$folder/server.log" --options "\
-c listen_addresses= -c unix_socket_directories=$folder -c fsync=off -c max_connections=200"
	echo "postgresql:///postgres?host=$folder&user=keel"
	;;
restart)
	cd "$2"
	"${as[@]}" "$pg_ctl" restart --wait --silent --mode immediate --pgdata "$2/data" --log "$2/server.log"
	;;
stop)
	cd "$2"
	"${as[@]}" "$pg_ctl" stop --mode immediate --silent --pgdata "$2/data"
	rm -rf "$2/data" # a server can be started there again
	;;
*)
	sed -n '2,/^set/{/^set/d; s/^# \{0,1\}//; p}' "$0"
	exit 2
	;;
esac
