/* lua_forks.c - handles of Lua in a forked child: each raises an error table that says what works instead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include <keel/module.h>

/* in_child(fn): runs fn in a forked child. Returns whether it raised nothing; what it raised goes to stderr. */
static int in_child(lua_State *L)
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		int failed = lua_pcall(L, 0, 0, 0);
		if (failed) {
			const char *why = luaL_tolstring(L, -1, NULL);
			if (write(STDERR_FILENO, why, lua_rawlen(L, -1)) < 0)
				_exit(2);
		}
		_exit(failed);
	}
	lua_pushboolean(L, waitpid(pid, &status, 0) == pid && status == 0);
	return 1;
}

static lua_State *new_state(void)
{
	lua_State *L = luaL_newstate();
	assert_non_null(L);
	luaL_openlibs(L);
	luaL_requiref(L, "keel.kernel", luaopen_keel_kernel, 0);
	lua_register(L, "in_child", in_child);
	int failed = luaL_dostring(L, "package.path = '" KEEL_SOURCE_DIR "/lua/?.lua;" KEEL_SOURCE_DIR "/lua/?/init.lua;'"
								  " .. package.path keel = require 'keel'");
	if (failed)
		fail_msg("%s", lua_tostring(L, -1));
	return L;
}

static void run(const char *chunk)
{
	char folder[] = "/tmp/keel-forks-XXXXXX";
	lua_State *L = new_state();
	assert_non_null(mkdtemp(folder));
	lua_pushstring(L, folder);
	lua_setglobal(L, "folder");
	if (luaL_dostring(L, chunk))
		fail_msg("%s", luaL_tolstring(L, -1, NULL));
	lua_close(L);
	static const char *const names[] = {"s.db", "s.db-wal", "s.db-shm", "s.db-sessions", "s.db-wake", ""};
	char path[128];
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		snprintf(path, sizeof path, "%s/%s", folder, names[i]);
		remove(path);
	}
}

/* F-38 */
static void every_handle_raises_forked(void **state)
{
	(void)state;
	run("local store = assert(keel.open(folder .. '/s.db', { durability = 'off' }))\n"
		"local runs = keel.run_manager { store = store }\n"
		"local run = assert(runs:create 't')\n"
		"local lease = assert(store:lease('n', { ttl = 60 }))\n"
		"local waiter = assert(store:event_waiter())\n"
		"local workers = assert(keel.runtime { store = store })\n"
		"local feed = assert(workers:subscribe_events(assert(workers:event_cursor_now())))\n"
		"local machines = assert(keel.dispatcher { store = store })\n"
		"local shared = keel.shared_commits(store)\n"
		"local function is_forked(what, fn, ...)\n"
		"  local ok, err = pcall(fn, ...)\n"
		"  assert(not ok, what .. ' raised nothing')\n"
		"  assert(type(err) == 'table' and err.code == 'forked' and not err.transient, what .. ': ' .. tostring(err))\n"
		"  assert(tostring(err):find('after the fork', 1, true) and tostring(err):find('close it before', 1, true))\n"
		"end\n"
		"local function call_all(tx)\n"
		"  is_forked('store', store.get, store, run.run_id)\n"
		"  is_forked('begin', store.begin, store)\n"
		"  is_forked('open', keel.open, folder .. '/s.db')\n"
		"  is_forked('lease', lease.renew, lease, 60)\n"
		"  is_forked('waiter', waiter.look, waiter)\n"
		"  is_forked('create', runs.create, runs, 't')\n"
		"  is_forked('create_or_reject', runs.create_or_reject, runs, 't')\n"
		"  is_forked('set_status', runs.set_status, runs, run.run_id, 'success')\n"
		"  is_forked('list', runs.list_by_thread, runs, 't')\n"
		"  is_forked('tick', runs.tick, runs)\n"
		"  is_forked('wait', runs.wait, runs, run.run_id)\n"
		"  is_forked('runtime', workers.summary, workers)\n"
		"  is_forked('subscription', feed.next, feed, 0)\n"
		"  is_forked('dispatcher', machines.list, machines)\n"
		"  is_forked('shared', shared.put, shared, 'r', { thread_id = 't' })\n"
		"  is_forked('shared in a coroutine', function() local ok, err = coroutine.resume(coroutine.create(function()\n"
		"    return shared:get(run.run_id) end)) if not ok then error(err, 0) end end)\n"
		"  if tx then is_forked('tx', tx.get, tx, run.run_id) is_forked('commit', tx.commit, tx) tx:rollback() end\n"
		"  store:close()\n"
		"end\n"
		"assert(in_child(call_all), 'without a transaction')\n"
		"local tx <close> = assert(store:begin())\n"
		"assert(in_child(function() call_all(tx) end), 'in a transaction')\n"
		"assert(tx:put(run.run_id, { model_name = 'parent' }) and tx:commit())\n"
		"assert(store:get(run.run_id).model_name == 'parent')\n");
}

/* F-38: what the message advises works. */
static void closing_before_or_opening_after_works(void **state)
{
	(void)state;
	run("local path = folder .. '/s.db'\n"
		"local before = assert(keel.open(path, { durability = 'off' }))\n"
		"assert(before:put('r', { thread_id = 't' }))\n"
		"before:close()\n"
		"assert(in_child(function()\n"
		"  local store <close> = assert(keel.open(path, { durability = 'off' }))\n"
		"  assert(store:put('child', { thread_id = 't' }))\n"
		"end))\n"
		"local after <close> = assert(keel.open(path, { durability = 'off' }))\n"
		"assert(after:get 'child')\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_handle_raises_forked),
		cmocka_unit_test(closing_before_or_opening_after_works),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
