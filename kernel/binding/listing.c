/* listing.c - looking for runs, as methods of stores and transactions. */
#include "binding.h"

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

/* list_inflight{ thread_id, batch_id, before, session_id, limit = 100, after, holding, finalizing, overdue, held_up,
 * brief }: pending and running runs, reservations among them, oldest first. Parameters: batch_id (in place of a
 * thread: in order of insertion), before (a time: created then or earlier), after (a run id: go on behind it),
 * holding (true: instead what runs or is finalizing on the thread; only thread_id and limit count), slot (with
 * holding, in place of the thread: a name), finalizing (true: the same, but only what is finalizing), overdue (true:
 * of all threads those whose deadline or lease has passed, and those without an owner that may not be claimed),
 * held_up (true: the claimable run that is next on each thread where a run is finalizing or was asked to stop).
 * Fails with invalid_request and limit_too_large (1000). */
static int op_list_inflight(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"thread_id", "before",     "session_id", "limit",   "after",
										"holding",   "finalizing", "overdue",    "held_up", "brief",
										"slot",      "batch_id",   NULL};
	struct keel_inflight_query query = {0};
	keel_lua_check_options(L, 2, known);
	query.thread_id = keel_lua_option_text(L, 2, "thread_id");
	query.batch_id = keel_lua_option_text(L, 2, "batch_id");
	query.after = keel_lua_option_text(L, 2, "after");
	query.session_id = keel_lua_option_integer(L, 2, "session_id", 0);
	if (query.session_id < 1 && keel_lua_option(L, 2, "session_id", LUA_TNUMBER) != LUA_TNIL)
		return keel_lua_refuse(err, "session_id", "must be at least 1");
	query.limit = keel_lua_option_integer(L, 2, "limit", KEEL_LIST_DEFAULT);
	query.slot = keel_lua_option_text(L, 2, "slot");
	query.holding = keel_lua_option_flag(L, 2, "holding");
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

/* list_runs{ status, thread_id, user_id, batch_id, after, limit = 100 }: the newest runs of the store, of a thread or
 * of a batch, without reservations. Parameters: after (a run id: go on behind it, with older ones), limit (1 to 1000).
 * Fails with invalid_request (status, thread_id, user_id, batch_id, limit), limit_too_large, and not_found for
 * `after`. */
static int op_list_runs(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"status", "thread_id", "user_id", "batch_id", "after", "limit", NULL};
	keel_lua_check_options(L, 2, known);
	struct keel_run_query query = {.thread_id = keel_lua_option_text(L, 2, "thread_id"),
								   .user_id = keel_lua_option_text(L, 2, "user_id"),
								   .batch_id = keel_lua_option_text(L, 2, "batch_id"),
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

/* Reads the option `statuses`, a list of final ones. False: invalid. */
static bool read_statuses(lua_State *L, unsigned *statuses, struct keel_error *err)
{
	enum keel_run_status status;
	if (keel_lua_option(L, 2, "statuses", LUA_TTABLE) == LUA_TNIL)
		return keel_lua_refuse(err, "statuses", "must be given"), false;
	int list = lua_gettop(L);
	for (lua_Integer i = 1; lua_rawgeti(L, list, i) != LUA_TNIL; i++) {
		struct keel_text name = {NULL, 0};
		if (lua_type(L, -1) == LUA_TSTRING)
			name.data = lua_tolstring(L, -1, &name.size);
		lua_pop(L, 1); /* the list keeps it */
		if (!name.data || !keel_run_status_find(name, &status) || !keel_run_status_is_final(status))
			return keel_lua_refuse(err, "statuses", "must be some of: success, error, timeout, interrupted"), false;
		*statuses |= 1u << status;
	}
	lua_settop(L, list);
	return true;
}

/* list_retriable{ statuses, thread_id, batch_id, user_id, handler, before, after, limit = 100 }: the runs that
 * have ended in one of the statuses and that nobody has tried again, in order of insertion, without their
 * documents. Parameters: before (a time: created then or earlier), after (a run id: go on behind it), limit (1 to
 * 1000). Fails with invalid_request, limit_too_large, and not_found for `after`. */
static int op_list_retriable(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"statuses", "thread_id", "batch_id", "user_id", "handler",
										"before",   "after",     "limit",    NULL};
	keel_lua_check_options(L, 2, known);
	struct keel_retriable_query query = {.thread_id = keel_lua_option_text(L, 2, "thread_id"),
										 .batch_id = keel_lua_option_text(L, 2, "batch_id"),
										 .user_id = keel_lua_option_text(L, 2, "user_id"),
										 .handler = keel_lua_option_text(L, 2, "handler"),
										 .after = keel_lua_option_text(L, 2, "after"),
										 .limit = keel_lua_option_integer(L, 2, "limit", KEEL_LIST_DEFAULT)};
	if (!read_statuses(L, &query.statuses, err) ||
		!keel_lua_option_time(L, 2, "before", store, &query.before, &query.bounded, err))
		return -1;
	struct keel_runs *list = keel_lua_new_runs(L);
	if (keel_run_list_retriable(store, &query, list, err) != KEEL_OK)
		return -1;
	return keel_lua_push_runs(L, list);
}

