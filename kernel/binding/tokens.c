/* tokens.c - aggregate_tokens_by_thread. */
#include "binding.h"

static const char TOTALS[] = "keel.token_totals";

static int totals_gc(lua_State *L)
{
	keel_token_totals_clear(lua_touserdata(L, 1));
	return 0;
}

/* [-0, +1, m] */
static void push_totals(lua_State *L, const struct keel_token_totals *totals, bool include_active)
{
	int top = lua_gettop(L);
	lua_createtable(L, 0, 7);
	keel_lua_set_integer(L, "total_tokens", totals->total_tokens);
	keel_lua_set_integer(L, "total_input_tokens", totals->total_input_tokens);
	keel_lua_set_integer(L, "total_output_tokens", totals->total_output_tokens);
	keel_lua_set_integer(L, "total_runs", totals->total_runs);
	lua_createtable(L, 0, 3);
	keel_lua_set_integer(L, "lead_agent", totals->lead_agent_tokens);
	keel_lua_set_integer(L, "subagent", totals->subagent_tokens);
	keel_lua_set_integer(L, "middleware", totals->middleware_tokens);
	lua_setfield(L, -2, "by_caller");
	lua_createtable(L, 0, KEEL_RUN_STATUS_COUNT);
	for (int status = include_active ? KEEL_RUN_RUNNING : KEEL_RUN_SUCCESS; status < KEEL_RUN_STATUS_COUNT; status++)
		keel_lua_set_integer(L, keel_run_status_name((enum keel_run_status)status), totals->runs_by_status[status]);
	lua_setfield(L, -2, "by_status");
	lua_newtable(L);
	for (size_t i = 0; i < totals->models_count; i++) {
		const struct keel_model_tokens *model = &totals->models[i];
		lua_pushlstring(L, model->name.data, model->name.size);
		lua_createtable(L, 0, 2);
		keel_lua_set_integer(L, "tokens", model->tokens);
		keel_lua_set_integer(L, "runs", model->runs);
		lua_rawset(L, -3);
	}
	lua_setfield(L, -2, "by_model");
	KEEL_LUA_PUSHED(L, top, 1);
}

/* aggregate_tokens_by_thread(thread_id, { include_active }): what the final runs of a thread have used.
 * Parameters: include_active (true: the running ones too).
 * Returns { total_tokens, total_input_tokens, total_output_tokens, total_runs, by_model, by_caller, by_status }.
 * Fails with invalid_request, limit_too_large (a sum beyond 64 bits). */
static int op_aggregate_tokens_by_thread(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"include_active", NULL};
	struct keel_text thread_id = keel_lua_check_text(L, 2, "thread_id");
	keel_lua_check_options(L, 3, known);
	keel_lua_option(L, 3, "include_active", LUA_TBOOLEAN);
	bool include_active = lua_toboolean(L, -1);
	struct keel_token_totals *totals = keel_lua_take(L, TOTALS, sizeof *totals, totals_gc);
	int index = lua_gettop(L);
	if (keel_tokens_of_thread(store, thread_id, include_active, totals, err) != KEEL_OK)
		return -1;
	push_totals(L, totals, include_active);
	keel_token_totals_clear(totals);
	keel_lua_give_back(L, index, TOTALS);
	return 1;
}

const struct keel_lua_method keel_lua_token_methods[] = {
	{"aggregate_tokens_by_thread", op_aggregate_tokens_by_thread, KEEL_LUA_READS},
	KEEL_LUA_METHODS_END,
};
