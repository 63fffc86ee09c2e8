/* matching.c - Lua's patterns, matched in counted steps. Uses: limits, pattern.
 *
 * A pattern is read once into a list of items: what matches one character, and how often; or a capture's border, %b,
 * %f, %1, $. A match goes through the list; only an item that may take more or fewer characters needs recursion, so its
 * depth is bounded by the length of the pattern. What a failed try wrote into captures need not be undone: every way
 * through the list passes all borders behind the item that is tried again.
 *
 * Characters are those of the C locale, whatever the host's.
 */
#include <string.h>

#include "sandbox/box.h"
#include "sandbox/pattern.h"

enum { STEPS_UNSEEN = 512 };

static void count(struct matching *m, size_t steps)
{
	m->steps += steps;
	if (m->steps >= STEPS_UNSEEN) {
		keel_sandbox_charge(m->S, m->steps);
		m->steps = 0;
	}
}

static const char *balance(struct matching *m, const struct item *item, const char *at)
{
	if (at == m->end || (unsigned char)*at != item->first)
		return NULL;
	size_t depth = 1;
	for (const char *c = at + 1; c < m->end; c++) {
		count(m, 1);
		if ((unsigned char)*c == item->second) {
			if (--depth == 0)
				return c + 1;
		} else if ((unsigned char)*c == item->first) {
			depth++;
		}
	}
	return NULL;
}

static bool is_frontier(const struct matching *m, const struct item *item, const char *at)
{
	unsigned char before = at == m->subject ? 0 : (unsigned char)at[-1];
	unsigned char here = at == m->end ? 0 : (unsigned char)*at;
	return !keel_item_has(item, before) && keel_item_has(item, here);
}

static const char *repeated(struct matching *m, const struct item *item, const char *at)
{
	const struct capture *capture = &m->captures[item->first];
	if (capture->size < 0)
		return NULL; /* a place has no text; Lua finds none either */
	size_t size = (size_t)capture->size;
	count(m, size / 16);
	return (size_t)(m->end - at) >= size && memcmp(at, capture->start, size) == 0 ? at + size : NULL;
}

static const char *match_from(struct matching *m, const char *at, int i);

/* An item that may come more or less often, and the rest behind it. */
static const char *match_times(struct matching *m, const struct item *item, const char *at, int i)
{
	const char *found;
	size_t least = item->times == SOME, most = item->times == MAYBE ? 1 : (size_t)-1, taken = 0;
	if (item->times == FEW) {
		for (;;) {
			if ((found = match_from(m, at, i + 1)))
				return found;
			if (at == m->end || !keel_item_has(item, (unsigned char)*at))
				return NULL;
			count(m, 1);
			at++;
		}
	}
	while (taken < most && at + taken < m->end && keel_item_has(item, (unsigned char)at[taken]))
		taken++;
	count(m, taken);
	for (;; taken--) {
		if (taken < least)
			return NULL;
		if ((found = match_from(m, at + taken, i + 1)))
			return found;
		if (taken == 0)
			return NULL;
	}
}

static const char *match_from(struct matching *m, const char *at, int i)
{
	for (; at && i < m->pattern->count; i++) {
		const struct item *item = &m->pattern->items[i];
		struct capture *capture = &m->captures[item->first % CAPTURES_MAX];
		count(m, 1);
		switch ((enum pattern_kind)item->kind) {
		case OPENING:
			capture->start = at;
			break;
		case CLOSING:
			capture->size = at - capture->start;
			break;
		case PLACE:
			*capture = (struct capture){at, CAPTURE_POSITION};
			break;
		case AT_END:
			at = at == m->end ? at : NULL;
			break;
		case BALANCE:
			at = balance(m, item, at);
			break;
		case FRONTIER:
			at = is_frontier(m, item, at) ? at : NULL;
			break;
		case REPEATED:
			at = repeated(m, item, at);
			break;
		case SET:
			if (item->times != ONCE)
				return match_times(m, item, at, i);
			at = at < m->end && keel_item_has(item, (unsigned char)*at) ? at + 1 : NULL;
			break;
		}
	}
	return at;
}

const char *keel_pattern_match(struct matching *m, const char *at)
{
	return match_from(m, at, 0);
}
