/* limits.c - the budget of a call: what is left of it, and stopping a script that has spent it. box.h says how. */
#include "sandbox/box.h"

#include "base/monotonic.h"

static const char STOPPED; /* its address is what a stop raises: nothing has to be allocated for it */

static const lua_Integer INSTRUCTIONS_MAX = LUA_MAXINTEGER / 2; /* so that one more is a number still */

enum {
	GROWTHS_UNSEEN = 32, /* allocations between two looks at the clock; large ones always look */
	GROWTH_SEEN = 512,   /* bytes that make one large */
	WORK_UNSEEN = 10000, /* charged instructions between two looks */
	FREED_PER_NS = 32,   /* bytes */
	COMPARED_NS = 10,    /* to compare a byte of two texts, at worst */
	STEP_WEIGHT = 100,   /* instructions that a step through a table counts for there */
	STATE_ROOM = 1 << 20 /* bytes for the state and the chunk, beside the budget of a call */
};

struct sandbox *keel_sandbox_of(lua_State *S)
{
	return *(struct sandbox **)lua_getextraspace(S);
}

void keel_sandbox_begin(struct sandbox *box, lua_Integer instructions, lua_Number seconds, lua_Number bytes)
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
	box->deadline_ns = keel_monotonic_ns() + (int64_t)((seconds < 1e6 ? seconds : 1e6) * 1e9);
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

int keel_sandbox_raise(lua_State *S)
{
	lua_pushlightuserdata(S, (void *)(uintptr_t)&STOPPED);
	return lua_error(S);
}

int keel_sandbox_stop(lua_State *S, const char *limit)
{
	keel_sandbox_trip(keel_sandbox_of(S), limit);
	return keel_sandbox_raise(S);
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
		keel_sandbox_raise(S);
	if (box->left < box->pace)
		look_in(box, box->left + 1);
}

bool keel_sandbox_is_late(const struct sandbox *box, int64_t needed_ns)
{
	/* Texts of zero bytes are compared one by one; and memory must be given back. */
	int64_t reserve = (int64_t)box->longest * COMPARED_NS;
	reserve = (reserve > needed_ns ? reserve : needed_ns) + (int64_t)(box->used / FREED_PER_NS);
	return keel_monotonic_ns() + (reserve < box->reserve_max_ns ? reserve : box->reserve_max_ns) > box->deadline_ns;
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
		keel_sandbox_raise(S);
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

void keel_sandbox_watch(struct sandbox *box)
{
	look_in(box, box->left + 1);
}

int keel_sandbox_note_line(lua_State *S)
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
