/* sandbox.c - the box itself: its state, its hook, and calls into it. sandbox.h says how it holds.
 *
 * The host's state and the box's never raise through each other: inside the box everything runs under lua_pcall and
 * reads the host with functions that do not raise; the result is read out of the box without raising there.
 */
#include "sandbox/sandbox.h"

#include <string.h>

#include "clock.h"

static const char SANDBOX[] = "keel.sandbox";
static const char STOPPED; /* its address is what a stop raises: nothing has to be allocated for it */

static const lua_Integer INSTRUCTIONS_MAX = LUA_MAXINTEGER / 2; /* so that one more is a number still */

enum {
	GROWTHS_UNSEEN = 32,  /* allocations between two looks at the clock; large ones always look */
	GROWTH_SEEN = 512,    /* bytes that make one large */
	WORK_UNSEEN = 10000,  /* charged instructions between two looks */
	FREED_PER_NS = 32,    /* bytes */
	COMPARED_NS = 10,     /* to compare a byte of two texts, at worst */
	STEP_WEIGHT = 100,    /* instructions that a step through a table counts for there */
	CHUNK_NAME_SIZE = 48, /* Lua cuts names in messages at 60 */
	STATE_ROOM = 1 << 20, /* bytes for the state and the chunk, beside the budget of a call */
	READ_SIZE = 512,      /* bytes of source given to the parser between two looks at the clock */
	REASON_SIZE = 500,    /* bytes of a reason that leave the box */
	CHUNK = 1             /* where the chunk is on the box's stack */
};

struct sandbox *keel_sandbox_of(lua_State *S)
{
	return *(struct sandbox **)lua_getextraspace(S);
}

/* --- Stopping ---------------------------------------------------------------------------------------------------- */

/* The line of the innermost function that has one. Reads only, so it may be asked from the allocator: whatever
 * allocates has saved its place before, since it can raise. */
static int current_line(lua_State *S)
{
	lua_Debug ar;
	for (int level = 0; lua_getstack(S, level, &ar); level++)
		if (lua_getinfo(S, "l", &ar) && ar.currentline > 0)
			return ar.currentline;
	return 0;
}

static void hook(lua_State *S, lua_Debug *ar);

/* Looks after so many instructions, or as many as pass between two looks. */
static void look_in(struct sandbox *box, lua_Integer instructions)
{
	box->every = instructions < box->pace ? (int)instructions : box->pace;
	lua_sethook(box->S, hook, LUA_MASKCOUNT, box->every);
}

void keel_sandbox_trip(struct sandbox *box, const char *limit)
{
	if (box->exceeded)
		return;
	box->exceeded = limit;
	if (!box->S)
		return;
	box->line = current_line(box->S);
	look_in(box, 1);
}

static int stop(lua_State *S)
{
	lua_pushlightuserdata(S, (void *)(uintptr_t)&STOPPED);
	return lua_error(S);
}

int keel_sandbox_stop(lua_State *S, const char *limit)
{
	keel_sandbox_trip(keel_sandbox_of(S), limit);
	return stop(S);
}

static void hook(lua_State *S, lua_Debug *ar)
{
	struct sandbox *box = keel_sandbox_of(S);
	(void)ar;
	box->left -= box->every;
	if (box->left < 0)
		keel_sandbox_trip(box, "instructions");
	else if (keel_sandbox_is_late(box, 0))
		keel_sandbox_trip(box, "seconds");
	if (box->exceeded)
		stop(S);
	if (box->left < box->pace)
		look_in(box, box->left + 1);
}

bool keel_sandbox_is_late(const struct sandbox *box, int64_t needed_ns)
{
	/* Texts of zero bytes are compared one by one; and memory must be given back. */
	int64_t reserve = (int64_t)box->longest * COMPARED_NS;
	reserve = (reserve > needed_ns ? reserve : needed_ns) + (int64_t)(box->used / FREED_PER_NS);
	return keel_lua_monotonic_ns() + (reserve < box->reserve_max_ns ? reserve : box->reserve_max_ns) > box->deadline_ns;
}

