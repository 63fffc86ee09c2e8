/* screen.c - keel.command for keel top: the whole screen, keys one by one, and the screen of before when it is over.
 *
 * Signals are blocked and read from a descriptor, as a supervisor does: nothing ends us before the screen was put back.
 */
#include "command.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <lauxlib.h>

static const char SCREEN[] = "keel.screen";

/* The alternate screen, no cursor, no wrapping of long lines; and back. */
static const char ENTER[] = "\033[?1049h\033[?25l\033[?7l", LEAVE[] = "\033[?7h\033[?25h\033[?1049l";

struct screen {
	bool is_open;
	int signals;
	struct termios before;
	sigset_t mask;
};

static const int heard[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH, 0};

static int enter(const struct screen *self)
{
	struct termios raw = self->before;
	raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO); /* Ctrl-C and Ctrl-Z stay signals */
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) != 0)
		return errno;
	fputs(ENTER, stdout);
	return fflush(stdout) == 0 ? 0 : errno;
}

static void leave(const struct screen *self)
{
	fputs(LEAVE, stdout);
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSADRAIN, &self->before);
}

static int screen_close(lua_State *L)
{
	struct screen *self = luaL_checkudata(L, 1, SCREEN);
	if (!self->is_open)
		return 0;
	self->is_open = false;
	leave(self);
	close(self->signals);
	sigprocmask(SIG_SETMASK, &self->mask, NULL); /* what has come meanwhile acts now */
	return 0;
}

/* command.screen(): takes the terminal until it is closed. Returns it; fails when there is none. */
static int open_screen(lua_State *L)
{
	sigset_t wanted;
	struct screen *self = lua_newuserdatauv(L, sizeof *self, 0);
	self->is_open = false;
	luaL_setmetatable(L, SCREEN);
	if (tcgetattr(STDIN_FILENO, &self->before) != 0)
		return command_fail(L, errno);
	sigemptyset(&wanted);
	for (const int *number = heard; *number; number++)
		sigaddset(&wanted, *number);
	self->signals = signalfd(-1, &wanted, SFD_NONBLOCK | SFD_CLOEXEC);
	if (self->signals < 0)
		return command_fail(L, errno);
	sigprocmask(SIG_BLOCK, &wanted, &self->mask);
	self->is_open = true;
	int failure = enter(self);
	return failure ? command_fail(L, failure) : 1;
}

/* What a signal means: 0 for nothing, "resize" when the screen has to be drawn anew, else the end. [-0, +?, -] */
static int take_signal(lua_State *L, const struct screen *self)
{
	struct signalfd_siginfo about;
	if (read(self->signals, &about, sizeof about) != (ssize_t)sizeof about)
		return 0;
	int number = (int)about.ssi_signo;
	if (number == SIGTSTP) {
		leave(self);
		raise(SIGSTOP);
		enter(self);
	}
	if (number == SIGTSTP || number == SIGCONT || number == SIGWINCH) {
		lua_pushliteral(L, "resize");
		return 1;
	}
	lua_pushliteral(L, "signal");
	lua_pushinteger(L, number);
	return 2;
}

/* screen:wait(seconds): waits for something to happen. Returns "keys" and the bytes of them, "resize", "signal" and the
 * number of one that is to end us, or nothing when the time is over. */
static int screen_wait(lua_State *L)
{
	char keys[64];
	struct screen *self = luaL_checkudata(L, 1, SCREEN);
	lua_Number seconds = luaL_checknumber(L, 2);
	luaL_argcheck(L, self->is_open, 1, "the screen is closed");
	struct pollfd descriptors[] = {{.fd = self->signals, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
	if (poll(descriptors, 2, (int)(seconds > 0 && seconds < 1e6 ? seconds * 1000 : 0)) <= 0)
		return 0;
	if (descriptors[0].revents)
		return take_signal(L, self);
	ssize_t got = read(STDIN_FILENO, keys, sizeof keys);
	if (got <= 0) { /* nobody is there any more */
		lua_pushliteral(L, "signal");
		lua_pushinteger(L, SIGHUP);
		return 2;
	}
	lua_pushliteral(L, "keys");
	lua_pushlstring(L, keys, (size_t)got);
	return 2;
}

static const luaL_Reg methods[] = {
	{"wait", screen_wait}, {"close", screen_close}, {"__gc", screen_close}, {"__close", screen_close}, {NULL, NULL},
};

void command_add_screen(lua_State *L)
{
	if (luaL_newmetatable(L, SCREEN)) {
		luaL_setfuncs(L, methods, 0);
		lua_pushvalue(L, -1);
		lua_setfield(L, -2, "__index");
	}
	lua_pop(L, 1);
	lua_pushcfunction(L, open_screen);
	lua_setfield(L, -2, "screen");
}
