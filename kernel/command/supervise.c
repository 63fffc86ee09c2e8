/* supervise.c - keel.command for Lua: a supervisor runs one command. Uses: news, outcome, guard, relay, terminal. */
#include "command.h"

#include <string.h>
#include <unistd.h>

#include "supervisor.h"

/* A list of strings as execvp wants it, good for as long as the list and what is left on top. [-0, +1, m] */
static char **push_words(lua_State *L, int argument)
{
	luaL_checktype(L, argument, LUA_TTABLE);
	lua_Integer count = luaL_len(L, argument);
	luaL_argcheck(L, count > 0 && count < 1 << 20, argument, "an empty command");
	char **words = lua_newuserdatauv(L, ((size_t)count + 1) * sizeof *words, 0);
	for (lua_Integer i = 0; i < count; i++) {
		luaL_argcheck(L, lua_geti(L, argument, i + 1) == LUA_TSTRING, argument, "a command is a list of strings");
		words[i] = (char *)(uintptr_t)lua_tostring(L, -1); /* execvp changes nothing; the list keeps it */
		lua_pop(L, 1);
	}
	words[count] = NULL;
	return words;
}

/* command.supervise(command, witness): a supervisor for a command (a list of strings), its guardian forked, signals
 * blocked until it is closed. The descriptor `witness`, if there is one, is open until nothing of the command is left,
 * whatever becomes of us. Returns it. Fails with the system's text. */
static int supervise(lua_State *L)
{
	int witness = (int)luaL_optinteger(L, 2, -1);
	lua_settop(L, 1);
	char **words = push_words(L, 1);
	struct supervisor *self = lua_newuserdatauv(L, sizeof *self, 2);
	memset(self, 0, sizeof *self);
	self->hearing.descriptor = self->terminal.fd = -1;
	luaL_setmetatable(L, SUPERVISOR);
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, -2, 1);
	lua_pushvalue(L, 2);
	lua_setiuservalue(L, -2, 2);
	int failure = hearing_open(&self->hearing);
	if (failure)
		return command_fail(L, failure);
	self->start = (struct guardian_start){.command = words,
										  .mask = &self->hearing.before,
										  .child = &self->hearing.child,
										  .file_size = &self->hearing.file_size,
										  .alarm = &self->hearing.alarm,
										  .witness = witness};
	failure = guard_open(&self->guard, &self->start);
	if (failure) {
		hearing_close(&self->hearing);
		return command_fail(L, failure);
	}
	hearing_attend(&self->guard);
	terminal_open(&self->terminal);
	return 1;
}

/* supervisor:hold(descriptor): has it kept open for as long as anything of the command is there.
 * Returns true. Fails with the system's text. */
static int hold(lua_State *L)
{
	int failure = guard_hold(&supervisor_check(L)->guard, (int)luaL_checkinteger(L, 2));
	if (failure)
		return command_fail(L, failure);
	lua_pushboolean(L, true);
	return 1;
}

static void close_ends(int ends[2])
{
	if (ends[0] >= 0)
		close(ends[0]);
	if (ends[1] >= 0 && ends[1] != ends[0])
		close(ends[1]);
	ends[0] = ends[1] = -1;
}

/* Opens the relays; the command's ends are in `ends`. Of two equal paths there is one, for all that it says. */
static int open_relays(struct supervisor *self, const struct relay_course courses[2], int ends[2])
{
	bool is_one = strcmp(courses[0].path, courses[1].path) == 0;
	struct relay_course first = courses[0];
	first.takes_errors = is_one && courses[1].takes_errors;
	int failure = relay_open(&self->relays[0], &first, &ends[0]);
	relay_none(&self->relays[1]);
	if (!failure && is_one)
		ends[1] = ends[0];
	else if (!failure)
		failure = relay_open(&self->relays[1], &courses[1], &ends[1]);
	if (failure) {
		relay_close(&self->relays[0]);
		close_ends(ends);
	}
	self->keeps = !failure;
	return failure;
}

/* Where what is said on a descriptor goes; argument 4 is the `how` of start, or nil. */
static struct relay_course course_of(lua_State *L, const char *path, int descriptor)
{
	struct relay_course course = {.path = path, .out = descriptor};
	if (lua_isnoneornil(L, 4))
		return course;
	luaL_checktype(L, 4, LUA_TTABLE);
	if (lua_getfield(L, 4, "is_hidden") != LUA_TNIL && lua_toboolean(L, -1))
		course.out = -1;
	lua_getfield(L, 4, "takes_errors");
	course.takes_errors = descriptor == STDERR_FILENO && lua_toboolean(L, -1);
	lua_getfield(L, 4, "part_size");
	lua_Integer part_size = luaL_optinteger(L, -1, 0);
	luaL_argcheck(L, part_size >= 0, 4, "no size");
	course.part_size = (size_t)part_size;
	lua_pop(L, 3);
	return course;
}

