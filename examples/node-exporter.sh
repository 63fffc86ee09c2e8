#!/bin/sh
# Keel's metrics for the node_exporter of Prometheus, which reads all *.prom files of a folder (its option
# --collector.textfile.directory). Run it every minute, as by a line in crontab:
#
#     * * * * * /usr/local/share/keel/node-exporter.sh /var/lib/prometheus/node-exporter
#
# The store is the one that keel takes: set KEEL_STORE for another. The file is written beside and renamed, so that no
# half of it is ever read; when keel fails, the old one stays, and node_textfile_mtime_seconds tells how old it is.
set -eu
folder=${1:-/var/lib/prometheus/node-exporter}
keel=${KEEL:-keel}

new=$(mktemp "$folder/keel.prom.XXXXXX")
trap 'rm -f "$new"' EXIT
"$keel" stats --prometheus >"$new"
chmod 644 "$new"
mv "$new" "$folder/keel.prom"
