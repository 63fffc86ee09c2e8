/* housekeeping.c - backups, copies, pruning, counts, and whether a store is sound. store.lua takes the steps of
 * pruning. Uses: driver. */
#include "handle.h"

#include <string.h>

/* backup(path): copies the store as it is now into a new file, while others go on. The copy is a store of its own, with
 * another epoch and without sessions. Returns true. Fails with invalid_request (path: there is a file of that name),
 * store_missing (no such directory), store_full, io, and busy in a transaction. */
static int op_backup(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	struct keel_text path = keel_lua_check_text(L, 2, "path");
	if (memchr(path.data, '\0', path.size) || !keel_text_is_utf8(path))
		return keel_lua_refuse(err, "path", "must be UTF-8 without zero bytes");
	if (keel_store_backup(store, path.data, err) != KEEL_OK)
		return -1;
	lua_pushboolean(L, 1);
	return 1;
}

/* catch_up(place): works off some of what is left when nobody comes by: dependents of runs that have ended, starts of
 * rates that nobody counts any more. Returns the place where the next call goes on; it begins with nil. Fails with busy
 * in a transaction. */
static int op_catch_up(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	struct keel_catch_up place = {.name = ""};
	if (!lua_isnoneornil(L, 2)) {
		struct keel_text name = keel_lua_check_text(L, 2, "place");
		if (name.size > KEEL_ID_MAX || memchr(name.data, '\0', name.size))
			return keel_lua_refuse(err, "place", "must be one that catch_up gave");
		memcpy(place.name, name.data, name.size);
	}
	if (keel_store_catch_up(store, &place, err) != KEEL_OK)
		return -1;
	lua_pushstring(L, place.name);
	return 1;
}

/* is_behind(): whether a transaction of this handle has left something that catch_up works off. */
static int op_is_behind(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	(void)err;
	lua_pushboolean(L, keel_store_is_behind(store));
	return 1;
}

/* copy(path, { anyway }): copies the store as it is now into a file or onto a server, as a store of its own. Returns
 * true. Fails with conflict (runs are in flight, unless anyway), invalid_request (path), and busy in a transaction. */
static int op_copy(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"anyway", NULL};
	struct keel_text path = keel_lua_check_text(L, 2, "path");
	keel_lua_check_options(L, 3, known);
	bool anyway = keel_lua_option_flag(L, 3, "anyway");
	if (memchr(path.data, '\0', path.size) || !keel_text_is_utf8(path))
		return keel_lua_refuse(err, "path", "must be UTF-8 without zero bytes");
	enum keel_code code = keel_store_copy(store, path.data, anyway, err);
	if (code == KEEL_NOT_SUPPORTED && keel_lua_bring_driver(L, err))
		code = keel_store_copy(store, path.data, anyway, err);
	if (code != KEEL_OK)
		return -1;
	lua_pushboolean(L, 1);
	return 1;
}

/* The bits of the statuses in the list on the top. False: one of them is none that is final. [-0, +0, e] */
static bool read_statuses(lua_State *L, struct keel_prune *prune)
{
	prune->runs = prune->workers = 0;
	for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, -1); i++) {
		if (lua_rawgeti(L, -1, i) != LUA_TSTRING)
			luaL_argerror(L, 2, "option 'statuses' must be a list of strings");
		struct keel_text name = {lua_tostring(L, -1), lua_rawlen(L, -1)};
		enum keel_run_status status;
		bool known = keel_run_status_find(name, &status) && keel_run_status_is_final(status);
		if (known)
			prune->runs |= 1u << status;
		for (int worker = KEEL_WORKER_STOPPED; worker < KEEL_WORKER_STATUS_COUNT; worker++)
			if (keel_text_is(name, keel_worker_status_name((enum keel_worker_status)worker))) {
				prune->workers |= 1u << worker;
				known = true;
			}
		lua_pop(L, 1);
		if (!known)
			return false;
	}
	return true;
}

/* prune_step({ before, keep_last, statuses, dry_run, limit, next_run, next_worker, next_event }): one step of pruning,
 * which looks at `limit` rows of each sort (1 to 1000, the default); see store:prune.
 * Returns what went, { runs, workers, transcript_entries, diagnostics, events }, with the place where to go on,
 * next_run, next_worker and next_event, and more: false when that was all. Fails with invalid_request. */
