/* run.c - runs as rows: the operations that write and read one, as methods of stores and transactions. */
#include "binding.h"

#include <string.h>

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

/* Starts a run through the gate. Its third result is what is in the way; false: it has started, and its event may say
 * who can start now. */
static int start_gated(lua_State *L, struct keel_store *store, struct keel_text run_id, const struct keel_start *start,
					   struct keel_error *err)
{
	struct keel_gate_state state;
	struct keel_run written;
	bool found;
	if (keel_run_start(store, run_id, start, &found, &state, &written, err) != KEEL_OK)
		return -1;
	int results = keel_lua_push_written(L, found, &written);
	if (state.gate == KEEL_GATE_OPEN && !state.tells)
		return results;
	if (state.gate == KEEL_GATE_OPEN)
		lua_pushboolean(L, 0);
	else
		keel_lua_push_gate(L, &state);
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
	if (keel_lua_option_flag(L, 4, "gate")) {
		struct keel_start start = {.fence = change.fence};
		if (!keel_lua_option_duration(L, 4, "lease_ttl", &start.lease_us, err))
			return -1;
		return start_gated(L, store, run_id, &start, err);
	}
	if (keel_run_update_status(store, run_id, &change, &found, &written, err) != KEEL_OK)
		return -1;
	return keel_lua_push_written(L, found, &written);
}

/* start(run_id, fence, lease_ttl): what update_status does with "running" and gate = true, told without a table: each
 * run is started once, and making a table costs as much as reading the row. */
static int op_start(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	struct keel_text run_id = keel_lua_check_text(L, 2, "run_id");
	struct keel_start start = {.fence = lua_isnil(L, 3) ? 0 : keel_lua_check_integer(L, 3, "fence")};
	if (!lua_isnil(L, 4)) {
		keel_lua_check_type(L, 4, "lease_ttl", LUA_TNUMBER);
		if (!keel_lua_duration(lua_tonumber(L, 4), &start.lease_us))
			return keel_lua_refuse(err, "lease_ttl", "must be a number of seconds, at least 0");
	}
	return start_gated(L, store, run_id, &start, err);
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
	if (!lua_isnil(L, 4)) {
		fields.fence = keel_lua_check_integer(L, 4, "fence");
		keel_run_set_add(&fields.given, KEEL_RUN_FIELD_FENCE);
		keel_run_set_add(&fields.valued, KEEL_RUN_FIELD_FENCE);
	}
	if (write(store, run_id, &fields, &found, &written, err) != KEEL_OK)
		return -1;
	return keel_lua_push_written(L, found, &written);
}

/* update_run_completion(run_id, fields, fence): writes counters and, unless the run has another final status, its
 * outcome.
 * Parameters: fields { status, result, error, error_code, exit_code, stop_reason, the counters, progress,
 * token_usage_by_model, last_ai_message, first_human_message, model_name, fence }, fence (goes before that of the
 * fields; nil: theirs).
 * Returns true and what was written; false when there is no such row. Fails with invalid_request, stale_owner. */
static int op_complete(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	return write_with(L, store, KEEL_RUN_FIELDS(KEEL_RUN_COUNTERS, KEEL_RUN_OUTCOME), keel_run_complete, err);
}

/* update_run_progress(run_id, fields, fence): writes counters while the run is running, else nothing. As above,
 * without an outcome. */
static int op_progress(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	return write_with(L, store, KEEL_RUN_FIELDS(KEEL_RUN_COUNTERS), keel_run_progress, err);
}

const struct keel_lua_method keel_lua_run_methods[] = {
	{"put", op_put, KEEL_LUA_WRITES},
	{"admit", op_admit, KEEL_LUA_WRITES},
	{"get", op_get, KEEL_LUA_READS},
	{"get_document", op_get_document, KEEL_LUA_READS},
	{"delete", op_delete, KEEL_LUA_WRITES},
	{"update_status", op_update_status, KEEL_LUA_WRITES},
	{"start", op_start, KEEL_LUA_WRITES},
	{"update_run_completion", op_complete, KEEL_LUA_WRITES},
	{"update_run_progress", op_progress, KEEL_LUA_WRITES},
	KEEL_LUA_METHODS_END,
};
