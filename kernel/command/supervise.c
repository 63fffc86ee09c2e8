/* supervise.c - keel.host for Lua: a supervisor runs one command and hears of signals. Uses: guard, hearing, relay,
 * terminal.
 */
#include "command.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <lauxlib.h>

#include "guard.h"
#include "hearing.h"
#include "relay.h"
#include "terminal.h"

static const char SUPERVISOR[] = "keel.supervisor";

enum { STOPPED_MS = 50 }; /* the command is stopped for good: whoever stopped it did not stop us too */

struct supervisor {
	struct guard guard;
	struct guardian_start start;
	struct hearing hearing; /* closed: the supervisor is */
	struct terminal terminal;
	bool keeps;         /* the relays are in use */
	bool told;          /* that the command has ended */
	int64_t stopped_at; /* when the command was first seen stopped; 0: it is not */
	struct relay relays[2];
};

static struct supervisor *check(lua_State *L)
{
	struct supervisor *self = luaL_checkudata(L, 1, SUPERVISOR);
	luaL_argcheck(L, self->hearing.descriptor >= 0, 1, "the supervisor is closed");
	return self;
}

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

/* host.supervise(command): a supervisor for a command (a list of strings), its guardian forked, signals blocked until
 * it is closed. Returns it. Fails with the system's text. */
static int supervise(lua_State *L)
{
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
		return host_fail(L, failure);
	self->start = (struct guardian_start){.command = words,
										  .mask = &self->hearing.before,
										  .child = &self->hearing.child,
										  .file_size = &self->hearing.file_size,
										  .alarm = &self->hearing.alarm};
	failure = guard_open(&self->guard, &self->start);
	if (failure) {
		hearing_close(&self->hearing);
		return host_fail(L, failure);
	}
	hearing_attend(&self->guard);
	terminal_open(&self->terminal);
	return 1;
}

/* supervisor:hold(descriptor): has it kept open for as long as anything of the command is there.
 * Returns true. Fails with the system's text. */
static int hold(lua_State *L)
{
	int failure = guard_hold(&check(L)->guard, (int)luaL_checkinteger(L, 2));
	if (failure)
		return host_fail(L, failure);
	lua_pushboolean(L, true);
	return 1;
}

/* Opens the relays; the command's ends are in `ends`. */
static int open_relays(struct supervisor *self, const char *const paths[2], int ends[2])
{
	for (int i = 0; i < 2; i++) {
		int failure = relay_open(&self->relays[i], paths[i], i + 1, &ends[i]);
		if (failure) {
			if (i == 1) {
				relay_close(&self->relays[0]);
				close(ends[0]);
			}
			return failure;
		}
	}
	self->keeps = true;
	return 0;
}

/* supervisor:start(out, err): starts the command; again, when it has ended. With the paths `out` and `err`, what it
 * says is kept in these files too (0600, appended to).
 * Returns true; whether it could be run, failure() says after its end. Fails with the system's text and number. */
static int start(lua_State *L)
{
	struct supervisor *self = check(L);
	const char *const paths[2] = {luaL_optstring(L, 2, NULL), luaL_optstring(L, 3, NULL)};
	luaL_argcheck(L, !self->guard.runs && !self->keeps, 1, "a command is running");
	int ends[2] = {-1, -1};
	int failure = paths[0] && paths[1] ? open_relays(self, paths, ends) : 0;
	if (failure)
		return host_fail(L, failure);
	self->told = false;
	failure = guard_start(&self->guard, ends);
	for (int i = 0; i < 2; i++)
		if (ends[i] >= 0)
			close(ends[i]);
	if (failure) {
		for (int i = 0; self->keeps && i < 2; i++)
			relay_close(&self->relays[i]);
		self->keeps = false;
		return host_fail(L, failure);
	}
	lua_pushboolean(L, true);
	return 1;
}

static int64_t monotonic_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Stops as the system would have stopped us; what was seen of the command is old then. */
static void stop_by(struct supervisor *self, int number)
{
	terminal_stop(number);
	guard_hear(&self->guard);
	self->guard.is_stopped = false;
	self->stopped_at = 0;
}

