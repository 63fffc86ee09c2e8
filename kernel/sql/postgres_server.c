/* postgres_server.c - what there is to know of the server, for those who look after it. Uses: postgres_answer. */
#include "sql/postgres_parts.h"

#include <keel/housekeeping.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a process that writes does to tables, and what verify looks at of the counters behind keys. */
#define LACKING                                                                                          \
	"SELECT coalesce(left(string_agg(need || ' on ' || relname, ', ' ORDER BY relname, need), 250), '')" \
	" FROM pg_class c CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) need"             \
	" WHERE c.oid = " POSTGRES_ANY_TABLE " AND CASE relkind"                                             \
	" WHEN 'r' THEN relname <> 'schema_version' AND NOT has_table_privilege(c.oid, need)"                \
	" WHEN 'S' THEN need = 'SELECT' AND NOT has_sequence_privilege(c.oid, need) ELSE false END"

/* Since when somebody has looked at rows that were deleted since. Who it is, other roles may not be told. */
#define OLDEST                                                                                   \
	"SELECT since, pid FROM (SELECT xact_start AS since, pid FROM pg_stat_activity WHERE pid <>" \
	" pg_backend_pid() AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) UNION ALL"      \
	" SELECT prepared, 0 FROM pg_prepared_xacts) open WHERE since IS NOT NULL ORDER BY since LIMIT 1"

/* The oldest transaction that others wait for, and that waits for nobody itself. */
#define BLOCKING                                                                                             \
	"SELECT b.pid, waiting, coalesce(extract(epoch FROM clock_timestamp() - b.xact_start) * 1000000, 0)"     \
	"::bigint AS held FROM (SELECT blocking, count(*) AS waiting FROM pg_stat_activity w,"                   \
	" unnest(pg_blocking_pids(w.pid)) blocking WHERE w.datname = current_database() AND w.wait_event_type =" \
	" 'Lock' GROUP BY blocking) h JOIN pg_stat_activity b ON b.pid = blocking WHERE b.wait_event_type IS"    \
	" DISTINCT FROM 'Lock' ORDER BY held DESC LIMIT 1"

/* Connections that are taken and how many there may be: of the server, of the role or of the database, whichever has
 * the fewest left. */
#define PLACES                                                                                                  \
	"SELECT taken, most FROM (SELECT (SELECT sum(numbackends) FROM pg_stat_database) AS taken,"                 \
	" current_setting('max_connections')::bigint - CASE WHEN role.rolsuper THEN 0 ELSE"                         \
	" current_setting('superuser_reserved_connections')::bigint END AS most UNION ALL"                          \
	" SELECT (SELECT count(*) FROM pg_stat_activity WHERE usename = current_user), role.rolconnlimit UNION ALL" \
	" SELECT (SELECT numbackends FROM pg_stat_database WHERE datname = current_database()), datconnlimit"       \
	" FROM pg_database WHERE datname = current_database()) places WHERE most >= 0 ORDER BY most - taken LIMIT 1"

static const char question[] =
	"SELECT current_setting('server_version_num'), pg_is_in_recovery(), current_setting('fsync')::boolean,"
	" current_setting('autovacuum')::boolean, current_setting('synchronous_standby_names') <> '',"
	" (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,"
	" coalesce((extract(epoch FROM clock_timestamp() - oldest.since) * 1000000)::bigint, 0), coalesce(oldest.pid, 0),"
	" tables.live, tables.dead, places.taken, places.most, coalesce(blocking.waiting, 0),"
	" coalesce(blocking.held, 0), coalesce(blocking.pid, 0),"
	" (SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit'), (" LACKING ")"
	" FROM pg_roles role LEFT JOIN (" OLDEST ") oldest ON true LEFT JOIN (" BLOCKING
	") blocking ON true, (SELECT coalesce(sum(n_live_tup), 0) AS live,"
	" coalesce(sum(n_dead_tup), 0) AS dead FROM pg_stat_user_tables WHERE schemaname = current_schema()) tables,"
	" LATERAL (" PLACES ") places WHERE role.rolname = current_user";

enum { NUMBERS = 15 };

static void copy(char *to, size_t room, const PGresult *answer, int column)
{
	snprintf(to, room, "%s", PQgetvalue(answer, 0, column));
}

enum keel_code postgres_look_at_server(struct keel_sql *base, struct keel_server *server, struct keel_error *err)
{
	PGresult *answer;
	int64_t numbers[NUMBERS];
	struct postgres_sql *sql = postgres_own(base);
	enum keel_code code = postgres_revive(sql, err);
	if (code == KEEL_OK)
		code = postgres_exec(sql, question, &answer, err);
	if (code != KEEL_OK)
		return code;
	for (int i = 0; i < NUMBERS; i++) {
		const char *value = PQntuples(answer) ? PQgetvalue(answer, 0, i) : "";
		numbers[i] = value[0] == 't' ? 1 : strtoll(value, NULL, 10);
	}
	*server = (struct keel_server){.version = numbers[0],
								   .standby = numbers[1],
								   .fsync = numbers[2],
								   .autovacuum = numbers[3],
								   .has_standbys = numbers[4],
								   .clock = numbers[5],
								   .oldest_us = numbers[6],
								   .oldest_pid = numbers[7],
								   .rows = numbers[8],
								   .dead_rows = numbers[9],
								   .connections = numbers[10],
								   .connections_max = numbers[11],
								   .blocked = numbers[12],
								   .blocking_us = numbers[13],
								   .blocking_pid = numbers[14]};
	if (PQntuples(answer)) {
		copy(server->synchronous_commit, sizeof server->synchronous_commit, answer, NUMBERS);
		copy(server->lacking, sizeof server->lacking, answer, NUMBERS + 1);
	}
	PQclear(answer);
	return KEEL_OK;
}
