/* lifecycle.c - the lifecycle of a run, through Lua and in plain C, side by side in one program run.
 *
 * A lifecycle is a guarded admission with about 300 bytes of metadata, a start, and a success with counters: three
 * commits and three events. The plain C side does the same reads and writes on the same schema with prepared SQLite
 * statements and nothing else. The two take turns in short slices (A B A B …), so that what else the machine does hits
 * both; the ratio is that of the medians.
 *
 * Usage: lifecycle [--runs N] [--rounds N] [--slice SECONDS] [--durability NAME] [--folder DIR]
 *   --runs        stored before measuring (default 0; the other figure worth having is 1000000)
 *   --rounds      slices a side (default 9)
 *   --slice       seconds a slice (default 0.5)
 *   --durability  full, normal, off or memory (default: all four; memory only without stored runs)
 *   --folder      where a folder with the stores is made, and removed again (default: $TMPDIR or /tmp)
 * Needs LUA_PATH and LUA_CPATH to find keel, built with the release preset; tests/bench/run.sh does all that.
 */

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <sqlite3.h>

#include <keel/keel.h>

#include "bench.h"

enum { THREADS = 100, ROUNDS_MAX = 999 };

static const char metadata[] =
	"{\"assistant\":\"researcher\",\"source\":\"gateway\",\"request_id\":\"6f1c2a7e-93d4-4b6e-8a52-1f0e7c9d3b11\","
	"\"tags\":[\"nightly\",\"batch\",\"eu-west\"],\"attempt\":1,\"temperature\":0.7,\"stream\":true,"
	"\"client\":{\"name\":\"bench\",\"version\":\"1.4.2\"},\"note\":\"three hundred bytes of what callers attach to a "
	"run\"}";

/* --- Plain C ----------------------------------------------------------------------------------------------------- */

enum { BEGIN, COMMIT, INFLIGHT, INSERT, ADMIT, START, FINISH, DROP, EVENT, STATEMENTS };

#define ITS_PLACE " FROM runs AS r WHERE run_id = ?1 AND live.thread_id = r.thread_id AND live.seq = r.seq"
static const char *const texts[STATEMENTS] = {
	[BEGIN] = "BEGIN IMMEDIATE",
	[COMMIT] = "COMMIT",
	[INFLIGHT] = "SELECT run_id, status, session_id FROM live AS l JOIN runs AS r ON r.seq = l.seq"
				 " WHERE l.thread_id = ?1 AND status < 2 ORDER BY l.seq",
	[INSERT] = "INSERT INTO runs (run_id, thread_id, operation_kind, created_at, on_disconnect, multitask_strategy,"
			   " metadata) VALUES (?1, ?2, 'run', ?3, 'cancel', 'reject', ?4)",
	[ADMIT] = "INSERT INTO live (thread_id, seq, status, priority, session_id, fence, created_at, updated_at, revision,"
			  " attempt) VALUES (?2, last_insert_rowid(), 0, 0, 1, 1, ?3, ?3, 1, 1)",
	[START] = "UPDATE live SET status = 1, updated_at = ?2, started_at = ?2, revision = revision + 1" ITS_PLACE
			  " AND status = 0 AND fence = 1",
	[FINISH] = "INSERT INTO outcomes (seq, status, session_id, fence, updated_at, started_at, ended_at, revision,"
			   " attempt, total_input_tokens, total_output_tokens, total_tokens, llm_call_count, message_count)"
			   " SELECT l.seq, 2, session_id, fence, ?2, started_at, ?2, revision + 1, attempt, 1200, 340, 1540, 3, 8"
			   " FROM runs AS r JOIN live AS l ON l.thread_id = r.thread_id AND l.seq = r.seq"
			   " WHERE run_id = ?1 AND status = 1 AND fence = 1",
	[DROP] = "DELETE FROM live WHERE (thread_id, seq) IN (SELECT thread_id, seq FROM runs WHERE run_id = ?1)",
	[EVENT] = "INSERT INTO events (kind, at, thread_id, run_id, data) VALUES (?1, ?2, ?3, ?4, ?5)",
};