void keel_sandbox_hasten(struct sandbox *box, int pace)
{
	if (box->pace <= pace)
		return;
	box->pace = pace;
	box->haste = SANDBOX_EVERY / pace;
	if (box->S && !box->exceeded)
		look_in(box, box->left + 1);
}

void keel_sandbox_look(struct sandbox *box, size_t bytes, int64_t needed_ns)
{
	if ((bytes >= GROWTH_SEEN || ++box->growths % GROWTHS_UNSEEN == 0) && keel_sandbox_is_late(box, needed_ns))
		keel_sandbox_trip(box, "seconds");
}

/* Takes instructions off the budget; `weight` is how long they may take, counted in instructions. */
static void charge(lua_State *S, lua_Integer instructions, lua_Integer weight)
{
	struct sandbox *box = keel_sandbox_of(S);
	box->left -= instructions;
	box->unseen += weight * box->haste;
	if (box->left < 0)
		keel_sandbox_trip(box, "instructions");
	if (box->unseen > WORK_UNSEEN) {
		box->unseen = 0;
		if (keel_sandbox_is_late(box, 0))
			keel_sandbox_trip(box, "seconds");
	}
	if (box->exceeded)
		stop(S);
}

void keel_sandbox_charge(lua_State *S, size_t instructions)
{
	lua_Integer most = instructions < (size_t)INSTRUCTIONS_MAX ? (lua_Integer)instructions : INSTRUCTIONS_MAX;
	charge(S, most, most < WORK_UNSEEN ? most : WORK_UNSEEN);
}

void keel_sandbox_step(lua_State *S)
{
	charge(S, 1, STEP_WEIGHT);
}

void keel_sandbox_check_time(lua_State *S)
{
	charge(S, 0, STEP_WEIGHT);
}

static void wait_for_one_more(lua_State *S, int weight)
{
	struct sandbox *box = keel_sandbox_of(S);
	if (box->calls + weight > SANDBOX_CALLS_MAX) {
		keel_sandbox_charge(S, 20); /* a message, a jump */
		luaL_error(S, "stack overflow (pcall, sort or gsub)");
	}
	box->calls += weight;
}

void keel_sandbox_call(lua_State *S, int arguments, int results, int weight)
{
	wait_for_one_more(S, weight);
	lua_call(S, arguments, results);
	keel_sandbox_of(S)->calls -= weight; /* after a raise, whoever caught it knows how many there were */
}

int keel_sandbox_pcall(lua_State *S, int arguments, int results)
{
	struct sandbox *box = keel_sandbox_of(S);
	int calls = box->calls;
	wait_for_one_more(S, 1);
	int status = lua_pcall(S, arguments, results, 0);
	box->calls = calls;
	return status;
}

/* Notes where an error comes from that nothing in the script catches, before the stack unwinds: one that C raises, in a
 * comparison of table.sort or for a nil that is gone through, does not say it. */
static int note_line(lua_State *S)
{
	struct sandbox *box = keel_sandbox_of(S);
	if (!box->exceeded)
		box->line = current_line(S);
	if (lua_type(S, 1) == LUA_TTABLE) { /* error { message = … } */
		lua_pushliteral(S, "message");
		if (lua_rawget(S, 1) == LUA_TSTRING)
			return 1;
		lua_settop(S, 1);
	}
	return 1;
}

/* --- The state --------------------------------------------------------------------------------------------------- */

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
	if (keel_lua_monotonic_ns() > source->box->deadline_ns)
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
		return stop(S);
	return 1;
}

/* --- Calling ----------------------------------------------------------------------------------------------------- */

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

