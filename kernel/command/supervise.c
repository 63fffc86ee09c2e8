/* supervise.c - keel.host for Lua: a supervisor runs one command and hears of signals. Uses: group, relay.
 *
 * Signals are blocked and read from a descriptor, so that nothing is interrupted half-way, and none is lost between
 * looking and waiting. Those that were ignored when we were started (nohup) stay ignored.
 */
#include "command.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <lauxlib.h>

#include "group.h"
#include "relay.h"

static const char SUPERVISOR[] = "keel.supervisor";

struct supervisor {
	struct group group;
	int signals; /* -1: closed */
	bool keeps;  /* the relays are in use */
	bool told;   /* that the command has ended */
	struct relay relays[2];
};

/* What is passed on, or acted upon; the rest ends us, and the guardian ends the command. */
static const int heard[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGCONT, SIGWINCH, SIGTSTP, SIGCHLD, 0};

static struct supervisor *check(lua_State *L)
{
	struct supervisor *self = luaL_checkudata(L, 1, SUPERVISOR);
	luaL_argcheck(L, self->signals >= 0, 1, "the supervisor is closed");
	return self;
}

/* Blocks what is heard. Returns the descriptor, or -1. */
static int hear(sigset_t *before)
{
	sigset_t wanted, blocked;
	struct sigaction how;
	signal(SIGCHLD, SIG_DFL); /* inherited as ignored, children could not be waited for */
	sigemptyset(&wanted);
	for (const int *number = heard; *number; number++)
		if (sigaction(*number, NULL, &how) == 0 && how.sa_handler != SIG_IGN)
			sigaddset(&wanted, *number);
	blocked = wanted;
	sigaddset(&blocked, SIGPIPE); /* writing into a closed pipe fails instead */
	sigaddset(&blocked, SIGTTOU); /* we may give the terminal away and take it back */
	sigprocmask(SIG_BLOCK, &blocked, before);
	return signalfd(-1, &wanted, SFD_NONBLOCK | SFD_CLOEXEC);
}

/* host.supervise(): a supervisor, its guardian forked, signals blocked until it is closed.
 * Returns it. Fails with the system's text. */
