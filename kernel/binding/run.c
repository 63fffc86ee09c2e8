/* run.c - the operations on runs as methods of stores and transactions. */
#include "binding.h"

#include <string.h>

/* --- Rows -------------------------------------------------------------------------------------------------------- */

/* Reads what put and admit are given: run_id, fields, note. False: invalid. */
static bool read_new(lua_State *L, struct keel_store *store, struct keel_run *run, struct keel_text *note,
					 struct keel_error *err)
{
	const char *why;
	struct keel_text run_id = keel_lua_check_text(L, 2, "run_id");
	if (!lua_isnil(L, 4)) {
		keel_lua_check_type(L, 4, "note", LUA_TTABLE);
		if (!keel_lua_json_encode(L, 4, false, &why))
			return keel_lua_refuse(err, "note", why), false;
		note->data = lua_tolstring(L, -1, &note->size);
	}
	if (!keel_lua_read_record(L, 3, store, keel_run_set_all(), run, err))
		return false;
	if (KEEL_RUN_HAS(run, RUN_ID) &&
		(run->run_id.size != run_id.size || memcmp(run->run_id.data, run_id.data, run_id.size) != 0))
		return keel_lua_refuse(err, "run_id", "in the fields is another than the one given"), false;
	run->run_id = run_id;
	keel_run_set_add(&run->given, KEEL_RUN_FIELD_RUN_ID);
	keel_run_set_add(&run->valued, KEEL_RUN_FIELD_RUN_ID);
	return true;
}

/* put(run_id, fields, note): inserts the run, or merges the fields into its row.
 * Parameters: run_id (1 to 256 bytes), fields (a table of record fields; keel.null stores null), note (a table that
 * becomes the data of the event of a new run; nil: none). Raises for wrong types and unknown fields.
 * Returns true and what was written. Fails with invalid_request, limit_too_large, invalid_transition, stale_owner. */
static int op_put(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	struct keel_run run = {0}, written;
	struct keel_text note = {NULL, 0};
	if (!read_new(L, store, &run, &note, err))
		return -1;
	if (keel_run_put(store, &run, note, &written, err) != KEEL_OK)
		return -1;
	return keel_lua_push_written(L, true, &written);
}

/* admit(run_id, fields, note): the same of a new run, if its thread has nothing in flight and nothing finalizing.
 * Returns true and what was written; false when the thread is busy: then nothing has changed. */
static int op_admit(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	struct keel_run run = {0}, written;
	struct keel_text note = {NULL, 0};
	bool admitted;
	if (!read_new(L, store, &run, &note, err) || keel_run_admit(store, &run, note, &admitted, &written, err) != KEEL_OK)
		return -1;
	return keel_lua_push_written(L, admitted, &written);
}

/* get(run_id, { user_id }): the row, or nil; another user's row is nil too. Fails with invalid_request. */
static int op_get(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"user_id", NULL};
	struct keel_text run_id = keel_lua_check_text(L, 2, "run_id");
	keel_lua_check_options(L, 3, known);
	struct keel_runs *list = keel_lua_new_runs(L);
	if (keel_run_get(store, run_id, keel_lua_option_text(L, 3, "user_id"), list, err) != KEEL_OK)
		return -1;
	return keel_lua_push_run(L, list);
}

/* get_document(run_id, name, max_bytes): one document of a run: "metadata", "kwargs", "token_usage_by_model" or
 * "result". Parameters: max_bytes (nil: however long it is). Returns its value, or nil when there is none or it is
 * longer; nil; and its size in bytes. Fails with invalid_request. */
static int op_get_document(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	struct keel_text run_id = keel_lua_check_text(L, 2, "run_id"), name = keel_lua_check_text(L, 3, "name");
	int64_t size, max_bytes = lua_isnil(L, 4) ? INT64_MAX : keel_lua_check_integer(L, 4, "max_bytes");
	enum keel_run_field field = KEEL_RUN_FIELD_RUN_ID;
	for (int i = 0; i < KEEL_RUN_FIELD_COUNT; i++)
		if (keel_text_is(name, keel_run_field_name((enum keel_run_field)i)))
			field = (enum keel_run_field)i;
	if (!keel_run_set_has(KEEL_RUN_DOCUMENTS, field))
		return keel_lua_refuse(err, "name", "must be one of: metadata, kwargs, token_usage_by_model, result");
	struct keel_runs *list = keel_lua_new_runs(L);
	if (keel_run_get_document(store, run_id, field, max_bytes, list, &size, err) != KEEL_OK)
		return -1;
	keel_lua_push_run(L, list);
	if (lua_istable(L, -1))
		lua_getfield(L, -1, keel_run_field_name(field));
	lua_pushnil(L);
	lua_pushinteger(L, size);
	return 3;
}