static int op_prune_step(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"before",   "keep_last",   "statuses",   "dry_run", "limit",
										"next_run", "next_worker", "next_event", NULL};
	struct keel_prune prune = {.runs = 1u << KEEL_RUN_SUCCESS | 1u << KEEL_RUN_ERROR | 1u << KEEL_RUN_TIMEOUT |
									   1u << KEEL_RUN_INTERRUPTED,
							   .workers = 1u << KEEL_WORKER_STOPPED | 1u << KEEL_WORKER_CANCELLED};
	struct keel_pruned pruned;
	keel_lua_check_type(L, 2, "options", LUA_TTABLE);
	keel_lua_check_options(L, 2, known);
	bool bounded;
	if (!keel_lua_option_time(L, 2, "before", store, &prune.before, &bounded, err))
		return -1;
	if (!bounded)
		return keel_lua_refuse(err, "before", "must be given");
	prune.keep_last = keel_lua_option_integer(L, 2, "keep_last", 0);
	prune.limit = keel_lua_option_integer(L, 2, "limit", 0);
	prune.next_run = keel_lua_option_integer(L, 2, "next_run", 0);
	prune.next_worker = keel_lua_option_integer(L, 2, "next_worker", 0);
	prune.next_event = keel_lua_option_integer(L, 2, "next_event", 0);
	prune.dry = keel_lua_option_flag(L, 2, "dry_run");
	if (keel_lua_option(L, 2, "statuses", LUA_TTABLE) != LUA_TNIL && !read_statuses(L, &prune))
		return keel_lua_refuse(err, "statuses",
							   "must be among: success, error, timeout, interrupted, stopped, cancelled");
	if (keel_store_prune(store, &prune, &pruned, err) != KEEL_OK)
		return -1;
	lua_createtable(L, 0, 10);
	keel_lua_set_integer(L, "runs", pruned.runs);
	keel_lua_set_integer(L, "workers", pruned.workers);
	keel_lua_set_integer(L, "transcript_entries", pruned.entries);
	keel_lua_set_integer(L, "diagnostics", pruned.diagnostics);
	keel_lua_set_integer(L, "events", pruned.events);
	keel_lua_set_integer(L, "unused_bytes", pruned.unused_bytes);
	keel_lua_set_integer(L, "next_run", prune.next_run);
	keel_lua_set_integer(L, "next_worker", prune.next_worker);
	keel_lua_set_integer(L, "next_event", prune.next_event);
	keel_lua_set_flag(L, "more", pruned.more);
	return 1;
}

/* keel.restore(backup, path): puts a backup in the place of a store. Blocks the thread.
 * Parameters: backup (its file), path (the store's, which may be missing).
 * Returns true. Fails with busy (a live session has the store open), invalid_request (backup, path), store_missing,
 * store_corrupt, store_version, store_readonly, store_full, io. */
int keel_lua_restore(lua_State *L)
{
	static const char *const names[] = {"backup", "path"};
	struct keel_error err;
	for (int i = 0; i < 2; i++) {
		struct keel_text path = keel_lua_check_text(L, i + 1, names[i]);
		if (memchr(path.data, '\0', path.size) || !keel_text_is_utf8(path))
			return keel_lua_fail_field(L, names[i], "must be UTF-8 without zero bytes");
	}
	if (keel_store_restore(lua_tostring(L, 1), lua_tostring(L, 2), NULL, &err) != KEEL_OK)
		return keel_lua_fail(L, &err);
	lua_pushboolean(L, 1);
	return 1;
}

/* compact(): makes the file as small as its content, while others read. Returns how many bytes smaller it is. Fails
 * with store_readonly, store_full, and busy in a transaction and while others write. */
static int op_compact(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	int64_t freed;
	if (keel_store_compact(store, &freed, err) != KEEL_OK)
		return -1;
	lua_pushinteger(L, freed);
	return 1;
}

/* write_back(): writes the log back into the file, and cuts it, as far as others let it. Returns how many bytes of it
 * somebody needs still. Fails with busy in a transaction. */
static int op_write_back(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	int64_t left;
	if (keel_store_write_back(store, &left, err) != KEEL_OK)
		return -1;
	lua_pushinteger(L, left);
	return 1;
}

