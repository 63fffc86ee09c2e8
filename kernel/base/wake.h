/* base/wake.h - waking those who wait for something new in a store: in this process and in others.
 *
 * A store on a server hears of news on its connection. Otherwise:
 *
 * Beside the store is a file, STORE-wake. Who waits holds a shared lock on one of its bytes and watches the file with
 * inotify. A writer that has committed asks whether anybody holds the byte, which costs it less than a microsecond, and
 * only then writes into the file. The one locks and then looks at the store; the other commits and then asks: at least
 * one of the two sees the other.
 *
 * A wake-up is a hint: who was woken looks. What could go amiss with it (no inotify left, no file yet, a file that was
 * deleted) costs time, not news: a waiter looks now and then without being woken.
 */
#ifndef KEEL_BASE_WAKE_H
#define KEEL_BASE_WAKE_H

#include "base/sidefile.h"

enum {
	KEEL_WAKE_BYTE = 1,     /* held, shared, by everybody who waits; base/turn.h has others */
	KEEL_PRESENT_BYTE = 2,  /* held while a handle is open that may write: shared, or alone if it is exclusive */
	KEEL_DOOR_BYTE = 3,     /* held, shared, while a handle is opened or makes its session; alone, by a restore */
	KEEL_TRIAL_BYTE = 256,  /* the first of some that are locked for a moment to see whether another end sees it */
	KEEL_WAKE_RECORD = 512, /* where the file says which store it stands beside */
	KEEL_WAKE_RECORD_SIZE = 128,
	KEEL_WAKE_TOKEN = 1024 /* where something is written to see whether another end has it */
};

/* Of a handle; starts as {.file = {.fd = -1}, .inotify = -1}. */
struct keel_wake {
	struct keel_sidefile file; /* a writer's: asks, and writes into the file */
	int inotify;               /* made by the first to wait: -1 before, or when there is none to be had */
	const int *server;         /* instead of the file: where the socket stands on which news comes, or -1; NULL: none */
	int event;                 /* with it: readable when there was news that cannot be seen on the socket; -1: none */
	int64_t rests_until;       /* with it: nobody looks before that (monotonic), see keel_wake_rest */
	int64_t woken_at;          /* when the handle's own commit last woke (monotonic) */
	uint64_t count;            /* of wake-ups, by others or by this handle's own commits */
};

/* One who waits. After keel_waiter_start the struct must stay where it is. */
struct keel_waiter {
	struct keel_sidefile lock; /* a descriptor of its own: a handle wakes those who wait on itself too */
	bool watching;             /* the lock is held and the file is watched */
	int inotify;               /* its own, for a host that polls it; -1: the handle's, which others may read */
	int timer, poll;           /* on a server: its own of the kinds that poll and time; -1: none yet */
	bool started;
	uint64_t seen; /* of the count */
	int64_t due;   /* when to look without having been woken; monotonic */
};

/* Has what is open here closed in forked children, until keel_wake_close. */
enum keel_code keel_wake_init(struct keel_wake *wake, struct keel_error *err);
void keel_wake_close(struct keel_wake *wake);

/* Makes the file if there is none, for a writer, with the rights of wake->file. Does nothing when it is open. */
enum keel_code keel_wake_open(struct keel_wake *wake, const char *path, struct keel_error *err);

/* After a commit: wakes who waits, if anybody does. Cannot fail: they look sooner or later. `alone`: there is nobody
 * but this handle. */
void keel_wake_all(struct keel_wake *wake, bool alone);

/* For a store on a server: makes `event`. False: there is no descriptor to be had, and a wake-up may come late. */
bool keel_wake_use_server(struct keel_wake *wake);

/* For a store on a server: news of others was found. Who reads the log as it grows would ask for each event, and many
 * readers would leave the server no time for writers: what else there is waits for a moment. A handle that commits
 * itself does not rest. */
void keel_wake_rest(struct keel_wake *wake);

/* Whether that moment lasts. */
bool keel_wake_rests(const struct keel_wake *wake);

/* Starts to wait. `path` NULL: nobody but this handle can bring news. Fails when memory ran out. */
enum keel_code keel_waiter_start(struct keel_waiter *waiter, struct keel_wake *wake, const char *path,
								 struct keel_error *err);

/* Whether it is time to look at the store: the first time, after a wake-up, and now and then. Never blocks. */
bool keel_waiter_due(struct keel_waiter *waiter, struct keel_wake *wake, const char *path);

/* The look came to nothing for a reason that will pass: due again in a moment. */
void keel_waiter_again(struct keel_waiter *waiter);

/* Nobody will wake it until the next look: due in a while. */
void keel_waiter_poll(struct keel_waiter *waiter);

/* Blocks until it may be due, or the deadline (monotonic) is over, or a signal came. */
void keel_waiter_block(const struct keel_waiter *waiter, const struct keel_wake *wake, int64_t deadline);

/* A descriptor of its own that becomes readable with a wake-up; -1 while nobody can wake it. */
int keel_waiter_descriptor(struct keel_waiter *waiter, struct keel_wake *wake, const char *path);

/* Ends waiting. Needs no handle any more. */
void keel_waiter_end(struct keel_waiter *waiter);

#endif
