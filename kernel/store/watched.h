/* store/watched.h - what a handle has seen others leave unchanged, and for how long.
 *
 * Whether somebody has stopped renewing is judged by the clock of whoever judges, which nobody sets: by how long the
 * same thing was seen unchanged. So a jump of the wall clock takes nothing away from anybody. A handle that has just
 * been opened has seen nothing yet, and judges nobody before it has watched for as long as it takes.
 */
#ifndef KEEL_STORE_WATCHED_H
#define KEEL_STORE_WATCHED_H

#include <stddef.h>

#include <keel/value.h>

enum keel_watched_kind {
	KEEL_WATCHED_LEASE,   /* of a run; its key is the run's seq */
	KEEL_WATCHED_REQUEST, /* a run that was asked to stop; the same */
	KEEL_WATCHED_ENDED,   /* a run that ended and is not settled; the same */
	KEEL_WATCHED_NAME     /* a lease; its key is keel_watched_name */
};

/* So many things are remembered in any case; when there are more, what was not looked at for so long is forgotten:
 * nobody asks for it any more. Of what a handle does look at nothing is forgotten, however much it is. */
#define KEEL_WATCHED_MANY 65536
#define KEEL_WATCHED_OLD_US (INT64_C(3600) * 1000 * 1000)

/* What is unchanged as long as all of it is the same. */
struct keel_watched_state {
	int64_t fence;   /* whose it is */
	int64_t version; /* what renewing changes */
	int64_t beat;    /* the heartbeats of the session */
};

struct keel_watched {
	struct keel_watched_item *items; /* in order of kind and key */
	size_t count, capacity;
	int64_t looks; /* counts them */
};

/* How long this has been seen, in microseconds: 0 at the first look, and after a change. Without memory for it 0. */
int64_t keel_watched_for(struct keel_watched *watched, enum keel_watched_kind kind, int64_t key,
						 struct keel_watched_state state, int64_t now_us);

/* Forgets all of a kind that was not looked at since `looks`. */
void keel_watched_forget(struct keel_watched *watched, enum keel_watched_kind kind, int64_t looks);

/* A key for a name. Two names that share one would only be watched for longer. */
int64_t keel_watched_name(struct keel_text name);

void keel_watched_free(struct keel_watched *watched);

#endif