/* supervisor:start(out, err, how): starts the command; again, when it has ended. With the paths `out` and `err`, what
 * it says is kept in these files too (0600, appended to); in one file, in the order in which it was said, when they are
 * the same. `how` is a table: `is_hidden`: it is only kept there; `takes_errors`: so is what we say on standard error
 * from then on; `part_size`: it is bounded, as kept.h says.
 * Returns true; whether it could be run, failure() says after its end. Fails with the system's text and number. */
static int start(lua_State *L)
{
	struct supervisor *self = supervisor_check(L);
	const char *const paths[2] = {luaL_optstring(L, 2, NULL), luaL_optstring(L, 3, NULL)};
	luaL_argcheck(L, !self->guard.runs && !self->keeps, 1, "a command is running");
	struct relay_course courses[2];
	int ends[2] = {-1, -1};
	for (int i = 0; i < 2; i++)
		courses[i] = course_of(L, paths[i], i + 1);
	int failure = paths[0] && paths[1] ? open_relays(self, courses, ends) : 0;
	if (failure)
		return command_fail(L, failure);
	self->told = false;
	failure = guard_start(&self->guard, ends);
	close_ends(ends);
	if (failure) {
		for (int i = 0; self->keeps && i < 2; i++)
			relay_close(&self->relays[i]);
		self->keeps = false;
		return command_fail(L, failure);
	}
	lua_pushboolean(L, true);
	return 1;
}

/* supervisor:signal(name, all, spares_ours): sends a signal, named without SIG, to the command and those of its family
 * that are in our session or its own; with `all` to those of other sessions too; with `spares_ours` not to those in our
 * process group. */
static int send_signal(lua_State *L)
{
	struct supervisor *self = supervisor_check(L);
	const char *name = luaL_checkstring(L, 2);
	enum family_scope scope = lua_toboolean(L, 3) ? FAMILY_ALL : FAMILY_NEAR;
	pid_t spared = lua_toboolean(L, 4) ? getpgrp() : 0;
	for (int number = 1; number < 32; number++) {
		const char *known = sigabbrev_np(number);
		if (known && strcmp(known, name) == 0) {
			guard_signal(&self->guard, number, scope, spared);
			return 0;
		}
	}
	return luaL_argerror(L, 2, "unknown signal");
}

/* supervisor:leave(): no command is to be run any more: lets the guardian go, while there is something else to do. */
static int leave(lua_State *L)
{
	guard_leave(&supervisor_check(L)->guard);
	return 0;
}

/* supervisor:close(): kills what is left, and lets signals through again. Twice is fine. */
static int close_supervisor(lua_State *L)
{
	struct supervisor *self = luaL_checkudata(L, 1, SUPERVISOR);
	if (self->hearing.descriptor < 0)
		return 0;
	guard_close(&self->guard);
	for (int i = 0; self->keeps && i < 2; i++)
		relay_close(&self->relays[i]);
	self->keeps = false;
	hearing_close(&self->hearing);
	terminal_close(&self->terminal);
	return 0;
}

static const luaL_Reg methods[] = {
	{"hold", hold},
	{"start", start},
	{"wait", supervisor_wait},
	{"signal", send_signal},
	{"has_ended", supervisor_has_ended},
	{"left", supervisor_left},
	{"refusal", supervisor_refusal},
	{"failure", supervisor_failure},
	{"is_saying", supervisor_is_saying},
	{"hush", supervisor_hush},
	{"output", supervisor_output},
	{"result", supervisor_result},
	{"leave", leave},
	{"close", close_supervisor},
	{"__gc", close_supervisor},
	{"__close", close_supervisor},
	{NULL, NULL},
};

int command_open(lua_State *L)
{
	if (luaL_newmetatable(L, SUPERVISOR)) {
		luaL_setfuncs(L, methods, 0);
		lua_pushvalue(L, -1);
		lua_setfield(L, -2, "__index");
	}
	lua_pop(L, 1);
	lua_newtable(L);
	lua_pushcfunction(L, supervise);
	lua_setfield(L, -2, "supervise");
	command_add_system(L);
	command_add_folders(L);
	command_add_detach(L);
	command_add_channels(L);
	command_add_feeding(L);
	command_add_interrupts(L);
	command_add_history(L);
	command_add_screen(L);
	command_add_width(L);
	command_add_prompt(L);
	return 1;
}