/* stats(): how much there is of everything. Takes time in proportion to the rows. */
static int op_stats(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	struct keel_stats stats;
	if (keel_store_stats(store, &stats, err) != KEEL_OK)
		return -1;
	lua_createtable(L, 0, 22);
	keel_lua_set_integer(L, "bytes", stats.bytes);
	keel_lua_set_integer(L, "runs", stats.runs);
	keel_lua_set_integer(L, "pending_runs", stats.pending_runs);
	keel_lua_set_integer(L, "running_runs", stats.running_runs);
	keel_lua_set_integer(L, "delayed_runs", stats.delayed_runs);
	keel_lua_set_integer(L, "blocked_runs", stats.blocked_runs);
	keel_lua_set_integer(L, "limited_runs", stats.limited_runs);
	keel_lua_set_integer(L, "limits", stats.limits);
	keel_lua_set_integer(L, "pauses", stats.pauses);
	if (stats.oldest_waiting[0]) {
		keel_lua_set_word(L, "oldest_waiting", stats.oldest_waiting);
		keel_lua_push_seconds(L, stats.oldest_waiting_us);
		lua_setfield(L, -2, "oldest_waiting_age");
	}
	keel_lua_set_integer(L, "runtimes", stats.runtimes);
	keel_lua_set_integer(L, "workers", stats.workers);
	keel_lua_set_integer(L, "active_workers", stats.active_workers);
	keel_lua_set_integer(L, "transcript_entries", stats.entries);
	keel_lua_set_integer(L, "diagnostics", stats.diagnostics);
	keel_lua_set_integer(L, "leases", stats.leases);
	keel_lua_set_integer(L, "schedules", stats.schedules);
	keel_lua_set_integer(L, "sessions", stats.sessions);
	keel_lua_set_integer(L, "events", stats.event_high_water - stats.event_low_water + 1);
	keel_lua_set_integer(L, "event_low_water", stats.event_low_water);
	keel_lua_set_integer(L, "event_high_water", stats.event_high_water);
	return 1;
}

static int metrics_gc(lua_State *L)
{
	keel_metrics_clear(lua_touserdata(L, 1));
	return 0;
}

/* Counts by status, as a field of the table on the top; only those of runs that have ended. [-0, +0, e] */
static void set_statuses(lua_State *L, const char *field, const int64_t counts[KEEL_RUN_STATUS_COUNT], bool ended)
{
	lua_createtable(L, 0, KEEL_RUN_STATUS_COUNT);
	for (int status = 0; status < KEEL_RUN_STATUS_COUNT; status++)
		if (!ended || keel_run_status_is_final((enum keel_run_status)status))
			keel_lua_set_integer(L, keel_run_status_name((enum keel_run_status)status), counts[status]);
	lua_setfield(L, -2, field);
}

/* metrics{ handlers = 50, window = 300 }: what goes on: { runs, ended (both by status), since, created, started,
 * requeued, handlers = { { handler, waiting, running } } }. Parameters: handlers (0 to 1000), window (seconds). Takes
 * time in proportion to the runs. Fails with invalid_request. */
static int op_metrics(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"handlers", "window", NULL};
	static const char metatable[] = "keel.metrics";
	int64_t window_us = (int64_t)300 * 1000000;
	keel_lua_check_options(L, 2, known);
	int64_t handlers = keel_lua_option_integer(L, 2, "handlers", 50);
	if (keel_lua_option(L, 2, "window", LUA_TNUMBER) != LUA_TNIL &&
		!keel_lua_option_duration(L, 2, "window", &window_us, err))
		return -1;
	struct keel_metrics *metrics = keel_lua_take(L, metatable, sizeof *metrics, metrics_gc);
	int index = lua_gettop(L);
	if (keel_store_metrics(store, handlers, window_us, metrics, err) != KEEL_OK)
		return -1;
	lua_createtable(L, 0, 7);
	set_statuses(L, "runs", metrics->runs, false);
	set_statuses(L, "ended", metrics->ended, true);
	keel_lua_set_time(L, "since", metrics->since);
	keel_lua_set_integer(L, "created", metrics->created);
	keel_lua_set_integer(L, "started", metrics->started);
	keel_lua_set_integer(L, "requeued", metrics->requeued);
	lua_createtable(L, (int)metrics->count, 0);
	for (size_t i = 0; i < metrics->count; i++) {
		lua_createtable(L, 0, 3);
		keel_lua_set_text(L, "handler", metrics->handlers[i].handler);
		keel_lua_set_integer(L, "waiting", metrics->handlers[i].waiting);
		keel_lua_set_integer(L, "running", metrics->handlers[i].running);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	lua_setfield(L, -2, "handlers");
	keel_metrics_clear(metrics);
	keel_lua_give_back(L, index, metatable);
	return 1;
}

