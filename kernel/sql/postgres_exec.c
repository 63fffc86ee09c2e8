/* postgres_exec.c - texts of several statements, and what is taken back. Uses: postgres_queue, postgres_answer. */
#include "sql/postgres_parts.h"

#include "base/error.h"
#include "base/monotonic.h"
#include "base/trace.h"

/* Takes all of the answer to a text; *out is the last result with rows, or the first that failed. */
static enum keel_code take_all(struct postgres_sql *sql, PGresult **out, struct keel_error *err)
{
	int64_t deadline = keel_later(keel_monotonic_us(), sql->answer_s * INT64_C(1000000));
	PGresult *kept = NULL, *result;
	enum keel_code code;
	while ((code = postgres_reach(sql, deadline, err)) == KEEL_OK && (result = PQgetResult(sql->db)) != NULL) {
		/* The first failure is the reason of those after it. */
		bool wanted = !kept || (!postgres_has_failed(kept) && (postgres_has_failed(result) || PQntuples(result) > 0));
		PQclear(wanted ? kept : result);
		kept = wanted ? result : kept;
	}
	*out = kept;
	if (code == KEEL_BUSY && PQstatus(sql->db) == CONNECTION_OK && PQisBusy(sql->db)) {
		/* What comes now would be taken for the answer to something else. */
		postgres_cut(sql);
		code = keel_fail(err, KEEL_BUSY, "%s: no answer came for %d s, and the connection was given up", sql->path,
						 sql->answer_s);
	}
	return code;
}

enum keel_code postgres_exec(struct postgres_sql *sql, const char *text, PGresult **result, struct keel_error *err)
{
	PGresult *taken = NULL;
	KEEL_TRACE("sql", "%s", text);
	postgres_take_back(sql);
	enum keel_code code = postgres_drain(sql, err);
	if (code != KEEL_OK)
		return code;
	struct keel_error why;
	if (!PQexitPipelineMode(sql->db) || !PQsendQuery(sql->db, text))
		code = postgres_fail(sql, NULL, &why);
	else
		code = take_all(sql, &taken, &why);
	if (code == KEEL_OK && (!taken || postgres_has_failed(taken)))
		code = postgres_fail(sql, taken, &why);
	if (sql->listens)
		postgres_hear(sql);
	if (code != KEEL_OK || PQstatus(sql->db) != CONNECTION_OK) {
		sql->failed = sql->open; /* the server undoes what a lost connection has left */
		postgres_show_descriptor(sql);
	}
	if (code != KEEL_OK && sql->open)
		postgres_note_failure(sql, code, &why);
	if (code == KEEL_OK && result)
		*result = taken;
	else
		PQclear(taken);
	return keel_fail_as(err, code, &why);
}

/* The rows of a statement that nobody will look at. */
static void leave_rows(struct keel_statement **statement)
{
	struct postgres_statement *own = (struct postgres_statement *)*statement;
	if (own) {
		PQclear(own->rows);
		own->rows = NULL;
	}
	*statement = NULL;
}

void postgres_take_back(struct postgres_sql *sql)
{
	char unused[256];
	if (!sql->waits)
		return;
	PGcancel *request = PQgetCancel(sql->db);
	if (request)
		PQcancel(request, unused, sizeof unused);
	PQfreeCancel(request);
	sql->waits = false;
	postgres_drain(sql, NULL);
	/* The locks may have been given in the last moment. */
	leave_rows(&sql->locks);
	leave_rows(&sql->thread);
	leave_rows(&sql->first);
	postgres_undo(sql);
}

void postgres_undo(struct postgres_sql *sql)
{
	bool known = sql->queue.count == 0; /* what the server has open; else it is as we say */
	if (PQstatus(sql->db) == CONNECTION_OK && (sql->open || (known && PQtransactionStatus(sql->db) != PQTRANS_IDLE))) {
		/* Behind an error everything is skipped up to the next mark, and what is on its way may be one. */
		if (sql->failed || sql->queue.count > 0)
			postgres_drain(sql, NULL);
		sql->failed = false;
		sql->queue.code = KEEL_OK;
		if (postgres_send_plain(sql, "ROLLBACK", POSTGRES_SENT_WRITE, NULL) == KEEL_OK)
			postgres_push(sql);
		else
			postgres_cut(sql); /* what was begun must not become a part of what comes next */
	}
	sql->open = sql->failed = false;
	sql->queue.code = KEEL_OK;
	postgres_cut_events(sql, 0);
	sql->savepoints = 0;
}
