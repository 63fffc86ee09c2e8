/* run.c - run records between Lua and C, and the operations on rows as methods. */
#include "binding.h"

#include <stdio.h>
#include <string.h>

static const char LIST[] = "keel.runs";
static const char NAMES[] = "keel.run.names"; /* field number + 1 -> name, and name -> field number + 1 */

/* --- Records from Lua -------------------------------------------------------------------------------------------- */

static int wrong_type(lua_State *L, int argument, const char *name, const char *expected)
{
	return luaL_argerror(L, argument,
						 lua_pushfstring(L, "field '%s' must be a %s, got %s", name, expected, luaL_typename(L, -1)));
}

/* Reads the value on the top into a field. JSON text is pushed above it and has to stay. False: invalid. */
static bool read_value(lua_State *L, int argument, enum keel_run_field field, struct keel_run *run,
					   struct keel_error *err)
{
	const char *name = keel_run_field_name(field), *why;
	struct keel_text *text = keel_run_text(run, field);
	int64_t *number = keel_run_number(run, field);
	enum keel_run_status status;
	int whole = 1;
	switch (keel_run_field_type(field)) {
	case KEEL_TYPE_ID:
	case KEEL_TYPE_TEXT:
	case KEEL_TYPE_WORD:
		if (lua_type(L, -1) != LUA_TSTRING)
			wrong_type(L, argument, name, "string");
		text->data = lua_tolstring(L, -1, &text->size);
		return true;
	case KEEL_TYPE_JSON:
		if (lua_type(L, -1) != LUA_TTABLE)
			wrong_type(L, argument, name, "table");
		if (!keel_lua_json_encode(L, -1, false, &why)) {
			keel_lua_refuse(err, name, why);
			return false;
		}
		text->data = lua_tolstring(L, -1, &text->size);
		return true;
	case KEEL_TYPE_STATUS:
		if (lua_type(L, -1) != LUA_TSTRING)
			wrong_type(L, argument, name, "string");
		if (!keel_run_status_find((struct keel_text){lua_tostring(L, -1), lua_rawlen(L, -1)}, &status)) {
			keel_lua_refuse(err, name, "must be one of: pending, running, success, error, timeout, interrupted");
			return false;
		}
		*number = status;
		return true;
	case KEEL_TYPE_INT:
	case KEEL_TYPE_COUNT:
		*number = lua_type(L, -1) == LUA_TNUMBER ? lua_tointegerx(L, -1, &whole) : (whole = 0);
		if (!whole)
			wrong_type(L, argument, name, "whole number");
		return true;
	case KEEL_TYPE_TIME:
		if (lua_type(L, -1) != LUA_TSTRING)
			wrong_type(L, argument, name, "string");
		if (keel_time_parse((struct keel_text){lua_tostring(L, -1), lua_rawlen(L, -1)}, number) != KEEL_OK) {
			keel_lua_refuse(err, name, "is not an RFC 3339 time");
			return false;
		}
		return true;
	case KEEL_TYPE_FLAG:
		if (lua_type(L, -1) != LUA_TBOOLEAN)
			wrong_type(L, argument, name, "boolean");
		*number = lua_toboolean(L, -1);
		return true;
	}
	return true;
}

/* Reads the table at `argument` into *run; `may` says which fields are known here. What is pushed has to stay while the
 * record is used. [-0, +n, e] False: a value is invalid, *err says which. */
static bool read_record(lua_State *L, int argument, keel_run_set may, struct keel_run *run, struct keel_error *err)
{
	keel_lua_check_type(L, argument, "fields", LUA_TTABLE);
	lua_getfield(L, LUA_REGISTRYINDEX, NAMES);
	int names = lua_gettop(L);
	lua_pushnil(L);
	while (lua_next(L, argument)) {
		int key = lua_gettop(L) - 1;
		lua_pushvalue(L, key);
		lua_rawget(L, names);
		lua_Integer number = lua_type(L, key) == LUA_TSTRING ? lua_tointeger(L, -1) - 1 : -1;
		lua_pop(L, 1);
		if (number < 0 || !(may & UINT64_C(1) << number))
			luaL_argerror(L, argument, lua_pushfstring(L, "unknown field '%s'", luaL_tolstring(L, key, NULL)));
		run->given |= UINT64_C(1) << number;
		if (keel_lua_is_null(L, -1)) {
			lua_pop(L, 1);
			continue;
		}
		run->valued |= UINT64_C(1) << number;
		if (!read_value(L, argument, (enum keel_run_field)number, run, err))
			return false;
		if (lua_gettop(L) == key + 1) {
			lua_pop(L, 1); /* the table keeps it */
		} else {
			/* value and text: the text goes below the key, to stay */
			luaL_checkstack(L, 4, "too many fields");
			lua_insert(L, key);
			lua_pop(L, 1);
		}
	}
	return true;
}