/* server(): what there is to know of the server that has the store: { version, standby, fsync, autovacuum,
 * has_standbys, synchronous_commit, lacking, clock_skew, oldest, oldest_pid, blocked, blocking, blocking_pid, rows,
 * dead_rows, connections, connections_max }. Fails with not_supported for a store that is on none. */
static int op_server(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	struct keel_server server;
	if (keel_store_server(store, &server, err) != KEEL_OK)
		return -1;
	lua_createtable(L, 0, 17);
	keel_lua_set_integer(L, "version", server.version);
	keel_lua_set_flag(L, "standby", server.standby);
	keel_lua_set_flag(L, "fsync", server.fsync);
	keel_lua_set_flag(L, "autovacuum", server.autovacuum);
	keel_lua_set_flag(L, "has_standbys", server.has_standbys);
	keel_lua_set_word(L, "synchronous_commit", server.synchronous_commit);
	if (server.lacking[0])
		keel_lua_set_word(L, "lacking", server.lacking);
	lua_pushnumber(L, (lua_Number)server.skew_us / 1e6);
	lua_setfield(L, -2, "clock_skew");
	lua_pushnumber(L, (lua_Number)server.oldest_us / 1e6);
	lua_setfield(L, -2, "oldest");
	keel_lua_set_integer(L, "oldest_pid", server.oldest_pid);
	keel_lua_set_integer(L, "blocked", server.blocked);
	lua_pushnumber(L, (lua_Number)server.blocking_us / 1e6);
	lua_setfield(L, -2, "blocking");
	keel_lua_set_integer(L, "blocking_pid", server.blocking_pid);
	keel_lua_set_integer(L, "rows", server.rows);
	keel_lua_set_integer(L, "dead_rows", server.dead_rows);
	keel_lua_set_integer(L, "connections", server.connections);
	keel_lua_set_integer(L, "connections_max", server.connections_max);
	return 1;
}

static const char PROBLEMS[] = "keel.store.problems";

static int problems_gc(lua_State *L)
{
	keel_problems_clear(lua_touserdata(L, 1));
	return 0;
}

/* store:verify(): what is wrong with the store: a list of { code, message }, empty when it is sound; at most 100. Takes
 * time in proportion to the store. */
static int op_verify(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	struct keel_problems *problems = keel_lua_take(L, PROBLEMS, sizeof *problems, problems_gc);
	if (keel_store_verify(store, problems, err) != KEEL_OK)
		return -1;
	lua_newtable(L);
	for (size_t i = 0; i < problems->count; i++) {
		const struct keel_problem *problem = &problems->items[i];
		lua_createtable(L, 0, 2);
		keel_lua_set_word(L, "code", keel_code_name(problem->code));
		keel_lua_set_text(L, "message", problem->text);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	return 1;
}

const struct keel_lua_method keel_lua_housekeeping_methods[] = {
	{"backup", op_backup, KEEL_LUA_READS},          {"copy", op_copy, KEEL_LUA_READS},
	{"catch_up", op_catch_up, KEEL_LUA_READS},      {"is_behind", op_is_behind, KEEL_LUA_READS},
	{"compact", op_compact, KEEL_LUA_READS},        {"write_back", op_write_back, KEEL_LUA_READS},
	{"prune_step", op_prune_step, KEEL_LUA_WRITES}, {"stats", op_stats, KEEL_LUA_READS},
	{"metrics", op_metrics, KEEL_LUA_READS},        {"server", op_server, KEEL_LUA_READS},
	{"verify", op_verify, KEEL_LUA_READS},          KEEL_LUA_METHODS_END,
};
