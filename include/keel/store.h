/* keel/store.h - one open store: opening, transactions, sessions, and looking it over.
 *
 * Thread rule, for every function that takes a store: a handle belongs to one thread at a time; different handles are
 * independent. After fork the child must not use the parent's handles: every call returns KEEL_FORKED, opening the
 * same file again included (SQLite cannot tell the two processes apart), and keel_store_close does nothing. A program
 * that the child starts by exec is free to open it.
 *
 * Every operation on a store may fail with
 *   KEEL_BUSY       other writers kept the lock, or had waited longer, for lock_timeout_us (transient);
 *   KEEL_REPLACED   when it writes: the store's file is gone, or another one is in its place;
 *   KEEL_STORE_CORRUPT, KEEL_STORE_READONLY, KEEL_STORE_FULL, KEEL_IO, KEEL_NO_MEMORY
 * and has then changed nothing. Functions name only what they add to these.
 */
#ifndef KEEL_STORE_H
#define KEEL_STORE_H

#include <keel/value.h>

#ifdef __cplusplus
extern "C" {
#endif

struct keel_store; /* opaque */

/* When a commit counts as done. */
enum keel_durability {
	KEEL_DURABILITY_FULL,   /* on the disk: survives kill -9 and power loss */
	KEEL_DURABILITY_NORMAL, /* survives kill -9; a power cut may lose the last moments */
	KEEL_DURABILITY_OFF     /* survives the end of the process; a power cut may damage the store */
};

struct keel_store_options {
	enum keel_durability durability;
	bool readonly;               /* never writes, not even a session */
	bool create;                 /* make the file (mode 0600) when there is none; never a directory */
	bool exclusive;              /* this handle alone has the store open: its writes then ask nobody for a lock */
	int64_t lock_timeout_us;     /* how long an operation waits for another writer; 0: not at all */
	const char *owner;           /* a name shown to people; NULL: host:pid. Copied. */
	struct keel_clock clock;     /* borrowed until close */
	struct keel_clock monotonic; /* what leases are judged by; nobody sets it. Borrowed until close */
	struct keel_ids ids;         /* borrowed until close */
	void (*sleep)(void *data, int64_t duration_us); /* how the handle waits for a lock; must not call back into Keel */
	void *sleep_data;
};

/* Fills in the defaults: full, writable, create, 5 s, host:pid, system clock, UUIDv7, nanosleep. Options start so: a
 * struct of zeros is refused. */
KEEL_API void keel_store_options_init(struct keel_store_options *options);

/* Has stores on a server opened by this driver: what keel_postgres() of libkeel_postgres gives. Once for the process,
 * before any is opened; twice does no harm. KEEL_NOT_SUPPORTED: the driver is of another version. */
struct keel_sql_driver;
KEEL_API enum keel_code keel_store_use_driver(const struct keel_sql_driver *driver, struct keel_error *err);

/* Opens the store at `uri`, a path, ":memory:", or postgresql://host/database?schema=name with the parameters of libpq,
 * and brings its schema up to date; waits for locks like an operation.
 * `options` NULL: the defaults. On success *store is a handle the caller closes with keel_store_close; on failure NULL.
 * `exclusive`: while anybody else has the store open, for reading too, it is KEEL_BUSY; once it is open, so is every
 * other opening, until the handle is closed or its process is gone. A server has no such stores: KEEL_NOT_SUPPORTED.
 * Fails with KEEL_INVALID_REQUEST (an empty uri, an unknown scheme, options that are none, or exclude each other),
 * KEEL_BUSY (other writers, or exclusive beside another handle, for lock_timeout_us), KEEL_STORE_MISSING (no such
 * file and create is false, or no parent directory), KEEL_STORE_CORRUPT (not a database, truncated, another
 * application's, a schema with something of a stranger's), KEEL_STORE_VERSION (schema newer than this library, or from
 * before the first release), KEEL_REPLACED (the log beside it is another file's), KEEL_STORE_READONLY, KEEL_IO (a
 * directory, no permission, several names of the file, a mount that shares no locks). */
KEEL_API enum keel_code keel_store_open(const char *uri, const struct keel_store_options *options,
										struct keel_store **store, struct keel_error *err);

/* Rolls back what is open, ends the session and frees the handle. NULL is a no-op. Never fails. */
KEEL_API void keel_store_close(struct keel_store *store);

/* False in a child made by fork from the process that opened the handle. */
KEEL_API bool keel_store_usable(const struct keel_store *store);

/* The same as an error: KEEL_FORKED in such a child, with a message that says what works instead. Touches nothing. */
KEEL_API enum keel_code keel_store_check_usable(const struct keel_store *store, struct keel_error *err);

/* For hosts that wait for the write lock themselves (lock_timeout_us 0): how long to wait after KEEL_BUSY before the
 * same call is worth another try, in microseconds. Short at first, longer when many compete, and short again for one
 * that has waited for long: the other writers then stand back, and are told KEEL_BUSY for its sake. */
KEEL_API int64_t keel_store_retry_us(const struct keel_store *store);

/* Waits before the next try, at most limit_us. A server that was asked for the lock gives it when it answers: then this
 * waits for the answer, since a lock that nobody takes up keeps the others waiting. Blocks; cannot fail. */
KEEL_API void keel_store_pause(struct keel_store *store, int64_t limit_us);

/* Says that the host tries no more, so that nobody stands back for this handle. Not saying so costs others 25 ms. */
KEEL_API void keel_store_give_up(struct keel_store *store);

/* Begins a writing transaction: no other process writes until it ends, and what is read in it cannot change.
 * From then on the operations on this handle are part of it. Fails with KEEL_BUSY when one is open already. */
KEEL_API enum keel_code keel_store_begin(struct keel_store *store, struct keel_error *err);

/* What a transaction is about; texts with data NULL are not given. */
struct keel_scope {
	struct keel_text thread_id;       /* the one whose runs it reads and changes; or else */
	struct keel_text run_id;          /* a run on it */
	struct keel_text idempotency_key; /* with a thread: that it looks for, or gives to a run */
	struct keel_text user_id;         /* of the key */
};

/* The same for a transaction that keeps to one thread: on a server others may write elsewhere meanwhile. What it reads
 * of other threads may change; changing a run of another one that somebody else is at fails with KEEL_BUSY, and the
 * handle's next transaction has the whole store, so that trying again gets through. NULL is keel_store_begin. Fails
 * with KEEL_INVALID_REQUEST when neither a thread nor a run is given, or both. */
KEEL_API enum keel_code keel_store_begin_on(struct keel_store *store, const struct keel_scope *on,
											struct keel_error *err);

/* Commits. On success everything done since begin is durable as the store's durability says. On failure the
 * transaction is rolled back and over. Fails with KEEL_MISUSE when none is open. */
KEEL_API enum keel_code keel_store_commit(struct keel_store *store, struct keel_error *err);

/* Rolls back and ends the transaction; without one, does nothing. */
KEEL_API void keel_store_rollback(struct keel_store *store);

enum { KEEL_SAVEPOINTS_MAX = 32 }; /* open at once in a transaction; a program that nests deeper has lost count */

/* Marks a place in the open transaction to come back to; *mark, from 1, is one more for each that is open. An operation
 * that fails half-way leaves a transaction that can only be rolled back, or rolled back to a mark made before it.
 * Committing and rolling back end all savepoints. Fails with KEEL_MISUSE when no transaction is open, and
 * KEEL_LIMIT_TOO_LARGE for more than KEEL_SAVEPOINTS_MAX. */
KEEL_API enum keel_code keel_store_savepoint(struct keel_store *store, int *mark, struct keel_error *err);

/* Forgets a savepoint, and those made after it; what was done since stays part of the transaction. Fails with
 * KEEL_MISUSE when no transaction is open, KEEL_INVALID_REQUEST for a mark that is none, and with what the transaction
 * failed with before. */
KEEL_API enum keel_code keel_store_release(struct keel_store *store, int mark, struct keel_error *err);

/* Undoes what was done since a savepoint, and ends it and those made after it: the transaction is good again. Fails
 * like keel_store_release; a transaction that the database has ended by itself stays lost. */
KEEL_API enum keel_code keel_store_rollback_to(struct keel_store *store, int mark, struct keel_error *err);

/* Whether keel_store_begin was called and neither commit nor rollback yet. */
KEEL_API bool keel_store_in_transaction(const struct keel_store *store);

/* "sqlite", "memory" or "postgres". Static text. */
KEEL_API const char *keel_store_backend(const struct keel_store *store);

/* The path as the driver resolved it; "" for :memory:. Lives as long as the handle. */
KEEL_API const char *keel_store_path(const struct keel_store *store);

/* The store's epoch: an id made when the store was created. Lives as long as the handle. */
KEEL_API const char *keel_store_epoch(const struct keel_store *store);

/* What the store's clock says. */
KEEL_API int64_t keel_store_now(const struct keel_store *store);

/* A new id from the store's source. */
KEEL_API enum keel_code keel_store_new_id(struct keel_store *store, char id[KEEL_UUID_SIZE], struct keel_error *err);

/* The session of this handle: a number never used before in this store, held by a lock that the operating system
 * drops the moment the process dies. Made by the first write; asking for it before that makes it (and is a write).
 * 0 for a readonly handle. */
KEEL_API enum keel_code keel_store_session(struct keel_store *store, int64_t *session, struct keel_error *err);

/* Whether the session's process is there: true unless that can be ruled out. A number that is no session is dead. */
KEEL_API enum keel_code keel_store_session_alive(struct keel_store *store, int64_t session, bool *alive,
												 struct keel_error *err);

/* The descriptor that holds the session's lock, on a server that of the connection; -1 if there is none (no session
 * yet, a store in memory). It is the store's, not to be used or closed: a process that is given a copy of it, as over a
 * socket, keeps the session alive until it closes the copy or dies, even when this process is gone. For who starts work
 * that may outlive him. */
KEEL_API enum keel_code keel_store_session_descriptor(struct keel_store *store, int *descriptor,
													  struct keel_error *err);

enum keel_session_state {
	KEEL_SESSION_DEAD,
	KEEL_SESSION_ALIVE,    /* it holds its lock, or its process is there */
	KEEL_SESSION_UNDECIDED /* nothing here can tell: the side file is another one, and the process, of another boot or
	                          name space, cannot be looked up. It counts as alive. */
};

/* The same, and whether it is known. */
KEEL_API enum keel_code keel_store_session_state(struct keel_store *store, int64_t session,
												 enum keel_session_state *state, struct keel_error *err);

/* Ends a session that a person knows to be dead where nothing else can tell: its runs are orphans from then on. *ended
 * is false when there is no such session. Fails with KEEL_CONFLICT for one that is certainly alive, this handle's
 * too. */
KEEL_API enum keel_code keel_store_end_session(struct keel_store *store, int64_t session, bool *ended,
											   struct keel_error *err);

struct keel_session {
	int64_t session_id;
	struct keel_text owner;
	int64_t pid;
	int64_t started_at; /* microseconds since the epoch */
	bool alive;         /* true unless that can be ruled out */
	bool undecided;     /* nothing here can tell */
	bool foreign;       /* its pid is counted in another name space: here it is nobody's, or somebody else's */
};

/* What becomes of orphans whose runs name no reconciler, whoever recovers them: a name, kept in the store. data NULL:
 * the recovering program decides. Fails with KEEL_INVALID_REQUEST (reconciler). */
KEEL_API enum keel_code keel_store_set_reconciler(struct keel_store *store, struct keel_text name,
												  struct keel_error *err);

/* That name; "" when there is none. */
KEEL_API enum keel_code keel_store_reconciler(struct keel_store *store, char name[KEEL_ID_MAX + 1],
											  struct keel_error *err);

/* The sessions the store knows, oldest first: all that are alive, and dead ones until they are tidied away.
 * The caller clears the list with keel_sessions_clear; an empty one starts as {0}. */
struct keel_sessions {
	struct keel_session *items;
	size_t count;
	void *memory; /* private */
};
KEEL_API enum keel_code keel_store_sessions(struct keel_store *store, struct keel_sessions *list,
											struct keel_error *err);
KEEL_API void keel_sessions_clear(struct keel_sessions *list);

/* Hears how far something long has come: `done` of `total`, in units of its own. Must not use the store. */
typedef void keel_progress(void *data, int64_t done, int64_t total);

/* Who hears it while this handle makes a backup or verifies; NULL: nobody. */
KEEL_API void keel_store_watch(struct keel_store *store, keel_progress *progress, void *data);

/* Something verify found. */
struct keel_problem {
	enum keel_code code;   /* KEEL_STORE_CORRUPT, KEEL_STORE_MISSING */
	struct keel_text text; /* a sentence for people */
};
struct keel_problems {
	struct keel_problem *items;
	size_t count;
	void *memory; /* private */
};

enum { KEEL_PROBLEMS_MAX = 100 }; /* verify stops looking after so many: a person reads the first few */

/* Checks the database file and every invariant of the schema, in one read: takes time in proportion to the store.
 * An empty list means sound. The caller clears the list with keel_problems_clear. */
KEEL_API enum keel_code keel_store_verify(struct keel_store *store, struct keel_problems *list, struct keel_error *err);
KEEL_API void keel_problems_clear(struct keel_problems *list);

#ifdef __cplusplus
}
#endif
#endif
