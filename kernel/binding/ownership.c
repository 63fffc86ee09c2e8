/* ownership.c - who works on a run, as methods of stores and transactions: the gate, claiming, settling, taking it. */
#include "binding.h"

#include <string.h>

void keel_lua_push_gate(lua_State *L, const struct keel_gate_state *state)
{
	int top = lua_gettop(L);
	lua_createtable(L, 0, 4);
	keel_lua_set_word(L, "gate", keel_gate_name(state->gate));
	if (state->run_id[0])
		keel_lua_set_word(L, "run_id", state->run_id);
	if (state->name[0])
		keel_lua_set_word(L, "name", state->name);
	if (state->gate == KEEL_GATE_RATE && state->until != INT64_MAX)
		keel_lua_set_time(L, "free_at", state->until);
	if (state->gate == KEEL_GATE_DELAY)
		keel_lua_set_time(L, "scheduled_at", state->until);
	if (state->position > 0)
		keel_lua_set_integer(L, "position", state->position);
	KEEL_LUA_PUSHED(L, top, 1);
}

/* gate(run_id): what keeps a pending run from starting: { gate, run_id, name, scheduled_at, free_at, position }, gate
 * "open" for one that may start; nil when there is no such run. */
static int op_gate(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	struct keel_gate_state state;
	bool found;
	if (keel_run_gate(store, keel_lua_check_text(L, 2, "run_id"), &found, &state, err) != KEEL_OK)
		return -1;
	if (found)
		keel_lua_push_gate(L, &state);
	else
		lua_pushnil(L);
	return 1;
}

/* reasons(run_id): all that keeps a pending run from starting, in the order of the gate: a list as of gate, without
 * positions, empty for one that may start; nil when there is no such run. At most 300. */
static int op_reasons(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	struct keel_gate_state *list = lua_newuserdatauv(L, KEEL_REASONS_MAX * sizeof *list, 0);
	size_t count;
	bool found;
	if (keel_run_reasons(store, keel_lua_check_text(L, 2, "run_id"), &found, list, &count, err) != KEEL_OK)
		return -1;
	if (!found) {
		lua_pushnil(L);
		return 1;
	}
	lua_createtable(L, (int)count, 0);
	for (size_t i = 0; i < count; i++) {
		list[i].position = 0;
		keel_lua_push_gate(L, &list[i]);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	return 1;
}

/* Reads an option that is a list of texts into a block that is left on the stack. Returns NULL when it is not given;
 * more than `most` are refused by the kernel, unread. [-0, +1, e] */
static const struct keel_text *read_texts(lua_State *L, const char *name, size_t most, size_t *size)
{
	*size = 0;
	if (keel_lua_option(L, 2, name, LUA_TTABLE) == LUA_TNIL)
		return NULL;
	int list = lua_gettop(L);
	size_t count = lua_rawlen(L, list);
	size_t room = count <= most ? count : 0;
	struct keel_text *texts = lua_newuserdatauv(L, room * sizeof *texts + 1, 0);
	for (size_t i = 0; i < room; i++) {
		if (lua_rawgeti(L, list, (lua_Integer)i + 1) != LUA_TSTRING)
			luaL_argerror(L, 2, lua_pushfstring(L, "option '%s' must be a list of strings", name));
		texts[i].data = lua_tolstring(L, -1, &texts[i].size);
		lua_pop(L, 1); /* the list keeps it */
	}
	*size = count;
	return texts;
}

/* claim_next{ threads, handlers, limit = 1000, lease_ttl }: takes the best claimable run whose gate is open: highest
 * priority, then longest there. It is then running, owned by this session. Parameters: threads (a list of ids; nil:
 * every thread; an empty one: none), handlers (names, "default" for runs without one; nil: any; an empty list: none),
 * limit (blocked lines that are looked at, 1 to 1000), lease_ttl (as above).
 * Returns the run, or nil when there is none. Fails with invalid_request and limit_too_large. */
static int op_claim_next(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"threads", "handlers", "limit", "lease_ttl", NULL};
	struct keel_claim claim = {0};
	keel_lua_check_options(L, 2, known);
	claim.limit = keel_lua_option_integer(L, 2, "limit", KEEL_LIST_MAX);
	if (!keel_lua_option_duration(L, 2, "lease_ttl", &claim.lease_us, err))
		return -1;
	claim.threads = read_texts(L, "threads", KEEL_LIST_MAX, &claim.threads_count);
	claim.handlers = read_texts(L, "handlers", KEEL_CLAIM_HANDLERS_MAX, &claim.handlers_count);
	if ((claim.threads && claim.threads_count == 0) || (claim.handlers && claim.handlers_count == 0)) {
		lua_pushnil(L);
		return 1;
	}
	struct keel_runs *list = keel_lua_new_runs(L);
	if (keel_run_claim_next(store, &claim, list, err) != KEEL_OK)
		return -1;
	return keel_lua_push_run(L, list);
}

