/* store/session.h - sessions as rows and locks. For the domain only. */
#ifndef KEEL_STORE_SESSION_H
#define KEEL_STORE_SESSION_H

#include "base/process.h"
#include "store/handle.h"

/* What the table says of a session. */
struct keel_session_row {
	struct keel_process process;
	char token[KEEL_UUID_SIZE]; /* of the side file that its lock is in */
};

/* What is known of a session. */
struct keel_verdict {
	bool alive;     /* or it cannot be ruled out */
	bool undecided; /* nothing here can tell */
};

#define KEEL_SESSION_COLUMNS "id, owner, pid, started_at, boot, space, start, clock, token"

/* Reads what a row of KEEL_SESSION_COLUMNS says. */
enum keel_code keel_session_read(struct keel_statement *select, struct keel_session_row *row, struct keel_error *err);

/* Judges a session of the table. The lock decides if it is in the file that this process sees, which the token tells.
 * If it is not (the side file was deleted, the store was moved without it), what is left is the process. */
enum keel_code keel_session_judge(struct keel_store *store, int64_t id, const struct keel_session_row *row,
								  struct keel_verdict *verdict, struct keel_error *err);

enum keel_code keel_session_delete(struct keel_store *store, int64_t id, struct keel_error *err);

/* Takes note of it when the connection that the session was made on is gone: the handle has none then. */
void keel_session_check(struct keel_store *store);

/* The session that goes on for one that this handle has had and lost with its connection; any other is itself. */
int64_t keel_session_now(const struct keel_store *store, int64_t session);

/* Makes the session of a handle that has none: in the transaction that is open, and ends that. What a session of the
 * handle's that was lost still owns, runs and leases, is the new one's: it is the same process, with the same fences
 * and tokens. */
enum keel_code keel_session_make(struct keel_store *store, struct keel_error *err);

/* How often the session has renewed its leases; 0 when there is no such session. */
enum keel_code keel_session_beat(struct keel_store *store, int64_t session, int64_t *beat, struct keel_error *err);

#endif
