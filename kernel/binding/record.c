/* record.c - run records from Lua, and what Lua is told of their fields. Uses: encode, value. */
#include "binding.h"

#include <stdio.h>
#include <string.h>

/* --- Records from Lua -------------------------------------------------------------------------------------------- */

static int wrong_type(lua_State *L, int argument, const char *name, const char *expected)
{
	bool number = lua_type(L, -1) == LUA_TNUMBER && strcmp(expected, "whole number") == 0;
	const char *got = luaL_typename(L, -1);
	if (number) {
		keel_lua_push_number_text(L, -1, -1);
		got = lua_tostring(L, -1);
	}
	return luaL_argerror(L, argument, lua_pushfstring(L, "field '%s' must be a %s, got %s", name, expected, got));
}

/* Pushes the ids of the list on the top, one a line; or nothing, when an item is no id. [-0, +(0|1), m] */
static bool join_ids(lua_State *L)
{
	int list = lua_gettop(L);
	lua_Integer count = (lua_Integer)lua_rawlen(L, list);
	for (lua_Integer i = 1; i <= count; i++) {
		size_t size;
		const char *id = lua_rawgeti(L, list, i) == LUA_TSTRING ? lua_tolstring(L, -1, &size) : NULL;
		bool good = id && size > 0 && !memchr(id, '\n', size);
		lua_pop(L, 1); /* the list keeps it */
		if (!good)
			return false;
	}
	luaL_Buffer joined;
	luaL_buffinit(L, &joined);
	for (lua_Integer i = 1; i <= count; i++) {
		if (i > 1)
			luaL_addchar(&joined, '\n');
		lua_rawgeti(L, list, i);
		luaL_addvalue(&joined);
	}
	luaL_pushresult(&joined);
	return true;
}

/* Reads the value on the top into a field. JSON text is pushed above it and has to stay. False: invalid. */
static bool read_value(lua_State *L, int argument, enum keel_run_field field, struct keel_store *store,
					   struct keel_run *run, struct keel_error *err)
{
	const char *name = keel_run_field_name(field), *why;
	struct keel_text *text = keel_run_text(run, field);
	int64_t *number = keel_run_number(run, field);
	enum keel_run_status status;
	int whole = 1;
	switch (keel_run_field_type(field)) {
	case KEEL_TYPE_ID:
	case KEEL_TYPE_TEXT:
	case KEEL_TYPE_WORD:
		if (lua_type(L, -1) != LUA_TSTRING)
			wrong_type(L, argument, name, "string");
		text->data = lua_tolstring(L, -1, &text->size);
		return true;
	case KEEL_TYPE_JSON:
		if (lua_type(L, -1) != LUA_TTABLE)
			wrong_type(L, argument, name, "table");
		/* fall through */
	case KEEL_TYPE_VALUE:
		/* A filter compares the worker by its text. */
		if (!keel_lua_json_encode(L, -1, field == KEEL_RUN_FIELD_WORKER_REF, &why)) {
			keel_lua_refuse(err, name, why);
			return false;
		}
		text->data = lua_tolstring(L, -1, &text->size);
		keel_run_set_add(&run->sound, field);
		return true;
	case KEEL_TYPE_IDS:
		if (lua_type(L, -1) != LUA_TTABLE)
			wrong_type(L, argument, name, "table");
		if (!join_ids(L)) {
			keel_lua_refuse(err, name, "must be a list of ids");
			return false;
		}
		text->data = lua_tolstring(L, -1, &text->size);
		if (text->size == 0)
			keel_run_set_remove(&run->valued, field);
		return true;
	case KEEL_TYPE_AFTER:
		if (lua_type(L, -1) != LUA_TTABLE)
			wrong_type(L, argument, name, "table");
		if (!keel_lua_join_after(L, name, err))
			return false;
		text->data = lua_tolstring(L, -1, &text->size);
		if (text->size == 0)
			keel_run_set_remove(&run->valued, field);
		return true;
	case KEEL_TYPE_SLOTS:
	case KEEL_TYPE_RATES:
		if (lua_type(L, -1) != LUA_TTABLE)
			wrong_type(L, argument, name, "table");
		if (!keel_lua_join_wants(L, keel_run_field_type(field) == KEEL_TYPE_RATES, name, err))
			return false;
		text->data = lua_tolstring(L, -1, &text->size);
		if (text->size == 0)
			keel_run_set_remove(&run->valued, field);
		return true;
	case KEEL_TYPE_STATUS:
		if (lua_type(L, -1) != LUA_TSTRING)
			wrong_type(L, argument, name, "string");
		if (!keel_run_status_find((struct keel_text){lua_tostring(L, -1), lua_rawlen(L, -1)}, &status)) {
			keel_lua_refuse(err, name, "must be one of: pending, running, success, error, timeout, interrupted");
			return false;
		}
		*number = status;
		return true;
	case KEEL_TYPE_INT:
	case KEEL_TYPE_COUNT:
		*number = lua_type(L, -1) == LUA_TNUMBER ? lua_tointegerx(L, -1, &whole) : (whole = 0);
		if (!whole)
			wrong_type(L, argument, name, "whole number");
		return true;
	case KEEL_TYPE_TIME:
		if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER)
			wrong_type(L, argument, name, "time");
		why = keel_lua_read_time(L, -1, store, number);
		if (why)
			keel_lua_refuse(err, name, why);
		return !why;
	case KEEL_TYPE_SPAN:
		if (lua_type(L, -1) != LUA_TNUMBER)
			wrong_type(L, argument, name, "number");
		if (!keel_lua_duration(lua_tonumber(L, -1), number)) {
			keel_lua_refuse(err, name, "must be a number of seconds, at least 0");
			return false;
		}
		return true;
	case KEEL_TYPE_FLAG:
		if (lua_type(L, -1) != LUA_TBOOLEAN)
			wrong_type(L, argument, name, "boolean");
		*number = lua_toboolean(L, -1);
		return true;
	}
	return true;
}

