/* encode.c - Lua values to JSON text, in one walk and without a tree in between. */
#include "binding.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The text so far. It begins in `first`; one that outgrows it is in a userdata at `slot`, so that a raise leaks
 * nothing. */
struct out {
	lua_State *L;
	int slot;
	bool sorted; /* names in byte order, not in the table's */
	const char *why;
	char *text;
	size_t size, room;
	char first[1024];
};

static bool write_value(struct out *out, int index, int depth);

static bool refuse(struct out *out, const char *why)
{
	out->why = why;
	return false;
}

/* --- Text -------------------------------------------------------------------------------------------------------- */

/* Makes room for `size` more bytes. [-0, +0, m] */
static void reserve(struct out *out, size_t size)
{
	if (out->room - out->size >= size)
		return;
	if (size > SIZE_MAX / 4 || out->room > SIZE_MAX / 4)
		luaL_error(out->L, "not enough memory");
	size_t room = out->room * 2;
	if (room < out->size + size)
		room = out->size + size;
	char *text = lua_newuserdatauv(out->L, room, 0);
	memcpy(text, out->text, out->size);
	lua_replace(out->L, out->slot);
	out->text = text;
	out->room = room;
}

static void add(struct out *out, const char *data, size_t size)
{
	reserve(out, size);
	memcpy(out->text + out->size, data, size);
	out->size += size;
}

static void add_char(struct out *out, char c)
{
	reserve(out, 1);
	out->text[out->size++] = c;
}

/* How many bytes of a text, from its start, stand in a JSON string as they are. Most do: eight are looked at at a
 * time. */
static size_t plain_size(const char *data, size_t size)
{
	const uint64_t each = UINT64_C(0x0101010101010101), tops = each << 7;
	size_t i = 0;
	for (uint64_t word; size - i >= sizeof word; i += sizeof word) {
		memcpy(&word, data + i, sizeof word);
		uint64_t quote = word ^ each * '"', backslash = word ^ each * '\\'; /* a byte that is one becomes 0 */
		uint64_t found = (word - each * 0x20) & ~word; /* a byte below 0x20 borrows into its top bit */
		found |= (quote - each) & ~quote;
		found |= (backslash - each) & ~backslash;
		if (found & tops)
			break;
	}
	while (i < size && (unsigned char)data[i] >= 0x20 && data[i] != '"' && data[i] != '\\')
		i++;
	return i;
}

static void add_escape(struct out *out, unsigned char c)
{
	static const char letters[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt", digits[] = "0123456789ABCDEF";
	const char *letter = c ? strchr(letters, c) : NULL;
	if (letter) {
		char escape[] = {'\\', names[letter - letters]};
		add(out, escape, sizeof escape);
	} else {
		char escape[] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};
		add(out, escape, sizeof escape);
	}
}

/* A text that is UTF-8. */
static void add_string(struct out *out, struct keel_text text)
{
	add_char(out, '"');
	for (size_t at = 0; at < text.size; at++) {
		size_t plain = plain_size(text.data + at, text.size - at);
		add(out, text.data + at, plain);
		at += plain;
		if (at < text.size)
			add_escape(out, (unsigned char)text.data[at]);
	}
	add_char(out, '"');
}

static void add_integer(struct out *out, lua_Integer value)
{
	char digits[24], *start = digits + sizeof digits;
	lua_Unsigned left = value < 0 ? 0 - (lua_Unsigned)value : (lua_Unsigned)value;
	do
		*--start = (char)('0' + left % 10);
	while (left /= 10);
	if (value < 0)
		*--start = '-';
	add(out, start, (size_t)(digits + sizeof digits - start));
}

/* --- Tables ------------------------------------------------------------------------------------------------------ */

