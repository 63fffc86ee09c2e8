/* state.c - the state of a box: made with the chunk in it, called, and put back as it was. Uses: limits, memory, seed,
 * environment, intake.
 *
 * The host's state and the box's never raise through each other: inside the box everything runs under lua_pcall and
 * reads the host with functions that do not raise.
 */
#include "sandbox/box.h"

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

/* Runs the chunk, and what it returned on copies of the host's values. Protected; gets the chunk and the intake, NULL
 * to try the chunk only. Returns what remembers the records, and the result. */
static int run(lua_State *S)
{
	struct intake *in = lua_touserdata(S, 2);
	lua_pushvalue(S, 1);
	lua_call(S, 0, 1);
	if (lua_type(S, -1) != LUA_TFUNCTION)
		return luaL_error(S, "the script must return a function, not a %s", luaL_typename(S, -1));
	if (!in)
		return 0;
	int function = lua_gettop(S);
	keel_sandbox_push_arguments(S, in);
	lua_pushvalue(S, function);
	lua_insert(S, function + 2); /* above what remembers the records */
	lua_call(S, lua_gettop(S) - function - 2, 1);
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
	int status = lua_pcall(S, 2, in ? 2 : 0, CHUNK + 1);
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