/* Raises about the key at `key`. */
static void unknown_field(lua_State *L, int argument, int key, keel_run_set may)
{
	struct keel_lua_guess guess;
	const char *name = luaL_tolstring(L, key, NULL);
	keel_lua_guess_start(&guess, name);
	for (int i = 0; i < KEEL_RUN_FIELD_COUNT; i++)
		if (keel_run_set_has(may, (enum keel_run_field)i))
			keel_lua_guess_try(&guess, keel_run_field_name((enum keel_run_field)i));
	luaL_argerror(L, argument, lua_pushfstring(L, "unknown field '%s'%s", name, keel_lua_guess_text(L, &guess)));
}

bool keel_lua_read_record(lua_State *L, int argument, struct keel_store *store, keel_run_set may, struct keel_run *run,
						  struct keel_error *err)
{
	keel_lua_check_type(L, argument, "fields", LUA_TTABLE);
	lua_getfield(L, LUA_REGISTRYINDEX, KEEL_LUA_FIELD_NAMES);
	int names = lua_gettop(L);
	lua_pushnil(L);
	while (lua_next(L, argument)) {
		int key = lua_gettop(L) - 1;
		lua_pushvalue(L, key);
		lua_rawget(L, names);
		lua_Integer number = lua_type(L, key) == LUA_TSTRING ? lua_tointeger(L, -1) - 1 : -1;
		lua_pop(L, 1);
		enum keel_run_field field = (enum keel_run_field)number;
		if (number < 0 || !keel_run_set_has(may, field))
			unknown_field(L, argument, key, may);
		keel_run_set_add(&run->given, field);
		if (keel_lua_is_null(L, -1)) {
			lua_pop(L, 1);
			continue;
		}
		keel_run_set_add(&run->valued, field);
		if (!read_value(L, argument, field, store, run, err))
			return false;
		if (lua_gettop(L) == key + 1) {
			lua_pop(L, 1); /* the table keeps it */
		} else {
			/* value and text: the text goes below the key, to stay */
			luaL_checkstack(L, 4, "too many fields");
			lua_insert(L, key);
			lua_pop(L, 1);
		}
	}
	return true;
}

/* --- What Lua is told of fields --------------------------------------------------------------------------------- */

/* The Lua type a field wants, for checks that name an argument before anything is called. */
static const char *lua_type_of(enum keel_field_type type)
{
	switch (type) {
	case KEEL_TYPE_JSON:
	case KEEL_TYPE_IDS:
	case KEEL_TYPE_SLOTS:
	case KEEL_TYPE_RATES:
	case KEEL_TYPE_AFTER:
		return "table";
	case KEEL_TYPE_INT:
	case KEEL_TYPE_COUNT:
		return "integer";
	case KEEL_TYPE_SPAN:
		return "number";
	case KEEL_TYPE_FLAG:
		return "boolean";
	case KEEL_TYPE_VALUE:
		return "any";
	case KEEL_TYPE_TIME:
		return "time";
	default:
		return "string";
	}
}

void keel_lua_run_open(lua_State *L)
{
	lua_createtable(L, KEEL_RUN_FIELD_COUNT, KEEL_RUN_FIELD_COUNT);
	for (int i = 0; i < KEEL_RUN_FIELD_COUNT; i++) {
		const char *name = keel_run_field_name((enum keel_run_field)i);
		lua_pushstring(L, name);
		lua_rawseti(L, -2, i + 1);
		lua_pushinteger(L, i + 1);
		lua_setfield(L, -2, name);
	}
	lua_setfield(L, LUA_REGISTRYINDEX, KEEL_LUA_FIELD_NAMES);
	lua_createtable(L, 0, KEEL_RUN_FIELD_COUNT);
	for (int i = 0; i < KEEL_RUN_FIELD_COUNT; i++) {
		lua_pushstring(L, lua_type_of(keel_run_field_type((enum keel_run_field)i)));
		lua_setfield(L, -2, keel_run_field_name((enum keel_run_field)i));
	}
	lua_setfield(L, -2, "run_fields");
	static const char *const givers[] = {
		[KEEL_GIVEN_BY_CALLER] = "caller", [KEEL_GIVEN_BY_OWNER] = "owner", [KEEL_GIVEN_BY_STORE] = "store"};
	lua_createtable(L, 0, KEEL_RUN_FIELD_COUNT);
	for (int i = 0; i < KEEL_RUN_FIELD_COUNT; i++) {
		lua_pushstring(L, givers[keel_run_field_giver((enum keel_run_field)i)]);
		lua_setfield(L, -2, keel_run_field_name((enum keel_run_field)i));
	}
	lua_setfield(L, -2, "run_givers");
	lua_newtable(L);
	for (int i = 0; i < KEEL_RUN_STATUS_COUNT; i++)
		if (keel_run_status_is_final((enum keel_run_status)i)) {
			lua_pushboolean(L, true);
			lua_setfield(L, -2, keel_run_status_name((enum keel_run_status)i));
		}
	lua_setfield(L, -2, "final");
	lua_pushliteral(L, KEEL_MACHINE_PREFIX);
	lua_setfield(L, -2, "machine_prefix");
}