/* Reads the name at `index`, which its table keeps. False: it is none. */
static bool read_name(struct out *out, int index, struct keel_text *name)
{
	if (lua_type(out->L, index) != LUA_TSTRING)
		return refuse(out, "has a table that is neither a list nor has names only");
	name->data = lua_tolstring(out->L, index, &name->size);
	if (memchr(name->data, '\0', name->size) || !keel_text_is_utf8(*name))
		return refuse(out, "has a name that is not UTF-8 or holds a zero byte");
	return true;
}

/* Writes a name and the value on the top, which it pops. */
static bool write_member(struct out *out, struct keel_text name, bool first, int depth)
{
	if (!first)
		add_char(out, ',');
	add_string(out, name);
	add_char(out, ':');
	bool written = write_value(out, lua_gettop(out->L), depth + 1);
	lua_pop(out->L, 1);
	return written;
}

static int compare(const void *left, const void *right)
{
	const struct keel_text *a = left, *b = right;
	int order = memcmp(a->data, b->data, a->size < b->size ? a->size : b->size);
	return order ? order : (a->size > b->size) - (a->size < b->size);
}

/* The members of the object at `index` in the order of their names. */
static bool write_sorted(struct out *out, int index, int depth)
{
	lua_State *L = out->L;
	size_t count = 0, next = 0;
	for (lua_pushnil(L); lua_next(L, index); count++)
		lua_pop(L, 1);
	struct keel_text *names = lua_newuserdatauv(L, count * sizeof *names, 0);
	for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
		if (!read_name(out, -2, &names[next++]))
			return false;
	qsort(names, count, sizeof *names, compare);
	for (next = 0; next < count; next++) {
		lua_pushlstring(L, names[next].data, names[next].size);
		lua_rawget(L, index);
		if (!write_member(out, names[next], next == 0, depth))
			return false;
	}
	lua_pop(L, 1);
	return true;
}

/* The members of the object at `index` as they come. */
static bool write_members(struct out *out, int index, int depth)
{
	struct keel_text name;
	bool first = true;
	for (lua_pushnil(out->L); lua_next(out->L, index); first = false)
		if (!read_name(out, -2, &name) || !write_member(out, name, first, depth))
			return false;
	return true;
}

/* Whether the table at `index` has as many entries as its length, all of them under whole numbers within it. */
static bool is_list(lua_State *L, int index, lua_Integer size)
{
	lua_Integer count = 0;
	for (lua_pushnil(L); lua_next(L, index); count++) {
		lua_pop(L, 1);
		lua_Integer at = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
		if (at < 1 || at > size) {
			lua_pop(L, 1);
			return false;
		}
	}
	return count == size;
}

static bool write_items(struct out *out, int index, lua_Integer size, int depth)
{
	for (lua_Integer i = 1; i <= size; i++) {
		if (i > 1)
			add_char(out, ',');
		lua_rawgeti(out->L, index, i);
		if (!write_value(out, lua_gettop(out->L), depth + 1))
			return false;
		lua_pop(out->L, 1);
	}
	return true;
}

static bool write_table(struct out *out, int index, int depth)
{
	lua_Integer size = (lua_Integer)lua_rawlen(out->L, index);
	bool object = size == 0 && !keel_lua_is_array(out->L, index), written;
	if (depth >= KEEL_JSON_DEPTH_MAX)
		return refuse(out, "is nested too deeply, or holds itself");
	if (!object && !is_list(out->L, index, size))
		return refuse(out, "has a table with both list items and names, or with gaps");
	add_char(out, object ? '{' : '[');
	if (!object)
		written = write_items(out, index, size, depth);
	else
		written = out->sorted ? write_sorted(out, index, depth) : write_members(out, index, depth);
	add_char(out, object ? '}' : ']');
	return written;
}

/* --- Values ------------------------------------------------------------------------------------------------------ */

static bool write_number(struct out *out, int index)
{
	char text[KEEL_JSON_REAL_SIZE];
	if (lua_isinteger(out->L, index)) {
		add_integer(out, lua_tointeger(out->L, index));
		return true;
	}
	if (!isfinite(lua_tonumber(out->L, index)))
		return refuse(out, "has a number that is not finite");
	add(out, text, keel_lua_real_text(lua_tonumber(out->L, index), text));
	return true;
}

