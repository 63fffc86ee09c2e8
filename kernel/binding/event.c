/* event.c - append_event and read_events. */
#include "binding.h"

#include <stdio.h>
#include <string.h>

static const char LIST[] = "keel.events";

static int list_gc(lua_State *L)
{
	keel_events_clear(lua_touserdata(L, 1));
	return 0;
}

/* A list that outlives a raise. [-0, +1, m] */
static struct keel_events *new_list(lua_State *L)
{
	return keel_lua_take(L, LIST, sizeof(struct keel_events), list_gc);
}

/* append_event{ kind, thread_id, run_id, runtime_id, worker_ref, message, data }: adds an event of the caller's own to
 * the log. Parameters: kind (1 to 256 bytes); the others may be left out; worker_ref and data are tables. Returns the
 * id of the event. Fails with invalid_request, for the kinds of the kernel too.
 * append_admission{ … }: the same for the events of admission, with the kinds run_rejected and run_reused. */
static int append_event(lua_State *L, struct keel_store *store, bool admission, struct keel_error *err)
{
	static const char *const known[] = {"kind",       "thread_id", "run_id", "runtime_id",
										"worker_ref", "message",   "data",   NULL};
	struct keel_event event = {0};
	int64_t id;
	keel_lua_check_type(L, 2, "event", LUA_TTABLE);
	keel_lua_check_options(L, 2, known);
	event.kind = keel_lua_option_text(L, 2, "kind");
	if (!event.kind.data)
		luaL_argerror(L, 2, "option 'kind' must be a string, got nil");
	event.thread_id = keel_lua_option_text(L, 2, "thread_id");
	event.run_id = keel_lua_option_text(L, 2, "run_id");
	event.runtime_id = keel_lua_option_text(L, 2, "runtime_id");
	event.message = keel_lua_option_text(L, 2, "message");
	if (!keel_lua_option_ref(L, 2, &event.worker_ref, err) || !keel_lua_option_json(L, 2, "data", &event.data, err))
		return -1;
	if ((admission ? keel_event_append_admission : keel_event_append)(store, &event, &id, err) != KEEL_OK)
		return -1;
	lua_pushinteger(L, id);
	return 1;
}

static int op_append_event(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	return append_event(L, store, false, err);
}

static int op_append_admission(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	return append_event(L, store, true, err);
}

/* [-0, +1, m] */
static void push_event(lua_State *L, const struct keel_event *event)
{
	int top = lua_gettop(L);
	char id[24];
	snprintf(id, sizeof id, "%lld", (long long)event->id);
	lua_createtable(L, 0, 8);
	keel_lua_set_integer(L, "id", event->id);
	keel_lua_set_text(L, "kind", event->kind);
	keel_lua_set_time(L, "at", event->at);
	keel_lua_set_text(L, "runtime_id", event->runtime_id);
	keel_lua_set_text(L, "thread_id", event->thread_id);
	keel_lua_set_text(L, "run_id", event->run_id);
	keel_lua_set_text(L, "message", event->message);
	keel_lua_set_document(L, "worker_ref", event->worker_ref, "event", id);
	keel_lua_set_document(L, "data", event->data, "event", id);
	KEEL_LUA_PUSHED(L, top, 1);
}

bool keel_lua_read_cursor(lua_State *L, struct keel_store *store, int64_t *next_event_id, struct keel_error *err)
{
	int whole = 0;
	*next_event_id = 1;
	if (lua_isnil(L, 2))
		return true;
	keel_lua_check_type(L, 2, "cursor", LUA_TTABLE);
	keel_lua_member(L, 2, "next_event_id");
	*next_event_id = lua_tointegerx(L, -1, &whole);
	keel_lua_member(L, 2, "epoch");
	struct keel_text epoch = {NULL, 0};
	if (lua_type(L, -1) == LUA_TSTRING)
		epoch.data = lua_tolstring(L, -1, &epoch.size);
	lua_pop(L, 2); /* the table keeps them */
	if (!whole || !epoch.data) {
		keel_lua_refuse(err, "cursor", "must have next_event_id, a whole number, and epoch, a text");
		return false;
	}
	if (!keel_text_is(epoch, keel_store_epoch(store))) {
		memset(err, 0, sizeof *err);
		err->code = KEEL_WRONG_RUNTIME;
		snprintf(err->message, sizeof err->message, "the cursor is of the store with epoch %.40s, this one has %s",
				 epoch.data, keel_store_epoch(store));
		snprintf(err->expected, sizeof err->expected, "%s", keel_store_epoch(store));
		snprintf(err->actual, sizeof err->actual, "%.40s", epoch.data);
		return false;
	}
	return true;
}

