/* wants.c - slots and rates of runs: Lua tables, and the texts that the kernel keeps. Uses: value, error. */
#include "binding.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An entry of the list that a field is: field[place]. */
struct entry {
	const char *field;
	int place;
	bool is_rate;
};

/* Pops the entry; what is wrong with it goes into *err. */
static bool refuse(lua_State *L, int top, const struct entry *entry, const char *why, struct keel_error *err)
{
	char text[128];
	snprintf(text, sizeof text, "is refused: %s[%d]%s", entry->field, entry->place, why);
	keel_lua_refuse(err, entry->field, text);
	lua_settop(L, top);
	return false;
}

/* Pushes a number of the table at an index as a text with a space behind it, "-" for none. False: it is no such number,
 * and nothing was pushed. [-0, +(0|1), m] */
static bool push_number(lua_State *L, int table, const char *name, bool is_time)
{
	char digits[32] = "- ";
	int type = keel_lua_member(L, table, name), is_sound = type == LUA_TNIL;
	int64_t number = 0;
	if (type == LUA_TNUMBER && is_time)
		is_sound = keel_lua_duration(lua_tonumber(L, -1), &number);
	else if (type == LUA_TNUMBER)
		number = lua_tointegerx(L, -1, &is_sound);
	if (type == LUA_TNUMBER)
		snprintf(digits, sizeof digits, "%lld ", (long long)number);
	lua_pop(L, 1);
	if (is_sound)
		lua_pushstring(L, digits);
	return is_sound;
}

/* How many of the names that an entry may have it has. */
static int count_known(lua_State *L, int table, bool is_rate)
{
	static const char *const names[] = {"name", "max", "per"};
	int known = 0;
	for (int i = 0; i < (is_rate ? 3 : 2); i++) {
		known += keel_lua_member(L, table, names[i]) != LUA_TNIL;
		lua_pop(L, 1);
	}
	return known;
}

static lua_Integer count_members(lua_State *L, int table)
{
	lua_Integer count = 0;
	for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1))
		count++;
	return count;
}

/* Takes the entry on the top, and pushes its line. False, with *err, and nothing pushed. [-1, +(0|1), m] */
static bool push_line(lua_State *L, const struct entry *entry, struct keel_error *err)
{
	int table = lua_gettop(L);
	size_t size = 0;
	if (lua_type(L, table) != LUA_TTABLE)
		return refuse(L, table - 1, entry, " must be a table", err);
	if (count_members(L, table) != count_known(L, table, entry->is_rate))
		return refuse(L, table - 1, entry, entry->is_rate ? " has name, max and per" : " has name and max", err);
	if (!push_number(L, table, "max", false))
		return refuse(L, table - 1, entry, ".max must be a whole number", err);
	if (entry->is_rate && !push_number(L, table, "per", true))
		return refuse(L, table - 1, entry, ".per must be a number of seconds greater than 0", err);
	const char *name = keel_lua_member(L, table, "name") == LUA_TSTRING ? lua_tolstring(L, -1, &size) : NULL;
	if (!name || size == 0)
		return refuse(L, table - 1, entry, ".name must be given, as a text", err);
	if (memchr(name, '\n', size))
		return refuse(L, table - 1, entry, ".name has a control character", err);
	lua_concat(L, lua_gettop(L) - table);
	lua_remove(L, table);
	return true;
}

/* Makes a text of the list on the top, a line for each entry, `most` of them: one more is refused by the kernel. `push`
 * makes a line of the entry on the top. False, with *err, and the list is left. */
static bool join(lua_State *L, const struct entry *first, lua_Integer most,
				 bool (*push)(lua_State *L, const struct entry *entry, struct keel_error *err), struct keel_error *err)
{
	struct entry entry = *first;
	int list = lua_gettop(L);
	lua_Integer count = (lua_Integer)lua_rawlen(L, list);
	if (count > most)
		count = most + 1;
	luaL_checkstack(L, 2 * (int)most + 16, first->field);
	if (count <= most && !lua_isnil(L, list) && count_members(L, list) != count) {
		keel_lua_refuse(err, first->field, "must be a list without holes");
		return false;
	}
	for (entry.place = 1; entry.place <= count; entry.place++) {
		if (entry.place > 1)
			lua_pushliteral(L, "\n");
		lua_rawgeti(L, list, entry.place);
		if (!push(L, &entry, err)) {
			lua_settop(L, list);
			return false;
		}
	}
	lua_concat(L, lua_gettop(L) - list);
	return true;
}

bool keel_lua_join_wants(lua_State *L, bool is_rate, const char *field, struct keel_error *err)
{
	return join(L, &(struct entry){field, 0, is_rate}, KEEL_WANTS_MAX, push_line, err);
}

/* check_wants(list, field): whether a list is one of slots, or of rates, that a run can be made with. Returns true.
 * Fails with invalid_request (field). Raises for a field that is neither. */
