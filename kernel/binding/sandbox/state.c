/* state.c - the state of a box: made with the chunk in it, called, and put back as it was. Uses: limits, memory, seed,
 * environment, intake.
 *
 * The host's state and the box's never raise through each other: inside the box everything runs under lua_pcall and
 * reads the host with functions that do not raise.
 */
#include "sandbox/box.h"

#include <string.h>

#include "base/monotonic.h"

enum {
	READ_SIZE = 512, /* bytes of source given to the parser between two looks at the clock */
	CHUNK = 1        /* where the chunk is on the box's stack */
};

struct source {
	struct sandbox *box;
	const char *name, *whole;
	size_t whole_size;
	const char *data; /* what is left of it */
	size_t size;
};

static const char *read_source(lua_State *S, void *data, size_t *size)
{
	struct source *source = data;
	(void)S;
	if (keel_monotonic_ns() > source->box->deadline_ns)
		keel_sandbox_trip(source->box, "seconds");
	*size = source->box->exceeded ? 0 : source->size < READ_SIZE ? source->size : READ_SIZE;
	const char *part = source->data;
	source->data += *size;
	source->size -= *size;
	return part;
}

/* Makes the environment the state's globals, and loads the chunk. Protected; returns the chunk. */
static int prepare(lua_State *S)
{
	struct source *source = lua_touserdata(S, 1);
	enum { NODES = 4 };
	lua_createtable(S, 0, NODES);
	source->box->node_size = source->box->vector / NODES;
	keel_sandbox_push_environment(S);
	lua_rawseti(S, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS); /* what chunks get as _ENV */
	if (lua_load(S, read_source, source, source->name, "t") != LUA_OK)
		return lua_error(S);
	if (source->box->exceeded) /* what was read may be half of it, and yet a chunk */
		return keel_sandbox_raise(S);
	return 1;
}

/* Raises unless the table at an index has nothing but what a strategy's has, of the right types. */
static void check_members(lua_State *S, int table)
{
	for (lua_pushnil(S); lua_next(S, table); lua_pop(S, 1)) {
		const char *name = lua_type(S, -2) == LUA_TSTRING ? lua_tostring(S, -2) : "?";
		bool is_function = strcmp(name, "decide") == 0 || strcmp(name, "reads") == 0;
		if (!is_function && strcmp(name, "idle") != 0)
			luaL_error(S, "the script returns a table with the unknown field '%s': it has decide, and reads or idle",
					   name);
		if (lua_type(S, -1) != (is_function ? LUA_TFUNCTION : LUA_TTABLE))
			luaL_error(S, "%s of what the script returns must be a %s, not a %s", name,
					   is_function ? "function" : "table", luaL_typename(S, -1));
	}
}

/* What the chunk returned, on the top: a function, or a table with `decide`. Pushes what of it is called; of PART_NONE
 * a table: whether it `reads`, and its decision when `idle`. */
static void push_part(lua_State *S, enum part part)
{
	int given = lua_gettop(S), type = lua_type(S, given);
	if (type != LUA_TFUNCTION && type != LUA_TTABLE)
		luaL_error(S, "the script must return a function or a table, not a %s", luaL_typename(S, given));
	if (part == PART_NONE)
		lua_newtable(S);
	if (type == LUA_TFUNCTION) {
		if (part != PART_NONE)
			lua_pushvalue(S, given);
		return;
	}
	check_members(S, given);
	if (lua_getfield(S, given, "decide") == LUA_TNIL)
		luaL_error(S, "the script must return a function, or a table with the function decide");
	bool reads = lua_getfield(S, given, "reads") != LUA_TNIL, idle = lua_getfield(S, given, "idle") != LUA_TNIL;
	if (reads && idle)
		luaL_error(S, "the script returns a table with reads and idle: a strategy has one of them");
	if (part != PART_NONE) {
		lua_pushvalue(S, part == PART_READS ? given + 2 : given + 1);
		return;
	}
	lua_setfield(S, given + 1, "idle");
	lua_pushboolean(S, reads);
	lua_setfield(S, given + 1, "reads");
	lua_settop(S, given + 1);
}