/* newest_retry(run_id): the id of the newest run that is another try of it, or of that one, and so on; nil: there is
 * none. Fails with invalid_request. */
static int op_newest_retry(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	char retry[KEEL_ID_MAX + 1];
	bool found;
	if (keel_run_newest_retry(store, keel_lua_check_text(L, 2, "run_id"), retry, &found, err) != KEEL_OK)
		return -1;
	if (found)
		lua_pushstring(L, retry);
	else
		lua_pushnil(L);
	return 1;
}

/* count_batch(batch_id): how many of its runs have each status, all of them (`total`), and how many have ended
 * (`done`): { pending, running, success, error, timeout, interrupted, total, done }. Fails with invalid_request. */
static int op_count_batch(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	int64_t counts[KEEL_RUN_STATUS_COUNT], total = 0, done = 0;
	if (keel_run_count_batch(store, keel_lua_check_text(L, 2, "batch_id"), counts, err) != KEEL_OK)
		return -1;
	lua_createtable(L, 0, KEEL_RUN_STATUS_COUNT + 2);
	for (int i = 0; i < KEEL_RUN_STATUS_COUNT; i++) {
		enum keel_run_status status = (enum keel_run_status)i;
		keel_lua_set_integer(L, keel_run_status_name(status), counts[i]);
		total += counts[i];
		done += keel_run_status_is_final(status) ? counts[i] : 0;
	}
	keel_lua_set_integer(L, "total", total);
	keel_lua_set_integer(L, "done", done);
	return 1;
}

static bool read_count(struct keel_text word, enum keel_count *count)
{
	static const char *const words[] = {"inflight", "pending", "running", "started"};
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (keel_text_is(word, words[i])) {
			*count = (enum keel_count)i;
			return true;
		}
	return false;
}

/* count_runs{ count, user_id | handler | batch_id | thread_id | slot | rate, per }: how many runs there are, up to
 * 10 000. count: "inflight", "pending", "running", or "started" with a rate and seconds. Fails with invalid_request. */
static int op_count_runs(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"count", "user_id", "handler", "batch_id", "thread_id",
										"slot",  "rate",    "per",     NULL};
	struct keel_count_query query;
	int64_t count;
	keel_lua_check_options(L, 2, known);
	query = (struct keel_count_query){.user_id = keel_lua_option_text(L, 2, "user_id"),
									  .handler = keel_lua_option_text(L, 2, "handler"),
									  .batch_id = keel_lua_option_text(L, 2, "batch_id"),
									  .thread_id = keel_lua_option_text(L, 2, "thread_id"),
									  .slot = keel_lua_option_text(L, 2, "slot"),
									  .rate = keel_lua_option_text(L, 2, "rate")};
	if (!read_count(keel_lua_option_text(L, 2, "count"), &query.count))
		return keel_lua_refuse(err, "count", "must be one of: inflight, pending, running, started");
	if (keel_lua_option(L, 2, "per", LUA_TNUMBER) != LUA_TNIL && !keel_lua_duration(lua_tonumber(L, -1), &query.per_us))
		return keel_lua_refuse(err, "per", "must be a number of seconds greater than 0");
	if (keel_run_count(store, &query, &count, err) != KEEL_OK)
		return -1;
	lua_pushinteger(L, count);
	return 1;
}

const struct keel_lua_method keel_lua_listing_methods[] = {
	{"list_by_thread", op_list_by_thread, KEEL_LUA_READS},   {"list_inflight", op_list_inflight, KEEL_LUA_READS},
	{"next_owner", op_next_owner, KEEL_LUA_READS},           {"count_inflight", op_count_inflight, KEEL_LUA_READS},
	{"count_runs", op_count_runs, KEEL_LUA_READS},           {"find_by_key", op_find_by_key, KEEL_LUA_READS},
	{"list_dispatched", op_list_dispatched, KEEL_LUA_READS}, {"list_runs", op_list_runs, KEEL_LUA_READS},
	{"count_batch", op_count_batch, KEEL_LUA_READS},         {"list_retriable", op_list_retriable, KEEL_LUA_READS},
	{"newest_retry", op_newest_retry, KEEL_LUA_READS},       KEEL_LUA_METHODS_END,
};
