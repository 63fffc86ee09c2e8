/* store.h - what is behind a struct keel_store, and how an operation begins and ends. For the domain only. */
#ifndef KEEL_KERNEL_STORE_H
#define KEEL_KERNEL_STORE_H

#include <keel/store.h>

#include "base/buffer.h"
#include "base/process.h"
#include "base/sidefile.h"
#include "base/turn.h"
#include "base/wake.h"
#include "sql/sql.h"
#include "store/files.h"
#include "store/watched.h"

struct keel_run_texts;

struct keel_store {
	struct keel_sql *sql;
	struct keel_store_options options; /* owner points to owner_name */
	char *owner_name;
	struct keel_files files;     /* which file is open */
	char *side_path;             /* of the side file; NULL for a store in memory */
	struct keel_sidefile side;   /* the locks of sessions; also knows of forks */
	char *wake_path;             /* of the file that wakes readers; NULL for a store in memory */
	struct keel_wake wake;
	struct keel_turn turn;       /* of waiting for the write lock; its bytes are in the same file */
	bool news;                   /* the open transaction has written events */
	struct keel_process process; /* this one, as recorded in sessions */
	struct keel_watched watched; /* what others have left unchanged */
	int64_t session;             /* 0: none yet */
	char epoch[KEEL_UUID_SIZE];
	bool open;                   /* a transaction of the caller's is open */
	enum keel_code broken;       /* why it can only roll back; KEEL_OK while it can commit */
	int savepoints;              /* how many are open in it */
	keel_progress *progress;     /* hears of what takes long; NULL: nobody does */
	void *progress_data;
	struct keel_run_texts *run_texts; /* statements made from sets of fields */
	struct keel_buffer scratch;  /* JSON of the event being written */
};

/* Tells whoever watches how far something has come. */
static inline void keel_store_tell(const struct keel_store *store, int64_t done, int64_t total)
{
	if (store->progress)
		store->progress(store->progress_data, done, total);
}

/* The migrations, one by one. */
keel_script keel_store_script;

/* The store's time in a while; a time too far off is the last there is. */
int64_t keel_store_after(const struct keel_store *store, int64_t duration_us);

/* A prepared statement with nothing bound. */
enum keel_code keel_store_prepare(struct keel_store *store, const char *text, struct keel_statement **statement,
                                  struct keel_error *err);

/* A value to bind: null, a number or a text. */
struct keel_value {
	enum { KEEL_VALUE_NULL, KEEL_VALUE_INT, KEEL_VALUE_TEXT } kind;
	int64_t number;
	struct keel_text text;
};
static inline struct keel_value keel_int(int64_t number)
{
	return (struct keel_value){.kind = KEEL_VALUE_INT, .number = number};
}
static inline struct keel_value keel_text(struct keel_text text) /* data NULL: null */
{
	return (struct keel_value){.kind = text.data ? KEEL_VALUE_TEXT : KEEL_VALUE_NULL, .text = text};
}
static inline struct keel_value keel_null(void)
{
	return (struct keel_value){.kind = KEEL_VALUE_NULL};
}

/* A statement with its parameters ?1, ?2, … bound, ready to step: the common beginning of every query. The values
 * follow the other arguments: keel_query(store, text, &statement, err, keel_int(1), keel_text(name)). */
#define keel_query(store, text, statement, err, ...)                                                  \
	keel_query_values(store, text, statement, err, (const struct keel_value[]){__VA_ARGS__},          \
	                  sizeof((const struct keel_value[]){__VA_ARGS__}) / sizeof(struct keel_value))
enum keel_code keel_query_values(struct keel_store *store, const char *text, struct keel_statement **statement,
                                 struct keel_error *err, const struct keel_value *values, size_t count);

/* The same for a statement that gives no rows: binds and runs it. */
#define keel_execute(store, text, err, ...)                                                           \
	keel_execute_values(store, text, err, (const struct keel_value[]){__VA_ARGS__},                   \
	                    sizeof((const struct keel_value[]){__VA_ARGS__}) / sizeof(struct keel_value))
enum keel_code keel_execute_values(struct keel_store *store, const char *text, struct keel_error *err,
                                   const struct keel_value *values, size_t count);

/* Whether the handle may be used at all: KEEL_FORKED in a forked child, or what the open
 * transaction failed with before. */
enum keel_code keel_store_check(struct keel_store *store, struct keel_error *err);

/* Around an operation that writes: joins the caller's transaction, or makes one of its own, and a session before the
 * first. Between the two nothing waits. `end` gets what the operation came to: KEEL_OK commits; an error rolls back,
 * or, in the caller's transaction and once `wrote` is true, leaves nothing but rolling back. Returns what the operation
 * came to in the end. */
enum keel_code keel_write_begin(struct keel_store *store, struct keel_error *err);
enum keel_code keel_write_end(struct keel_store *store, enum keel_code code, bool wrote, struct keel_error *err);

/* Around several statements that must read the same picture. */
enum keel_code keel_read_begin(struct keel_store *store, struct keel_error *err);
void keel_read_end(struct keel_store *store);

/* The first step of a query that may run outside of a transaction. Another process that recovers the log of one that
 * was killed keeps readers out meanwhile: waits for that. */
enum keel_code keel_first_step(struct keel_store *store, struct keel_statement *query, bool *row,
							   struct keel_error *err);

/* session.c */
enum keel_code keel_session_make(struct keel_store *store, struct keel_error *err);

/* How often the session has renewed its leases; 0 when there is no such session. */
enum keel_code keel_session_beat(struct keel_store *store, int64_t session, int64_t *beat, struct keel_error *err);

/* How long this handle has seen something unchanged, by its monotonic clock (watched.h). */
int64_t keel_store_watched(struct keel_store *store, enum keel_watched_kind kind, int64_t key,
						   struct keel_watched_state state);

/* Waits a moment for a lock. False when `deadline`, set at the first call from 0, has passed. */
bool keel_store_wait(struct keel_store *store, int64_t *deadline);

#endif