static int supervise(lua_State *L)
{
	sigset_t before;
	struct supervisor *self = lua_newuserdatauv(L, sizeof *self, 0);
	*self = (struct supervisor){.signals = -1};
	luaL_setmetatable(L, SUPERVISOR);
	self->signals = hear(&before);
	int failure = self->signals < 0 ? errno : group_open(&self->group, &before);
	if (failure) {
		sigprocmask(SIG_SETMASK, &before, NULL);
		if (self->signals >= 0)
			close(self->signals);
		self->signals = -1;
		return host_fail(L, failure);
	}
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

/* supervisor:start(command, out, err): starts a command (a list of strings); one at a time. With the paths `out` and
 * `err`, what it says is kept in these files too (0600, appended to).
 * Returns true. Fails with the system's text and number; "exec" comes fourth when it was the command's fault. */
static int start(lua_State *L)
{
	struct supervisor *self = check(L);
	luaL_checktype(L, 2, LUA_TTABLE);
	const char *const paths[2] = {luaL_optstring(L, 3, NULL), luaL_optstring(L, 4, NULL)};
	luaL_argcheck(L, self->group.command == 0 && !self->keeps, 1, "a command is running");
	lua_Integer count = luaL_len(L, 2);
	luaL_argcheck(L, count > 0 && count < 1 << 20, 2, "an empty command");
	char **command = lua_newuserdatauv(L, ((size_t)count + 1) * sizeof *command, 0);
	luaL_checkstack(L, 4, NULL);
	for (lua_Integer i = 0; i < count; i++) {
		luaL_argcheck(L, lua_geti(L, 2, i + 1) == LUA_TSTRING, 2, "a command is a list of strings");
		command[i] = (char *)(uintptr_t)lua_tostring(L, -1); /* execvp changes nothing; the list keeps it */
		lua_pop(L, 1);
	}
	command[count] = NULL;
	int ends[2] = {-1, -1};
	int failure = paths[0] && paths[1] ? open_relays(self, paths, ends) : 0;
	if (failure)
		return host_fail(L, failure);
	self->group.ended = self->told = false;
	failure = group_start(&self->group, command, ends);
	for (int i = 0; i < 2; i++)
		if (ends[i] >= 0)
			close(ends[i]);
	if (failure) {
		for (int i = 0; self->keeps && i < 2; i++)
			relay_close(&self->relays[i]);
		self->keeps = false;
		host_fail(L, failure);
		lua_pushliteral(L, "exec");
		return 4;
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

/* The next signal that is not about a child; 0: none. */
static int next_signal(struct supervisor *self)
{
	struct signalfd_siginfo info;
	while (read(self->signals, &info, sizeof info) == sizeof info)
		if (info.ssi_signo != SIGCHLD)
			return (int)info.ssi_signo;
	return 0;
}

/* supervisor:wait(seconds): waits for something to happen, and moves what the command says meanwhile.
 * Returns "signal" and its name without SIG; "ended" when the command has; nil when the time is over. */
static int wait_for_news(lua_State *L)
{
	struct supervisor *self = check(L);
	lua_Number seconds = luaL_checknumber(L, 2);
	int64_t deadline = monotonic_ms() + (int64_t)((seconds > 0 ? seconds < 3600 ? seconds : 3600 : 0) * 1000 + 0.999);
	for (;;) {
		struct pollfd descriptors[3] = {{.fd = self->signals, .events = POLLIN}, {.fd = -1}, {.fd = -1}};
		int number = next_signal(self);
		if (self->group.command)
			group_look(&self->group);
		if (number) {
			lua_pushliteral(L, "signal");
			lua_pushstring(L, sigabbrev_np(number));
			return 2;
		}
		if (self->group.ended && !self->told) {
			self->told = true;
			lua_pushliteral(L, "ended");
			return 1;
		}
		int64_t left = deadline - monotonic_ms();
		if (left <= 0)
			return 0;
		for (int i = 0; self->keeps && i < 2; i++)
			relay_wants(&self->relays[i], &descriptors[i + 1]);
		poll(descriptors, 3, (int)left);
		for (int i = 0; self->keeps && i < 2; i++)
			relay_move(&self->relays[i], descriptors[i + 1].revents);
		if (self->told && self->keeps && !relay_is_busy(&self->relays[0]) && !relay_is_busy(&self->relays[1]))
			return 0; /* there is nothing else to wait for */
	}
}

/* supervisor:signal(name): sends a signal, named without SIG, to the whole group. */
static int send_signal(lua_State *L)
{
	struct supervisor *self = check(L);
	const char *name = luaL_checkstring(L, 2);
	for (int number = 1; number < 32; number++) {
		const char *known = sigabbrev_np(number);
		if (known && strcmp(known, name) == 0) {
			group_signal(&self->group, number);
			return 0;
		}
	}
	return luaL_argerror(L, 2, "unknown signal");
}

/* supervisor:has_others(): whether something else of the command's group is there. Reaps what has ended first. */
static int has_others(lua_State *L)
{
	struct supervisor *self = check(L);
	group_look(&self->group);
	lua_pushboolean(L, group_has_others(&self->group));
	return 1;
}

/* supervisor:is_saying(): whether something the command said is still to be shown or kept. */
static int is_saying(lua_State *L)
{
	struct supervisor *self = check(L);
	lua_pushboolean(L, self->keeps && (relay_is_busy(&self->relays[0]) || relay_is_busy(&self->relays[1])));
	return 1;
}

/* supervisor:result(): how the command ended: its exit code, or nil and the name of the signal. Ends the relays: the
 * third result is why something could not be kept. */
static int result(lua_State *L)
{
	struct supervisor *self = check(L);
	int failure = 0;
	luaL_argcheck(L, self->group.ended, 1, "the command has not ended");
	for (int i = 0; self->keeps && i < 2; i++) {
		failure = self->relays[i].failure ? self->relays[i].failure : failure;
		relay_close(&self->relays[i]);
	}
	self->keeps = false;
	int status = self->group.status;
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
	}
	lua_pushinteger(L, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	if (failure)
		lua_pushstring(L, strerror(failure));
	return failure ? 4 : 3;
}

/* What came too late must not end us, nor that nobody reads what the command said. */
static void drop_signals(struct supervisor *self)
{
	sigset_t closed_pipe;
	sigemptyset(&closed_pipe);
	sigaddset(&closed_pipe, SIGPIPE);
	while (next_signal(self))
		;
	sigtimedwait(&closed_pipe, NULL, &(struct timespec){0});
}

/* supervisor:close(): kills what is left, and lets signals through again. Twice is fine. */
static int close_supervisor(lua_State *L)
{
	struct supervisor *self = luaL_checkudata(L, 1, SUPERVISOR);
	if (self->signals < 0)
		return 0;
	group_close(&self->group);
	for (int i = 0; self->keeps && i < 2; i++)
		relay_close(&self->relays[i]);
	drop_signals(self);
	close(self->signals);
	self->signals = -1;
	sigprocmask(SIG_SETMASK, &self->group.before, NULL);
	return 0;
}

static const luaL_Reg methods[] = {
	{"start", start},
	{"wait", wait_for_news},
	{"signal", send_signal},
	{"has_others", has_others},
	{"is_saying", is_saying},
	{"result", result},
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
	host_add_prompt(L);
	return 1;
}