/* requeue(run_id, { fence, delay = 0, error, attempt = true }): gives a run back, pending and claimable, with one
 * attempt more if it had started, unless attempt is false: it was no try then. Returns true and what was written
 * (status error when max_attempts are used up, interrupted when it was asked to stop); false when there is no such row.
 * Fails with invalid_request, invalid_transition and stale_owner. */
static int op_requeue(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"fence", "delay", "error", "attempt", NULL};
	struct keel_requeue requeue = {0};
	struct keel_run written;
	bool found;
	struct keel_text run_id = keel_lua_check_text(L, 2, "run_id");
	keel_lua_check_options(L, 3, known);
	requeue.fence = keel_lua_option_integer(L, 3, "fence", 0);
	requeue.error = keel_lua_option_text(L, 3, "error");
	requeue.keep_attempt = keel_lua_option(L, 3, "attempt", LUA_TBOOLEAN) == LUA_TBOOLEAN && !lua_toboolean(L, -1);
	lua_pop(L, 1);
	if (!keel_lua_option_duration(L, 3, "delay", &requeue.delay_us, err))
		return -1;
	if (keel_run_requeue(store, run_id, &requeue, &found, &written, err) != KEEL_OK)
		return -1;
	return keel_lua_push_written(L, found, &written);
}

/* settle(run_id, { fence, settle_timeout }): ends the finalizing of a run. Parameters: fence (the owner's; nil: whoever
 * asks), settle_timeout (seconds: only if its owner is gone or has had the run longer since it ended; nil: it is the
 * owner who asks). Returns whether it was finalizing and now is not. Fails with invalid_request and stale_owner. */
static int op_settle(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"fence", "settle_timeout", NULL};
	struct keel_settle settle = {0};
	bool settled;
	struct keel_text run_id = keel_lua_check_text(L, 2, "run_id");
	keel_lua_check_options(L, 3, known);
	settle.fence = keel_lua_option_integer(L, 3, "fence", 0);
	settle.abandoned = keel_lua_option(L, 3, "settle_timeout", LUA_TNUMBER) != LUA_TNIL;
	if (!keel_lua_option_duration(L, 3, "settle_timeout", &settle.settle_timeout_us, err))
		return -1;
	if (keel_run_settle(store, run_id, &settle, &settled, err) != KEEL_OK)
		return -1;
	lua_pushboolean(L, settled);
	return 1;
}

/* renew_runs(lease_ttl): renews the leases of all runs that this session has in flight; returns how many. Parameters:
 * lease_ttl (seconds, more than 0; nil: each for as long as it was last given). */
static int op_renew_runs(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	int64_t lease_us = 0, renewed;
	bool gives = !lua_isnoneornil(L, 2);
	if (gives)
		keel_lua_check_type(L, 2, "lease_ttl", LUA_TNUMBER);
	if (gives && (!keel_lua_duration(lua_tonumber(L, 2), &lease_us) || lease_us < 1))
		return keel_lua_refuse(err, "lease_ttl", "must be a number of seconds greater than 0");
	if (keel_run_renew(store, lease_us, &renewed, err) != KEEL_OK)
		return -1;
	lua_pushinteger(L, renewed);
	return 1;
}

/* lease_left(run_id): seconds that the lease of a run in flight has still to go unrenewed before this handle takes the
 * run for lost, 0 when it does; nil: it has no lease. Counts from the first look at it, by the monotonic clock. */