static void start(struct sandbox *box, lua_Integer instructions, lua_Number seconds, lua_Number bytes)
{
	box->exceeded = NULL;
	box->line = 0;
	box->given = box->left = instructions < INSTRUCTIONS_MAX ? instructions : INSTRUCTIONS_MAX;
	box->unseen = 0;
	box->calls = 0;
	box->pace = SANDBOX_EVERY;
	box->haste = 1;
	box->bytes = bytes < 1e15 ? (size_t)bytes : (size_t)1e15;
	box->base = box->peak = box->used;
	box->limit = box->used + box->bytes + (box->image ? 0 : STATE_ROOM);
	box->longest = 0;
	box->raised = false;
	box->reserve_max_ns = (int64_t)((seconds < 1e6 ? seconds : 1e6) * 1e9 / 2);
	box->deadline_ns = keel_lua_monotonic_ns() + (int64_t)((seconds < 1e6 ? seconds : 1e6) * 1e9);
}

/* The chunk's name for Lua: what is in front of messages. "=" says that it is no file. */
static void chunk_name(lua_State *L, int box, char *name)
{
	size_t size;
	lua_getiuservalue(L, box, 2);
	const char *given = lua_tolstring(L, -1, &size);
	size = size < CHUNK_NAME_SIZE - 2 ? size : CHUNK_NAME_SIZE - 2;
	name[0] = '=';
	memcpy(name + 1, given, size);
	name[size + 1] = '\0';
	lua_pop(L, 1);
}

/* Pushes the line, if it is known, after what went wrong and the reason. Returns how many values these are. */
static int push_line(lua_State *L, lua_Integer line)
{
	if (line == 0)
		return 2;
	lua_pushinteger(L, line);
	return 3;
}

/* Pushes "failed", the reason and the line. A message of Lua's starts with the name of the chunk and the line. */
static int push_failure(lua_State *L, struct sandbox *box, const char *name)
{
	lua_State *S = box->S;
	size_t size, prefix = strlen(name + 1);
	lua_pushliteral(L, "failed");
	lua_Integer line = 0;
	if (lua_type(S, -1) != LUA_TSTRING) {
		lua_pushfstring(L, "it raised a %s", luaL_typename(S, -1));
		return push_line(L, box->line);
	}
	const char *text = lua_tolstring(S, -1, &size);
	if (size > prefix && memcmp(text, name + 1, prefix) == 0 && text[prefix] == ':') {
		size_t at = prefix + 1;
		while (at < size && text[at] >= '0' && text[at] <= '9' && line < 100000)
			line = line * 10 + (text[at++] - '0');
		if (line > 0 && at + 1 < size && text[at] == ':') {
			text += at + 2;
			size -= at + 2;
		} else {
			line = 0;
		}
	}
	if (size > REASON_SIZE)
		for (size = REASON_SIZE; size > REASON_SIZE - 4 && ((unsigned char)text[size] & 0xC0) == 0x80;)
			size--; /* not in the middle of a character */
	lua_pushlstring(L, text, size);
	return push_line(L, line > 0 ? line : box->line);
}

/* Pushes why the script was stopped: "budget", the limit, the line, and true when one block was too large; or
 * "memory". */
static int push_stop(lua_State *L, const struct sandbox *box)
{
	bool block = strcmp(box->exceeded, "block") == 0;
	if (strcmp(box->exceeded, "memory") == 0) {
		lua_pushliteral(L, "memory");
		return 1;
	}
	if (strcmp(box->exceeded, "seed") == 0) {
		lua_pushliteral(L, "failed");
		lua_pushliteral(L, "the hash seed of this Lua cannot be set");
		return 2;
	}
	lua_pushliteral(L, "budget");
	lua_pushstring(L, block ? "bytes" : box->exceeded);
	int count = push_line(L, box->line);
	if (!block)
		return count;
	lua_settop(L, lua_gettop(L) + 3 - count); /* nil for a line that is not known */
	lua_pushboolean(L, 1);
	return 4;
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
	look_in(box, box->left + 1);
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
	look_in(box, box->left + 1);
	lua_pushcfunction(S, note_line);
	lua_pushcfunction(S, run);
	lua_pushvalue(S, CHUNK);
	lua_pushlightuserdata(S, in);
	box->running = true;
	int status = lua_pcall(S, 2, in ? 2 : 0, CHUNK + 1);
	box->running = false;
	return status;
}