struct plain {
	sqlite3 *db;
	sqlite3_stmt *statements[STATEMENTS];
};

static void step(struct plain *plain, int which, int expected)
{
	int rc = sqlite3_step(plain->statements[which]);
	if (rc != expected)
		die(texts[which], sqlite3_errmsg(plain->db));
	sqlite3_reset(plain->statements[which]);
}

static void event(struct plain *plain, const char *kind, int64_t at, const char *thread, const char *run,
				  const char *data)
{
	sqlite3_stmt *insert = plain->statements[EVENT];
	sqlite3_bind_text(insert, 1, kind, -1, SQLITE_STATIC);
	sqlite3_bind_int64(insert, 2, at);
	sqlite3_bind_text(insert, 3, thread, -1, SQLITE_STATIC);
	sqlite3_bind_text(insert, 4, run, -1, SQLITE_STATIC);
	sqlite3_bind_text(insert, 5, data, -1, SQLITE_STATIC);
	step(plain, EVENT, SQLITE_DONE);
}

static void plain_lifecycle(struct plain *plain, const char *thread)
{
	struct keel_clock clock = keel_clock_system();
	struct keel_ids ids = keel_ids_uuid7();
	char id[KEEL_UUID_SIZE];
	int64_t at = clock.now(clock.data);
	ids.next(ids.data, id);
	step(plain, BEGIN, SQLITE_DONE);
	sqlite3_bind_text(plain->statements[INFLIGHT], 1, thread, -1, SQLITE_STATIC);
	step(plain, INFLIGHT, SQLITE_DONE);
	sqlite3_stmt *insert = plain->statements[INSERT];
	sqlite3_bind_text(insert, 1, id, -1, SQLITE_STATIC);
	sqlite3_bind_text(insert, 2, thread, -1, SQLITE_STATIC);
	sqlite3_bind_int64(insert, 3, at);
	sqlite3_bind_text(insert, 4, metadata, -1, SQLITE_STATIC);
	step(plain, INSERT, SQLITE_DONE);
	sqlite3_stmt *admit = plain->statements[ADMIT];
	sqlite3_bind_text(admit, 2, thread, -1, SQLITE_STATIC);
	sqlite3_bind_int64(admit, 3, at);
	step(plain, ADMIT, SQLITE_DONE);
	event(plain, "run_created", at, thread, id, "{\"strategy\":\"reject\",\"strategy_version\":\"0123456789abcdef\"}");
	step(plain, COMMIT, SQLITE_DONE);
	for (int which = START; which <= FINISH; which++) {
		at = clock.now(clock.data);
		step(plain, BEGIN, SQLITE_DONE);
		sqlite3_bind_text(plain->statements[which], 1, id, -1, SQLITE_STATIC);
		sqlite3_bind_int64(plain->statements[which], 2, at);
		step(plain, which, SQLITE_DONE);
		if (which == FINISH) {
			sqlite3_bind_text(plain->statements[DROP], 1, id, -1, SQLITE_STATIC);
			step(plain, DROP, SQLITE_DONE);
		}
		event(plain, which == START ? "run_started" : "run_finished", at, thread, id,
			  which == START ? "{\"fence\":1,\"session_id\":1}" : "{\"status\":\"success\"}");
		step(plain, COMMIT, SQLITE_DONE);
	}
}