static void read_kinds(lua_State *L, struct keel_event_query *query, struct keel_text *kinds)
{
	if (keel_lua_option(L, 4, "kinds", LUA_TTABLE) == LUA_TNIL)
		return;
	query->kinds = kinds;
	query->kinds_count = lua_rawlen(L, -1);
	for (size_t i = 0; i < query->kinds_count && i < KEEL_EVENT_KINDS_MAX; i++) {
		if (lua_rawgeti(L, -1, (lua_Integer)i + 1) != LUA_TSTRING)
			luaL_argerror(L, 4, "option 'kinds' must be a list of strings");
		kinds[i].data = lua_tolstring(L, -1, &kinds[i].size);
		lua_pop(L, 1); /* the list keeps it */
	}
	if (query->kinds_count == 0) { /* to the kernel that is every kind; a list of none is not */
		kinds[0] = (struct keel_text){"", 0};
		query->kinds_count = 1;
	}
}

/* read_events(cursor, limit, filter): one page of the log, oldest first.
 * Parameters: cursor (a table from an earlier read; nil: from the start), limit (1 to 1000; nil: 256), filter
 * ({ runtime_id, run_id, thread_id, worker_ref, kinds }; nil: everything). Raises for wrong types and unknown filters.
 * Returns { events, cursor, has_more }; gap = true when the next events were pruned: the cursor is then the oldest
 * there is. Fails with invalid_request (limit, cursor), limit_too_large, and wrong_runtime for a cursor of another
 * store. */
static int op_read_events(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"runtime_id", "run_id", "thread_id", "worker_ref", "kinds", NULL};
	struct keel_text kinds[KEEL_EVENT_KINDS_MAX];
	struct keel_event_query query = {0};
	if (!keel_lua_read_cursor(L, store, &query.next_event_id, err))
		return -1;
	query.from_oldest = lua_isnil(L, 2);
	query.limit = lua_isnoneornil(L, 3) ? KEEL_EVENTS_DEFAULT : keel_lua_check_integer(L, 3, "limit");
	keel_lua_check_options(L, 4, known);
	query.runtime_id = keel_lua_option_text(L, 4, "runtime_id");
	query.run_id = keel_lua_option_text(L, 4, "run_id");
	query.thread_id = keel_lua_option_text(L, 4, "thread_id");
	if (!keel_lua_option_ref(L, 4, &query.worker_ref, err))
		return -1;
	read_kinds(L, &query, kinds);
	struct keel_events *list = new_list(L);
	int index = lua_gettop(L);
	if (keel_event_read(store, &query, list, err) != KEEL_OK)
		return -1;
	lua_createtable(L, 0, 3);
	lua_createtable(L, (int)list->count, 0);
	for (size_t i = 0; i < list->count; i++) {
		push_event(L, &list->items[i]);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	lua_setfield(L, -2, "events");
	lua_createtable(L, 0, 2);
	keel_lua_set_integer(L, "next_event_id", list->next_event_id);
	keel_lua_set_word(L, "epoch", keel_store_epoch(store));
	lua_setfield(L, -2, "cursor");
	keel_lua_set_flag(L, "has_more", list->has_more);
	if (list->gap)
		keel_lua_set_flag(L, "gap", true);
	if (list->count > 64)
		keel_events_clear(list);
	keel_lua_give_back(L, index, LIST);
	return 1;
}

/* event_low_water(): the oldest event that was not pruned. */
static int op_event_low_water(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	int64_t id;
	if (keel_event_low_water(store, &id, err) != KEEL_OK)
		return -1;
	lua_pushinteger(L, id);
	return 1;
}

/* event_high_water(): the newest event there ever was; 0 when there was none. */
static int op_event_high_water(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	int64_t id;
	if (keel_event_high_water(store, &id, err) != KEEL_OK)
		return -1;
	lua_pushinteger(L, id);
	return 1;
}

int keel_lua_committed_events(lua_State *L)
{
	int64_t first, next;
	keel_event_committed(keel_lua_check_store(L, 1), &first, &next);
	if (first == 0)
		return 0;
	lua_pushinteger(L, first);
	lua_pushinteger(L, next);
	return 2;
}

const struct keel_lua_method keel_lua_event_methods[] = {
	{"append_event", op_append_event, KEEL_LUA_WRITES},
	{"append_admission", op_append_admission, KEEL_LUA_WRITES},
	{"read_events", op_read_events, KEEL_LUA_READS},
	{"event_low_water", op_event_low_water, KEEL_LUA_READS},
	{"event_high_water", op_event_high_water, KEEL_LUA_READS},
	KEEL_LUA_METHODS_END,
};
