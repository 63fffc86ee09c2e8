/* embed.c - a C host with a Lua state of its own: it preloads keel.kernel, gives its scripts a store, and reads the
 * event log in C while Lua decides.
 *
 * Usage: embed [STORE]      (default: a store in memory)
 * Build: cc embed.c $(pkg-config --cflags --libs keel-lua keel lua5.4)
 */
#include <stdio.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include <keel/keel.h>

static const char script[] =
	"local keel = require 'keel'\n"
	"local store = assert(keel.open(...))\n"
	"local manager = keel.run_manager { store = store }\n"
	"local run = assert(manager:create_or_reject('greetings', { metadata = { from = 'C' } }))\n"
	"local _, conflict = manager:create_or_reject('greetings')\n"
	"print(conflict.code)\n"
	"assert(manager:try_start(run.run_id))\n"
	"assert(manager:set_status(run.run_id, 'success'))\n"
	"store:close()\n";

/* Prints the log of a store through the C API. */
static int print_events(const char *uri)
{
	struct keel_store *store;
	struct keel_error err;
	struct keel_events events = {0};
	struct keel_event_query query = {.next_event_id = 1, .limit = KEEL_EVENTS_DEFAULT};
	if (keel_store_open(uri, NULL, &store, &err) != KEEL_OK) {
		fprintf(stderr, "embed: %s: %s\n", keel_code_name(err.code), err.message);
		return 1;
	}
	enum keel_code code;
	do {
		code = keel_event_read(store, &query, &events, &err);
		for (size_t i = 0; code == KEEL_OK && i < events.count; i++) {
			char at[KEEL_TIME_SIZE];
			keel_time_format(events.items[i].at, at);
			printf("%lld %s %s\n", (long long)events.items[i].id, at, events.items[i].kind.data);
		}
		query.next_event_id = events.next_event_id;
	} while (code == KEEL_OK && events.has_more);
	if (code != KEEL_OK)
		fprintf(stderr, "embed: %s: %s\n", keel_code_name(err.code), err.message);
	keel_events_clear(&events);
	keel_store_close(store);
	return code == KEEL_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
	const char *uri = argc > 1 ? argv[1] : ":memory:";
	lua_State *L = luaL_newstate();
	if (!L)
		return 1;
	luaL_openlibs(L);
	luaL_requiref(L, "keel.kernel", luaopen_keel_kernel, 0);
	lua_pop(L, 1);
	int failed = luaL_loadstring(L, script);
	lua_pushstring(L, uri);
	if (failed || lua_pcall(L, 1, 0, 0) != LUA_OK) {
		fprintf(stderr, "embed: %s\n", luaL_tolstring(L, -1, NULL)); /* Keel's errors are tables that read well */
		lua_close(L);
		return 1;
	}
	lua_close(L);
	return argc > 1 ? print_events(uri) : 0;
}
