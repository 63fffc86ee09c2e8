/* keel/schedule.h - schedules as rows: when each happens next. What happens then, and when it happens after that, is
 * decided by whoever ticks: in one transaction the run is admitted and the row put again, by its revision.
 */
#ifndef KEEL_SCHEDULE_H
#define KEEL_SCHEDULE_H

#include <keel/run.h>

#ifdef __cplusplus
extern "C" {
#endif

struct keel_schedule {
	struct keel_text name;       /* an id, unique in the store */
	struct keel_text definition; /* JSON, for whoever ticks; up to KEEL_TEXT_MAX bytes */
	int64_t next_at;             /* when it happens next, or is to be asked again; microseconds since the epoch */
	int64_t last_at;             /* when it happened last; before that, when it was made */
	int64_t period_us;           /* what lay between the last two, at least 1 */
	struct keel_text problem;    /* why it is not known when it happens next; data NULL: it is */
	int64_t revision;            /* 1, and one more with every change */
	int64_t created_at;          /* these two are given by the store */
	int64_t updated_at;
};

/* A list with the memory of its texts. Starts as {0}; reading into it clears it first. */
struct keel_schedules {
	struct keel_schedule *items;
	size_t count;
	bool cut;        /* the page ended at KEEL_PAGE_BYTES; more are there */
	size_t capacity; /* private */
	void *memory;    /* private */
};
KEEL_API void keel_schedules_clear(struct keel_schedules *list);

/* Makes a schedule (revision 0), or changes the row that has this revision. *written is false when there is one
 * already, or the row is another by now or gone: nothing has changed then. A new definition appends the event
 * schedule_changed, by which those who sleep until something is due learn of it.
 * Fails with KEEL_INVALID_REQUEST (name, definition, problem, period, revision). */
KEEL_API enum keel_code keel_schedule_put(struct keel_store *store, const struct keel_schedule *schedule, bool *written,
										  struct keel_error *err);

/* Deletes a schedule; its runs stay. *found says whether there was one, and the event schedule_changed that it is gone.
 * Fails with KEEL_INVALID_REQUEST (name). */
KEEL_API enum keel_code keel_schedule_delete(struct keel_store *store, struct keel_text name, bool *found,
											 struct keel_error *err);

struct keel_schedule_query {
	struct keel_text name;  /* this one alone; data NULL: all */
	bool due;               /* those whose time is `until` or earlier, the earliest first; else all, by name */
	int64_t until;          /* with due */
	struct keel_text after; /* go on behind the one of this name; data NULL: from the first */
	int64_t after_at;       /* with due: and of this time */
	int64_t limit;          /* 1 to KEEL_LIST_MAX */
};

/* Fails with KEEL_INVALID_REQUEST and KEEL_LIMIT_TOO_LARGE (limit). */
KEEL_API enum keel_code keel_schedule_list(struct keel_store *store, const struct keel_schedule_query *query,
										   struct keel_schedules *list, struct keel_error *err);

/* When the next thing after a time becomes due by time alone: a run that was put off, a deadline of a run in flight, a
 * schedule. *found is false when there is none. One search of an index each. */
KEEL_API enum keel_code keel_next_due(struct keel_store *store, int64_t after, int64_t *at, bool *found,
									  struct keel_error *err);

#ifdef __cplusplus
}
#endif
#endif