/* Runs the chunk, and the part that is called of what it returned on copies of the host's values. Protected; gets the
 * chunk and the intake. Returns what remembers the records, and the result. */
static int run(lua_State *S)
{
	struct intake *in = lua_touserdata(S, 2);
	lua_pushvalue(S, 1);
	lua_call(S, 0, 1);
	push_part(S, in->part);
	int part = lua_gettop(S);
	keel_sandbox_push_arguments(S, in);
	if (in->part == PART_NONE) {
		lua_pushvalue(S, part);
		return 2;
	}
	lua_pushvalue(S, part);
	lua_insert(S, part + 2); /* above what remembers the records */
	lua_call(S, lua_gettop(S) - part - 2, 1);
	return 2;
}

/* A seed for the hashes of a script's state: the same for the same text. FNV-1a. */
static unsigned seed_of(const struct source *source)
{
	uint32_t hash = 2166136261;
	for (size_t i = 0; i < source->whole_size; i++)
		hash = (hash ^ (unsigned char)source->whole[i]) * 16777619;
	return hash;
}

/* Makes the state, with the chunk in it. The error, if any, is on the box's stack then. */
static int make(struct sandbox *box, struct source *source)
{
	box->seed.value = seed_of(source);
	if (!keel_seed_find(&box->seed)) {
		keel_sandbox_trip(box, "seed");
		return LUA_ERRRUN;
	}
	lua_State *S = lua_newstate(keel_sandbox_allocate, box);
	if (!S) {
		keel_sandbox_trip(box, "memory");
		return LUA_ERRMEM;
	}
	box->S = S;
	*(struct sandbox **)lua_getextraspace(S) = box;
	lua_gc(S, LUA_GCSTOP); /* what a call allocates is counted whole, and freed after it */
	keel_sandbox_watch(box);
	lua_pushcfunction(S, prepare);
	lua_pushlightuserdata(S, source);
	box->running = true;
	int status = lua_pcall(S, 1, 1, 0);
	box->running = false;
	if (status != LUA_OK || box->exceeded)
		return status;
	if (!keel_sandbox_keep(box)) {
		keel_sandbox_trip(box, "memory");
		return LUA_ERRMEM;
	}
	box->base = box->peak = box->used;
	box->limit = box->used + box->bytes;
	return LUA_OK;
}

/* Makes the state, if there is none, and runs the chunk in it. The result, if any, is on the box's stack then. */
static int enter(lua_State *L, struct sandbox *box, const char *name, struct intake *in)
{
	if (!box->image) {
		struct source source = {.box = box, .name = name};
		lua_getiuservalue(L, 1, 1);
		source.data = source.whole = lua_tolstring(L, -1, &source.size);
		source.whole_size = source.size;
		lua_pop(L, 1); /* the box keeps it */
		int status = make(box, &source);
		if (status != LUA_OK || box->exceeded)
			return status;
	}
	lua_State *S = box->S;
	keel_sandbox_watch(box);
	lua_pushcfunction(S, keel_sandbox_note_line);
	lua_pushcfunction(S, run);
	lua_pushvalue(S, CHUNK);
	lua_pushlightuserdata(S, in);
	box->running = true;
	int status = lua_pcall(S, 2, 2, CHUNK + 1);
	box->running = false;
	return status;
}

/* The same in the C locale, on which comparisons of texts and the point of numbers depend. */
int keel_sandbox_enter(lua_State *L, struct sandbox *box, const char *name, struct intake *in)
{
	if (!box->locale)
		box->locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	if (!box->locale) {
		keel_sandbox_trip(box, "memory");
		return LUA_ERRMEM;
	}
	locale_t hosts = uselocale(box->locale);
	int status = enter(L, box, name, in);
	uselocale(hosts);
	return status;
}

/* After a call: all is as before it. What failed while the script was loaded has left nothing worth keeping. */
void keel_sandbox_leave(struct sandbox *box)
{
	box->entered = false;
	if (box->image)
		keel_sandbox_restore(box);
	else
		keel_sandbox_drop(box);
}
