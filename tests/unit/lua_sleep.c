/* lua_sleep.c - sleeping in a process that gets signals: it takes as long as it was to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <time.h>

#include <keel/module.h>

/* The module's call in this process comes here. */
static int signals;     /* that are to come, each after a second */
static bool is_refused; /* the system does not let it sleep */
static int calls, slept;

__attribute__((visibility("default"))) int nanosleep(const struct timespec *wanted, struct timespec *left)
{
	calls++;
	assert_true(calls < 100);
	if (is_refused) {
		errno = EINVAL;
		return -1;
	}
	if (signals > 0) {
		signals--;
		slept++;
		*left = (struct timespec){.tv_sec = wanted->tv_sec - 1, .tv_nsec = wanted->tv_nsec};
		errno = EINTR; /* and it stays so: a call that succeeds leaves errno alone */
		return -1;
	}
	slept += (int)wanted->tv_sec;
	return 0;
}

static void sleep_for(const char *seconds)
{
	lua_State *L = luaL_newstate();
	assert_non_null(L);
	luaL_openlibs(L);
	luaL_requiref(L, "keel.kernel", luaopen_keel_kernel, 0);
	calls = slept = 0;
	lua_pushfstring(L, "require('keel.kernel').sleep(%s)", seconds);
	if (luaL_dostring(L, lua_tostring(L, -1)))
		fail_msg("%s", lua_tostring(L, -1));
	lua_close(L);
}

static void goes_on_after_signals(void **state)
{
	(void)state;
	signals = 3;
	sleep_for("5.25");
	assert_int_equal(calls, 4);
	assert_int_equal(slept, 5);
	sleep_for("7");
	assert_int_equal(calls, 1);
	assert_int_equal(slept, 7);
}

static void does_not_insist(void **state)
{
	(void)state;
	is_refused = true;
	sleep_for("5");
	assert_int_equal(calls, 1);
	is_refused = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(goes_on_after_signals), cmocka_unit_test(does_not_insist)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