/* The next signal that is for Lua. Those that stop a job are served here, where nothing is half done. */
static struct heard next_signal(struct supervisor *self)
{
	struct heard heard;
	while (heard = hearing_next(&self->hearing),
		   heard.number == SIGTSTP || heard.number == SIGTTIN || heard.number == SIGTTOU) {
		if (!heard.is_keyboard && self->guard.runs)
			guard_signal(&self->guard, heard.number, FAMILY_NEAR, 0);
		stop_by(self, heard.number);
	}
	return heard;
}

/* The command has stopped itself alone, as by SIGSTOP. Under a shell, the terminal would be the shell's again; where
 * nobody looks at it, who stopped it will know when to go on. */
static void follow_stop(struct supervisor *self)
{
	if (!self->guard.is_stopped) {
		self->stopped_at = 0;
	} else if (self->stopped_at == 0) {
		self->stopped_at = monotonic_ms();
	} else if (monotonic_ms() - self->stopped_at >= STOPPED_MS && terminal_is_ours(&self->terminal)) {
		stop_by(self, SIGSTOP);
	}
}

/* The relays are done, or nothing is there to be waited for at the moment. */
static bool is_quiet(const struct supervisor *self)
{
	return !relay_is_busy(&self->relays[0]) && !relay_is_busy(&self->relays[1]);
}

/* What has happened; the number of values pushed, 0: nothing. */
static int push_news(lua_State *L, struct supervisor *self)
{
	struct heard heard = next_signal(self);
	struct family_count before = self->guard.left;
	guard_hear(&self->guard);
	follow_stop(self);
	if (heard.number) {
		lua_pushliteral(L, "signal");
		lua_pushstring(L, sigabbrev_np(heard.number));
		lua_pushboolean(L, heard.is_keyboard);
		lua_pushboolean(L, heard.is_passed);
		return 4;
	}
	if (self->guard.ended && !self->told) {
		self->told = true;
		lua_pushliteral(L, "ended");
		return 1;
	}
	if (self->told && (before.all != self->guard.left.all || before.near != self->guard.left.near)) {
		lua_pushliteral(L, "left");
		return 1;
	}
	return 0;
}

/* supervisor:wait(seconds, descriptor): waits for something to happen, and moves what the command says meanwhile.
 * Returns "signal", its name without SIG, whether it came from the keyboard to our whole process group, and whether it
 * was passed on already; "ended" when the command has; "left" when, after that, others of its family have; "ready" when
 * `descriptor` can be read; nil when the time is over. */
static int wait_for_news(lua_State *L)
{
	struct supervisor *self = check(L);
	lua_Number seconds = luaL_checknumber(L, 2);
	int descriptor = (int)luaL_optinteger(L, 3, -1);
	int64_t deadline = monotonic_ms() + (int64_t)((seconds > 0 ? seconds < 3600 ? seconds : 3600 : 0) * 1000 + 0.999);
	for (;;) {
		struct pollfd descriptors[5] = {{.fd = self->hearing.descriptor, .events = POLLIN},
										{.fd = self->guard.talk, .events = POLLIN},
										{.fd = descriptor, .events = POLLIN},
										{.fd = -1},
										{.fd = -1}};
		int pushed = push_news(L, self);
		if (pushed)
			return pushed;
		int64_t left = deadline - monotonic_ms();
		if (left <= 0)
			return 0;
		for (int i = 0; self->keeps && i < 2; i++)
			relay_wants(&self->relays[i], &descriptors[i + 3]);
		if (poll(descriptors, 5, (int)left) < 0)
			continue; /* the timer */
		for (int i = 0; self->keeps && i < 2; i++)
			relay_move(&self->relays[i], descriptors[i + 3].revents);
		if (descriptors[2].revents) {
			lua_pushliteral(L, "ready");
			return 1;
		}
		if (self->told && self->keeps && is_quiet(self))
			return 0; /* there is nothing else to wait for */
	}
}

/* supervisor:signal(name, all, spares_ours): sends a signal, named without SIG, to the command and those of its family
 * that are in our session or its own; with `all` to those of other sessions too; with `spares_ours` not to those in our
 * process group. */
