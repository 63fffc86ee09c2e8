/* runtime.c - runtimes and diagnostics as plain operations; lua/keel/runtime.lua makes objects of them. */
#include "binding.h"

#include <string.h>

static const char LIST[] = "keel.diagnostics";

/* --- Runtimes ---------------------------------------------------------------------------------------------------- */

/* [-0, +1, m] */
static void push_runtime(lua_State *L, const struct keel_store *store, const struct keel_runtime *runtime)
{
	int top = lua_gettop(L);
	lua_createtable(L, 0, 10);
	keel_lua_set_word(L, "runtime_id", runtime->runtime_id);
	keel_lua_set_word(L, "display_name", runtime->display_name);
	keel_lua_set_word(L, "backend", keel_store_backend(store));
	keel_lua_set_word(L, "status", runtime->stopped ? "stopped" : "running");
	keel_lua_set_integer(L, "worker_count",
						 runtime->active_worker_count + runtime->stopped_worker_count +
							 runtime->cancelled_worker_count);
	keel_lua_set_integer(L, "active_worker_count", runtime->active_worker_count);
	keel_lua_set_integer(L, "stopped_worker_count", runtime->stopped_worker_count);
	keel_lua_set_integer(L, "cancelled_worker_count", runtime->cancelled_worker_count);
	keel_lua_set_integer(L, "diagnostic_count", runtime->diagnostic_count);
	lua_createtable(L, 0, 2);
	keel_lua_set_integer(L, "max_transcript_projection_items", runtime->max_transcript_projection_items);
	keel_lua_set_integer(L, "max_event_batch_items", runtime->max_event_batch_items);
	lua_setfield(L, -2, "limits");
	KEEL_LUA_PUSHED(L, top, 1);
}

/* A limit that may be left out; one that is given as less than 1 is refused by the kernel. */
static int64_t given_limit(lua_State *L, const char *name)
{
	lua_Integer limit = keel_lua_option_integer(L, 3, name, 0);
	keel_lua_option(L, 3, name, LUA_TNUMBER);
	bool given = !lua_isnil(L, -1);
	lua_pop(L, 1);
	return given && limit < 1 ? -1 : limit;
}

/* open_runtime(runtime_id, { display_name, max_transcript_projection_items, max_event_batch_items }): makes a runtime
 * or finds it, and stores what is given. Returns its summary. Fails with invalid_request, limit_too_large. */
static int op_open_runtime(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"display_name", "max_transcript_projection_items", "max_event_batch_items",
										NULL};
	struct keel_text runtime_id = keel_lua_check_text(L, 2, "runtime_id");
	keel_lua_check_options(L, 3, known);
	struct keel_runtime_options options = {keel_lua_option_text(L, 3, "display_name"),
										   given_limit(L, "max_transcript_projection_items"),
										   given_limit(L, "max_event_batch_items")};
	struct keel_runtime runtime;
	if (keel_runtime_open(store, runtime_id, &options, &runtime, err) != KEEL_OK)
		return -1;
	push_runtime(L, store, &runtime);
	return 1;
}

/* runtime_summary(runtime_id): what there is to know of a runtime, in one look. Fails with not_found. */
static int op_runtime_summary(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	struct keel_runtime runtime;
	if (keel_runtime_get(store, keel_lua_check_text(L, 2, "runtime_id"), &runtime, err) != KEEL_OK)
		return -1;
	push_runtime(L, store, &runtime);
	return 1;
}

/* list_runtimes{ after }: summaries of the runtimes in order of their ids, KEEL_LIST_DEFAULT at a time, each as it is
 * when it is read. Parameters: after (a runtime_id: go on behind it). Fails with invalid_request. */
static int op_list_runtimes(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"after", NULL};
	keel_lua_check_options(L, 2, known);
	struct keel_text after = keel_lua_option_text(L, 2, "after");
	struct keel_runtime runtime;
	bool found;
	lua_newtable(L);
	for (int i = 1; i <= KEEL_LIST_DEFAULT; i++) {
		if (keel_runtime_next(store, after, &runtime, &found, err) != KEEL_OK)
			return -1;
		if (!found)
			break;
		push_runtime(L, store, &runtime);
		lua_getfield(L, -1, "runtime_id");
		after = (struct keel_text){lua_tostring(L, -1), lua_rawlen(L, -1)}; /* the list keeps it */
		lua_pop(L, 1);
		lua_rawseti(L, -2, i);
	}
	return 1;
}

/* stop_runtime(runtime_id): stops it and its active workers. Returns the id of the event; of one that was stopped
 * already, the event of then. Fails with not_found. */
static int op_stop_runtime(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	int64_t event_id;
	if (keel_runtime_stop(store, keel_lua_check_text(L, 2, "runtime_id"), &event_id, err) != KEEL_OK)
		return -1;
	lua_pushinteger(L, event_id);
	return 1;
}

