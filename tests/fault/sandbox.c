/* sandbox.c - every allocation of a sandboxed call fails in turn, those by mmap among them: the call says so, the
 * host's state is as it was, the box works again, and in the end all memory has been given back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include <keel/module.h>

#include <sys/mman.h>

struct memory {
	long until;   /* allocations that succeed; negative: all */
	bool for_all; /* those after the first that failed fail, too */
	long failed, blocks;
	long mapped; /* bytes */
};

static struct memory *current; /* for what has no argument to say it */

/* Whether an allocation is to fail. */
static bool fails(struct memory *memory)
{
	if (memory->until < 0 || memory->until-- > 0)
		return false;
	memory->until = memory->for_all ? 0 : -1;
	memory->failed++;
	return true;
}

void *__real_mmap(void *at, size_t size, int protection, int flags, int file, off_t offset);
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int file, off_t offset);
int __real_munmap(void *at, size_t size);
int __wrap_munmap(void *at, size_t size);

void *__wrap_mmap(void *at, size_t size, int protection, int flags, int file, off_t offset)
{
	if (current && fails(current))
		return MAP_FAILED;
	void *made = __real_mmap(at, size, protection, flags, file, offset);
	if (current && made != MAP_FAILED)
		current->mapped += (long)size;
	return made;
}

int __wrap_munmap(void *at, size_t size)
{
	if (current)
		current->mapped -= (long)size;
	return __real_munmap(at, size);
}

static void *allocate(void *data, void *block, size_t old, size_t size)
{
	struct memory *memory = data;
	(void)old;
	if (size == 0) {
		memory->blocks -= block != NULL;
		free(block);
		return NULL;
	}
	if ((!block || size > old) && fails(memory))
		return NULL;
	void *made = realloc(block, size);
	memory->blocks += made && !block;
	return made;
}

static const char setup[] =
	"local kernel = require 'keel.kernel'\n"
	"return kernel.sandbox([[\n"
	"  local t = {}\n"
	"  for i = 1, 20 do t[i] = ('x'):rep(i * 100) end\n"
	"  return function(request, inflight)\n"
	"    local big = ('y'):rep(50000) .. table.concat(t)\n"
	"    for i = 1, 2000 do t[i] = { i } end\n" /* more small ones than fit in the first piece */
	"    for k, v in pairs(request) do t[k] = v end\n"
	"    return { admit = true, cancel = inflight, reason = big:sub(1, 10), t = { t[1] } }\n"
	"  end]], 'script')\n";

static const char calling[] = "local box = ...\n"
							  "local ok, result, reason = box:call(1000000, 60, 1 << 22,\n"
							  "  { thread_id = 't', metadata = { list = { 1, 2, 'three' } } }, { { run_id = 'r' } })\n"
							  "if ok then assert(result.reason == 'yyyyyyyyyy' and result.cancel[1].run_id == 'r')\n"
							  "else assert(result == 'memory', reason) end\n"
							  "return ok\n";

/* Calls the box at index 1 with the function at 2; whether it succeeded. */
static bool call(lua_State *L)
{
	lua_settop(L, 2);
	lua_pushvalue(L, 2);
	lua_pushvalue(L, 1);
	int status = lua_pcall(L, 1, 1, 0);
	/* The host's own state may be what had no memory. */
	if (status != LUA_OK)
		assert_int_equal(status, LUA_ERRMEM);
	return status == LUA_OK && lua_toboolean(L, -1);
}

/* `fresh`: the box has no state yet, so that making it is part of the call. */
static void sweep(bool fresh, bool for_all)
{
	long n = 0;
	for (bool failed = true; failed; n++) {
		struct memory memory = {.until = -1};
		current = &memory;
		lua_State *L = lua_newstate(allocate, &memory);
		assert_non_null(L);
		luaL_openlibs(L);
		luaL_requiref(L, "keel.kernel", luaopen_keel_kernel, 0);
		lua_settop(L, 0);
		assert_int_equal(luaL_dostring(L, setup), LUA_OK);
		assert_int_equal(luaL_loadstring(L, calling), LUA_OK);
		if (!fresh)
			assert_true(call(L));
		memory.until = n;
		memory.for_all = for_all;
		bool succeeded = call(L);
		failed = memory.failed > 0;
		memory.until = -1;
		/* A failure in the host may be mended by its collector; then the call succeeds. */
		assert_true(succeeded || failed);
		assert_true(call(L));
		lua_close(L);
		assert_int_equal(memory.blocks, 0);
		assert_int_equal(memory.mapped, 0);
		current = NULL;
	}
	assert_true(n > (fresh ? 3 : 1));
}

static void test_first_call(void **state)
{
	(void)state;
	sweep(true, false);
	sweep(true, true);
}

static void test_later_call(void **state)
{
	(void)state;
	sweep(false, false);
	sweep(false, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_first_call), cmocka_unit_test(test_later_call)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