/* Writes the value at `index`. False, with the reason, for what is not JSON-able; then values may be left on the
 * stack. [-0, +n, m] */
static bool write_value(struct out *out, int index, int depth)
{
	struct keel_text text;
	if (!lua_checkstack(out->L, 8))
		return refuse(out, "is nested too deeply");
	switch (lua_type(out->L, index)) {
	case LUA_TNIL:
		add(out, "null", 4);
		return true;
	case LUA_TBOOLEAN:
		if (lua_toboolean(out->L, index))
			add(out, "true", 4);
		else
			add(out, "false", 5);
		return true;
	case LUA_TNUMBER:
		return write_number(out, index);
	case LUA_TSTRING:
		text.data = lua_tolstring(out->L, index, &text.size);
		if (!keel_text_is_utf8(text))
			return refuse(out, "has a text that is not valid UTF-8");
		add_string(out, text);
		return true;
	case LUA_TTABLE:
		return write_table(out, index, depth);
	case LUA_TUSERDATA:
		if (!keel_lua_is_null(out->L, index))
			return refuse(out, "has a userdata");
		add(out, "null", 4);
		return true;
	case LUA_TFUNCTION:
		return refuse(out, "has a function");
	default:
		return refuse(out, "has a value that JSON does not know");
	}
}

bool keel_lua_json_encode(lua_State *L, int index, bool sorted, const char **why)
{
	struct out out;
	index = lua_absindex(L, index);
	luaL_checkstack(L, 2, NULL);
	lua_pushnil(L);
	out.L = L;
	out.slot = lua_gettop(L);
	out.sorted = sorted;
	out.why = NULL;
	out.text = out.first;
	out.size = 0;
	out.room = sizeof out.first;
	bool written = write_value(&out, index, 0);
	*why = out.why;
	lua_settop(L, out.slot);
	if (!written) {
		lua_pop(L, 1);
		return false;
	}
	lua_pushlstring(L, out.text, out.size);
	lua_replace(L, out.slot);
	KEEL_LUA_PUSHED(L, out.slot, 0);
	return true;
}

bool keel_lua_take_json(lua_State *L, const char *name, struct keel_text *json, struct keel_error *err)
{
	int top = lua_gettop(L);
	const char *why;
	if (!keel_lua_json_encode(L, -1, true, &why)) {
		keel_lua_refuse(err, name, why);
		return false;
	}
	lua_remove(L, -2);
	json->data = lua_tolstring(L, -1, &json->size);
	KEEL_LUA_PUSHED(L, top, 0);
	return true;
}

bool keel_lua_option_json(lua_State *L, int argument, const char *name, struct keel_text *json, struct keel_error *err)
{
	*json = (struct keel_text){NULL, 0};
	if (keel_lua_option(L, argument, name, LUA_TTABLE) == LUA_TNIL)
		return true;
	return keel_lua_take_json(L, name, json, err);
}

/* json.encode(value): the JSON text of a value, names in byte order.
 * Parameters: value (nil, boolean, number, string, keel.null, or a table of these).
 * Returns a string. Fails with invalid_request (field "value") for what is not JSON-able: functions, cycles, numbers
 * that are not finite, text that is not UTF-8, tables with both list items and names, nesting beyond 200. */
static int encode_value(lua_State *L)
{
	const char *why;
	luaL_checkany(L, 1);
	return keel_lua_json_encode(L, 1, true, &why) ? 1 : keel_lua_fail_field(L, "value", why);
}

void keel_lua_encode_open(lua_State *L)
{
	lua_getfield(L, -1, "json");
	lua_pushcfunction(L, encode_value);
	lua_setfield(L, -2, "encode");
	lua_pop(L, 1);
}