/* delete(run_id): whether there was such a row. Its events stay. */
static int op_delete(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	bool deleted;
	if (keel_run_delete(store, keel_lua_check_text(L, 2, "run_id"), &deleted, err) != KEEL_OK)
		return -1;
	lua_pushboolean(L, deleted);
	return 1;
}

static bool read_status(lua_State *L, int argument, enum keel_run_status *status, struct keel_error *err)
{
	if (keel_run_status_find(keel_lua_check_text(L, argument, "status"), status))
		return true;
	keel_lua_refuse(err, "status", "must be one of: pending, running, success, error, timeout, interrupted");
	return false;
}

/* A table that says what is in the way. [-0, +1, m] */
static void push_gate(lua_State *L, const struct keel_gate_state *state)
{
	lua_createtable(L, 0, 4);
	lua_pushstring(L, keel_gate_name(state->gate));
	lua_setfield(L, -2, "gate");
	if (state->run_id[0]) {
		lua_pushstring(L, state->run_id);
		lua_setfield(L, -2, "run_id");
	}
	if (state->gate == KEEL_GATE_DELAY) {
		keel_lua_push_time(L, state->until);
		lua_setfield(L, -2, "scheduled_at");
	}
	if (state->position > 0) {
		lua_pushinteger(L, state->position);
		lua_setfield(L, -2, "position");
	}
}

/* Starts a run through the gate. */
static int start_gated(lua_State *L, struct keel_store *store, struct keel_text run_id, int64_t fence,
					   struct keel_error *err)
{
	struct keel_start start = {.fence = fence};
	struct keel_gate_state state;
	struct keel_run written;
	bool found;
	if (!keel_lua_option_duration(L, 4, "lease_ttl", &start.lease_us, err))
		return -1;
	if (keel_run_start(store, run_id, &start, &found, &state, &written, err) != KEEL_OK)
		return -1;
	int results = keel_lua_push_written(L, found, &written);
	if (state.gate == KEEL_GATE_OPEN)
		return results;
	push_gate(L, &state);
	return results + 1;
}

/* update_status(run_id, status, { error, stop_reason, fence, cancel_action, finalizing, gate, lease_ttl }): changes the
 * status. Parameters: fence (the owner's; nil: whoever asks), cancel_action ("interrupt" or "rollback"), finalizing
 * (true: its owner still has to settle it, if it was started through the gate), gate (true, with "running" only: starts
 * it only if the gate is open), lease_ttl (with gate: seconds within which the owner must renew; nil: never).
 * Returns true and what was written; false when there is no such row. With gate: true, nothing written and
 * { gate, run_id, scheduled_at } when the run has to wait; and what was written may have the status interrupted (it was
 * asked to stop) or timeout (its deadline has passed). Fails with invalid_request, invalid_transition, stale_owner
 * (with gate also for a run that is to be claimed). */
static int op_update_status(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"error",      "stop_reason", "fence",     "cancel_action",
										"finalizing", "gate",        "lease_ttl", NULL};
	struct keel_status_change change = {0};
	struct keel_run written;
	bool found;
	struct keel_text run_id = keel_lua_check_text(L, 2, "run_id");
	if (!read_status(L, 3, &change.status, err))
		return -1;
	keel_lua_check_options(L, 4, known);
	change.error = keel_lua_option_text(L, 4, "error");
	change.stop_reason = keel_lua_option_text(L, 4, "stop_reason");
	change.cancel_action = keel_lua_option_text(L, 4, "cancel_action");
	change.fence = keel_lua_option_integer(L, 4, "fence", 0);
	change.finalizing = keel_lua_option_flag(L, 4, "finalizing");
	if (keel_lua_option_flag(L, 4, "gate") && change.status != KEEL_RUN_RUNNING)
		return keel_lua_refuse(err, "gate", "is for starting a run");
	if (keel_lua_option_flag(L, 4, "gate"))
		return start_gated(L, store, run_id, change.fence, err);
	if (keel_run_update_status(store, run_id, &change, &found, &written, err) != KEEL_OK)
		return -1;
	return keel_lua_push_written(L, found, &written);
}