/* The same in the C locale, on which comparisons of texts and the point of numbers depend. */
static int enter_locale(lua_State *L, struct sandbox *box, const char *name, struct intake *in)
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
static void leave(struct sandbox *box)
{
	box->entered = false;
	if (box->image)
		keel_sandbox_restore(box);
	else
		keel_sandbox_drop(box);
}

/* The call itself. Protected: what it pushes in the host takes memory, so it can raise, and can make the host run
 * finalizers. Gets what sandbox_call gets, checked. */
static int call(lua_State *L, bool whole)
{
	struct sandbox *box = lua_touserdata(L, 1);
	char name[CHUNK_NAME_SIZE];
	chunk_name(L, 1, name);
	int top = lua_gettop(L);
	luaL_checkstack(L, 64, NULL); /* for reading arguments, which must not raise */
	keel_lua_push_null(L);
	struct intake in = {.host = L, .first = 5, .last = top, .null = lua_touserdata(L, -1)};
	lua_pop(L, 1);
	start(box, lua_tointeger(L, 2), lua_tonumber(L, 3), lua_tonumber(L, 4));
	/* A script writes and reads numbers as in every other process, whatever the locale of this one. */
	struct keel_lua_locale kept = keel_lua_locale_enter();
	int status = enter_locale(L, box, name, whole ? &in : NULL);
	keel_lua_locale_leave(kept);
	lua_settop(L, top);
	lua_pushboolean(L, 0);
	if (box->exceeded)
		return 1 + push_stop(L, box);
	if (status != LUA_OK)
		return 1 + push_failure(L, box, name);
	lua_settop(L, top);
	lua_pushboolean(L, 1);
	const char *why = NULL;
	bool given = !whole || keel_sandbox_push_result(L, box->S, lua_gettop(box->S), lua_gettop(box->S) - 1, &in, &why);
	if (keel_lua_monotonic_ns() > box->deadline_ns) /* the last instruction may have been long, or the copy */
		keel_sandbox_trip(box, "seconds");
	if (given && !box->exceeded)
		return whole ? 2 : 1;
	lua_settop(L, top);
	lua_pushboolean(L, 0);
	if (box->exceeded)
		return 1 + push_stop(L, box);
	lua_pushliteral(L, "failed");
	lua_pushfstring(L, "what it returned %s", why);
	return 3;
}

static int call_whole(lua_State *L)
{
	return call(L, true);
}

static int call_chunk(lua_State *L)
{
	return call(L, false);
}

/* Checks the arguments, and makes the call. The box is in use until the answer is in the host, and a finalizer that the
 * host runs meanwhile may ask it again: that is refused, as leaving it would put back the memory that is read. */
static int call_protected(lua_State *L, lua_CFunction function)
{
	struct sandbox *box = luaL_checkudata(L, 1, SANDBOX);
	lua_Integer instructions = luaL_checkinteger(L, 2);
	lua_Number seconds = luaL_checknumber(L, 3), bytes = luaL_checknumber(L, 4);
	luaL_argcheck(L, instructions >= 1, 2, "must be at least 1");
	luaL_argcheck(L, seconds > 0, 3, "must be more than 0");
	luaL_argcheck(L, bytes >= 1, 4, "must be at least 1");
	if (box->entered || !box->alloc) {
		lua_pushboolean(L, 0);
		lua_pushliteral(L, "failed");
		lua_pushstring(L, box->entered ? "it is being called already" : "its state is closed");
		return 3;
	}
	int arguments = lua_gettop(L);
	luaL_checkstack(L, arguments + 1, NULL);
	lua_pushcfunction(L, function);
	for (int i = 1; i <= arguments; i++)
		lua_pushvalue(L, i);
	box->entered = true;
	int status = lua_pcall(L, arguments, LUA_MULTRET, 0);
	leave(box);
	return status == LUA_OK ? lua_gettop(L) - arguments : lua_error(L);
}

