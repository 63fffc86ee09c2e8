/* lua_stacks.c - what has a bound of its own to how deep it goes runs on a thread with a stack of 128 KiB: JSON,
 * patterns, a script's functions that C calls. musl gives its threads no more, and coroutines of C hosts have less than
 * a program.
 */
#include "support.h"

#include <pthread.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include <keel/module.h>

#if defined(__SANITIZE_ADDRESS__)
enum { STACK_SIZE = 1024 * 1024 }; /* its frames are several times as large */
#else
enum { STACK_SIZE = 128 * 1024 };
#endif

/* Runs a chunk in a state of its own. Returns what went wrong, to be freed, or NULL. */
static void *run(void *chunk)
{
	char *problem = NULL;
	lua_State *L = luaL_newstate();
	luaL_openlibs(L);
	luaL_requiref(L, "keel.kernel", luaopen_keel_kernel, 0);
	lua_settop(L, 0);
	if (luaL_dostring(L, chunk) != LUA_OK)
		problem = strdup(lua_tostring(L, -1));
	lua_close(L);
	return problem;
}

static void on_small_stack(const char *chunk)
{
	pthread_attr_t attributes;
	pthread_t thread;
	void *problem;
	assert_int_equal(pthread_attr_init(&attributes), 0);
	assert_int_equal(pthread_attr_setstacksize(&attributes, STACK_SIZE), 0);
	assert_int_equal(pthread_create(&thread, &attributes, run, (void *)(uintptr_t)chunk), 0);
	assert_int_equal(pthread_join(thread, &problem), 0);
	pthread_attr_destroy(&attributes);
	if (problem)
		fail_msg("%s", (char *)problem);
}

/* F-44: JSON as deep as it may be is written, read and copied; what is deeper is refused. */
static void documents(void **state)
{
	(void)state;
	on_small_stack("local kernel = require 'keel.kernel'\n"
				   "local json = kernel.json\n"
				   "local function nested(levels, name)\n"
				   "  local t = kernel.array {}\n"
				   "  for _ = 2, levels do t = { [name] = t } end\n"
				   "  return t\n"
				   "end\n"
				   "for _, name in ipairs { 'a', 1 } do\n"
				   "  local text = assert(json.encode(nested(200, name)))\n"
				   "  assert(json.encode(json.copy(json.decode(text))) == text)\n"
				   "  assert(json.encode(nested(201, name)) == nil and not pcall(json.copy, nested(201, name)))\n"
				   "end\n");
	on_small_stack("local json = require 'keel.kernel'.json\n"
				   "for levels = 190, 5000 do\n"
				   "  local value, err = json.decode(('['):rep(levels) .. (']'):rep(levels))\n"
				   "  assert(levels <= 200 and value or err.code == 'invalid_request')\n"
				   "  assert(json.decode(('{\"[\":'):rep(levels)) == nil)\n"
				   "end\n");
}

static const char asking[] = "local source, most = %s, %s\n"
							 "local box = assert(require 'keel.kernel'.sandbox(source, 's'))\n"
							 "local ok, result, why = box:call(1e8 // 1 | 0, 60, 1 << 24)\n"
							 "assert(ok and result.n >= most or not ok and why and why:find(most), why or result.n)\n";

/* Runs a script in a sandbox; `expected` is the least number it returns as `n`, or a pattern of how it fails. */
static void in_sandbox(const char *script, const char *expected)
{
	char chunk[4096];
	assert_true(snprintf(chunk, sizeof chunk, asking, script, expected) < (int)sizeof chunk);
	on_small_stack(chunk);
}

/* F-56: functions that C calls, nested as deep as they may, and the deepest pattern in the deepest of them. */
static void callbacks(void **state)
{
	(void)state;
	in_sandbox("[[return function()\n"
			   "  local n = 0\n"
			   "  local function f() n = n + 1 pcall(f) end f()\n"
			   "  return { n = n }\n"
			   "end]]",
			   "50");
	in_sandbox("[[return function() local function f() table.sort({ 1, 2 }, f) end f() end]]", "'stack overflow'");
	in_sandbox("[[return function() local function f() ('x'):gsub('.', f) end f() end]]", "'stack overflow'");
	in_sandbox("[[return function()\n"
			   "  local n, text, deep = 0, ('a'):rep(600), ('a?'):rep(128)\n"
			   "  local function f() n = n + 1 text:match(deep) pcall(string.gsub, 'x', '.', f) end f()\n"
			   "  return { n = n }\n"
			   "end]]",
			   "15");
	in_sandbox("[[return function() ('a'):rep(600):match(('a?'):rep(512)) end]]", "'repeated items'");
}

/* F-56: a script nested as deeply as its 16 KiB allow is read, or refused by Lua's own bound. */
static void parser(void **state)
{
	(void)state;
	in_sandbox("'return ' .. ('('):rep(16000)", "'overflow'");
	in_sandbox("('local function f() '):rep(800)", "'overflow'");
	in_sandbox("('function f() '):rep(1000)", "'overflow'");
	in_sandbox("'f(' .. ('function() f('):rep(1000)", "'overflow'");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(documents), cmocka_unit_test(callbacks),
									   cmocka_unit_test(parser)};
	return cmocka_run_group_tests_name("lua_stacks", tests, NULL, NULL);
}