/* start_runtime(runtime_id): the opposite; its workers stay as they are. */
static int op_start_runtime(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	int64_t event_id;
	if (keel_runtime_start(store, keel_lua_check_text(L, 2, "runtime_id"), &event_id, err) != KEEL_OK)
		return -1;
	lua_pushinteger(L, event_id);
	return 1;
}

/* --- Diagnostics ------------------------------------------------------------------------------------------------- */

static int list_gc(lua_State *L)
{
	keel_diagnostics_clear(lua_touserdata(L, 1));
	return 0;
}

/* record_diagnostic(runtime_id, { severity, code, message, subject }): notices something, or counts it once more.
 * Parameters: severity ("info", "warning", "error"), code (1 to 256 bytes), message, subject (the ref of a worker of
 * the runtime, the id of a run, or nil). Returns the diagnostic's id.
 * Fails with invalid_request, limit_too_large, not_found, wrong_runtime. */
static int op_record_diagnostic(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"severity", "code", "message", "subject", NULL};
	struct keel_diagnostic diagnostic = {0};
	int64_t id;
	struct keel_text runtime_id = keel_lua_check_text(L, 2, "runtime_id");
	keel_lua_check_type(L, 3, "diagnostic", LUA_TTABLE);
	keel_lua_check_options(L, 3, known);
	diagnostic.severity = keel_lua_option_text(L, 3, "severity");
	diagnostic.code = keel_lua_option_text(L, 3, "code");
	diagnostic.message = keel_lua_option_text(L, 3, "message");
	int subject = keel_lua_member(L, 3, "subject");
	if (subject == LUA_TSTRING) {
		diagnostic.run_id.data = lua_tolstring(L, -1, &diagnostic.run_id.size);
	} else if (subject != LUA_TNIL) {
		struct keel_worker_ref ref;
		if (!keel_lua_read_ref(L, lua_gettop(L), &ref))
			luaL_argerror(L, 3, "option 'subject' must be a worker's ref or a run's id");
		if (ref.runtime_id.size != runtime_id.size ||
			memcmp(ref.runtime_id.data, runtime_id.data, runtime_id.size) != 0)
			return keel_lua_refuse(err, "subject", "is a worker of another runtime");
		diagnostic.worker_id = ref.worker_id;
	}
	if (keel_diagnostic_record(store, runtime_id, &diagnostic, &id, err) != KEEL_OK)
		return -1;
	lua_pushinteger(L, id);
	return 1;
}

/* list_diagnostics(runtime_id, { after, limit }): the diagnostics of a runtime with an id above `after`, in order: a
 * list of { id, severity, code, message, subject, count }; then true when it ends before its limit, as it has become a
 * page, and more follows. Parameters: after (0), limit (1 to 1000; 100).
 * Fails with not_found, invalid_request, limit_too_large. */
static int op_list_diagnostics(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"after", "limit", NULL};
	struct keel_text runtime_id = keel_lua_check_text(L, 2, "runtime_id");
	keel_lua_check_options(L, 3, known);
	lua_Integer after = keel_lua_option_integer(L, 3, "after", 0);
	lua_Integer limit = keel_lua_option_integer(L, 3, "limit", KEEL_LIST_DEFAULT);
	struct keel_diagnostics *list = keel_lua_take(L, LIST, sizeof *list, list_gc);
	int index = lua_gettop(L);
	if (keel_diagnostic_list(store, runtime_id, after, limit, list, err) != KEEL_OK)
		return -1;
	lua_createtable(L, (int)list->count, 0);
	for (size_t i = 0; i < list->count; i++) {
		const struct keel_diagnostic *item = &list->items[i];
		lua_createtable(L, 0, 6);
		keel_lua_set_integer(L, "id", item->id);
		keel_lua_set_text(L, "severity", item->severity);
		keel_lua_set_text(L, "code", item->code);
		keel_lua_set_text(L, "message", item->message);
		keel_lua_set_integer(L, "count", item->count);
		keel_lua_set_text(L, "subject", item->run_id);
		if (item->worker_id.data) {
			keel_lua_push_ref(L, runtime_id, item->worker_id);
			lua_setfield(L, -2, "subject");
		}
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	bool cut = list->cut;
	if (list->count > 16)
		keel_diagnostics_clear(list);
	keel_lua_give_back(L, index, LIST);
	if (!cut)
		return 1;
	lua_pushboolean(L, 1);
	return 2;
}

const struct keel_lua_method keel_lua_runtime_methods[] = {
	{"open_runtime", op_open_runtime, KEEL_LUA_WRITES},
	{"runtime_summary", op_runtime_summary, KEEL_LUA_READS},
	{"list_runtimes", op_list_runtimes, KEEL_LUA_READS},
	{"stop_runtime", op_stop_runtime, KEEL_LUA_WRITES},
	{"start_runtime", op_start_runtime, KEEL_LUA_WRITES},
	{"record_diagnostic", op_record_diagnostic, KEEL_LUA_WRITES},
	{"list_diagnostics", op_list_diagnostics, KEEL_LUA_READS},
	KEEL_LUA_METHODS_END,
};