static const keel_run_set ALL = KEEL_RUN_FIELD_COUNT == 64 ? UINT64_MAX : (UINT64_C(1) << KEEL_RUN_FIELD_COUNT) - 1;

/* --- Records to Lua ---------------------------------------------------------------------------------------------- */

static int list_gc(lua_State *L)
{
	keel_runs_clear(lua_touserdata(L, 1));
	return 0;
}

/* A list that outlives a raise. [-0, +1, m] */
static struct keel_runs *new_list(lua_State *L)
{
	return keel_lua_take(L, LIST, sizeof(struct keel_runs), list_gc);
}

/* Gives the list at `index` back; a long one's memory is freed. */
static void drop_list(lua_State *L, int index, struct keel_runs *list)
{
	if (list->count > 16)
		keel_runs_clear(list);
	keel_lua_give_back(L, index, LIST);
}

/* Pushes a record: a field that is null is left out. False, with *err, when JSON in the row is damaged. [-0, +1, m] */
static bool push_record(lua_State *L, struct keel_run *run, struct keel_error *err)
{
	char why[KEEL_JSON_WHY_SIZE];
	lua_getfield(L, LUA_REGISTRYINDEX, NAMES);
	int names = lua_gettop(L);
	lua_createtable(L, 0, __builtin_popcountll(run->valued));
	for (keel_run_set left = run->valued; left; left &= left - 1) {
		enum keel_run_field field = (enum keel_run_field)__builtin_ctzll(left);
		const struct keel_text *text = keel_run_text(run, field);
		int64_t number = 0;
		lua_rawgeti(L, names, (lua_Integer)field + 1);
		switch (keel_run_field_type(field)) {
		case KEEL_TYPE_ID:
		case KEEL_TYPE_TEXT:
		case KEEL_TYPE_WORD:
			lua_pushlstring(L, text->data, text->size);
			break;
		case KEEL_TYPE_JSON:
			if (!keel_lua_json_decode(L, *text, why, sizeof why)) {
				memset(err, 0, sizeof *err);
				err->code = KEEL_STORE_CORRUPT;
				snprintf(err->message, sizeof err->message, "the %s of run %s is damaged: %s",
						 keel_run_field_name(field), run->run_id.data, why);
				return false;
			}
			break;
		case KEEL_TYPE_STATUS:
			number = *keel_run_number(run, field);
			lua_pushstring(L, keel_run_status_name((enum keel_run_status)number));
			break;
		case KEEL_TYPE_INT:
		case KEEL_TYPE_COUNT:
			number = *keel_run_number(run, field);
			lua_pushinteger(L, number);
			break;
		case KEEL_TYPE_TIME:
			keel_lua_push_time(L, *keel_run_number(run, field));
			break;
		case KEEL_TYPE_FLAG:
			lua_pushboolean(L, *keel_run_number(run, field) != 0);
			break;
		}
		lua_rawset(L, -3);
	}
	lua_remove(L, names);
	return true;
}