static void plain_open(struct plain *plain, const char *path, const char *durability)
{
	char pragma[128];
	if (sqlite3_open_v2(path, &plain->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
		die(path, sqlite3_errmsg(plain->db));
	/* A store in memory gets its schema from one that Keel has made. */
	if (strcmp(path, ":memory:") == 0) {
		sqlite3_stmt *schema;
		sqlite3_exec(plain->db, "ATTACH '' AS keel", NULL, NULL, NULL);
		sqlite3_exec(plain->db, "DETACH keel", NULL, NULL, NULL);
		char attach[600];
		snprintf(attach, sizeof attach, "ATTACH '%s' AS keel", durability);
		if (sqlite3_exec(plain->db, attach, NULL, NULL, NULL) != SQLITE_OK)
			die(attach, sqlite3_errmsg(plain->db));
		sqlite3_prepare_v2(plain->db,
						   "SELECT sql FROM keel.sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'", -1,
						   &schema, NULL);
		while (sqlite3_step(schema) == SQLITE_ROW)
			sqlite3_exec(plain->db, (const char *)sqlite3_column_text(schema, 0), NULL, NULL, NULL);
		sqlite3_finalize(schema);
		sqlite3_exec(plain->db, "DETACH keel", NULL, NULL, NULL);
	} else {
		snprintf(pragma, sizeof pragma,
				 "PRAGMA synchronous = %s; PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY", durability);
		sqlite3_exec(plain->db, pragma, NULL, NULL, NULL);
	}
	for (int i = 0; i < STATEMENTS; i++)
		if (sqlite3_prepare_v3(plain->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &plain->statements[i], NULL) !=
			SQLITE_OK)
			die(texts[i], sqlite3_errmsg(plain->db));
}

static void plain_close(struct plain *plain)
{
	for (int i = 0; i < STATEMENTS; i++)
		sqlite3_finalize(plain->statements[i]);
	sqlite3_close(plain->db);
}

/* --- Lua --------------------------------------------------------------------------------------------------------- */

static const char script[] =
	"local keel = require 'keel'\n"
	"local path, durability, json = ...\n"
	"local store = assert(keel.open(path, { durability = durability }))\n"
	"local manager = assert(keel.run_manager { store = store })\n"
	"local metadata = assert(keel.json.decode(json))\n"
	"local function lifecycle(thread)\n"
	"  local run = assert(manager:create_or_reject(thread, { metadata = metadata }))\n"
	"  assert(manager:try_start(run.run_id))\n"
	"  assert(manager:update_run_completion(run.run_id, { status = 'success', total_input_tokens = 1200,\n"
	"    total_output_tokens = 340, total_tokens = 1540, llm_call_count = 3, message_count = 8 }))\n"
	"end\n"
	"local function slice(seconds, clock, threads)\n"
	"  local started, count = clock(), 0\n"
	"  repeat\n"
	"    for _ = 1, 10 do count = count + 1; lifecycle('thread-' .. count % threads) end\n"
	"  until clock() - started >= seconds\n"
	"  return count / (clock() - started)\n"
	"end\n"
	"return slice, function() store:close() end\n";

static int lua_now(lua_State *L)
{
	lua_pushnumber(L, now());
	return 1;
}

static lua_State *lua_open(const char *path, const char *durability)
{
	lua_State *L = luaL_newstate();
	luaL_openlibs(L);
	if (luaL_loadstring(L, script) != LUA_OK)
		die("script", lua_tostring(L, -1));
	lua_pushstring(L, path);
	lua_pushstring(L, durability);
	lua_pushstring(L, metadata);
	if (lua_pcall(L, 3, 2, 0) != LUA_OK)
		die("Lua", lua_tostring(L, -1));
	return L;
}

static double lua_slice(lua_State *L, double seconds)
{
	lua_pushvalue(L, 1);
	lua_pushnumber(L, seconds);
	lua_pushcfunction(L, lua_now);
	lua_pushinteger(L, THREADS);
	if (lua_pcall(L, 3, 1, 0) != LUA_OK)
		die("Lua", lua_tostring(L, -1));
	double rate = lua_tonumber(L, -1);
	lua_pop(L, 1);
	return rate;
}

static double plain_slice(struct plain *plain, double seconds)
{
	double started = now();
	int count = 0;
	char thread[32];
	do {
		for (int i = 0; i < 10; i++) {
			snprintf(thread, sizeof thread, "thread-%d", ++count % THREADS);
			plain_lifecycle(plain, thread);
		}
	} while (now() - started < seconds);
	return count / (now() - started);
}

/* --- Side by side ------------------------------------------------------------------------------------------------ */

/* Makes a store by opening it with Keel, and fills it with finished runs, three events each, on a thousand threads. */
static void make_store(const char *path, long runs)
{
	struct keel_store *store;
	struct keel_error err;
	int64_t session;
	if (keel_store_open(path, NULL, &store, &err) != KEEL_OK || keel_store_session(store, &session, &err) != KEEL_OK)
		die(path, err.message);
	keel_store_close(store);
	if (runs == 0)
		return;
	sqlite3 *db;
	char *sql = sqlite3_mprintf(
		"PRAGMA synchronous = OFF; PRAGMA cache_size = -400000; BEGIN;"
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %ld)"
		" INSERT INTO runs (run_id, thread_id, operation_kind, created_at, on_disconnect, multitask_strategy, metadata)"
		" SELECT printf('0000%%08x-0000-7000-8000-%%012x', i, i), 'thread-' || (i %% 1000), 'run', i * 1000000,"
		" 'cancel', 'reject', %Q FROM n;"
		"INSERT INTO outcomes (seq, status, session_id, fence, updated_at, started_at, ended_at, revision, attempt,"
		" total_tokens) SELECT seq, 2, 1, 1, created_at, created_at, created_at, 3, 1, 1540 FROM runs;"
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %ld)"
		" INSERT INTO events (kind, at, thread_id, run_id, data)"
		" SELECT CASE e WHEN 0 THEN 'run_created' WHEN 1 THEN 'run_started' ELSE 'run_finished' END, i * 1000000,"
		" 'thread-' || (i %% 1000), printf('0000%%08x-0000-7000-8000-%%012x', i, i), '{\"status\":\"success\"}'"
		" FROM n, (SELECT 0 AS e UNION ALL SELECT 1 UNION ALL SELECT 2);"
		"COMMIT; PRAGMA wal_checkpoint(TRUNCATE)",
		runs, metadata, runs);
	if (sqlite3_open(path, &db) != SQLITE_OK || sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		die(path, sqlite3_errmsg(db));
	sqlite3_free(sql);
	sqlite3_close(db);
}

static void measure(const char *durability, const char *folder, long runs, int rounds, double seconds)
{
	bool memory = strcmp(durability, "memory") == 0;
	char path[2][512];
	struct plain plain;
	double rates[2][ROUNDS_MAX];
	for (int side = 0; side < 2; side++) {
		snprintf(path[side], sizeof path[side], "%s/%s-%s.db", folder, durability, side ? "lua" : "plain");
		make_store(path[side], memory ? 0 : runs);
	}
	plain_open(&plain, memory ? ":memory:" : path[0], memory ? path[0] : durability);
	lua_State *L = lua_open(memory ? ":memory:" : path[1], memory ? "full" : durability);
	plain_slice(&plain, seconds / 2);
	lua_slice(L, seconds / 2);
	for (int i = 0; i < rounds; i++) {
		rates[0][i] = plain_slice(&plain, seconds);
		rates[1][i] = lua_slice(L, seconds);
	}
	lua_close(L);
	plain_close(&plain);
	double in_c = median(rates[0], rounds), in_lua = median(rates[1], rounds);
	printf("%-8s %9ld stored   plain C %7.0f/s   Lua %7.0f/s   ratio %.3f\n", durability, memory ? 0 : runs, in_c,
		   in_lua, in_lua / in_c);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static const char *const all[] = {"full", "normal", "off", "memory"};
	const char *only = NULL, *parent = NULL;
	char folder[FOLDER_SIZE];
	long runs = 0;
	int rounds = 9;
	double seconds = 0.5;
	for (int i = 1; i < argc; i += 2) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;
		if (value && strcmp(argv[i], "--runs") == 0)
			runs = atol(value);
		else if (value && strcmp(argv[i], "--rounds") == 0)
			rounds = atoi(value);
		else if (value && strcmp(argv[i], "--slice") == 0)
			seconds = atof(value);
		else if (value && strcmp(argv[i], "--durability") == 0)
			only = value;
		else if (value && strcmp(argv[i], "--folder") == 0)
			parent = value;
		else
			die(argv[i], "unknown option, or no value; the top of tests/bench/lifecycle.c has the usage");
	}
	if (rounds < 1 || rounds > ROUNDS_MAX)
		die("--rounds", "1 to 999");
	make_folder(folder, parent);
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		if (only ? strcmp(only, all[i]) == 0 : runs == 0 || i < 3)
			measure(all[i], folder, runs, rounds, seconds);
	drop_folder(folder);
	return 0;
}
