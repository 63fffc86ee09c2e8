/* pattern.c - reading Lua's patterns. matching.c goes through what is read. Uses: limits. */
#include "sandbox/pattern.h"

#include <string.h>

#include "sandbox/box.h"

struct reader {
	lua_State *S;
	const char *at, *end;
	struct pattern *pattern;
	unsigned char open[CAPTURES_MAX]; /* captures that are not closed, the innermost last */
	int open_count;
	bool closed[CAPTURES_MAX];
};

static bool in_range(unsigned char c, char from, char to)
{
	return c >= (unsigned char)from && c <= (unsigned char)to;
}

/* Whether a character is of a class, a letter in lower case; `known` is false for other letters. */
static bool is_of_class(unsigned char c, char class, bool *known)
{
	bool lower = in_range(c, 'a', 'z'), upper = in_range(c, 'A', 'Z'), digit = in_range(c, '0', '9');
	*known = true;
	switch (class) {
	case 'a':
		return lower || upper;
	case 'c':
		return c < 32 || c == 127;
	case 'd':
		return digit;
	case 'g':
		return in_range(c, '!', '~');
	case 'l':
		return lower;
	case 'p':
		return in_range(c, '!', '~') && !lower && !upper && !digit;
	case 's':
		return c == ' ' || in_range(c, '\t', '\r');
	case 'u':
		return upper;
	case 'w':
		return lower || upper || digit;
	case 'x':
		return digit || in_range(c, 'a', 'f') || in_range(c, 'A', 'F');
	default:
		*known = false;
		return false;
	}
}

static void add(struct item *item, unsigned char c)
{
	item->set[c / 8] |= (unsigned char)(1u << c % 8);
}

/* Adds what "%" and a character stand for: a class, the rest of one for a capital, or the character. */
static void add_escaped(struct item *item, char escaped)
{
	bool capital = in_range((unsigned char)escaped, 'A', 'Z'), known;
	char class = capital ? (char)(escaped - 'A' + 'a') : escaped;
	for (int c = 0; c < 256; c++)
		if (is_of_class((unsigned char)c, class, &known) != capital && known)
			add(item, (unsigned char)c);
	if (!known)
		add(item, (unsigned char)escaped);
}

static void malformed(struct reader *r, const char *why)
{
	luaL_error(r->S, "malformed pattern (%s)", why);
}

/* The character after a "%". */
static char escaped(struct reader *r)
{
	if (r->at == r->end)
		malformed(r, "ends with '%'");
	return *r->at++;
}

/* The "]" that ends a set, behind its "[" and "^": the first that is neither its first character nor behind a "%". */
static const char *end_of_set(struct reader *r)
{
	const char *at = r->at;
	do {
		at += at < r->end && *at == '%' ? 2 : 1;
		if (at >= r->end)
			malformed(r, "missing ']'");
	} while (*at != ']');
	return at;
}

/*
 * Reads a set, behind its "[". Where it ends is settled before what it holds, as Lua does: a "%" that ends a range
 * escapes nothing in it, and still hides a "]" behind it from the end.
 */
static void read_set(struct reader *r, struct item *item)
{
	bool complement = r->at < r->end && *r->at == '^';
	r->at += complement;
	const char *end = end_of_set(r);
	while (r->at < end) {
		char c = *r->at++;
		if (c == '%') {
			add_escaped(item, *r->at++);
		} else if (end - r->at >= 2 && r->at[0] == '-') {
			for (int i = (unsigned char)c; i <= (unsigned char)r->at[1]; i++)
				add(item, (unsigned char)i);
			r->at += 2;
		} else {
			add(item, (unsigned char)c);
		}
	}
	r->at = end + 1;
	for (int i = 0; complement && i < 32; i++)
		item->set[i] = (unsigned char)~item->set[i];
}

