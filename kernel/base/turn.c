/* turn.c - whose turn it is to write. Uses: sidefile, monotonic. */
#include "base/turn.h"

#include <string.h>

#include "base/monotonic.h"

enum {
	STARVING_US = 50 * 1000,       /* a wait so long is unlucky, not just one of many */
	ANOTHER_WAIT_US = 1000 * 1000, /* who has not tried for so long had given up: the next try begins a new wait */
	POLITE_US = 25 * 1000,         /* whoever starves and runs has had its turn by then, a hundred times over */
	STEP_US = 1000,                /* between tries at first: short, as most locks are held for less */
	STEP_LAST_US = 10 * 1000,      /* and later: those who poll slow down the one who writes */
	STEP_STARVING_US = 200,        /* the turn is taken at once: all others stand back for it */
	STEP_POLITE_US = 100           /* and given back at once */
};

/* Brings what this one has seen of the bytes from `first` up to date. True when one is held that it respects. */
static bool look(struct keel_turn *turn, struct keel_sidefile *file, int64_t now)
{
	const int64_t end = KEEL_TURN_FIRST + KEEL_TURN_BYTES;
	bool respect = false;
	/* What was seen long ago says nothing of who holds a byte now. */
	if (turn->looked && now - turn->looked > ANOTHER_WAIT_US)
		memset(turn->seen, 0, sizeof turn->seen);
	turn->looked = now;
	/* The system tells of some held byte, not of the first: so each answer splits what is left to ask. */
	bool held[KEEL_TURN_BYTES] = {false};
	struct {
		int64_t from, to;
	} left[KEEL_TURN_BYTES + 1] = {{KEEL_TURN_FIRST, end}};
	for (int count = 1; count > 0;) {
		int64_t from = left[--count].from, to = left[count].to;
		int64_t byte = from < to ? keel_sidefile_find(file, from, to - from) : 0;
		if (byte < from || byte >= to)
			continue;
		held[byte - KEEL_TURN_FIRST] = true;
		left[count].from = from;
		left[count++].to = byte;
		left[count].from = byte + 1;
		left[count++].to = to;
	}
	for (int i = 0; i < KEEL_TURN_BYTES; i++) {
		if (!held[i])
			turn->seen[i] = 0;
		else if (!turn->seen[i])
			turn->seen[i] = now;
		respect = respect || (held[i] && now - turn->seen[i] < POLITE_US);
	}
	return respect;
}

bool keel_turn_may_try(struct keel_turn *turn, struct keel_sidefile *file)
{
	if (turn->byte || file->fd < 0)
		return true;
	if (keel_sidefile_find(file, KEEL_TURN_FIRST, KEEL_TURN_BYTES) != 0)
		return !look(turn, file, keel_monotonic_us());
	if (turn->looked) {
		memset(turn->seen, 0, sizeof turn->seen);
		turn->looked = 0;
	}
	return true;
}

/* Takes a free byte, from somewhere on: a byte just given back by another says to those who saw it that it still
 * starves. */
static void starve(struct keel_turn *turn, struct keel_sidefile *file, int64_t now)
{
	for (int i = 0; i < KEEL_TURN_BYTES && !turn->byte; i++) {
		int64_t byte = KEEL_TURN_FIRST + (now + i) % KEEL_TURN_BYTES;
		enum keel_code code = keel_sidefile_lock(file, byte, NULL);
		if (code == KEEL_OK)
			turn->byte = byte;
		else if (code != KEEL_BUSY)
			return;
	}
}

void keel_turn_refused(struct keel_turn *turn, struct keel_sidefile *file, bool polite)
{
	int64_t now = keel_monotonic_us();
	if (!turn->since || now - turn->refused > ANOTHER_WAIT_US) {
		keel_turn_over(turn, file);
		turn->since = now;
	}
	turn->refused = now;
	turn->polite = polite;
	if (!turn->byte && file->fd >= 0 && now - turn->since >= STARVING_US)
		starve(turn, file, now);
}

void keel_turn_over(struct keel_turn *turn, struct keel_sidefile *file)
{
	if (turn->byte)
		keel_sidefile_unlock(file, turn->byte);
	turn->byte = turn->since = 0;
	turn->polite = false;
}

int64_t keel_turn_step(const struct keel_turn *turn)
{
	int64_t now = keel_monotonic_us(), waited = turn->since ? now - turn->since : 0, step;
	if (turn->byte) {
		/* A lock that is held for a second is not passed on by asking more often. */
		step = waited / 1000 > STEP_STARVING_US ? waited / 1000 : STEP_STARVING_US;
		step = step < STEP_US ? step : STEP_US;
	} else if (turn->polite) {
		step = STEP_POLITE_US;
	} else {
		step = waited / 4 > STEP_US ? waited / 4 : STEP_US;
		step = step < STEP_LAST_US ? step : STEP_LAST_US;
	}
	/* Half of it by chance, to keep waiters from marching in step: the low digits of the clock are chance enough. */
	return step / 2 + now % step;
}
