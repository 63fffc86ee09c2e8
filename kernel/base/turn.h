/* base/turn.h - whose turn it is to write: keeps the unlucky among many writers from waiting for ever.
 *
 *   idle ──refused──► waiting ──for too long──► starving ──has the lock, or gives up──► idle
 *
 * The database gives its write lock to whoever asks at the right moment, most often to the one who just had it. So one
 * who has waited for too long locks a byte of the file STORE-wake, and whoever is about to write asks first whether
 * somebody starves: if so, and it does not starve itself, it takes the lock for held. Among those who starve the
 * database decides. It is a courtesy and protects nothing: a byte that stays locked for longer than anybody needs (its
 * owner was stopped, or forgot it) is ignored; one whose owner dies is free at once.
 */
#ifndef KEEL_BASE_TURN_H
#define KEEL_BASE_TURN_H

#include "base/sidefile.h"

enum {
	KEEL_TURN_FIRST = 64, /* the first of the bytes; those below are other things' */
	KEEL_TURN_BYTES = 64  /* who finds no free one waits like all: sixty-four that starve are no minority */
};

/* Of a handle that writes; starts as zeros. Moments are monotonic, 0: none. */
struct keel_turn {
	int64_t since;                 /* when the wait began */
	int64_t refused;               /* when it was refused last */
	int64_t byte;                  /* locked while it starves; 0: it does not */
	bool polite;                   /* it was refused for somebody else's sake, not by the database */
	int64_t looked;                /* when it looked last and saw somebody starve */
	int64_t seen[KEEL_TURN_BYTES]; /* since when it has seen that byte locked */
};

/* Whether to try: false while somebody else starves and this one does not. `file` is open for writing or not at all. */
bool keel_turn_may_try(struct keel_turn *turn, struct keel_sidefile *file);

/* The database refused it, or it was polite. */
void keel_turn_refused(struct keel_turn *turn, struct keel_sidefile *file, bool polite);

/* It has the lock, or gives up. */
void keel_turn_over(struct keel_turn *turn, struct keel_sidefile *file);

/* How long to wait before the next try, in microseconds. */
int64_t keel_turn_step(const struct keel_turn *turn);

#endif
