/* interrupt.c - keel.command for the prompt: Ctrl-C ends what runs, and the program goes on.
 *
 * A count hook looks whether the key was pressed. It is there all the time, as coroutines have the hook of whoever made
 * them: one that is set by the signal would miss a loop in a coroutine. It makes a tight loop take twice as long.
 *
 * It raises, and after a while again, so that what is closed while the stack unwinds has the time to do it; after a few
 * times, or when the key is pressed once more, at every instruction, so that no pcall in a loop holds out. Where no Lua
 * runs, nothing can be raised: then the second press says so, and the third one ends the program.
 */
#include "interrupt.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <lauxlib.h>

#include "base/monotonic.h"
#include "command.h"

enum { EVERY = 1000, PATIENCE = 10, RAISES = 3 }; /* instructions between two looks, looks between two raises */

static volatile sig_atomic_t presses; /* since the last begin */
static volatile sig_atomic_t raises;  /* since then */
static int patience;
static bool runs; /* what may be interrupted; the prompt itself may not */
static bool is_held;

bool interrupt_is_pending(void)
{
	return presses > 0;
}

static void press(int number)
{
	static const char notice[] = "\n(it does not listen; once more ends keel)\n";
	int before = errno;
	presses = presses + 1;
	if (raises == 0 && presses == 2) {
		ssize_t written = write(STDERR_FILENO, notice, sizeof notice - 1);
		(void)written;
	}
	if (raises == 0 && presses > 2) {
		signal(number, SIG_DFL);
		raise(number);
	}
	errno = before;
}

static void hook(lua_State *L, lua_Debug *ar)
{
	(void)ar;
	bool insists = presses > 1 || raises >= RAISES;
	int every = insists ? 1 : EVERY;
	if (lua_gethookcount(L) != every)
		lua_sethook(L, hook, LUA_MASKCOUNT, every);
	if (presses == 0 || !runs || (is_held && !insists) || (patience > 0 && !insists && patience--))
		return;
	patience = PATIENCE;
	raises = raises + 1;
	luaL_where(L, 0);
	lua_pushliteral(L, "interrupted");
	lua_concat(L, 2);
	lua_error(L);
}

/* command.catch_interrupts(): from now on, Ctrl-C raises in what command.call runs. */
static int catch_interrupts(lua_State *L)
{
	struct sigaction how = {.sa_handler = press}; /* no SA_RESTART: what waits for input hears of it */
	sigemptyset(&how.sa_mask);
	if (sigaction(SIGINT, &how, NULL) != 0)
		return command_fail(L, errno);
	lua_sethook(L, hook, LUA_MASKCOUNT, EVERY);
	return 0;
}

/* command.begin(): forgets what was pressed. */
static int begin(lua_State *L)
{
	(void)L;
	presses = raises = 0;
	patience = 0;
	return 0;
}

/* The message handler of a call: from here on, nothing is interrupted any more. */
static int explain(lua_State *L)
{
	runs = false;
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, 1, 1);
	return 1;
}

/* command.call(fn, explain): calls fn(), which Ctrl-C may interrupt. Returns whether it was pressed, whether fn
 * returned, and its results, or what explain made of the error; explain is called where the error was raised. */
static int call(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TFUNCTION);
	luaL_checktype(L, 2, LUA_TFUNCTION);
	lua_settop(L, 2);
	lua_pushcclosure(L, explain, 1);
	lua_pushboolean(L, 0); /* interrupted */
	lua_pushboolean(L, 0); /* returned */
	lua_pushvalue(L, 1);
	begin(L);
	runs = true;
	int status = lua_pcall(L, 0, LUA_MULTRET, 2);
	runs = false;
	is_held = false;
	lua_pushboolean(L, interrupt_is_pending());
	lua_replace(L, 3);
	lua_pushboolean(L, status == LUA_OK);
	lua_replace(L, 4);
	begin(L);
	return lua_gettop(L) - 2;
}

/* command.is_interrupted(): whether Ctrl-C was pressed since the last begin. */
static int is_interrupted(lua_State *L)
{
	lua_pushboolean(L, interrupt_is_pending());
	return 1;
}

/* command.hold_interrupts(held): while they are held, only the second press raises; for a loop that must be left in
 * good order. Returns whether they were held before. */
static int hold_interrupts(lua_State *L)
{
	bool before = is_held;
	is_held = lua_toboolean(L, 1);
	lua_pushboolean(L, before);
	return 1;
}

/* command.sleep(seconds): waits. Raises when it is interrupted. */
static int sleep_for(lua_State *L)
{
	lua_Number seconds = luaL_checknumber(L, 1);
	sigset_t none, before;
	luaL_argcheck(L, seconds >= 0, 1, "must be at least 0");
	if (seconds > 1e9)
		seconds = 1e9;
	int64_t end = keel_monotonic_us() + (int64_t)(seconds * 1e6);
	sigemptyset(&none);
	sigaddset(&none, SIGINT);
	sigprocmask(SIG_BLOCK, &none, &before); /* so that none comes between the look and the wait */
	for (;;) {
		int64_t left = end - keel_monotonic_us();
		if (presses > 0 || left <= 0)
			break;
		const struct timespec time = {.tv_sec = left / 1000000, .tv_nsec = left % 1000000 * 1000};
		ppoll(NULL, 0, &time, &before);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (presses == 0 || !runs)
		return 0;
	raises = raises + 1;
	return luaL_error(L, "interrupted");
}

static const luaL_Reg functions[] = {
	{"catch_interrupts", catch_interrupts}, {"begin", begin},     {"call", call}, {"is_interrupted", is_interrupted},
	{"hold_interrupts", hold_interrupts},   {"sleep", sleep_for}, {NULL, NULL},
};

void command_add_interrupts(lua_State *L)
{
	luaL_setfuncs(L, functions, 0);
}
