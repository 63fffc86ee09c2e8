/* match.c - find, match, gmatch and gsub for sandboxed scripts, on patterns matched in counted steps. */
#include "sandbox/box.h"

#include <string.h>

enum { GSUB_WEIGHT = 3 }; /* a buffer and 32 captures are on its stack */

/* Where to start, from 0; beyond the end: nowhere. */
static size_t start_of(lua_Integer position, size_t size)
{
	if (position > 0)
		return (size_t)position - 1;
	if (position == 0 || position < -(lua_Integer)size)
		return 0;
	return size - (size_t)-position;
}

static void begin(struct matching *m, lua_State *S, const char *subject, size_t size, const struct pattern *pattern)
{
	m->S = S;
	m->subject = subject;
	m->end = subject + size;
	m->steps = 0;
	m->pattern = pattern;
}

/* The first match at or behind `at`, whose end is returned; *at is where it starts. */
static const char *search(struct matching *m, const char **at)
{
	for (;; (*at)++) {
		const char *end = keel_pattern_match(m, *at);
		if (end)
			return end;
		if (*at == m->end || keel_pattern_is_anchored(m->pattern))
			return NULL;
	}
}

static void push_capture(lua_State *S, const struct matching *m, int i)
{
	const struct capture *capture = &m->captures[i];
	keel_sandbox_check_time(S);
	if (capture->size == CAPTURE_POSITION)
		lua_pushinteger(S, capture->start - m->subject + 1);
	else
		lua_pushlstring(S, capture->start, (size_t)capture->size);
}

/* Pushes the captures; the whole match when the pattern has none, and `whole`. Returns how many. */
static int push_captures(lua_State *S, const struct matching *m, const char *start, const char *end, bool whole)
{
	int captures = keel_pattern_captures(m->pattern);
	luaL_checkstack(S, captures + 1, "too many captures");
	for (int i = 0; i < captures; i++)
		push_capture(S, m, i);
	if (captures > 0 || !whole)
		return captures;
	lua_pushlstring(S, start, (size_t)(end - start));
	return 1;
}

static int find_plain(lua_State *S, const char *subject, size_t size, const char *text, size_t wanted, size_t from)
{
	keel_sandbox_charge(S, (size - from) / 16);
	const char *found = wanted == 0 ? subject + from : memmem(subject + from, size - from, text, wanted);
	if (!found) {
		lua_pushnil(S);
		return 1;
	}
	lua_pushinteger(S, found - subject + 1);
	lua_pushinteger(S, found - subject + (lua_Integer)wanted);
	return 2;
}

static int find_or_match(lua_State *S, bool find)
{
	size_t size, wanted;
	const char *subject = luaL_checklstring(S, 1, &size), *text = luaL_checklstring(S, 2, &wanted);
	size_t from = start_of(luaL_optinteger(S, 3, 1), size);
	if (from > size) {
		lua_pushnil(S);
		return 1;
	}
	if (find && (lua_toboolean(S, 4) || (strcspn(text, "^$*+?.([%-") == wanted)))
		return find_plain(S, subject, size, text, wanted, from);
	struct matching m;
	begin(&m, S, subject, size, keel_pattern_compile(S, text, wanted, true));
	const char *at = subject + from, *end = search(&m, &at);
	keel_sandbox_charge(S, m.steps);
	if (!end) {
		lua_pushnil(S);
		return 1;
	}
	if (!find)
		return push_captures(S, &m, at, end, true);
	lua_pushinteger(S, at - subject + 1);
	lua_pushinteger(S, end - subject);
	return 2 + push_captures(S, &m, at, end, false);
}

/* string.find(s, pattern, init, plain) */
static int string_find(lua_State *S)
{
	return find_or_match(S, true);
}

/* string.match(s, pattern, init) */
static int string_match(lua_State *S)
{
	return find_or_match(S, false);
}

/* --- All matches ------------------------------------------------------------------------------------------------- */

/* The iterator of gmatch: upvalues are the text, the compiled pattern, where to go on, and where the last match ended
 * (-1: there was none), since an empty match is not taken there. */
static int next_match(lua_State *S)
{
	size_t size;
	const char *subject = lua_tolstring(S, lua_upvalueindex(1), &size), *end;
	struct matching m;
	begin(&m, S, subject, size, lua_touserdata(S, lua_upvalueindex(2)));
	lua_Integer from = lua_tointeger(S, lua_upvalueindex(3)), last = lua_tointeger(S, lua_upvalueindex(4));
	for (const char *at = subject + from; at <= m.end; at++) {
		end = keel_pattern_match(&m, at);
		if (!end || end - subject == last)
			continue;
		keel_sandbox_charge(S, m.steps);
		lua_pushinteger(S, end - subject);
		lua_copy(S, -1, lua_upvalueindex(3));
		lua_replace(S, lua_upvalueindex(4));
		return push_captures(S, &m, at, end, true);
	}
	keel_sandbox_charge(S, m.steps);
	return 0;
}