static void read_opening(struct reader *r, struct item *item)
{
	struct pattern *pattern = r->pattern;
	if (pattern->captures == CAPTURES_MAX)
		luaL_error(r->S, "too many captures");
	item->first = (unsigned char)pattern->captures++;
	item->kind = OPENING;
	if (r->at < r->end && *r->at == ')') {
		item->kind = PLACE;
		r->closed[item->first] = true;
		r->at++;
	} else {
		r->open[r->open_count++] = item->first;
	}
}

static void read_closing(struct reader *r, struct item *item)
{
	if (r->open_count == 0)
		luaL_error(r->S, "invalid pattern capture");
	item->kind = CLOSING;
	item->first = r->open[--r->open_count];
	r->closed[item->first] = true;
}

/* Reads what follows a "%" outside of sets. Returns whether it is a single character, which may be repeated. */
static bool read_escape(struct reader *r, struct item *item)
{
	char c = escaped(r);
	if (c == 'b') {
		if (r->end - r->at < 2)
			malformed(r, "missing arguments to '%b'");
		item->kind = BALANCE;
		item->first = (unsigned char)r->at[0];
		item->second = (unsigned char)r->at[1];
		r->at += 2;
		return false;
	}
	if (c == 'f') {
		if (r->at == r->end || *r->at != '[')
			malformed(r, "missing '[' after '%f'");
		r->at++;
		item->kind = FRONTIER;
		read_set(r, item);
		return false;
	}
	if (in_range((unsigned char)c, '0', '9')) {
		int number = c - '1';
		if (number < 0 || number >= r->pattern->captures || !r->closed[number])
			luaL_error(r->S, "invalid capture index %%%d", number + 1);
		item->kind = REPEATED;
		item->first = (unsigned char)number;
		return false;
	}
	add_escaped(item, c);
	return true;
}

/* Reads one item and how often it may come. */
static void read_item(struct reader *r, struct item *item)
{
	char c = *r->at++;
	bool single = true;
	if (c == '(') {
		read_opening(r, item);
		return;
	}
	if (c == ')') {
		read_closing(r, item);
		return;
	}
	if (c == '$' && r->at == r->end) {
		item->kind = AT_END;
		return;
	}
	if (c == '%')
		single = read_escape(r, item);
	else if (c == '[')
		read_set(r, item);
	else if (c == '.')
		memset(item->set, 0xff, sizeof item->set);
	else
		add(item, (unsigned char)c);
	if (!single || r->at == r->end)
		return;
	const char *times = strchr("?*+-", *r->at);
	if (times && *r->at) {
		if (++r->pattern->repeats > REPEATS_MAX)
			luaL_error(r->S, "the pattern has more than %d repeated items", REPEATS_MAX);
		item->times = (unsigned char)(MAYBE + (times[0] == '*') + 2 * (times[0] == '+') + 3 * (times[0] == '-'));
		r->at++;
	}
}

const struct pattern *keel_pattern_compile(lua_State *S, const char *text, size_t size, bool may_anchor)
{
	if (size > PATTERN_MAX)
		luaL_error(S, "the pattern has more than %d bytes", PATTERN_MAX);
	keel_sandbox_charge(S, size);
	struct pattern *pattern = lua_newuserdatauv(S, sizeof *pattern + size * sizeof(struct item), 0);
	memset(pattern, 0, sizeof *pattern + size * sizeof(struct item));
	struct reader reader = {.S = S, .at = text, .end = text + size, .pattern = pattern};
	pattern->anchored = may_anchor && size > 0 && *text == '^';
	reader.at += pattern->anchored;
	while (reader.at < reader.end)
		read_item(&reader, &pattern->items[pattern->count++]);
	if (reader.open_count > 0)
		luaL_error(S, "unfinished capture");
	return pattern;
}

bool keel_pattern_is_anchored(const struct pattern *pattern)
{
	return pattern->anchored;
}

int keel_pattern_captures(const struct pattern *pattern)
{
	return pattern->captures;
}