int keel_lua_check_wants(lua_State *L)
{
	struct keel_error err;
	keel_lua_check_type(L, 1, "list", LUA_TTABLE);
	const char *field = luaL_checkstring(L, 2);
	bool is_rate = strcmp(field, "rates") == 0;
	luaL_argcheck(L, is_rate || strcmp(field, "slots") == 0, 2, "must be slots or rates");
	lua_settop(L, 2);
	lua_pushvalue(L, 1);
	if (!keel_lua_join_wants(L, is_rate, field, &err))
		return keel_lua_fail(L, &err);
	size_t size;
	const char *text = lua_tolstring(L, -1, &size);
	/* An empty list is none, as it is for a row. */
	if (size > 0 && keel_wants_check((struct keel_text){text, size}, is_rate, field, &err) != KEEL_OK)
		return keel_lua_fail(L, &err);
	lua_pushboolean(L, 1);
	return 1;
}

/* Takes a number and the space behind it off a line. */
static int64_t take_number(const char **line)
{
	char *end;
	int64_t number = strtoll(*line, &end, 10);
	*line = *end == ' ' ? end + 1 : end;
	return number;
}

void keel_lua_push_wants(lua_State *L, struct keel_text text, bool is_rate)
{
	int top = lua_gettop(L);
	struct keel_text line;
	lua_newtable(L);
	for (lua_Integer i = 1; (line = keel_lua_take_line(&text)).data; i++) {
		const char *at = line.data, *over = line.data + line.size;
		lua_createtable(L, 0, is_rate ? 3 : 2);
		keel_lua_set_integer(L, "max", take_number(&at));
		if (is_rate) {
			keel_lua_push_seconds(L, take_number(&at));
			lua_setfield(L, -2, "per");
		}
		if (at < over)
			keel_lua_set_text(L, "name", (struct keel_text){at, (size_t)(over - at)});
		lua_rawseti(L, -2, i);
	}
	KEEL_LUA_PUSHED(L, top, 1);
}

/* --- after ------------------------------------------------------------------------------------------------------- */

/* Takes the source on the top, and pushes its line. False, with *err, and nothing pushed. [-1, +(0|1), m] */
static bool push_source(lua_State *L, const struct entry *entry, struct keel_error *err)
{
	int table = lua_gettop(L);
	const char *on = NULL, *id;
	size_t size = 0;
	if (lua_type(L, table) == LUA_TSTRING) {
		lua_createtable(L, 0, 1);
		lua_insert(L, table);
		lua_setfield(L, table, "run_id");
	}
	if (lua_type(L, table) != LUA_TTABLE)
		return refuse(L, table - 1, entry, " must be an id or a table", err);
	bool is_batch = keel_lua_member(L, table, "batch_id") != LUA_TNIL;
	int both = is_batch + (keel_lua_member(L, table, "run_id") != LUA_TNIL);
	int type = keel_lua_member(L, table, "on");
	if (both != 1 || count_members(L, table) != both + (type != LUA_TNIL))
		return refuse(L, table - 1, entry, " has run_id or batch_id, and on", err);
	on = type == LUA_TNIL ? (is_batch ? "final" : "success") : type == LUA_TSTRING ? lua_tostring(L, -1) : "";
	if (strcmp(on, "final") != 0 && strcmp(on, "success") != 0)
		return refuse(L, table - 1, entry, ".on must be 'success' or 'final'", err);
	id = lua_type(L, is_batch ? -3 : -2) == LUA_TSTRING ? lua_tolstring(L, is_batch ? -3 : -2, &size) : NULL;
	if (!id || size == 0 || memchr(id, '\n', size))
		return refuse(L, table - 1, entry, is_batch ? ".batch_id must be an id" : ".run_id must be an id", err);
	lua_pushfstring(L, "%s %s ", on, is_batch ? "batch" : "run");
	lua_pushlstring(L, id, size);
	lua_concat(L, 2);
	lua_replace(L, table);
	lua_settop(L, table);
	return true;
}

bool keel_lua_join_after(lua_State *L, const char *field, struct keel_error *err)
{
	return join(L, &(struct entry){.field = field}, KEEL_AFTER_MAX, push_source, err);
}

void keel_lua_push_after(lua_State *L, struct keel_text text)
{
	int top = lua_gettop(L);
	struct keel_text line;
	lua_newtable(L);
	for (lua_Integer i = 1; (line = keel_lua_take_line(&text)).data; i++) {
		const char *over = line.data + line.size, *kind = memchr(line.data, ' ', line.size);
		const char *id = kind ? memchr(kind + 1, ' ', (size_t)(over - kind - 1)) : NULL;
		lua_createtable(L, 0, 2);
		if (id) {
			keel_lua_set_text(L, "on", (struct keel_text){line.data, (size_t)(kind - line.data)});
			keel_lua_set_text(L, kind[1] == 'b' ? "batch_id" : "run_id",
							  (struct keel_text){id + 1, (size_t)(over - id - 1)});
		}
		lua_rawseti(L, -2, i);
	}
	KEEL_LUA_PUSHED(L, top, 1);
}