static int op_lease_left(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	int64_t left_us;
	if (keel_run_lease_left(store, keel_lua_check_text(L, 2, "run_id"), &left_us, err) != KEEL_OK)
		return -1;
	if (left_us == INT64_MAX)
		lua_pushnil(L);
	else
		lua_pushnumber(L, left_us > 0 ? (lua_Number)left_us / 1e6 : 0);
	return 1;
}

/* claim_for_takeover(run_id, { status = "error", error, error_code, stop_reason = "orphan_recovered",
 * cancel_action, requeue, delay, settle_timeout, reconciler, reconciler_version }): ends a run whose owner is gone;
 * with requeue = true gives it back, pending and claimable, with one loss more. Parameters: delay (seconds before it
 * can start again), settle_timeout (seconds: a run whose owner was asked to stop longer ago counts too), reconciler and
 * reconciler_version (who decided it, for the event). Returns true when it was an orphan and now is not, else false.
 */
static int op_claim_for_takeover(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"status",  "error", "error_code",     "stop_reason", "cancel_action",
										"requeue", "delay", "settle_timeout", "reconciler",  "reconciler_version",
										NULL};
	struct keel_takeover takeover = {.status = KEEL_RUN_ERROR};
	bool taken;
	struct keel_text run_id = keel_lua_check_text(L, 2, "run_id");
	keel_lua_check_options(L, 3, known);
	struct keel_text status = keel_lua_option_text(L, 3, "status");
	if (status.data && !keel_run_status_find(status, &takeover.status))
		return keel_lua_refuse(err, "status", "must be one of: success, error, timeout, interrupted");
	if (keel_lua_option_flag(L, 3, "requeue"))
		takeover.status = KEEL_RUN_PENDING;
	takeover.error = keel_lua_option_text(L, 3, "error");
	takeover.error_code = keel_lua_option_text(L, 3, "error_code");
	takeover.stop_reason = keel_lua_option_text(L, 3, "stop_reason");
	takeover.cancel_action = keel_lua_option_text(L, 3, "cancel_action");
	takeover.reconciler = keel_lua_option_text(L, 3, "reconciler");
	takeover.reconciler_version = keel_lua_option_text(L, 3, "reconciler_version");
	if (!keel_lua_option_duration(L, 3, "delay", &takeover.delay_us, err))
		return -1;
	takeover.unanswered = keel_lua_option(L, 3, "settle_timeout", LUA_TNUMBER) != LUA_TNIL;
	if (!keel_lua_option_duration(L, 3, "settle_timeout", &takeover.settle_timeout_us, err))
		return -1;
	if (keel_run_claim_for_takeover(store, run_id, &takeover, &taken, err) != KEEL_OK)
		return -1;
	lua_pushboolean(L, taken);
	return 1;
}

/* request_cancel(run_id, { action = "interrupt" }): asks the owner of an in-flight run to stop it. Returns the action
 * that won: the first one asked for, for ever. Fails with not_found, invalid_request, invalid_transition (it has
 * ended). */
static int op_request_cancel(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"action", NULL};
	const char *winner;
	struct keel_text run_id = keel_lua_check_text(L, 2, "run_id");
	keel_lua_check_options(L, 3, known);
	struct keel_text action = keel_lua_option_text(L, 3, "action");
	if (!action.data)
		action = (struct keel_text){"interrupt", strlen("interrupt")};
	if (keel_run_request_cancel(store, run_id, action, &winner, err) != KEEL_OK)
		return -1;
	lua_pushstring(L, winner);
	return 1;
}

const struct keel_lua_method keel_lua_ownership_methods[] = {
	{"claim_for_takeover", op_claim_for_takeover, KEEL_LUA_WRITES},
	{"request_cancel", op_request_cancel, KEEL_LUA_WRITES},
	{"reasons", op_reasons, KEEL_LUA_READS},
	{"gate", op_gate, KEEL_LUA_READS},
	{"claim_next", op_claim_next, KEEL_LUA_WRITES},
	{"requeue", op_requeue, KEEL_LUA_WRITES},
	{"settle", op_settle, KEEL_LUA_WRITES},
	{"renew_runs", op_renew_runs, KEEL_LUA_WRITES},
	{"lease_left", op_lease_left, KEEL_LUA_READS},
	KEEL_LUA_METHODS_END,
};
