/* postgres_connect.c - connecting, again too. Uses: postgres_answer, postgres_error.
 *
 * What a connection stood for is gone with it: its transaction, its locks, its session, its statements. The driver
 * makes a new one when the next transaction begins; who owns what is the domain's matter (store/session.c).
 */
#include "sql/postgres_parts.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/monotonic.h"

/* What libpq does unless the uri says otherwise: a cable that was cut is noticed in some ten seconds. */
static const char *const defaults[][2] = {
	{"connect_timeout", "10"}, {"keepalives_idle", "5"},      {"keepalives_interval", "2"},
	{"keepalives_count", "3"}, {"tcp_user_timeout", "10000"}, {"fallback_application_name", "keel"},
};
enum { DEFAULTS = sizeof defaults / sizeof defaults[0] };

enum { CONNECT_TRY_US = 20000 }; /* how long one try at connecting again waits */

/* postgresql://host:port/database?schema=name of a connection: libpq knows what the environment has filled in. */
static bool name_path(struct postgres_sql *sql)
{
	struct keel_buffer path = {0};
	const char *host = PQhost(sql->db), *port = PQport(sql->db), *database = PQdb(sql->db);
	keel_buffer_format(&path, "postgresql://%s:%s/%s?schema=%s", host && host[0] != '/' ? host : "", port ? port : "",
					   database ? database : "", sql->schema);
	sql->path = path.data;
	return !path.failed;
}

/* Copies a message of libpq's in one line, without the name of the user. */
static void copy_reason(char *to, size_t room, const char *message, const char *user)
{
	size_t size = 0, user_size = user ? strlen(user) : 0;
	for (const char *at = message; *at && size + 2 < room;) {
		if (user_size && strncmp(at, user, user_size) == 0) {
			to[size++] = '*';
			at += user_size;
		} else {
			to[size++] = *at == '\n' || *at == '\t' ? ' ' : *at;
			at++;
		}
	}
	while (size > 0 && to[size - 1] == ' ')
		size--;
	to[size] = '\0';
}

static enum keel_code fail_to_connect(struct postgres_sql *sql, PGPing why, struct keel_error *err)
{
	char reason[512];
	copy_reason(reason, sizeof reason, PQerrorMessage(sql->db), PQuser(sql->db));
	/* It is starting or stopping: that will pass, and is waited for. */
	if (why == PQPING_REJECT)
		return keel_fail(err, KEEL_BUSY, "%s: cannot connect: %s", sql->path, reason);
	enum keel_code code = keel_fail(err, KEEL_IO, "%s: cannot connect: %s", sql->path, reason);
	if (err)
		err->transient = why == PQPING_NO_RESPONSE; /* it is not there: that may pass, too */
	return code;
}

/* Whether the server is one that can hold a store, and no other. */
static enum keel_code check_server(struct postgres_sql *sql, const PGresult *answer, struct keel_error *err)
{
	if (strtol(PQgetvalue(answer, 0, 0), NULL, 10) != PQbackendPID(sql->db))
		return keel_fail(err, KEEL_IO,
						 "%s: there is a pooler in between, which gives a connection to several: connect to the server"
						 " itself",
						 sql->path);
	if (strtol(PQgetvalue(answer, 0, 1), NULL, 10) < POSTGRES_LEAST_VERSION)
		return keel_fail(err, KEEL_IO, "%s: the server must be PostgreSQL 14 or later", sql->path);
	if (strcmp(PQgetvalue(answer, 0, 2), "UTF8") != 0)
		return keel_fail(err, KEEL_IO, "%s: the encoding of the database is %s and must be UTF8", sql->path,
						 PQgetvalue(answer, 0, 2));
	if (strcmp(PQgetvalue(answer, 0, 3), "t") == 0 && !sql->readonly)
		return keel_fail(err, KEEL_STORE_READONLY, "%s: the server is a standby, which can only be read", sql->path);
	return KEEL_OK;
}

/* libpq would print. */
static void say_nothing(void *data, const char *message)
{
	(void)data, (void)message;
}

/* Has the server notice in some ten seconds that a cable is cut. Not every system that it runs on can do all of this:
 * then it does without. */
#define NOTICE_CUTS                                                                                                \
	"DO $$ DECLARE wish record; BEGIN FOR wish IN SELECT * FROM (VALUES"                                           \
	" ('client_connection_check_interval', '1s'), ('tcp_keepalives_idle', '5'), ('tcp_keepalives_interval', '2')," \
	" ('tcp_keepalives_count', '3'), ('tcp_user_timeout', '10000')) wishes (name, setting) LOOP"                   \
	" BEGIN PERFORM set_config(wish.name, wish.setting, false); EXCEPTION WHEN OTHERS THEN NULL; END;"             \
	" END LOOP; END $$;"