typedef enum keel_code (*write_fields)(struct keel_store *, struct keel_text, const struct keel_run *, bool *,
									   struct keel_run *, struct keel_error *);

static int write_with(lua_State *L, struct keel_store *store, keel_run_set may, write_fields write,
					  struct keel_error *err)
{
	struct keel_run fields = {0}, written;
	bool found;
	struct keel_text run_id = keel_lua_check_text(L, 2, "run_id");
	keel_run_set_add(&may, KEEL_RUN_FIELD_FENCE);
	if (!keel_lua_read_record(L, 3, store, may, &fields, err))
		return -1;
	if (write(store, run_id, &fields, &found, &written, err) != KEEL_OK)
		return -1;
	return keel_lua_push_written(L, found, &written);
}

/* update_run_completion(run_id, fields): writes counters and, unless the run has another final status, its outcome.
 * Parameters: fields { status, result, error, error_code, exit_code, stop_reason, the counters, progress,
 * token_usage_by_model, last_ai_message, first_human_message, model_name, fence }.
 * Returns true and what was written; false when there is no such row. Fails with invalid_request, stale_owner. */
static int op_complete(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	return write_with(L, store, KEEL_RUN_FIELDS(KEEL_RUN_COUNTERS, KEEL_RUN_OUTCOME), keel_run_complete, err);
}

/* update_run_progress(run_id, fields): writes counters while the run is running, else nothing. As above, without an
 * outcome. */
static int op_progress(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	return write_with(L, store, KEEL_RUN_FIELDS(KEEL_RUN_COUNTERS), keel_run_progress, err);
}

/* list_by_thread(thread_id, { user_id, limit = 100 }): the newest runs of a thread, newest first, equal times in
 * order of insertion. Fails with invalid_request and limit_too_large (1000). */
static int op_list_by_thread(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"user_id", "limit", NULL};
	struct keel_text thread_id = keel_lua_check_text(L, 2, "thread_id");
	keel_lua_check_options(L, 3, known);
	int64_t limit = keel_lua_option_integer(L, 3, "limit", KEEL_LIST_DEFAULT);
	struct keel_runs *list = keel_lua_new_runs(L);
	if (keel_run_list_by_thread(store, thread_id, keel_lua_option_text(L, 3, "user_id"), limit, list, err) != KEEL_OK)
		return -1;
	return keel_lua_push_runs(L, list);
}

/* list_inflight{ thread_id, before, session_id, limit = 100, after, active, finalizing, overdue, held_up, brief }:
 * pending and running runs, reservations among them, oldest first. Parameters: before (a time: created then or
 * earlier), after (a run id: go on behind it), active (true: instead what runs or is finalizing on the thread; only
 * thread_id and limit count), finalizing (true: the same, but only what is finalizing), overdue (true: of all threads
 * those whose deadline or lease has passed, and those without an owner that may not be claimed), held_up (true: the
 * claimable run that is next on each thread where a run is finalizing or was asked to stop). Fails with
 * invalid_request and limit_too_large (1000). */
static int op_list_inflight(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"thread_id",  "before",  "session_id", "limit", "after", "active",
										"finalizing", "overdue", "held_up",    "brief", NULL};
	struct keel_inflight_query query = {0};
	keel_lua_check_options(L, 2, known);
	query.thread_id = keel_lua_option_text(L, 2, "thread_id");
	query.after = keel_lua_option_text(L, 2, "after");
	query.session_id = keel_lua_option_integer(L, 2, "session_id", 0);
	if (query.session_id < 1 && keel_lua_option(L, 2, "session_id", LUA_TNUMBER) != LUA_TNIL)
		return keel_lua_refuse(err, "session_id", "must be at least 1");
	query.limit = keel_lua_option_integer(L, 2, "limit", KEEL_LIST_DEFAULT);
	query.active = keel_lua_option_flag(L, 2, "active");
	query.finalizing = keel_lua_option_flag(L, 2, "finalizing");
	query.overdue = keel_lua_option_flag(L, 2, "overdue");
	query.held_up = keel_lua_option_flag(L, 2, "held_up");
	query.brief = keel_lua_option_flag(L, 2, "brief");
	if (!keel_lua_option_time(L, 2, "before", store, &query.before, &query.bounded, err))
		return -1;
	struct keel_runs *list = keel_lua_new_runs(L);
	if (keel_run_list_inflight(store, &query, list, err) != KEEL_OK)
		return -1;
	return keel_lua_push_runs(L, list);
}

