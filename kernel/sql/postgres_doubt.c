/* postgres_doubt.c - what became of a COMMIT without an answer. Uses: postgres_connect, postgres_log,
 * postgres_statement.
 *
 * The server does what it was sent even if nobody is there any more, and a second try would do all of it twice. So it
 * is asked. Its answer is about a number, which is given again after a crash if nothing of the transaction that had it
 * first had come to the disk: what has committed may then be somebody else's. The checkpoint that ends the recovery
 * says where the numbers went on; of more than one recovery only the last does. Then the first event of the transaction
 * is a witness: nobody else with the same number has written the same.
 */
#include "sql/postgres_parts.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/monotonic.h"

enum {
	DOUBT_US = 30000000, /* how long it may take, a server that starts again included */
	PAUSE_US = 20000,    /* between two looks */
};

enum fate { FATE_OPEN, FATE_COMMITTED, FATE_LOST, FATE_UNKNOWN };

static void pause_before_look(void)
{
	struct timespec left = {.tv_nsec = PAUSE_US * 1000};
	nanosleep(&left, NULL);
}

/* Whether the server has crashed and recovered since, and whether the number was given to nobody before that. */
static enum keel_code ask_of_recovery(struct postgres_sql *sql, const struct postgres_era *era, bool *recovered,
									  bool *unused, struct keel_error *err)
{
	char text[512];
	int64_t found[2] = {0, 0};
	/* At the end of a recovery, as before a stop, nothing else is written: the checkpoint begins where it stands. */
	snprintf(text, sizeof text,
			 "SELECT checkpoint_lsn = redo_lsn AND checkpoint_lsn <> '%s' AND"
			 " left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) = '%s', '%s'::numeric >="
			 " split_part(next_xid, ':', 1)::numeric * 4294967296 + split_part(next_xid, ':', 2)::numeric"
			 " FROM pg_control_checkpoint()",
			 era->checkpoint, era->timeline, sql->transaction);
	enum keel_code code = postgres_numbers(sql, text, found, 2, err);
	*recovered = found[0];
	*unused = found[1];
	return code;
}

/* The process that served us may still be at it. Its own number may be another's by now, who is not ours to end; that
 * of its transaction is not. */
static enum keel_code ask_of_transaction(struct postgres_sql *sql, bool ends, enum fate *fate, struct keel_error *err)
{
	static const char *const words[] = {
		[FATE_OPEN] = "in progress", [FATE_COMMITTED] = "committed", [FATE_LOST] = "aborted"};
	char text[384];
	PGresult *answer;
	int64_t unused;
	if (ends) {
		snprintf(text, sizeof text,
				 "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
				 " AND backend_xid = '%s'::xid8::xid",
				 sql->transaction);
		postgres_numbers(sql, text, &unused, 1, NULL);
	}
	/* Asking for the status of a number that is still to be given, by a server in its place, would be an error. */
	snprintf(text, sizeof text,
			 "SELECT CASE WHEN '%s'::xid8 >= pg_current_xact_id() THEN 'aborted' ELSE pg_xact_status('%s'::xid8) END",
			 sql->transaction, sql->transaction);
	enum keel_code code = postgres_exec(sql, text, &answer, err);
	if (code != KEEL_OK)
		return code;
	*fate = FATE_UNKNOWN;
	for (int i = FATE_OPEN; PQntuples(answer) > 0 && i <= FATE_LOST; i++)
		if (strcmp(PQgetvalue(answer, 0, 0), words[i]) == 0)
			*fate = (enum fate)i;
	PQclear(answer);
	return KEEL_OK;
}

/* Whether the first event of the transaction stands in the log as it has written it. */
static enum keel_code find_witness(struct postgres_sql *sql, bool *found, struct keel_error *err)
{
	/* The newest are enough: it was written within the time that a doubt may last. */
	static const char text[] = "SELECT count(*) FROM events WHERE id > (SELECT max(id) FROM events) - 100000 AND"
							   " ROW" POSTGRES_EVENT " IS NOT DISTINCT FROM ROW(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
							   " AND xmin = ?9::xid8::xid";
	enum { OF_EVENT = 8 };
	struct keel_statement *select;
	size_t at = 0;
	bool row = false;
	enum keel_code code = postgres_prepare(&sql->head, text, &select, err);
	if (code == KEEL_OK)
		code = postgres_bind_text(select, OF_EVENT + 1, (struct keel_text){sql->transaction, strlen(sql->transaction)},
								  err);
	if (code != KEEL_OK)
		return code;
	struct postgres_statement *statement = (struct postgres_statement *)select;
	size_t bytes = sql->events.witness.size;
	postgres_point_to(statement, OF_EVENT, &sql->events.witness, &at);
	statement->pointers[OF_EVENT] = statement->values[OF_EVENT].text.data;
	code = postgres_send_values(sql, statement, POSTGRES_SENT_ROWS, bytes, err);
	if (code == KEEL_OK)
		code = postgres_drain(sql, err);
	if (code == KEEL_OK && statement->rows)
		code = postgres_step(select, &row, err);
	*found = code == KEEL_OK && row && postgres_column_int(select, 0) > 0;
	postgres_reset(select);
	return code;
}

static enum keel_code look(struct postgres_sql *sql, const struct postgres_era *era, enum fate *fate,
						   struct keel_error *err)
{
	bool recovered = false, unused = false, found = false;
	enum keel_code code = postgres_revive(sql, err);
	if (code == KEEL_OK)
		code = ask_of_recovery(sql, era, &recovered, &unused, err);
	if (code != KEEL_OK)
		return code;
	*fate = FATE_LOST;
	if (recovered && unused)
		return KEEL_OK;
	code = ask_of_transaction(sql, !recovered, fate, err);
	if (code == KEEL_OK && *fate == FATE_COMMITTED && sql->events.witness.size > 0) {
		code = find_witness(sql, &found, err);
		*fate = code != KEEL_OK ? FATE_OPEN : found ? FATE_COMMITTED : FATE_LOST;
	}
	return code;
}

enum keel_code postgres_resolve(struct postgres_sql *sql, enum keel_code failed, const struct keel_error *why,
								struct keel_error *err)
{
	const struct postgres_era era = sql->era;
	int64_t deadline = keel_later(keel_monotonic_us(), DOUBT_US);
	struct keel_error last = *why;
	enum fate fate = FATE_OPEN;
	for (;;) {
		enum keel_code code = look(sql, &era, &fate, &last);
		if (code == KEEL_OK && fate == FATE_LOST)
			return keel_fail_as(err, failed, why);
		if (code == KEEL_OK && fate == FATE_COMMITTED) {
			code = sql->flushes ? postgres_exec(sql, "SELECT pg_logical_emit_message(true, 'keel', '')", NULL, &last)
								: KEEL_OK;
			if (code == KEEL_OK)
				return KEEL_OK;
		}
		if (fate == FATE_UNKNOWN || (code != KEEL_OK && !last.transient) || keel_monotonic_us() >= deadline)
			break;
		pause_before_look();
	}
	if (fate == FATE_COMMITTED)
		return keel_fail(err, KEEL_IO, "it is committed, and not known to be on the disk: %s", last.message);
	return keel_fail(err, KEEL_IO, "%s: the commit failed, and it is not known whether it was done: %s", sql->path,
					 last.message);
}
