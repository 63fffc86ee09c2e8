/* values.c - values that cross between the host and a sandbox, as copies, without metamethods.
 *
 * What comes out is bounded in depth, number and bytes, and anything else is refused. What goes in comes from the host,
 * but there are documents in it that others wrote: the metadata of runs. A document over the bounds is left out, and
 * its name stands in the record's `omitted`; otherwise whoever attaches a large one could make every decision fail.
 */
#include "sandbox/sandbox.h"

#include <string.h>

const char KEEL_SANDBOX_NULL;

/* Which tables in the box are records of the host's lists. Nothing is collected during a call, so an address stays one
 * table's. */
struct record {
	const void *table;
	int argument, item;
};

/* --- In ---------------------------------------------------------------------------------------------------------- */

/* Whether the host's value at `index` is within bounds. Looked at before anything is copied: what does not fit is to
 * cost nothing of the script's bytes. On false something may be on the host's stack. */
static bool fits(const struct intake *in, int index, int depth, lua_Integer *nodes, lua_Integer *bytes)
{
	lua_State *L = in->host;
	if (--*nodes < 0)
		return false;
	switch (lua_type(L, index)) {
	case LUA_TNIL:
	case LUA_TBOOLEAN:
	case LUA_TNUMBER:
		return true;
	case LUA_TSTRING:
		*bytes -= (lua_Integer)lua_rawlen(L, index);
		return *bytes >= 0;
	case LUA_TUSERDATA:
		return lua_touserdata(L, index) == in->null;
	case LUA_TTABLE:
		break;
	default:
		return false;
	}
	if (depth >= SANDBOX_DEPTH_MAX || lua_rawlen(L, index) > (lua_Unsigned)*nodes)
		return false;
	for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
		int key = lua_gettop(L) - 1;
		if (lua_type(L, key) == LUA_TTABLE || !fits(in, key, depth, nodes, bytes) ||
			!fits(in, key + 1, depth + 1, nodes, bytes))
			return false;
	}
	return true;
}

/* Pushes a copy of the host's value at `index`, which fits. [-0, +1, e] */
static void copy_in(lua_State *S, const struct intake *in, int index)
{
	lua_State *L = in->host;
	size_t size;
	switch (lua_type(L, index)) {
	case LUA_TBOOLEAN:
		lua_pushboolean(S, lua_toboolean(L, index));
		return;
	case LUA_TNUMBER:
		if (lua_isinteger(L, index))
			lua_pushinteger(S, lua_tointeger(L, index));
		else
			lua_pushnumber(S, lua_tonumber(L, index));
		return;
	case LUA_TSTRING: {
		const char *text = lua_tolstring(L, index, &size);
		lua_pushlstring(S, text, size);
		return;
	}
	case LUA_TUSERDATA:
		lua_pushlightuserdata(S, (void *)(uintptr_t)&KEEL_SANDBOX_NULL);
		return;
	case LUA_TTABLE:
		break;
	default:
		lua_pushnil(S);
		return;
	}
	luaL_checkstack(S, 4, NULL);
	lua_createtable(S, (int)lua_rawlen(L, index), lua_rawlen(L, index) == 0 ? 4 : 0);
	for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
		int key = lua_gettop(L) - 1;
		copy_in(S, in, key);
		copy_in(S, in, key + 1);
		lua_rawset(S, -3);
	}
}

static void push_list(lua_State *S, struct intake *in, int index, struct record *records, int argument);

static bool is_list_of_tables(lua_State *L, int index)
{
	if (lua_type(L, index) != LUA_TTABLE)
		return false;
	bool is = lua_rawgeti(L, index, 1) == LUA_TTABLE;
	lua_pop(L, 1);
	return is;
}

/* Adds a name to the list of what a record, the table under the value on the top, does not show. [-1, +0, e] */
static void omit(lua_State *S)
{
	if (lua_getfield(S, -2, "omitted") != LUA_TTABLE) {
		lua_pop(S, 1);
		lua_newtable(S);
		lua_pushvalue(S, -1);
		lua_setfield(S, -4, "omitted");
	}
	lua_insert(S, -2);
	lua_rawseti(S, -2, (lua_Integer)lua_rawlen(S, -2) + 1);
	lua_pop(S, 1);
}