/* string.gmatch(s, pattern, init) */
static int string_gmatch(lua_State *S)
{
	size_t size, wanted;
	luaL_checklstring(S, 1, &size);
	const char *text = luaL_checklstring(S, 2, &wanted);
	size_t from = start_of(luaL_optinteger(S, 3, 1), size);
	lua_settop(S, 2);
	lua_pushvalue(S, 1);
	keel_pattern_compile(S, text, wanted, false);
	lua_pushinteger(S, (lua_Integer)(from > size ? size + 1 : from));
	lua_pushinteger(S, -1);
	lua_pushcclosure(S, next_match, 4);
	return 1;
}

/* --- Replacing --------------------------------------------------------------------------------------------------- */

/* Adds a replacement text: %0 to %9 and %% in it. */
static void add_text(lua_State *S, luaL_Buffer *buffer, const struct matching *m, const char *start, const char *end)
{
	size_t size;
	const char *text = lua_tolstring(S, 3, &size);
	keel_sandbox_charge(S, 1 + size / 16);
	for (size_t i = 0; i < size; i++) {
		if (text[i] != '%') {
			luaL_addchar(buffer, text[i]);
			continue;
		}
		char c = ++i < size ? text[i] : '\0';
		int number = c - '1';
		if (c == '%') {
			luaL_addchar(buffer, c);
		} else if (c == '0' || (c == '1' && keel_pattern_captures(m->pattern) == 0)) {
			luaL_addlstring(buffer, start, (size_t)(end - start));
		} else if (c < '1' || c > '9') {
			luaL_error(S, "invalid use of '%%' in replacement string");
		} else if (number >= keel_pattern_captures(m->pattern)) {
			luaL_error(S, "invalid capture index %%%d in replacement string", number + 1);
		} else {
			push_capture(S, m, number);
			luaL_addvalue(buffer);
		}
	}
}

/* Adds what takes the place of a match. */
static void add_replacement(lua_State *S, luaL_Buffer *buffer, const struct matching *m, const char *start,
							const char *end)
{
	switch (lua_type(S, 3)) {
	case LUA_TFUNCTION:
		lua_pushvalue(S, 3);
		keel_sandbox_call(S, push_captures(S, m, start, end, true), 1, GSUB_WEIGHT);
		break;
	case LUA_TTABLE:
		if (keel_pattern_captures(m->pattern) > 0)
			push_capture(S, m, 0);
		else
			lua_pushlstring(S, start, (size_t)(end - start));
		lua_gettable(S, 3);
		break;
	default:
		add_text(S, buffer, m, start, end);
		return;
	}
	if (!lua_toboolean(S, -1)) {
		lua_pop(S, 1);
		luaL_addlstring(buffer, start, (size_t)(end - start));
	} else if (lua_type(S, -1) != LUA_TSTRING && lua_type(S, -1) != LUA_TNUMBER) {
		luaL_error(S, "invalid replacement value (a %s)", luaL_typename(S, -1));
	} else {
		luaL_addvalue(buffer);
	}
}

/* string.gsub(s, pattern, replacement, max) */
static int string_gsub(lua_State *S)
{
	size_t size, wanted;
	const char *subject = luaL_checklstring(S, 1, &size), *text = luaL_checklstring(S, 2, &wanted);
	int type = lua_type(S, 3);
	luaL_argexpected(S, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE, 3,
					 "string/function/table");
	lua_Integer most = luaL_optinteger(S, 4, (lua_Integer)size + 1), count = 0;
	struct matching m;
	begin(&m, S, subject, size, keel_pattern_compile(S, text, wanted, true));
	const char *at = subject, *last = NULL;
	luaL_Buffer buffer;
	luaL_buffinit(S, &buffer);
	while (count < most) {
		const char *end = keel_pattern_match(&m, at);
		keel_sandbox_charge(S, m.steps);
		m.steps = 0;
		if (end && end != last) {
			count++;
			add_replacement(S, &buffer, &m, at, end);
			at = last = end;
		} else if (at < m.end) {
			luaL_addchar(&buffer, *at++);
		} else {
			break;
		}
		if (keel_pattern_is_anchored(m.pattern))
			break;
	}
	luaL_addlstring(&buffer, at, (size_t)(m.end - at));
	luaL_pushresult(&buffer);
	lua_pushinteger(S, count);
	return 2;
}

void keel_sandbox_add_match(lua_State *S)
{
	static const luaL_Reg functions[] = {
		{"find", string_find}, {"match", string_match}, {"gmatch", string_gmatch}, {"gsub", string_gsub}, {NULL, NULL}};
	keel_sandbox_set_functions(S, functions);
}
