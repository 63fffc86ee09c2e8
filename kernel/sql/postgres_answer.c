/* postgres_answer.c - waiting for the server, within bounds. Uses: postgres_error. */
#include "sql/postgres_parts.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/monotonic.h"
#include "base/trace.h"

/* Sleeps until the socket can be read, or written while something is still to be sent. False: the time is over. */
static bool wait_for_socket(struct postgres_sql *sql, bool sending, int64_t deadline_us)
{
	struct pollfd socket = {.fd = PQsocket(sql->db), .events = POLLIN};
	if (sending)
		socket.events |= POLLOUT;
	for (;;) {
		int64_t left = deadline_us - keel_monotonic_us();
		int got = poll(&socket, 1, left > 0 ? (int)(left / 1000 + 1) : 0);
		if (got > 0)
			return true;
		if (got == 0 || errno != EINTR)
			return false;
	}
}

/* Sends what is queued and reads until there is an answer. */
static enum keel_code reach(struct postgres_sql *sql, int64_t deadline_us, struct keel_error *err)
{
	int sending;
	while ((sending = PQflush(sql->db)) >= 0) {
		if (!PQconsumeInput(sql->db))
			break;
		if (!sending && !PQisBusy(sql->db))
			return KEEL_OK;
		if (!wait_for_socket(sql, sending == 1, deadline_us))
			return keel_fail(err, KEEL_BUSY, "%s: there is no answer yet", sql->path);
	}
	return postgres_fail(sql, NULL, err);
}

static bool has_failed(const PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);
	return status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE;
}

void postgres_hear(struct postgres_sql *sql)
{
	PGnotify *notification;
	bool before = sql->told;
	while ((notification = PQnotifies(sql->db)) != NULL) {
		PQfreemem(notification);
		sql->told = true;
	}
	if (sql->told && !before && sql->event >= 0)
		eventfd_write(sql->event, 1);
}

enum keel_code postgres_answer(struct postgres_sql *sql, int64_t deadline_us, PGresult **out, struct keel_error *err)
{
	PGresult *kept = NULL, *result;
	enum keel_code code;
	*out = NULL;
	while ((code = reach(sql, deadline_us, err)) == KEEL_OK && (result = PQgetResult(sql->db)) != NULL) {
		/* The first failure is the reason of those after it. */
		bool wanted = !kept || (!has_failed(kept) && (has_failed(result) || PQntuples(result) > 0));
		PQclear(wanted ? kept : result);
		kept = wanted ? result : kept;
	}
	if (code == KEEL_OK && kept && has_failed(kept)) {
		code = postgres_fail(sql, kept, err);
		sql->failed = sql->open;
	}
	if (code == KEEL_OK && !kept)
		code = postgres_fail(sql, NULL, err);
	if (sql->listens)
		postgres_hear(sql);
	if (PQstatus(sql->db) != CONNECTION_OK) {
		sql->failed = sql->open; /* the server undoes what a lost connection has left */
		postgres_show_descriptor(sql);
	}
	if (code == KEEL_OK)
		*out = kept;
	else
		PQclear(kept);
	return code;
}

void postgres_cut(struct postgres_sql *sql)
{
	shutdown(PQsocket(sql->db), SHUT_RDWR);
	while (PQconsumeInput(sql->db))
		continue;
	postgres_show_descriptor(sql);
}

enum keel_code postgres_wait(struct postgres_sql *sql, PGresult **result, struct keel_error *err)
{
	enum keel_code code = postgres_answer(sql, keel_later(keel_monotonic_us(), POSTGRES_ANSWER_US), result, err);
	if (code == KEEL_OK || PQstatus(sql->db) != CONNECTION_OK || !PQisBusy(sql->db))
		return code;
	/* What comes now would be taken for the answer to something else. */
	postgres_cut(sql);
	sql->failed = sql->open;
	return keel_fail(err, KEEL_BUSY, "%s: no answer came for %d s, and the connection was given up", sql->path,
					 POSTGRES_ANSWER_US / 1000000);
}

void postgres_take_back(struct postgres_sql *sql)
{
	char unused[256];
	PGresult *result = NULL;
	if (!sql->waits)
		return;
	PGcancel *request = PQgetCancel(sql->db);
	if (request)
		PQcancel(request, unused, sizeof unused);
	PQfreeCancel(request);
	sql->waits = false;
	postgres_wait(sql, &result, NULL);
	PQclear(result);
	postgres_undo(sql);
}

void postgres_undo(struct postgres_sql *sql)
{
	PGresult *result = NULL;
	if (PQstatus(sql->db) == CONNECTION_OK && PQtransactionStatus(sql->db) != PQTRANS_IDLE) {
		if (PQsendQuery(sql->db, "ROLLBACK"))
			postgres_wait(sql, &result, NULL);
		PQclear(result);
		/* What was begun must not become a part of what comes next. */
		if (PQtransactionStatus(sql->db) != PQTRANS_IDLE)
			postgres_cut(sql);
	}
	sql->open = sql->failed = false;
	sql->savepoints = 0;
}

enum keel_code postgres_exec(struct postgres_sql *sql, const char *text, PGresult **result, struct keel_error *err)
{
	PGresult *unused;
	KEEL_TRACE("sql", "%s", text);
	postgres_take_back(sql);
	if (!PQsendQuery(sql->db, text))
		return postgres_fail(sql, NULL, err);
	enum keel_code code = postgres_wait(sql, result ? result : &unused, err);
	if (code == KEEL_OK && !result)
		PQclear(unused);
	return code;
}
