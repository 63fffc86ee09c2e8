/* outlet.c - values that come out of a sandbox, as copies, without metamethods: bounded in depth, number and bytes, and
 * anything else is refused. Uses: limits.
 */
#include "sandbox/box.h"

struct outlet {
	lua_State *host, *box;
	const struct record *records;
	lua_Integer count, next; /* records; the one after the last that was found: lists come back in order */
	lua_Integer nodes, bytes;
	const char *why;
};

static bool refuse(struct outlet *out, const char *why)
{
	out->why = why;
	return false;
}

static const struct record *record_of(struct outlet *out, const void *table)
{
	for (lua_Integer i = 0; i < out->count; i++) {
		const struct record *record = &out->records[(out->next + i) % out->count];
		if (record->table == table) {
			out->next = (out->next + i + 1) % out->count;
			return record;
		}
	}
	return NULL;
}

static bool copy_out(struct outlet *out, int index, int depth);

static bool copy_table(struct outlet *out, int index, int depth)
{
	lua_State *L = out->host, *S = out->box;
	if (depth >= SANDBOX_DEPTH_MAX)
		return refuse(out, "is nested more than 8 deep, or holds itself");
	lua_newtable(L);
	for (lua_pushnil(S); lua_next(S, index); lua_pop(S, 1)) {
		int key = lua_gettop(S) - 1, type = lua_type(S, key);
		if (type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TBOOLEAN)
			return refuse(out, "has a key that is neither a text, a number nor a boolean");
		if (!copy_out(out, key, depth) || !copy_out(out, key + 1, depth + 1))
			return false;
		lua_rawset(L, -3);
	}
	return true;
}

static bool copy_out(struct outlet *out, int index, int depth)
{
	enum { UNSEEN = 32 }; /* values between two looks at the clock: each takes microseconds when keys collide */
	lua_State *L = out->host, *S = out->box;
	size_t size;
	if (out->nodes % UNSEEN == 0 && keel_sandbox_is_late(keel_sandbox_of(S), 0))
		return refuse(out, "takes too long to copy");
	if (--out->nodes < 0)
		return refuse(out, "has more than 2000 values");
	switch (lua_type(S, index)) {
	case LUA_TNIL:
		lua_pushnil(L);
		return true;
	case LUA_TBOOLEAN:
		lua_pushboolean(L, lua_toboolean(S, index));
		return true;
	case LUA_TNUMBER:
		if (lua_isinteger(S, index))
			lua_pushinteger(L, lua_tointeger(S, index));
		else
			lua_pushnumber(L, lua_tonumber(S, index));
		return true;
	case LUA_TSTRING: {
		const char *text = lua_tolstring(S, index, &size);
		out->bytes -= (lua_Integer)size;
		if (out->bytes < 0)
			return refuse(out, "has more than 64 KiB of text");
		lua_pushlstring(L, text, size);
		return true;
	}
	case LUA_TLIGHTUSERDATA:
		keel_lua_push_null(L);
		return true;
	case LUA_TTABLE: {
		const struct record *record = record_of(out, lua_topointer(S, index));
		if (!record)
			return copy_table(out, index, depth);
		lua_rawgeti(L, record->argument, record->item);
		return true;
	}
	case LUA_TFUNCTION:
		return refuse(out, "has a function");
	default:
		return refuse(out, "has a value that cannot leave the sandbox");
	}
}

bool keel_sandbox_push_result(lua_State *L, lua_State *S, int index, int remembered, const struct intake *in,
							  const char **why)
{
	struct outlet out = {L, S, lua_touserdata(S, remembered), in->shown, 0, SANDBOX_NODES_MAX, SANDBOX_TEXT_MAX, NULL};
	luaL_checkstack(L, 4 * SANDBOX_DEPTH_MAX, NULL);
	if (!lua_checkstack(S, 4 * SANDBOX_DEPTH_MAX)) {
		*why = "does not fit in its memory";
		return false;
	}
	bool done = copy_out(&out, index, 0);
	*why = out.why;
	return done;
}