/* Pushes the records of the list on the top, which is given back. */
static int push_list(lua_State *L, struct keel_runs *list, struct keel_error *err)
{
	int index = lua_gettop(L);
	lua_createtable(L, (int)list->count, 0);
	for (size_t i = 0; i < list->count; i++) {
		if (!push_record(L, &list->items[i], err))
			return -1;
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	drop_list(L, index, list);
	return 1;
}

/* --- Operations -------------------------------------------------------------------------------------------------- */

/* true and a table of what was written; or false when there is no such row. JSON is not echoed. */
static int push_written(lua_State *L, bool found, struct keel_run *written, struct keel_error *err)
{
	lua_pushboolean(L, found);
	if (!found)
		return 1;
	written->valued &= ~(KEEL_RUN_BIT(METADATA) | KEEL_RUN_BIT(KWARGS) | KEEL_RUN_BIT(TOKEN_USAGE_BY_MODEL) |
						 KEEL_RUN_BIT(WORKER_REF) | KEEL_RUN_BIT(WAITS_FOR));
	return push_record(L, written, err) ? 2 : -1;
}

/* put(run_id, fields, note): inserts the run, or merges the fields into its row.
 * Parameters: run_id (1 to 256 bytes), fields (a table of record fields; keel.null stores null), note (a table that
 * becomes the data of the event of a new run; nil: none). Raises for wrong types and unknown fields.
 * Returns true and what was written. Fails with invalid_request, limit_too_large, invalid_transition, stale_owner. */
static int op_put(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	struct keel_run run = {0}, written;
	struct keel_text note = {NULL, 0};
	const char *why;
	struct keel_text run_id = keel_lua_check_text(L, 2, "run_id");
	if (!lua_isnil(L, 4)) {
		keel_lua_check_type(L, 4, "note", LUA_TTABLE);
		if (!keel_lua_json_encode(L, 4, false, &why))
			return keel_lua_refuse(err, "note", why);
		note.data = lua_tolstring(L, -1, &note.size);
	}
	if (!read_record(L, 3, ALL, &run, err))
		return -1;
	if ((run.valued & KEEL_RUN_BIT(RUN_ID)) &&
		(run.run_id.size != run_id.size || memcmp(run.run_id.data, run_id.data, run_id.size) != 0))
		return keel_lua_refuse(err, "run_id", "in the fields is another than the one given");
	run.run_id = run_id;
	run.given |= KEEL_RUN_BIT(RUN_ID);
	run.valued |= KEEL_RUN_BIT(RUN_ID);
	if (keel_run_put(store, &run, note, &written, err) != KEEL_OK)
		return -1;
	return push_written(L, true, &written, err);
}

/* get(run_id, { user_id }): the row, or nil; another user's row is nil too. Fails with invalid_request. */
static int op_get(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"user_id", NULL};
	struct keel_text run_id = keel_lua_check_text(L, 2, "run_id");
	keel_lua_check_options(L, 3, known);
	struct keel_runs *list = new_list(L);
	if (keel_run_get(store, run_id, keel_lua_option_text(L, 3, "user_id"), list, err) != KEEL_OK)
		return -1;
	if (list->count == 0)
		lua_pushnil(L);
	else if (!push_record(L, &list->items[0], err))
		return -1;
	drop_list(L, -2, list);
	return 1;
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

/* update_status(run_id, status, { error, stop_reason, fence, cancel_action }): changes the status.
 * Parameters: fence (the owner's; nil: whoever asks), cancel_action ("interrupt" or "rollback").
 * Returns true and what was written; false when there is no such row. Fails with invalid_request, invalid_transition
 * and stale_owner. */
static int op_update_status(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"error", "stop_reason", "fence", "cancel_action", NULL};
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
	if (keel_run_update_status(store, run_id, &change, &found, &written, err) != KEEL_OK)
		return -1;
	return push_written(L, found, &written, err);
}

typedef enum keel_code (*write_fields)(struct keel_store *, struct keel_text, const struct keel_run *, bool *,
									   struct keel_run *, struct keel_error *);

static int write_with(lua_State *L, struct keel_store *store, keel_run_set may, write_fields write,
					  struct keel_error *err)
{
	struct keel_run fields = {0}, written;
	bool found;
	struct keel_text run_id = keel_lua_check_text(L, 2, "run_id");
	if (!read_record(L, 3, may | KEEL_RUN_BIT(FENCE), &fields, err))
		return -1;
	if (write(store, run_id, &fields, &found, &written, err) != KEEL_OK)
		return -1;
	return push_written(L, found, &written, err);
}

/* update_run_completion(run_id, fields): writes counters and, unless the run has another final status, its outcome.
 * Parameters: fields { status, error, error_code, exit_code, stop_reason, the counters, token_usage_by_model,
 * last_ai_message, first_human_message, model_name, fence }.
 * Returns true and what was written; false when there is no such row. Fails with invalid_request, stale_owner. */
static int op_complete(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	return write_with(L, store, KEEL_RUN_COUNTERS | KEEL_RUN_OUTCOME, keel_run_complete, err);
}

/* update_run_progress(run_id, fields): writes counters while the run is running, else nothing. As above, without an
 * outcome. */
static int op_progress(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	return write_with(L, store, KEEL_RUN_COUNTERS, keel_run_progress, err);
}

/* list_by_thread(thread_id, { user_id, limit = 100 }): the newest runs of a thread, newest first, equal times in order
 * of insertion. Fails with invalid_request and limit_too_large (1000). */
static int op_list_by_thread(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"user_id", "limit", NULL};
	struct keel_text thread_id = keel_lua_check_text(L, 2, "thread_id");
	keel_lua_check_options(L, 3, known);
	int64_t limit = keel_lua_option_integer(L, 3, "limit", KEEL_LIST_DEFAULT);
	struct keel_runs *list = new_list(L);
	if (keel_run_list_by_thread(store, thread_id, keel_lua_option_text(L, 3, "user_id"), limit, list, err) != KEEL_OK)
		return -1;
	return push_list(L, list, err);
}