/* box:call(instructions, seconds, bytes, ...): runs the chunk and what it returned, on copies of the arguments: a list
 * of tables is a list of records, another table a record. Raises for wrong types only.
 * Returns true and a copy of the result; or false and "failed", the reason, the line, if known; "budget", the limit
 * ("instructions", "bytes" or "seconds"), the line, if known, and true when the bytes would have been enough, but not
 * for one block; "memory": the host's is used up. */
static int sandbox_call(lua_State *L)
{
	return call_protected(L, call_whole);
}

/* box:check(instructions, seconds, bytes): runs the chunk only, and sees whether it returns a function.
 * Returns true, or what call returns. */
static int sandbox_check(lua_State *L)
{
	return call_protected(L, call_chunk);
}

/* box:usage(): what the last call used: instructions, as far as they were counted, and bytes at its peak. */
static int sandbox_usage(lua_State *L)
{
	struct sandbox *box = luaL_checkudata(L, 1, SANDBOX);
	lua_pushinteger(L, box->given - box->left);
	lua_pushinteger(L, (lua_Integer)(box->peak - box->base));
	return 2;
}

static int sandbox_gc(lua_State *L)
{
	struct sandbox *box = luaL_checkudata(L, 1, SANDBOX);
	if (box->entered) /* called by hand */
		return 0;
	keel_sandbox_drop(box);
	if (box->locale)
		freelocale(box->locale);
	box->locale = (locale_t)0;
	box->alloc = NULL; /* finalizers that run after this one may still have the box: nothing would free it again */
	return 0;
}

/* sandbox(source, name): a box for the chunk, which is looked at only when it is called. `name` stands in messages.
 * Raises for wrong types. Returns the box; or nil, why the source cannot be one, and the line, if it is in one. */
static int sandbox_new(lua_State *L)
{
	struct keel_text source = keel_lua_check_text(L, 1, "source");
	keel_lua_check_text(L, 2, "name");
	lua_settop(L, 2);
	const char *problem = NULL, *place = NULL;
	if (source.size > SANDBOX_SOURCE_MAX)
		problem = "the script has more than 16 KiB";
	else if (source.size > 0 && source.data[0] == LUA_SIGNATURE[0])
		problem = "the script is bytecode; only text is loaded";
	/* Lua 5.4.4 reads wild memory when it compiles some uses of a constant _ENV (CVE-2022-28805). No policy needs the
	 * name, and a name cannot be written in another way. */
	else if ((place = memmem(source.data, source.size, "_ENV", 4)))
		problem = "the script names _ENV";
	if (problem) {
		lua_Integer line = place != NULL;
		for (const char *at = source.data; place && at < place; at++)
			line += *at == '\n';
		lua_pushnil(L);
		lua_pushstring(L, problem);
		return push_line(L, line);
	}
	struct sandbox *box = lua_newuserdatauv(L, sizeof *box, 2);
	memset(box, 0, sizeof *box);
	luaL_setmetatable(L, SANDBOX);
	box->alloc = lua_getallocf(L, &box->alloc_data);
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, -2, 1);
	lua_pushvalue(L, 2);
	lua_setiuservalue(L, -2, 2);
	return 1;
}

void keel_lua_sandbox_open(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{"call", sandbox_call}, {"check", sandbox_check}, {"usage", sandbox_usage}, {NULL, NULL}};
	if (luaL_newmetatable(L, SANDBOX)) {
		luaL_newlib(L, methods);
		lua_setfield(L, -2, "__index");
		lua_pushcfunction(L, sandbox_gc);
		lua_setfield(L, -2, "__gc");
	}
	lua_pop(L, 1);
	lua_pushcfunction(L, sandbox_new);
	lua_setfield(L, -2, "sandbox");
}
