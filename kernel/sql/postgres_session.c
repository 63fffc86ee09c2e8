/* postgres_session.c - what the connection itself stands for: the lock of a session, and news of others. Uses:
 * postgres_answer.
 *
 * Sessions are locked by two numbers, the schema's and their own; whoever waits for news shares one more lock, which
 * tells writers that somebody does (next_event_id in the schema). The server drops all of them with the connection.
 */
#include "sql/postgres_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/monotonic.h"

/* A server that is started again has no locks, and nobody has died. For so long the sessions of before are taken for
 * alive, until their processes have connected again and made new ones of them. */
enum { GRACE_S = 15 };

enum { LET_GO_US = 1000000 }; /* how long closing waits for the server to say that it has heard */

/* The number of the schema, as the first of two of a lock. */
static int32_t lock_space(const struct postgres_sql *sql)
{
	return (int32_t)(uint32_t)((uint64_t)sql->lock >> 32);
}

/* Runs a query of one truth. */
static enum keel_code ask(struct postgres_sql *sql, const char *text, bool *answer, struct keel_error *err)
{
	PGresult *result;
	enum keel_code code = postgres_exec(sql, text, &result, err);
	if (code != KEEL_OK)
		return code;
	*answer = PQntuples(result) > 0 && strcmp(PQgetvalue(result, 0, 0), "t") == 0;
	PQclear(result);
	return KEEL_OK;
}

enum keel_code postgres_hold(struct keel_sql *base, int64_t session, struct keel_error *err)
{
	struct postgres_sql *sql = postgres_own(base);
	char text[96];
	bool held = false;
	if (session > INT32_MAX)
		return keel_fail(err, KEEL_STORE_FULL, "%s: there are no numbers left for sessions", sql->path);
	snprintf(text, sizeof text, "SELECT pg_try_advisory_lock(%" PRId32 ", %" PRId64 ")", lock_space(sql), session);
	enum keel_code code = ask(sql, text, &held, err);
	if (code == KEEL_OK && !held)
		code = keel_fail(err, KEEL_BUSY, "%s: somebody is just looking at session %" PRId64, sql->path, session);
	sql->holds = sql->holds || code == KEEL_OK;
	return code;
}

void postgres_let_go(struct postgres_sql *sql)
{
	if (!sql->holds || PQstatus(sql->db) != CONNECTION_OK)
		return;
	postgres_undo(sql);
	if (postgres_send_plain(sql, "SELECT pg_advisory_unlock_all()", POSTGRES_SENT_WRITE, NULL) == KEEL_OK)
		postgres_drain_until(sql, keel_later(keel_monotonic_us(), LET_GO_US), NULL);
}

enum keel_code postgres_judge(struct keel_sql *base, int64_t session, bool *alive, struct keel_error *err)
{
	struct postgres_sql *sql = postgres_own(base);
	char text[384];
	bool is_free = false;
	snprintf(text, sizeof text,
			 "SELECT pg_try_advisory_xact_lock_shared(%" PRId32 ", %" PRId64 ") AND NOT EXISTS (SELECT 1 FROM sessions"
			 " WHERE id = %" PRId64 " AND server <> pg_postmaster_start_time()"
			 " AND clock_timestamp() < pg_postmaster_start_time() + interval '%d seconds')"
			 " AND NOT pg_is_in_recovery()", /* a standby has no such locks, and cannot judge */
			 lock_space(sql), session, session, GRACE_S);
	enum keel_code code = session > INT32_MAX ? KEEL_OK : ask(sql, text, &is_free, err);
	*alive = code == KEEL_OK && session <= INT32_MAX && !is_free;
	return code;
}

/* --- News -------------------------------------------------------------------------------------------------------- */

enum keel_code postgres_listen(struct keel_sql *base, int event, bool *listens, struct keel_error *err)
{
	struct postgres_sql *sql = postgres_own(base);
	char text[160];
	enum keel_code revived = postgres_revive(sql, err);
	*listens = sql->listens;
	if (revived != KEEL_OK || sql->listens)
		return revived;
	/* The lock before the first look: whoever commits after it tells. Who has it has written an event and not committed
	 * yet; that can take long, and he may be another handle of this thread. */
	snprintf(text, sizeof text, "LISTEN keel_%" PRIu32 "; SELECT pg_try_advisory_lock_shared(%" PRId64 ")",
			 (uint32_t)lock_space(sql), sql->lock | 1);
	enum keel_code code = ask(sql, text, listens, err);
	sql->listens = *listens;
	sql->event = event;
	return code;
}

bool postgres_news(struct keel_sql *base)
{
	struct postgres_sql *sql = postgres_own(base);
	/* An answer that nobody waited for may be what has come. */
	if (!sql->waits && postgres_is_waiting(sql))
		postgres_drain_until(sql, 0, NULL);
	else if (!sql->waits)
		PQconsumeInput(sql->db);
	postgres_show_descriptor(sql);
	postgres_hear(sql);
	/* Of what a lost connection would have told, nobody knows. */
	bool told = sql->told || PQstatus(sql->db) != CONNECTION_OK;
	sql->told = false;
	return told;
}

int64_t postgres_connection(struct keel_sql *base)
{
	return postgres_own(base)->connection;
}

void postgres_keep_descriptor(struct keel_sql *base, int *descriptor)
{
	struct postgres_sql *sql = postgres_own(base);
	sql->descriptor = descriptor;
	postgres_show_descriptor(sql);
}
