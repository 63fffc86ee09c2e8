/* limit.c - limits by name, as methods of stores and transactions. */
#include "binding.h"

/* The value on the top, which may be null: then it is taken away. Returns whether it is given. [-0, +0, -] */
static bool is_given(lua_State *L, bool *takes_away)
{
	*takes_away = keel_lua_is_null(L, -1);
	return !lua_isnil(L, -1);
}

static bool read_max(lua_State *L, struct keel_limit_change *change, struct keel_error *err)
{
	bool null;
	int whole = 1;
	keel_lua_member(L, 3, "max");
	change->gives_max = is_given(L, &null);
	change->max = null || !change->gives_max ? -1 : lua_tointegerx(L, -1, &whole);
	bool is_sound = whole && (null || !change->gives_max || (lua_type(L, -1) == LUA_TNUMBER && change->max >= 0));
	lua_pop(L, 1);
	if (!is_sound)
		keel_lua_refuse(err, "max", "must be a whole number from 0 to 10000");
	return is_sound;
}

static bool read_per(lua_State *L, struct keel_limit_change *change, struct keel_error *err)
{
	bool null;
	keel_lua_member(L, 3, "per");
	change->gives_per = is_given(L, &null);
	change->per_us = -1;
	bool is_sound = null || !change->gives_per ||
					(lua_type(L, -1) == LUA_TNUMBER && keel_lua_duration(lua_tonumber(L, -1), &change->per_us) &&
					 change->per_us > 0);
	lua_pop(L, 1);
	if (!is_sound)
		keel_lua_refuse(err, "per", "must be a number of seconds greater than 0");
	return is_sound;
}

/* Pushes true. */
static int set_limit(lua_State *L, struct keel_store *store, struct keel_text name,
					 const struct keel_limit_change *change, struct keel_error *err)
{
	bool changed;
	if (keel_limit_set(store, name, change, &changed, err) != KEEL_OK)
		return -1;
	lua_pushboolean(L, true);
	return 1;
}

/* set_limit(name, { max, per, paused, reason }): changes what is set for a name; what is not given stays, null takes it
 * away. With `per` (seconds) it is a rate's. Returns true. Fails with invalid_request. */
static int op_set_limit(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"max", "per", "paused", "reason", NULL};
	struct keel_limit_change change = {0};
	bool null;
	struct keel_text name = keel_lua_check_text(L, 2, "name");
	keel_lua_check_type(L, 3, "limit", LUA_TTABLE);
	keel_lua_check_options(L, 3, known);
	if (!read_max(L, &change, err) || !read_per(L, &change, err))
		return -1;
	keel_lua_member(L, 3, "paused");
	change.gives_paused = is_given(L, &null);
	change.paused = lua_toboolean(L, -1) && !null;
	lua_pop(L, 1);
	keel_lua_member(L, 3, "reason");
	change.gives_reason = is_given(L, &null);
	lua_pop(L, 1);
	if (change.gives_reason && !null)
		change.reason = keel_lua_option_text(L, 3, "reason");
	return set_limit(L, store, name, &change, err);
}

/* pause(name, { reason }): nothing of a slot, a rate, thread:ID or * starts until it is resumed. Returns true. Fails
 * with invalid_request. */
static int op_pause(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"reason", NULL};
	struct keel_text name = keel_lua_check_text(L, 2, "name");
	keel_lua_check_options(L, 3, known);
	struct keel_limit_change change = {.gives_paused = true, .paused = true, .gives_reason = true};
	change.reason = keel_lua_option_text(L, 3, "reason");
	return set_limit(L, store, name, &change, err);
}

/* resume(name): ends a pause. Returns true. Fails with invalid_request. */
static int op_resume(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	struct keel_limit_change change = {.gives_paused = true, .gives_reason = true};
	return set_limit(L, store, keel_lua_check_text(L, 2, "name"), &change, err);
}

static int limits_gc(lua_State *L)
{
	keel_limits_clear(lua_touserdata(L, 1));
	return 0;
}

/* limits{ after, limit = 1000 }: what is set for names, and for those that runs in flight want: a list of { name, max,
 * per, paused, reason, holding, waiting }, by name, behind `after`. Fails with invalid_request, limit_too_large. */
static int op_limits(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"after", "limit", NULL};
	static const char metatable[] = "keel.limits";
	keel_lua_check_options(L, 2, known);
	struct keel_text after = keel_lua_option_text(L, 2, "after");
	int64_t most = keel_lua_option_integer(L, 2, "limit", KEEL_LIST_MAX);
	struct keel_limits *list = keel_lua_take(L, metatable, sizeof *list, limits_gc);
	int index = lua_gettop(L);
	if (keel_limit_list(store, after, most, list, err) != KEEL_OK)
		return -1;
	lua_createtable(L, (int)list->count, 0);
	for (size_t i = 0; i < list->count; i++) {
		const struct keel_limit *limit = &list->items[i];
		lua_createtable(L, 0, 7);
		keel_lua_set_text(L, "name", limit->name);
		if (limit->max >= 0)
			keel_lua_set_integer(L, "max", limit->max);
		if (limit->per_us >= 0) {
			keel_lua_push_seconds(L, limit->per_us);
			lua_setfield(L, -2, "per");
		}
		keel_lua_set_flag(L, "paused", limit->paused);
		keel_lua_set_text(L, "reason", limit->reason);
		keel_lua_set_integer(L, "holding", limit->holding);
		keel_lua_set_integer(L, "waiting", limit->waiting);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	keel_limits_clear(list);
	keel_lua_give_back(L, index, metatable);
	return 1;
}

const struct keel_lua_method keel_lua_limit_methods[] = {
	{"set_limit", op_set_limit, KEEL_LUA_WRITES},
	{"pause", op_pause, KEEL_LUA_WRITES},
	{"resume", op_resume, KEEL_LUA_WRITES},
	{"limits", op_limits, KEEL_LUA_READS},
	KEEL_LUA_METHODS_END,
};