static int send_signal(lua_State *L)
{
	struct supervisor *self = check(L);
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

/* supervisor:has_ended(): whether the command has. */
static int has_ended(lua_State *L)
{
	struct supervisor *self = check(L);
	guard_hear(&self->guard);
	self->told = self->guard.ended;
	lua_pushboolean(L, self->told);
	return 1;
}

/* supervisor:left(): how many of the command's family are there after its end: in our session or its own, and at all.
 */
static int left(lua_State *L)
{
	struct supervisor *self = check(L);
	guard_hear(&self->guard);
	lua_pushinteger(L, self->guard.left.near);
	lua_pushinteger(L, self->guard.left.all);
	return 2;
}

/* supervisor:refusal(): why signals were refused: the system's text; nil: they were not. */
static int refusal(lua_State *L)
{
	struct supervisor *self = check(L);
	guard_hear(&self->guard);
	if (!self->guard.refusal)
		return 0;
	lua_pushstring(L, strerror(self->guard.refusal));
	return 1;
}

/* supervisor:failure(): why there was no command to end: the system's text, its number and the step that failed;
 * nothing: there was one. */
static int failure(lua_State *L)
{
	const struct guard *guard = &check(L)->guard;
	if (!guard->failure)
		return 0;
	lua_pushstring(L, strerror(guard->failure));
	lua_pushinteger(L, guard->failure);
	lua_pushstring(L, guard_step_name(guard->step));
	return 3;
}

/* supervisor:is_saying(): whether something the command said is still to be shown or kept. */
static int is_saying(lua_State *L)
{
	struct supervisor *self = check(L);
	lua_pushboolean(L, self->keeps && !is_quiet(self));
	return 1;
}

/* supervisor:hush(): shows no more of what the command said; what is there is only kept. */
static int hush(lua_State *L)
{
	struct supervisor *self = check(L);
	for (int i = 0; self->keeps && i < 2; i++)
		if (relay_is_busy(&self->relays[i]))
			relay_blind(&self->relays[i], ETIMEDOUT);
	return 0;
}

/* supervisor:output(): ends the relays. Returns why something could not be kept, and why something could not be shown;
 * nil: it could. */
static int output(lua_State *L)
{
	struct supervisor *self = check(L);
	int unkept = 0, unshown = 0;
	for (int i = 0; self->keeps && i < 2; i++) {
		unkept = self->relays[i].failure ? self->relays[i].failure : unkept;
		unshown = self->relays[i].unshown ? self->relays[i].unshown : unshown;
		relay_close(&self->relays[i]);
	}
	self->keeps = false;
	lua_pushstring(L, unkept ? strerror(unkept) : NULL);
	lua_pushstring(L, unshown ? strerror(unshown) : NULL);
	return 2;
}

/* supervisor:result(): how the command ended: its exit code, or nil and the name of the signal; then the exit code of a
 * shell; and whether its guardian was killed. Modes of the terminal that a killed command has left are set back. */
static int result(lua_State *L)
{
	struct supervisor *self = check(L);
	luaL_argcheck(L, self->guard.ended, 1, "the command has not ended");
	int status = self->guard.status;
	if (WIFEXITED(status)) {
		lua_pushinteger(L, WEXITSTATUS(status));
		lua_pushnil(L);
	} else {
		const char *name = sigabbrev_np(WTERMSIG(status));
		lua_pushnil(L);
		if (name)
			lua_pushstring(L, name);
		else
			lua_pushfstring(L, "%d", WTERMSIG(status));
		terminal_restore(&self->terminal);
	}
	lua_pushinteger(L, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	lua_pushboolean(L, self->guard.is_lost);
	return 4;
}

/* supervisor:leave(): no command is to be run any more: lets the guardian go, while there is something else to do. */
static int leave(lua_State *L)
{
	guard_leave(&check(L)->guard);
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
	{"wait", wait_for_news},
	{"signal", send_signal},
	{"has_ended", has_ended},
	{"left", left},
	{"refusal", refusal},
	{"failure", failure},
	{"is_saying", is_saying},
	{"hush", hush},
	{"output", output},
	{"result", result},
	{"leave", leave},
	{"close", close_supervisor},
	{"__gc", close_supervisor},
	{"__close", close_supervisor},
	{NULL, NULL},
};

int host_open(lua_State *L)
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
	host_add_system(L);
	host_add_interrupts(L);
	host_add_history(L);
	host_add_screen(L);
	host_add_width(L);
	host_add_prompt(L);
	return 1;
}