/* next_owner(after = 0): the lowest session above `after` that owns a run in flight; nil: there is none. */
static int op_next_owner(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	int64_t session_id, after = lua_isnoneornil(L, 2) ? 0 : keel_lua_check_integer(L, 2, "after");
	if (keel_run_next_owner(store, after, &session_id, err) != KEEL_OK)
		return -1;
	if (session_id)
		lua_pushinteger(L, session_id);
	else
		lua_pushnil(L);
	return 1;
}

/* count_inflight(thread_id): how many runs of the thread are pending or running. */
static int op_count_inflight(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	int64_t count;
	if (keel_run_count_inflight(store, keel_lua_check_text(L, 2, "thread_id"), &count, err) != KEEL_OK)
		return -1;
	lua_pushinteger(L, count);
	return 1;
}

/* claim_for_takeover(run_id, { status = "error", error, error_code, stop_reason = "orphan_recovered",
 * cancel_action, requeue, delay, patience, reconciler, reconciler_version }): ends a run whose owner is gone; with
 * requeue = true gives it back, pending and claimable, with one loss more. Parameters: delay (seconds before it can
 * start again), patience (seconds: a run whose owner was asked to stop longer ago counts too), reconciler and
 * reconciler_version (who decided it, for the event). Returns true when it was an orphan and now is not, else false.
 */
static int op_claim_for_takeover(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"status",  "error", "error_code", "stop_reason", "cancel_action",
										"requeue", "delay", "patience",   "reconciler",  "reconciler_version",
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
	takeover.overdue = keel_lua_option(L, 3, "patience", LUA_TNUMBER) != LUA_TNIL;
	if (!keel_lua_option_duration(L, 3, "patience", &takeover.patience_us, err))
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

/* --- Starting ---------------------------------------------------------------------------------------------------- */

/* gate(run_id): what keeps a pending run from starting: { gate, run_id, scheduled_at, position }, gate "open" for
 * one that may start; nil when there is no such run. */
static int op_gate(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	struct keel_gate_state state;
	bool found;
	if (keel_run_gate(store, keel_lua_check_text(L, 2, "run_id"), &found, &state, err) != KEEL_OK)
		return -1;
	if (found)
		push_gate(L, &state);
	else
		lua_pushnil(L);
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

/* --- The owner's ------------------------------------------------------------------------------------------------- */

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

/* settle(run_id, { fence, patience }): ends the finalizing of a run. Parameters: fence (the owner's; nil: whoever
 * asks), patience (seconds: only if its owner is gone or has had the run longer since it ended; nil: it is the
 * owner who asks). Returns whether it was finalizing and now is not. Fails with invalid_request and stale_owner. */
static int op_settle(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"fence", "patience", NULL};
	struct keel_settle settle = {0};
	bool settled;
	struct keel_text run_id = keel_lua_check_text(L, 2, "run_id");
	keel_lua_check_options(L, 3, known);
	settle.fence = keel_lua_option_integer(L, 3, "fence", 0);
	settle.abandoned = keel_lua_option(L, 3, "patience", LUA_TNUMBER) != LUA_TNIL;
	if (!keel_lua_option_duration(L, 3, "patience", &settle.timeout_us, err))
		return -1;
	if (keel_run_settle(store, run_id, &settle, &settled, err) != KEEL_OK)
		return -1;
	lua_pushboolean(L, settled);
	return 1;
}

/* renew_runs(lease_ttl): renews the leases of all runs that this session has in flight; returns how many. Parameters:
 * lease_ttl (seconds, more than 0). */
static int op_renew_runs(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	int64_t lease_us, renewed;
	keel_lua_check_type(L, 2, "lease_ttl", LUA_TNUMBER);
	if (!keel_lua_duration(lua_tonumber(L, 2), &lease_us))
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

/* find_by_key(idempotency_key, { user_id }): the newest run of that key and user whose key has not expired, or nil. */
static int op_find_by_key(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"user_id", NULL};
	struct keel_text key = keel_lua_check_text(L, 2, "idempotency_key");
	keel_lua_check_options(L, 3, known);
	struct keel_runs *list = keel_lua_new_runs(L);
	if (keel_run_find_by_key(store, key, keel_lua_option_text(L, 3, "user_id"), list, err) != KEEL_OK)
		return -1;
	return keel_lua_push_run(L, list);
}

/* list_dispatched{ batch_id, fingerprint, thread_id, after, limit = 100 }: the runs of machines, whatever their status,
 * in the order of insertion: of a batch; of one machine's thread with a fingerprint; or all. Parameters: after (a run
 * id: go on behind it), limit (1 to 1000). Fails with invalid_request, limit_too_large, and not_found for `after`. */
static int op_list_dispatched(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"batch_id", "fingerprint", "thread_id", "after", "limit", NULL};
	keel_lua_check_options(L, 2, known);
	struct keel_dispatch_query query = {.batch_id = keel_lua_option_text(L, 2, "batch_id"),
										.fingerprint = keel_lua_option_text(L, 2, "fingerprint"),
										.thread_id = keel_lua_option_text(L, 2, "thread_id"),
										.after = keel_lua_option_text(L, 2, "after"),
										.limit = keel_lua_option_integer(L, 2, "limit", KEEL_LIST_DEFAULT)};
	struct keel_runs *list = keel_lua_new_runs(L);
	if (keel_run_list_dispatched(store, &query, list, err) != KEEL_OK)
		return -1;
	return keel_lua_push_runs(L, list);
}

