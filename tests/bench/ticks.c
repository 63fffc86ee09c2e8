/* ticks.c - what a tick costs beside schedules that are not due: instructions of SQLite's machine, and microseconds.
 *
 * In a store in memory there are so many schedules, all but one due in a month. Measured are ticks that find nothing to
 * do, and ticks that make the run of the one that is due, each by the median of all rounds; in brackets the ratio to
 * the first number of schedules. Nothing is left to chance: there is no seed.
 *
 * Usage: ticks [--rounds N] [SCHEDULES ...]
 *   --rounds   ticks of each kind (default 101)
 *   SCHEDULES  numbers of schedules (default 10 1000 10000)
 * Needs LUA_PATH and LUA_CPATH to find keel, built with the release preset, like lifecycle.c.
 */

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include <stdbool.h>

#include "steps.h"

enum { ROUNDS_MAX = 9999 };

/* Gives two functions: one moves the clock by so many seconds, ticks, and says how many runs came of it; the other ends
 * what the first has made, outside of what is counted. */
static const char making[] =
	"local keel, count = require 'keel', ...\n"
	"local now, made = 1767225600, {}\n"
	"local store = assert(keel.open(':memory:', { clock = function() return now end }))\n"
	"local runs = keel.run_manager { store = store, strategy = 'allow' }\n"
	"for i = 2, count do assert(runs:schedule('later' .. i, { every = 30 * 86400 + i, thread_id = 'later' })) end\n"
	"assert(runs:schedule('due', { every = 60, thread_id = 'due' }))\n"
	"return function(seconds)\n"
	"  now = now + seconds\n"
	"  made = assert(runs:tick()).scheduled\n"
	"  return #made\n"
	"end, function()\n"
	"  for _, run in ipairs(made) do assert(store:delete(run.run_id)) end\n"
	"  made = {}\n"
	"end\n";

static void must(lua_State *L, int status)
{
	if (status != LUA_OK)
		die("lua", lua_tostring(L, -1));
}

struct figure {
	double steps, us;
};

/* Ticks once, so many seconds later; `expected` runs come of it. The two functions are on the stack, from 1 on. */
static struct figure tick(lua_State *L, int seconds, int expected)
{
	(void)steps();
	double began = now();
	lua_pushvalue(L, 1);
	lua_pushinteger(L, seconds);
	must(L, lua_pcall(L, 1, 1, 0));
	struct figure figure = {.us = (now() - began) * 1e6};
	figure.steps = (double)steps();
	if (lua_tointeger(L, -1) != expected)
		die("tick", "it made other runs than it should");
	lua_pop(L, 1);
	lua_pushvalue(L, 2);
	must(L, lua_pcall(L, 0, 0, 0));
	return figure;
}

static struct figure median_of(struct figure *figures, int count)
{
	static double steps_of[ROUNDS_MAX], us_of[ROUNDS_MAX];
	for (int i = 0; i < count; i++) {
		steps_of[i] = figures[i].steps;
		us_of[i] = figures[i].us;
	}
	return (struct figure){median(steps_of, count), median(us_of, count)};
}

/* The schedule is due every 60 seconds: it is not after 30, and is after 30 more. */
static void measure(int schedules, int rounds, struct figure *idle, struct figure *due)
{
	static struct figure idles[ROUNDS_MAX], dues[ROUNDS_MAX];
	lua_State *L = luaL_newstate();
	if (!L)
		die("lua", "no memory");
	luaL_openlibs(L);
	must(L, luaL_loadstring(L, making));
	lua_pushinteger(L, schedules);
	must(L, lua_pcall(L, 1, 2, 0));
	(void)tick(L, 30, 0);
	(void)tick(L, 30, 1); /* statements are prepared once */
	for (int i = 0; i < rounds; i++) {
		idles[i] = tick(L, 30, 0);
		dues[i] = tick(L, 30, 1);
	}
	lua_close(L);
	*idle = median_of(idles, rounds);
	*due = median_of(dues, rounds);
}

static void print(const char *what, struct figure figure, struct figure first)
{
	printf("  %-14s %6.0f steps (%.2f), %7.1f us (%.2f)\n", what, figure.steps, figure.steps / first.steps, figure.us,
		   figure.us / first.us);
}

int main(int argc, char **argv)
{
	static const int defaults[] = {10, 1000, 10000};
	int rounds = 101, count = 0, given[32];
	for (int i = 1; i < argc; i++) {
		bool is_rounds = strcmp(argv[i], "--rounds") == 0 && i + 1 < argc;
		int number = atoi(argv[is_rounds ? ++i : i]);
		if (number < 1 || (is_rounds && number > ROUNDS_MAX) || count == 32)
			die(argv[i], "not a number that fits");
		if (is_rounds)
			rounds = number;
		else
			given[count++] = number;
	}
	count_steps();
	for (int i = 0; count == 0 && i < 3; i++)
		given[i] = defaults[i];
	count = count ? count : 3;
	struct figure first_idle = {0, 0}, first_due = {0, 0};
	for (int i = 0; i < count; i++) {
		struct figure idle, due;
		measure(given[i], rounds, &idle, &due);
		if (i == 0) {
			first_idle = idle;
			first_due = due;
		}
		printf("%d schedules\n", given[i]);
		print("none is due", idle, first_idle);
		print("one is due", due, first_due);
	}
	return 0;
}
