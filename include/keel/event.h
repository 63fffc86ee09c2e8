/* keel/event.h - the append-only log of a store.
 *
 * Ids start at 1 and grow by one, in commit order, and are never used again. Whoever reads with a cursor sees every
 * event exactly once.
 */
#ifndef KEEL_EVENT_H
#define KEEL_EVENT_H

#include <keel/store.h>

#ifdef __cplusplus
extern "C" {
#endif

struct keel_event {
	int64_t id;                  /* given by the store */
	struct keel_text kind;       /* an id */
	int64_t at;                  /* microseconds since the epoch; given by the store */
	struct keel_text runtime_id; /* these four: whom it is about; data NULL: nobody of that sort */
	struct keel_text thread_id;
	struct keel_text run_id;
	struct keel_text worker_ref; /* JSON; in the kernel's own events names in byte order, no spaces */
	struct keel_text message;    /* for people; data NULL: none */
	struct keel_text data;       /* JSON; data NULL: none; anything else is refused */
};

/* A page of the log with the memory of its texts. Starts as {0}; reading into it clears it first. */
struct keel_events {
	struct keel_event *items;
	size_t count;
	int64_t next_event_id; /* where to go on reading */
	bool has_more;         /* more matches were there already; with gap, more events */
	bool gap;              /* the next events were pruned: nothing was read, next_event_id is the oldest there is */
	size_t capacity;       /* private */
	void *memory;          /* private */
};
KEEL_API void keel_events_clear(struct keel_events *list);

enum {
	KEEL_EVENTS_DEFAULT = 256, /* events of a page when the caller names no limit */
	KEEL_EVENTS_MAX = 1000,    /* events of one page */
	KEEL_EVENT_KINDS_MAX = 32  /* kinds in one filter: there are a dozen */
};

/* Appends a caller's own event; id and at in *event are ignored, the id comes back in *id.
 * Fails with KEEL_INVALID_REQUEST for a bad kind or id, a kind that is the kernel's own (what the log says of runs,
 * workers and limits is true), and text that is not UTF-8. */
KEEL_API enum keel_code keel_event_append(struct keel_store *store, const struct keel_event *event, int64_t *id,
										  struct keel_error *err);

/* The same for whoever decides on admission: the kind is "run_rejected" or "run_reused", which leave no row. */
KEEL_API enum keel_code keel_event_append_admission(struct keel_store *store, const struct keel_event *event,
													int64_t *id, struct keel_error *err);

struct keel_event_query {
	int64_t next_event_id;       /* read from this id on; at least 1 */
	bool from_oldest;            /* read from the oldest there is; next_event_id means nothing */
	int64_t limit;               /* 1 to KEEL_EVENTS_MAX */
	struct keel_text runtime_id; /* filters; data NULL: everything */
	struct keel_text thread_id;
	struct keel_text run_id;
	struct keel_text worker_ref; /* to the letter */
	const struct keel_text *kinds;
	size_t kinds_count; /* 0: every kind; at most KEEL_EVENT_KINDS_MAX */
};

/* Reads one page. A start beyond the end gives an empty page, one before the low-water mark a gap.
 * Fails with KEEL_INVALID_REQUEST (limit or start below 1) and KEEL_LIMIT_TOO_LARGE. */
KEEL_API enum keel_code keel_event_read(struct keel_store *store, const struct keel_event_query *query,
										struct keel_events *list, struct keel_error *err);

/* The log's low-water mark: events below it were pruned. 1 when none were. */
KEEL_API enum keel_code keel_event_low_water(struct keel_store *store, int64_t *id, struct keel_error *err);

/* The newest id ever given, pruned or not; 0 when there was no event. */
KEEL_API enum keel_code keel_event_high_water(struct keel_store *store, int64_t *id, struct keel_error *err);

/* The events that the last transaction of this handle has written, of whatever kind: their ids are from *first on,
 * below *next. Both are 0 when it has written none, was not committed, or is still open. Who has written them himself
 * need not read them: a cursor in between may go on at *next. Cannot fail. */
KEEL_API void keel_event_committed(const struct keel_store *store, int64_t *first, int64_t *next);

/* Waits until there is an event with this id or a later one, of whatever kind: *ready is then true; false when
 * `timeout_us` (INT64_MAX: no end) is over. Blocks the thread; the host's `sleep` has no part in it. A commit in
 * another handle or process wakes it within a millisecond or so; within 20 ms where it cannot be woken: before the
 * store's first session, without permission for the file STORE-wake, or when the system has no inotify instance left.
 * Fails with KEEL_BUSY while this handle has a transaction open, and with KEEL_INVALID_REQUEST for a start below 1, a
 * negative timeout, and a wait without end on a store in memory, which nobody could end. */
KEEL_API enum keel_code keel_event_wait(struct keel_store *store, int64_t next_event_id, int64_t timeout_us,
										bool *ready, struct keel_error *err);

/* The same for hosts that must not block: opened once, looked at every few milliseconds, closed by the caller when the
 * wait is over. While it is open, writers know that somebody waits. Looks are cheap: most do not touch the database. */
struct keel_event_waiter; /* opaque */

/* On success *waiter is closed by the caller, before or after the store; on failure NULL. Fails as keel_event_wait. */
KEEL_API enum keel_code keel_event_waiter_open(struct keel_store *store, int64_t next_event_id,
											   struct keel_event_waiter **waiter, struct keel_error *err);

/* Whether there is something to read; the store must be open. Never blocks in a handle whose lock_timeout_us is 0.
 * While the handle has a transaction open, not yet. A failure with KEEL_BUSY will pass: look again. */
KEEL_API enum keel_code keel_event_waiter_look(struct keel_event_waiter *waiter, bool *ready, struct keel_error *err);

/* Has it wait for this event from now on, or a later one; an id below 1 is 1. When that is another one, the next look
 * touches the database. */
KEEL_API void keel_event_waiter_move(struct keel_event_waiter *waiter, int64_t next_event_id);

/* For event loops: a descriptor that becomes readable when it is time for a look, which makes it unreadable again. It
 * is the waiter's, not to be read or closed. -1 when nobody can wake the waiter (a store in memory; the cases in which
 * keel_event_wait polls): ask again later. A wake-up can be lost: look a few times a second all the same.
 * The store must be open. Each waiter that was asked takes an inotify instance, of which users have 128 or so. */
KEEL_API int keel_event_waiter_descriptor(struct keel_event_waiter *waiter);

/* NULL is a no-op. */
KEEL_API void keel_event_waiter_close(struct keel_event_waiter *waiter);

#ifdef __cplusplus
}
#endif
#endif