/* What holds for this connection. The server plans by statistics that a new store does not have: every statement of
 * ours is a search in an index, and is told to be. */
static enum keel_code configure(struct postgres_sql *sql, struct keel_error *err)
{
	char text[2048];
	PGresult *answer;
	PQsetNoticeProcessor(sql->db, say_nothing, NULL);
	if (PQsetnonblocking(sql->db, 1) != 0)
		return keel_fail_memory(err);
	snprintf(
		text, sizeof text,
		"SET search_path = \"%s\"; SET client_encoding = UTF8; SET enable_seqscan = off; SET enable_bitmapscan = off;"
		" SET enable_mergejoin = off; SET enable_hashjoin = off; SET jit = off;"
		" SET plan_cache_mode = force_generic_plan; SET idle_session_timeout = 0;"
		" SET idle_in_transaction_session_timeout = '30s'; " NOTICE_CUTS " SET default_transaction_read_only = %s;"
		" SET client_min_messages = error; %s"
		" SELECT pg_backend_pid(), current_setting('server_version_num'), current_setting('server_encoding'),"
		" pg_is_in_recovery(), checkpoint_lsn, CASE WHEN pg_is_in_recovery() THEN '' ELSE"
		" left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END FROM pg_control_checkpoint()",
		sql->schema, sql->readonly ? "on" : "off",
		/* What the administrator wants to wait for is his to say, but for nothing. */
		sql->flushes ? "SELECT set_config('synchronous_commit', 'on', false)"
					   " WHERE current_setting('synchronous_commit') = 'off';"
					 : "");
	enum keel_code code = postgres_exec(sql, text, &answer, err);
	if (code != KEEL_OK)
		return code;
	code = check_server(sql, answer, err);
	snprintf(sql->era.checkpoint, sizeof sql->era.checkpoint, "%s", PQgetvalue(answer, 0, 4));
	snprintf(sql->era.timeline, sizeof sql->era.timeline, "%s", PQgetvalue(answer, 0, 5));
	PQclear(answer);
	sql->connection += code == KEEL_OK;
	return code;
}

/* libpq's word for what is wrong with a uri goes on with the part that is wrong, which may be the password. */
static enum keel_code check_uri(const char *uri, struct keel_error *err)
{
	char *message = NULL;
	PQconninfoOption *options = PQconninfoParse(uri, &message);
	if (options) {
		PQconninfoFree(options);
		return KEEL_OK;
	}
	enum keel_code code =
		message ? keel_fail_field(err, "uri", "uri cannot be read: %.*s", (int)strcspn(message, ":\n\""), message)
				: keel_fail_memory(err);
	PQfreemem(message);
	return code;
}

/* What libpq was told, or found out, that we have to know to connect again. */
static enum keel_code read_options(struct postgres_sql *sql, struct keel_error *err)
{
	PQconninfoOption *options = PQconninfo(sql->db);
	sql->connect_us = 0;
	for (PQconninfoOption *option = options; option && option->keyword; option++) {
		if (option->val && strcmp(option->keyword, "connect_timeout") == 0)
			sql->connect_us = strtoll(option->val, NULL, 10) * 1000000;
		if (option->val && strncmp(option->keyword, "host", 4) == 0 && strchr(option->val, ','))
			sql->hosts = true;
	}
	if (sql->connect_us <= 0)
		sql->connect_us = POSTGRES_ANSWER_S * INT64_C(1000000);
	PQconninfoFree(options);
	return options ? KEEL_OK : keel_fail_memory(err);
}

enum keel_code postgres_connect(struct postgres_sql *sql, const char *uri, struct keel_error *err)
{
	const char *names[DEFAULTS + 3] = {NULL}, *values[DEFAULTS + 3] = {NULL};
	for (int i = 0; i < DEFAULTS; i++) {
		names[i] = defaults[i][0];
		values[i] = defaults[i][1];
	}
	enum keel_code code = check_uri(uri, err);
	if (code != KEEL_OK)
		return code;
	names[DEFAULTS] = "dbname"; /* what the uri says goes before what stands ahead of it */
	values[DEFAULTS] = uri;
	int64_t began = keel_monotonic_us();
	sql->db = PQconnectdbParams(names, values, 1);
	if (!sql->db || !name_path(sql))
		return keel_fail_memory(err);
	code = read_options(sql, err);
	if (code == KEEL_OK && PQstatus(sql->db) != CONNECTION_OK) {
		names[DEFAULTS + 1] = "connect_timeout"; /* of the question why; the least that libpq takes */
		values[DEFAULTS + 1] = "2";
		bool waited = keel_monotonic_us() - began >= sql->connect_us / 2;
		return fail_to_connect(sql, waited ? PQPING_NO_RESPONSE : PQpingParams(names, values, 1), err);
	}
	return code == KEEL_OK ? configure(sql, err) : code;
}

