/* news.c - waiting for what happens to a command: signals, its end, what it says. Uses: guard, hearing, relay. */
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "supervisor.h"

#include "base/monotonic.h"

enum { STOPPED_US = 50000 }; /* the command is stopped for good: whoever stopped it did not stop us too */

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
		self->stopped_at = keel_monotonic_us();
	} else if (keel_monotonic_us() - self->stopped_at >= STOPPED_US && terminal_is_ours(&self->terminal)) {
		stop_by(self, SIGSTOP);
	}
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
int supervisor_wait(lua_State *L)
{
	struct supervisor *self = supervisor_check(L);
	lua_Number seconds = luaL_checknumber(L, 2);
	int descriptor = (int)luaL_optinteger(L, 3, -1);
	int64_t deadline = keel_monotonic_us() + (int64_t)((seconds > 0 ? seconds < 3600 ? seconds : 3600 : 0) * 1e6);
	for (;;) {
		struct pollfd descriptors[5] = {{.fd = self->hearing.descriptor, .events = POLLIN},
										{.fd = self->guard.talk, .events = POLLIN},
										{.fd = descriptor, .events = POLLIN},
										{.fd = -1},
										{.fd = -1}};
		int pushed = push_news(L, self);
		if (pushed)
			return pushed;
		int64_t left = deadline - keel_monotonic_us();
		if (left <= 0)
			return 0;
		for (int i = 0; self->keeps && i < 2; i++)
			relay_wants(&self->relays[i], &descriptors[i + 3]);
		if (poll(descriptors, 5, (int)((left + 999) / 1000)) < 0)
			continue; /* the timer */
		for (int i = 0; self->keeps && i < 2; i++)
			relay_move(&self->relays[i], descriptors[i + 3].revents);
		if (descriptors[2].revents) {
			lua_pushliteral(L, "ready");
			return 1;
		}
		if (self->told && self->keeps && supervisor_is_quiet(self))
			return 0; /* there is nothing else to wait for */
	}
}
