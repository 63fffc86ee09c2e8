/* schedule.c - schedules as rows, as methods of stores and transactions. */
#include "binding.h"

static const char LIST[] = "keel.schedules";

static int list_gc(lua_State *L)
{
	keel_schedules_clear(lua_touserdata(L, 1));
	return 0;
}

/* put_schedule(name, { definition, next_at, last_at, period, problem }, revision = 0): makes a schedule, or changes the
 * row of this revision. Parameters: name (1 to 256 bytes), definition (a table, kept as JSON), next_at, last_at
 * (times), period (seconds), problem (a text, or nil). Returns true; false when there is one already, or the row is
 * another by now or gone: nothing has changed then. Fails with invalid_request. */
static int op_put_schedule(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"definition", "next_at", "last_at", "period", "problem", NULL};
	struct keel_schedule schedule = {.name = keel_lua_check_text(L, 2, "name")};
	bool has_next, has_last, written;
	keel_lua_check_type(L, 3, "schedule", LUA_TTABLE);
	keel_lua_check_options(L, 3, known);
	schedule.revision = lua_isnil(L, 4) ? 0 : keel_lua_check_integer(L, 4, "revision");
	schedule.problem = keel_lua_option_text(L, 3, "problem");
	if (!keel_lua_option_time(L, 3, "next_at", store, &schedule.next_at, &has_next, err) ||
		!keel_lua_option_time(L, 3, "last_at", store, &schedule.last_at, &has_last, err) ||
		!keel_lua_option_duration(L, 3, "period", &schedule.period_us, err) ||
		!keel_lua_option_json(L, 3, "definition", &schedule.definition, err))
		return -1;
	if (!has_next || !has_last)
		return keel_lua_refuse(err, has_next ? "last_at" : "next_at", "must be given");
	if (keel_schedule_put(store, &schedule, &written, err) != KEEL_OK)
		return -1;
	lua_pushboolean(L, written);
	return 1;
}

/* delete_schedule(name): deletes a schedule; its runs stay. Returns whether there was one. Fails with
 * invalid_request. */
static int op_delete_schedule(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	bool found;
	if (keel_schedule_delete(store, keel_lua_check_text(L, 2, "name"), &found, err) != KEEL_OK)
		return -1;
	lua_pushboolean(L, found);
	return 1;
}

/* [-0, +1, m] */
static void push_schedule(lua_State *L, const struct keel_schedule *schedule)
{
	int top = lua_gettop(L);
	lua_createtable(L, 0, 9);
	keel_lua_set_text(L, "name", schedule->name);
	keel_lua_set_document(L, "definition", schedule->definition, "schedule", schedule->name.data);
	keel_lua_set_time(L, "next_at", schedule->next_at);
	keel_lua_set_time(L, "last_at", schedule->last_at);
	lua_pushnumber(L, (lua_Number)schedule->period_us / 1e6);
	lua_setfield(L, -2, "period");
	keel_lua_set_text(L, "problem", schedule->problem);
	keel_lua_set_integer(L, "revision", schedule->revision);
	keel_lua_set_time(L, "created_at", schedule->created_at);
	keel_lua_set_time(L, "updated_at", schedule->updated_at);
	KEEL_LUA_PUSHED(L, top, 1);
}

/* list_schedules{ name, until, after, after_at, limit = 100 }: the schedules of the store by name; with `name` that
 * one; with `until`, a time, those that are due then, the earliest first. Parameters: after (a name: go on behind it),
 * after_at (with `until`: and behind this time), limit (1 to 1000). Returns a list of { name, definition, next_at,
 * last_at, period, problem, revision, created_at, updated_at }, and true when it was cut at 4 MiB. Fails with
 * invalid_request (name, until, after_at, limit) and limit_too_large. */
static int op_list_schedules(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"name", "until", "after", "after_at", "limit", NULL};
	bool given;
	keel_lua_check_options(L, 2, known);
	struct keel_schedule_query query = {.name = keel_lua_option_text(L, 2, "name"),
										.after = keel_lua_option_text(L, 2, "after"),
										.limit = keel_lua_option_integer(L, 2, "limit", KEEL_LIST_DEFAULT)};
	if (!keel_lua_option_time(L, 2, "until", store, &query.until, &query.due, err) ||
		!keel_lua_option_time(L, 2, "after_at", store, &query.after_at, &given, err))
		return -1;
	struct keel_schedules *list = keel_lua_take(L, LIST, sizeof *list, list_gc);
	if (keel_schedule_list(store, &query, list, err) != KEEL_OK)
		return -1;
	lua_createtable(L, (int)list->count, 0);
	for (size_t i = 0; i < list->count; i++) {
		push_schedule(L, &list->items[i]);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	lua_pushboolean(L, list->cut);
	keel_lua_give_back(L, -3, LIST);
	return 2;
}

/* next_due(after): the time at which the next thing after another time becomes due by time alone: a run that was put
 * off, a deadline, a schedule; nil: there is none. Fails with invalid_request (after). */
static int op_next_due(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	int64_t after, at;
	bool found;
	const char *wrong = keel_lua_read_time(L, 2, store, &after);
	if (wrong)
		return keel_lua_refuse(err, "after", wrong);
	if (keel_next_due(store, after, &at, &found, err) != KEEL_OK)
		return -1;
	if (found)
		keel_lua_push_time(L, at);
	else
		lua_pushnil(L);
	return 1;
}

const struct keel_lua_method keel_lua_schedule_methods[] = {
	{"put_schedule", op_put_schedule, KEEL_LUA_WRITES},
	{"delete_schedule", op_delete_schedule, KEEL_LUA_WRITES},
	{"list_schedules", op_list_schedules, KEEL_LUA_READS},
	{"next_due", op_next_due, KEEL_LUA_READS},
	KEEL_LUA_METHODS_END,
};
