/* row.c - runs as Lua tables, alone and in lists. Uses: field, json, reuse. */
#include "binding.h"

static const char LIST[] = "keel.runs";

static int list_gc(lua_State *L)
{
	keel_runs_clear(lua_touserdata(L, 1));
	return 0;
}

struct keel_runs *keel_lua_new_runs(lua_State *L)
{
	return keel_lua_take(L, LIST, sizeof(struct keel_runs), list_gc);
}

void keel_lua_drop_runs(lua_State *L, int index, struct keel_runs *list)
{
	/* a long one's memory is freed */
	if (list->count > 16)
		keel_runs_clear(list);
	keel_lua_give_back(L, index, LIST);
}

void keel_lua_push_ids(lua_State *L, struct keel_text ids)
{
	int top = lua_gettop(L);
	struct keel_text id;
	lua_newtable(L);
	for (lua_Integer i = 1; (id = keel_lua_take_line(&ids)).data; i++) {
		lua_pushlstring(L, id.data, id.size);
		lua_rawseti(L, -2, i);
	}
	KEEL_LUA_PUSHED(L, top, 1);
}

/* Pushes a time; `last`, the one before, has its text at `index`: most rows have one time twice. [-0, +1, m] */
static void push_time(lua_State *L, int64_t time, int64_t *last, int index)
{
	if (*last == time && !lua_isnil(L, index)) {
		lua_pushvalue(L, index);
		return;
	}
	keel_lua_push_time(L, time);
	lua_copy(L, -1, index);
	*last = time;
}

void keel_lua_push_record(lua_State *L, struct keel_run *run)
{
	luaL_checkstack(L, 8, "a record is made");
	lua_getfield(L, LUA_REGISTRYINDEX, KEEL_LUA_FIELD_NAMES);
	int names = lua_gettop(L);
	int64_t last_time = 0;
	lua_pushnil(L);
	lua_createtable(L, 0, keel_run_set_count(run->valued));
	enum keel_run_field field;
	for (keel_run_set left = run->valued; keel_run_set_take(&left, &field);) {
		const struct keel_text *text = keel_run_text(run, field);
		int64_t number = 0;
		if (keel_run_field_type(field) == KEEL_TYPE_JSON || keel_run_field_type(field) == KEEL_TYPE_VALUE) {
			keel_lua_set_document(L, keel_run_field_name(field), *text, "run", run->run_id.data);
			continue;
		}
		lua_rawgeti(L, names, (lua_Integer)field + 1);
		switch (keel_run_field_type(field)) {
		case KEEL_TYPE_ID:
		case KEEL_TYPE_TEXT:
		case KEEL_TYPE_WORD:
			lua_pushlstring(L, text->data, text->size);
			break;
		case KEEL_TYPE_JSON:
		case KEEL_TYPE_VALUE:
			break; /* above */
		case KEEL_TYPE_IDS:
			keel_lua_push_ids(L, *text);
			break;
		case KEEL_TYPE_AFTER:
			keel_lua_push_after(L, *text);
			break;
		case KEEL_TYPE_SLOTS:
		case KEEL_TYPE_RATES:
			keel_lua_push_wants(L, *text, keel_run_field_type(field) == KEEL_TYPE_RATES);
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
			push_time(L, *keel_run_number(run, field), &last_time, names + 1);
			break;
		case KEEL_TYPE_SPAN:
			keel_lua_push_seconds(L, *keel_run_number(run, field));
			break;
		case KEEL_TYPE_FLAG:
			lua_pushboolean(L, *keel_run_number(run, field) != 0);
			break;
		}
		lua_rawset(L, -3);
	}
	KEEL_LUA_PUSHED(L, names, 2); /* the last time's text and the record */
	lua_copy(L, -1, names);
	lua_settop(L, names);
}

int keel_lua_push_run(lua_State *L, struct keel_runs *list)
{
	int index = lua_gettop(L);
	if (list->count == 0)
		lua_pushnil(L);
	else
		keel_lua_push_record(L, &list->items[0]);
	keel_lua_drop_runs(L, index, list);
	KEEL_LUA_PUSHED(L, index, 1);
	return 1;
}

int keel_lua_push_runs(lua_State *L, struct keel_runs *list)
{
	int index = lua_gettop(L);
	lua_createtable(L, (int)list->count, 0);
	for (size_t i = 0; i < list->count; i++) {
		keel_lua_push_record(L, &list->items[i]);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	bool cut = list->cut;
	keel_lua_drop_runs(L, index, list);
	KEEL_LUA_PUSHED(L, index, 1);
	if (!cut)
		return 1;
	lua_pushboolean(L, 1);
	return 2;
}

int keel_lua_push_written(lua_State *L, bool found, struct keel_run *written)
{
	lua_pushboolean(L, found);
	if (!found)
		return 1;
	keel_run_set_remove(&written->valued, KEEL_RUN_FIELD_METADATA);
	keel_run_set_remove(&written->valued, KEEL_RUN_FIELD_KWARGS);
	keel_run_set_remove(&written->valued, KEEL_RUN_FIELD_TOKEN_USAGE_BY_MODEL);
	keel_run_set_remove(&written->valued, KEEL_RUN_FIELD_WORKER_REF);
	keel_lua_push_record(L, written);
	return 2;
}
