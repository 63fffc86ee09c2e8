/* pattern.h - a pattern that was read. For pattern.c and matching.c. */
#ifndef KEEL_SANDBOX_PATTERN_H
#define KEEL_SANDBOX_PATTERN_H

#include <stdbool.h>

enum pattern_kind { SET, BALANCE, FRONTIER, REPEATED, OPENING, PLACE, CLOSING, AT_END };
enum pattern_times { ONCE, MAYBE, MANY, SOME, FEW }; /* nothing, ?, *, +, - */

struct item {
	unsigned char kind, times;
	unsigned char first, second; /* %bxy; the number of a capture, from 0 */
	unsigned char set[32];       /* a bit for each character */
};

struct pattern {
	int count, captures, repeats;
	bool anchored;
	struct item items[];
};

static inline bool keel_item_has(const struct item *item, unsigned char c)
{
	return item->set[c / 8] >> c % 8 & 1;
}

#endif