/* list_runs{ status, thread_id, user_id, after, limit = 100 }: the newest runs of the store, without reservations.
 * Parameters: after (a run id: go on behind it, with older ones), limit (1 to 1000).
 * Fails with invalid_request (status, thread_id, user_id, limit), limit_too_large, and not_found for `after`. */
static int op_list_runs(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"status", "thread_id", "user_id", "after", "limit", NULL};
	keel_lua_check_options(L, 2, known);
	struct keel_run_query query = {.thread_id = keel_lua_option_text(L, 2, "thread_id"),
								   .user_id = keel_lua_option_text(L, 2, "user_id"),
								   .after = keel_lua_option_text(L, 2, "after"),
								   .limit = keel_lua_option_integer(L, 2, "limit", KEEL_LIST_DEFAULT)};
	struct keel_text status = keel_lua_option_text(L, 2, "status");
	query.by_status = status.data != NULL;
	if (query.by_status && !keel_run_status_find(status, &query.status))
		return keel_lua_refuse(err, "status", "must be one of: pending, running, success, error, timeout, interrupted");
	struct keel_runs *list = keel_lua_new_runs(L);
	if (keel_run_list(store, &query, list, err) != KEEL_OK)
		return -1;
	return keel_lua_push_runs(L, list);
}

const struct keel_lua_method keel_lua_run_methods[] = {
	{"put", op_put, KEEL_LUA_WRITES},
	{"admit", op_admit, KEEL_LUA_WRITES},
	{"get", op_get, KEEL_LUA_READS},
	{"get_document", op_get_document, KEEL_LUA_READS},
	{"delete", op_delete, KEEL_LUA_WRITES},
	{"update_status", op_update_status, KEEL_LUA_WRITES},
	{"update_run_completion", op_complete, KEEL_LUA_WRITES},
	{"update_run_progress", op_progress, KEEL_LUA_WRITES},
	{"list_by_thread", op_list_by_thread, KEEL_LUA_READS},
	{"list_inflight", op_list_inflight, KEEL_LUA_READS},
	{"next_owner", op_next_owner, KEEL_LUA_READS},
	{"count_inflight", op_count_inflight, KEEL_LUA_READS},
	{"claim_for_takeover", op_claim_for_takeover, KEEL_LUA_WRITES},
	{"request_cancel", op_request_cancel, KEEL_LUA_WRITES},
	{"gate", op_gate, KEEL_LUA_READS},
	{"claim_next", op_claim_next, KEEL_LUA_WRITES},
	{"requeue", op_requeue, KEEL_LUA_WRITES},
	{"settle", op_settle, KEEL_LUA_WRITES},
	{"renew_runs", op_renew_runs, KEEL_LUA_WRITES},
	{"lease_left", op_lease_left, KEEL_LUA_READS},
	{"find_by_key", op_find_by_key, KEEL_LUA_READS},
	{"list_dispatched", op_list_dispatched, KEEL_LUA_READS},
	{"list_runs", op_list_runs, KEEL_LUA_READS},
	KEEL_LUA_METHODS_END,
};