/* --- Again ------------------------------------------------------------------------------------------------------- */

static enum keel_code fail_again(struct postgres_sql *sql, const char *problem, struct keel_error *err)
{
	char reason[512];
	copy_reason(reason, sizeof reason, problem, PQuser(sql->db));
	sql->connects = false;
	enum keel_code code = keel_fail(err, KEEL_IO, "%s: cannot connect again: %s", sql->path, reason);
	if (err)
		err->transient = true; /* it has been there before */
	return code;
}

/* Goes on connecting for as long as a try may take. */
static enum keel_code poll_connection(struct postgres_sql *sql, struct keel_error *err)
{
	int64_t deadline = keel_later(keel_monotonic_us(), CONNECT_TRY_US);
	while (sql->polling == PGRES_POLLING_READING || sql->polling == PGRES_POLLING_WRITING) {
		struct pollfd socket = {.fd = PQsocket(sql->db),
								.events = sql->polling == PGRES_POLLING_READING ? POLLIN : POLLOUT};
		int64_t now = keel_monotonic_us();
		int got = poll(&socket, 1, now < deadline ? (int)((deadline - now) / 1000 + 1) : 0);
		if (got == 0 && now >= sql->connect_until)
			return fail_again(sql, "there is no answer", err);
		if (got == 0)
			return keel_fail(err, KEEL_BUSY, "%s: the connection is lost, and there is no other yet", sql->path);
		if (got > 0)
			sql->polling = PQresetPoll(sql->db);
		postgres_show_descriptor(sql);
	}
	sql->connects = false;
	return sql->polling == PGRES_POLLING_OK ? KEEL_OK : fail_again(sql, PQerrorMessage(sql->db), err);
}

/* What was there is gone with the connection. */
static void forget_connection(struct postgres_sql *sql)
{
	sql->open = sql->failed = sql->waits = sql->holds = sql->listens = false;
	sql->savepoints = 0;
	sql->queue = (struct postgres_queue){.count = 0};
}

/* Only libpq's own way, which blocks, passes over one of several hosts that does not answer. */
static enum keel_code reconnect(struct postgres_sql *sql, struct keel_error *err)
{
	if (sql->hosts) {
		PQreset(sql->db);
		postgres_show_descriptor(sql);
		return PQstatus(sql->db) == CONNECTION_OK ? KEEL_OK : fail_again(sql, PQerrorMessage(sql->db), err);
	}
	if (!sql->connects) {
		sql->connects = PQresetStart(sql->db) != 0;
		sql->polling = PGRES_POLLING_WRITING; /* what libpq's manual says to begin with */
		sql->connect_until = keel_later(keel_monotonic_us(), sql->connect_us);
		postgres_show_descriptor(sql);
	}
	return sql->connects ? poll_connection(sql, err) : fail_again(sql, PQerrorMessage(sql->db), err);
}

enum keel_code postgres_revive(struct postgres_sql *sql, struct keel_error *err)
{
	if (PQstatus(sql->db) == CONNECTION_OK && !sql->connects)
		return KEEL_OK;
	forget_connection(sql);
	enum keel_code code = reconnect(sql, err);
	if (code != KEEL_OK)
		return code;
	code = configure(sql, err);
	if (code != KEEL_OK)
		postgres_cut(sql); /* what it has not been told must not be taken for told */
	return code;
}

enum keel_code postgres_numbers(struct postgres_sql *sql, const char *text, int64_t *numbers, int count,
								struct keel_error *err)
{
	PGresult *answer;
	enum keel_code code = postgres_exec(sql, text, &answer, err);
	if (code != KEEL_OK)
		return code;
	for (int i = 0; i < count; i++) {
		const char *value = PQntuples(answer) ? PQgetvalue(answer, 0, i) : "";
		numbers[i] = value[0] == 't' ? 1 : strtoll(value, NULL, 10);
	}
	PQclear(answer);
	return KEEL_OK;
}
