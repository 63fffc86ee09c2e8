/* wait.c - wait_events: until there is something to read, through the host's `sleep` if it gave one.
 *
 * Without a `sleep` the kernel waits, and the thread with it. With one, nothing here blocks: a waiter of the kernel is
 * looked at between short sleeps, which may yield; the C function then goes on in a continuation.
 */
#include "binding.h"

#include "base/monotonic.h"

static const char WAITER[] = "keel.waiter";

/* Between two looks: short enough for an answer within milliseconds, growing so that an idle reader costs little. */
enum { STEP_FIRST_US = 1000, STEP_LAST_US = 5000 };

enum { STORE = 1, CURSOR, OPTIONS, SLEEP, HELD, TOP = HELD }; /* on the stack of a wait */

/* Userdata: ends the wait however it ends, also in a coroutine that is never resumed. */
struct waiting {
	struct keel_event_waiter *waiter;
	int64_t deadline; /* microseconds, monotonic; INT64_MAX: none */
	int64_t step_us;
};

static int waiting_gc(lua_State *L)
{
	struct waiting *self = lua_touserdata(L, 1);
	keel_event_waiter_close(self->waiter);
	self->waiter = NULL;
	return 0;
}

/* [-0, +1, -] */
static int finish(lua_State *L, struct waiting *self, bool ready)
{
	keel_event_waiter_close(self->waiter);
	self->waiter = NULL;
	keel_lua_give_back(L, HELD, WAITER);
	lua_pushboolean(L, ready);
	return 1;
}

/* Waits as without a `sleep`. */
static int block_until(lua_State *L, int64_t deadline)
{
	struct keel_error err;
	bool ready;
	int64_t next_event_id, left = INT64_MAX;
	struct keel_store *store = keel_lua_check_store(L, STORE);
	if (deadline < INT64_MAX)
		left = deadline > keel_monotonic_us() ? deadline - keel_monotonic_us() : 0;
	if (!keel_lua_read_cursor(L, store, &next_event_id, &err) ||
		keel_event_wait(store, next_event_id, left, &ready, &err) != KEEL_OK)
		return keel_lua_fail(L, &err);
	lua_pushboolean(L, ready);
	return 1;
}

static int go_on(lua_State *L, int status, lua_KContext context)
{
	(void)status, (void)context;
	for (;;) {
		struct keel_error err;
		bool ready;
		struct waiting *self = lua_touserdata(L, HELD);
		lua_settop(L, TOP);
		keel_lua_check_store(L, STORE); /* it may have been closed while this waited */
		enum keel_code code = keel_event_waiter_look(self->waiter, &ready, &err);
		if (ready)
			return finish(L, self, true);
		int64_t now = keel_monotonic_us(), left = self->deadline - now;
		if (code != KEEL_OK && (!err.transient || left <= 0)) {
			finish(L, self, false);
			return keel_lua_fail(L, &err);
		}
		if (left <= 0)
			return finish(L, self, false);
		lua_Number seconds = (lua_Number)(self->step_us < left ? self->step_us : left) / 1e6;
		lua_pushvalue(L, SLEEP);
		if (self->step_us < STEP_LAST_US)
			self->step_us += self->step_us / 4;
		enum keel_lua_wait how = keel_lua_slept_outside(L, STORE, seconds);
		if (how == KEEL_LUA_SLEPT)
			continue;
		if (how != KEEL_LUA_MAY_YIELD) {
			int64_t deadline = self->deadline;
			finish(L, self, false);
			return block_until(L, deadline);
		}
		lua_pushnumber(L, seconds);
		lua_callk(L, 1, 0, 0, go_on);
	}
}

/* store:wait_events(cursor, { timeout }): waits until read_events has something for the cursor.
 * Parameters: cursor (as in read_events), timeout (seconds; nil: no end).
 * Raises for wrong types and unknown options, and when the store is closed meanwhile.
 * Returns true when there is something to read, false when the time is over. Fails with invalid_request (cursor,
 * timeout; no timeout on a store in memory without a sleep), wrong_runtime for a cursor of another store, and busy
 * while a transaction of this handle is open. */
int keel_lua_wait_events(lua_State *L)
{
	static const char *const known[] = {"timeout", NULL};
	struct keel_error err;
	bool ready;
	int64_t next_event_id, timeout_us = INT64_MAX;
	struct keel_store *store = keel_lua_check_store(L, STORE);
	lua_settop(L, OPTIONS);
	keel_lua_check_options(L, OPTIONS, known);
	if (keel_lua_option(L, OPTIONS, "timeout", LUA_TNUMBER) != LUA_TNIL &&
		!keel_lua_duration(lua_tonumber(L, -1), &timeout_us))
		return keel_lua_fail_field(L, "timeout", "must be a number of seconds, at least 0");
	if (!keel_lua_read_cursor(L, store, &next_event_id, &err))
		return keel_lua_fail(L, &err);
	lua_settop(L, OPTIONS);
	bool sleeps = keel_lua_push_sleep(L, STORE) != LUA_TNIL;
	enum keel_code code = keel_event_wait(store, next_event_id, sleeps ? 0 : timeout_us, &ready, &err);
	bool passing = sleeps && code != KEEL_OK && err.transient && !keel_store_in_transaction(store);
	if (code != KEEL_OK && !passing)
		return keel_lua_fail(L, &err);
	if (ready || !sleeps || timeout_us == 0) {
		if (passing)
			return keel_lua_fail(L, &err);
		lua_pushboolean(L, ready);
		return 1;
	}
	struct waiting *self = keel_lua_take(L, WAITER, sizeof *self, waiting_gc);
	int64_t now = keel_monotonic_us();
	self->deadline = keel_later(now, timeout_us);
	self->step_us = STEP_FIRST_US;
	if (keel_event_waiter_open(store, next_event_id, &self->waiter, &err) != KEEL_OK)
		return keel_lua_fail(L, &err);
	return go_on(L, LUA_OK, 0);
}