/* list_inflight{ thread_id, before, session_id, limit = 100, after }: pending and running runs, oldest first.
 * Parameters: before (a time: created then or earlier), after (a run id: go on behind it).
 * Fails with invalid_request and limit_too_large (1000). */
static int op_list_inflight(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"thread_id", "before", "session_id", "limit", "after", NULL};
	struct keel_inflight_query query = {0};
	keel_lua_check_options(L, 2, known);
	query.thread_id = keel_lua_option_text(L, 2, "thread_id");
	query.after = keel_lua_option_text(L, 2, "after");
	query.session_id = keel_lua_option_integer(L, 2, "session_id", 0);
	if (query.session_id < 1 && keel_lua_option(L, 2, "session_id", LUA_TNUMBER) != LUA_TNIL)
		return keel_lua_refuse(err, "session_id", "must be at least 1");
	query.limit = keel_lua_option_integer(L, 2, "limit", KEEL_LIST_DEFAULT);
	struct keel_text before = keel_lua_option_text(L, 2, "before");
	query.bounded = before.data != NULL;
	if (query.bounded && keel_time_parse(before, &query.before) != KEEL_OK)
		return keel_lua_refuse(err, "before", "is not an RFC 3339 time");
	struct keel_runs *list = new_list(L);
	if (keel_run_list_inflight(store, &query, list, err) != KEEL_OK)
		return -1;
	return push_list(L, list, err);
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

/* claim_for_takeover(run_id, { status = "error", error, error_code, stop_reason = "orphan_recovered", cancel_action,
 * requeue }): ends a run whose owner is gone; with requeue = true gives it back, pending and claimable, with one loss
 * more. Returns true when it was an orphan and now is not, else false. */
static int op_claim_for_takeover(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"status",        "error",   "error_code", "stop_reason",
										"cancel_action", "requeue", NULL};
	struct keel_takeover takeover = {.status = KEEL_RUN_ERROR};
	bool taken;
	struct keel_text run_id = keel_lua_check_text(L, 2, "run_id");
	keel_lua_check_options(L, 3, known);
	struct keel_text status = keel_lua_option_text(L, 3, "status");
	if (status.data && !keel_run_status_find(status, &takeover.status))
		return keel_lua_refuse(err, "status", "must be one of: success, error, timeout, interrupted");
	if (keel_lua_option(L, 3, "requeue", LUA_TBOOLEAN) != LUA_TNIL && lua_toboolean(L, -1))
		takeover.status = KEEL_RUN_PENDING;
	takeover.error = keel_lua_option_text(L, 3, "error");
	takeover.error_code = keel_lua_option_text(L, 3, "error_code");
	takeover.stop_reason = keel_lua_option_text(L, 3, "stop_reason");
	takeover.cancel_action = keel_lua_option_text(L, 3, "cancel_action");
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

const struct keel_lua_method keel_lua_run_methods[] = {
	{"put", op_put},
	{"get", op_get},
	{"delete", op_delete},
	{"update_status", op_update_status},
	{"update_run_completion", op_complete},
	{"update_run_progress", op_progress},
	{"list_by_thread", op_list_by_thread},
	{"list_inflight", op_list_inflight},
	{"count_inflight", op_count_inflight},
	{"claim_for_takeover", op_claim_for_takeover},
	{"request_cancel", op_request_cancel},
	{NULL, NULL},
};

/* The Lua type a field wants, for checks that name an argument before anything is called. */
static const char *lua_type_of(enum keel_field_type type)
{
	switch (type) {
	case KEEL_TYPE_JSON:
		return "table";
	case KEEL_TYPE_INT:
	case KEEL_TYPE_COUNT:
		return "integer";
	case KEEL_TYPE_FLAG:
		return "boolean";
	default:
		return "string";
	}
}

void keel_lua_run_open(lua_State *L)
{
	lua_createtable(L, KEEL_RUN_FIELD_COUNT, KEEL_RUN_FIELD_COUNT);
	for (int i = 0; i < KEEL_RUN_FIELD_COUNT; i++) {
		const char *name = keel_run_field_name((enum keel_run_field)i);
		lua_pushstring(L, name);
		lua_rawseti(L, -2, i + 1);
		lua_pushinteger(L, i + 1);
		lua_setfield(L, -2, name);
	}
	lua_setfield(L, LUA_REGISTRYINDEX, NAMES);
	lua_createtable(L, 0, KEEL_RUN_FIELD_COUNT);
	for (int i = 0; i < KEEL_RUN_FIELD_COUNT; i++) {
		lua_pushstring(L, lua_type_of(keel_run_field_type((enum keel_run_field)i)));
		lua_setfield(L, -2, keel_run_field_name((enum keel_run_field)i));
	}
	lua_setfield(L, -2, "run_fields");
}
