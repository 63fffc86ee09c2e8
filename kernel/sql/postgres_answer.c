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

enum keel_code postgres_reach(struct postgres_sql *sql, int64_t deadline_us, struct keel_error *err)
{
	int sending;
	while ((sending = PQflush(sql->db)) >= 0) {
		if (!sending && !PQisBusy(sql->db))
			return KEEL_OK;
		if (!wait_for_socket(sql, sending == 1, deadline_us))
			return keel_fail(err, KEEL_BUSY, "%s: there is no answer yet", sql->path);
		if (!PQconsumeInput(sql->db))
			break;
	}
	return postgres_fail(sql, NULL, err);
}

bool postgres_has_failed(const PGresult *result)
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

void postgres_cut(struct postgres_sql *sql)
{
	shutdown(PQsocket(sql->db), SHUT_RDWR);
	while (PQconsumeInput(sql->db))
		continue;
	postgres_show_descriptor(sql);
}