/* A field that is a document, or a long text. [-0, +0, e], the record on the top and its key in the host below. */
static void push_document(lua_State *S, struct intake *in, int key)
{
	lua_Integer nodes = in->nodes < SANDBOX_NODES_MAX ? in->nodes : SANDBOX_NODES_MAX;
	lua_Integer bytes = in->bytes < SANDBOX_TEXT_MAX ? in->bytes : SANDBOX_TEXT_MAX;
	lua_Integer nodes_before = nodes, bytes_before = bytes;
	int host = lua_gettop(in->host);
	size_t size;
	const char *name = lua_tolstring(in->host, key, &size);
	lua_pushlstring(S, name, size);
	if (!fits(in, key + 1, 0, &nodes, &bytes)) {
		lua_settop(in->host, host);
		omit(S);
		return;
	}
	copy_in(S, in, key + 1);
	lua_rawset(S, -3);
	in->nodes -= nodes_before - nodes;
	in->bytes -= bytes_before - bytes;
}

/* A record: its fields, each within bounds of its own. `level` 0: a list of tables in it is a list of records. */
static void push_record(lua_State *S, struct intake *in, int index, int level)
{
	enum { SHORT = 512 }; /* bytes of a text that nobody counts */
	lua_State *L = in->host;
	int fields = 0;
	lua_createtable(S, 0, in->fields); /* as many as the last one had, most likely */
	for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
		int key = lua_gettop(L) - 1;
		size_t size;
		if (lua_type(L, key) != LUA_TSTRING)
			continue; /* a record has names */
		fields++;
		const char *name = lua_tolstring(L, key, &size);
		int type = lua_type(L, key + 1);
		bool listed = type == LUA_TTABLE && level == 0 && is_list_of_tables(L, key + 1);
		if (!listed && (type == LUA_TTABLE || type > LUA_TTABLE || type == LUA_TLIGHTUSERDATA ||
						(type == LUA_TSTRING && lua_rawlen(L, key + 1) > SHORT))) {
			push_document(S, in, key);
			continue;
		}
		lua_pushlstring(S, name, size);
		if (listed) {
			push_list(S, in, key + 1, NULL, 0);
		} else if (type == LUA_TSTRING) {
			const char *text = lua_tolstring(L, key + 1, &size);
			lua_pushlstring(S, text, size);
		} else {
			copy_in(S, in, key + 1);
		}
		lua_rawset(S, -3);
	}
	in->fields = fields;
}

static void push_list(lua_State *S, struct intake *in, int index, struct record *records, int argument)
{
	lua_State *L = in->host;
	lua_Integer count = (lua_Integer)lua_rawlen(L, index);
	luaL_checkstack(S, 8, NULL);
	lua_createtable(S, (int)count, 0);
	for (lua_Integer i = 1; i <= count; i++) {
		if (lua_rawgeti(L, index, i) == LUA_TTABLE) {
			push_record(S, in, lua_gettop(L), 1);
			if (records)
				records[in->shown++] = (struct record){lua_topointer(S, -1), argument, (int)i};
			lua_rawseti(S, -2, i);
		}
		lua_pop(L, 1);
	}
}

void keel_sandbox_push_arguments(lua_State *S, struct intake *in)
{
	lua_State *L = in->host;
	size_t count = 0;
	in->nodes = SANDBOX_INTAKE_NODES;
	in->bytes = SANDBOX_INTAKE_TEXT;
	in->shown = 0;
	in->fields = 16;
	luaL_checkstack(S, in->last - in->first + 16, NULL);
	for (int i = in->first; i <= in->last; i++)
		if (is_list_of_tables(L, i))
			count += lua_rawlen(L, i);
	struct record *records = lua_newuserdatauv(S, (count + 1) * sizeof *records, 0);
	for (int i = in->first; i <= in->last; i++) {
		if (is_list_of_tables(L, i)) {
			push_list(S, in, i, records, i);
		} else if (lua_type(L, i) == LUA_TTABLE) {
			push_record(S, in, i, 0);
		} else {
			lua_Integer nodes = 1, bytes = SANDBOX_TEXT_MAX;
			if (!fits(in, i, 0, &nodes, &bytes))
				luaL_error(S, "argument %d cannot be shown to the script", i - in->first + 1);
			copy_in(S, in, i);
		}
	}
}

/* --- Out --------------------------------------------------------------------------------------------------------- */

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
	lua_State *L = out->host, *S = out->box;
	size_t size;
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
