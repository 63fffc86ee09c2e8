/* prompt.c - keel.host for the prompt: a line editor. Uses: libedit, interrupt.
 *
 * libedit is asked for its own interface (histedit.h) and not for readline's, which keeps its state in globals. It
 * reads through read_key, so that signals are heard between two keys and nowhere else, and none is lost on the way: the
 * terminal is always put back before anything is done about one.
 *
 * Without libedit the command is built all the same: host.prompt is missing then, and lines are read as they come.
 */
#include "host.h"

#ifdef KEEL_EDITLINE

#include <errno.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include <lauxlib.h>

#include "interrupt.h"

static const char PROMPT[] = "keel.prompt";

enum { HISTORY_MAX = 1000 };

struct prompt {
	EditLine *editor; /* NULL: closed */
	History *history;
	lua_State *L;     /* of the running read */
	const char *text; /* in front of the line; on the stack of the running read */
};

static volatile sig_atomic_t ending, resized, continued; /* signals that came during a read */

static void note(int number)
{
	if (number == SIGWINCH)
		resized = 1;
	else if (number == SIGCONT)
		continued = 1;
	else
		ending = number;
}

static struct prompt *check(lua_State *L)
{
	struct prompt *self = luaL_checkudata(L, 1, PROMPT);
	luaL_argcheck(L, self->editor, 1, "the prompt is closed");
	return self;
}

/* --- Keys -------------------------------------------------------------------------------------------------------- */

/* How many rows the cursor is below the first of the line, on a terminal of the new width that breaks lines anew. */
static int rows_above(const struct prompt *self, const LineInfoW *line)
{
	struct winsize size;
	int rows = 0, columns = (int)strlen(self->text);
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
		return 0;
	for (const wchar_t *at = line->buffer; at < line->cursor; at++) {
		int width = wcwidth(*at);
		if (*at == L'\n') {
			rows += columns / size.ws_col + 1;
			columns = 0;
		} else {
			columns += width < 0 ? 2 : width; /* a control character is shown as ^X */
		}
	}
	return rows + columns / size.ws_col;
}

/* Draws the line anew where it is. libedit would draw it behind itself: it does not know where the cursor is. */
static void draw_again(EditLine *editor)
{
	struct prompt *self;
	el_get(editor, EL_CLIENTDATA, &self);
	int above = resized ? rows_above(self, el_wline(editor)) : 0;
	if (above > 0)
		printf("\033[%dA", above);
	printf("\r\033[J");
	if (resized)
		el_resize(editor);
	if (continued) { /* the shell has put the terminal back, which libedit does not know: it would leave it so */
		el_set(editor, EL_PREP_TERM, 0);
		el_set(editor, EL_PREP_TERM, 1);
	}
	resized = continued = 0;
	el_set(editor, EL_REFRESH);
}

/* Waits for input; signals come in here only. False when the read is to end. */
static bool wait_for_input(EditLine *editor, const sigset_t *open)
{
	for (;;) {
		struct pollfd descriptor = {.fd = STDIN_FILENO, .events = POLLIN};
		if (interrupt_is_pending() || ending)
			return false;
		if (resized || continued)
			draw_again(editor);
		int ready = ppoll(&descriptor, 1, NULL, open);
		if (ready < 0 && errno != EINTR)
			return false;
		/* With both there, ppoll tells of the input and leaves the signal; but Ctrl-C was typed before it. */
		ppoll(NULL, 0, &(struct timespec){0}, open);
		if (ready > 0 && !interrupt_is_pending() && !ending)
			return true;
	}
}

/* One character: 1, 0 at the end of the input, -1 when the read is to end. */
static int read_key(EditLine *editor, wchar_t *key)
{
	mbstate_t state = {0};
	sigset_t open;
	sigprocmask(SIG_SETMASK, NULL, &open);
	sigdelset(&open, SIGINT);
	sigdelset(&open, SIGWINCH);
	sigdelset(&open, SIGCONT);
	sigdelset(&open, SIGTERM);
	sigdelset(&open, SIGHUP);
	sigdelset(&open, SIGQUIT);
	for (;;) {
		char byte;
		if (!wait_for_input(editor, &open))
			return -1;
		ssize_t got = read(STDIN_FILENO, &byte, 1);
		if (got <= 0)
			return (int)got;
		size_t size = mbrtowc(key, &byte, 1, &state);
		if (size == (size_t)-2)
			continue; /* there is more of it */
		if (size == (size_t)-1)
			*key = L'?';
		return 1;
	}
}

static char *prompt_text(EditLine *editor)
{
	struct prompt *self;
	el_get(editor, EL_CLIENTDATA, &self);
	return (char *)(size_t)self->text; /* libedit only reads it */
}

/* --- Completion -------------------------------------------------------------------------------------------------- */

/* Asks the Lua function for what belongs behind the text before the cursor. [-0, +2, -] a text or nil to insert, and a
 * text or nil to show; false when it failed. */
static bool ask(struct prompt *self, const LineInfo *line)
{
	lua_State *L = self->L;
	if (!lua_checkstack(L, 8))
		return false;
	lua_getiuservalue(L, 1, 1);
	lua_pushlstring(L, line->buffer, (size_t)(line->cursor - line->buffer));
	if (lua_pcall(L, 1, 2, 0) == LUA_OK)
		return true;
	lua_pop(L, 1);
	return false;
}

static unsigned char complete(EditLine *editor, int key)
{
	struct prompt *self;
	unsigned char outcome = CC_ERROR;
	(void)key;
	el_get(editor, EL_CLIENTDATA, &self);
	if (!ask(self, el_line(editor)))
		return CC_ERROR;
	const char *more = lua_tostring(self->L, -2), *shown = lua_tostring(self->L, -1);
	if (more && el_insertstr(editor, more) == 0)
		outcome = CC_REFRESH;
	if (shown) {
		printf("\n%s\n", shown);
		fflush(stdout);
		outcome = CC_REDISPLAY;
	}
	lua_pop(self->L, 2);
	return outcome;
}

/* --- The object -------------------------------------------------------------------------------------------------- */

static int prompt_close(lua_State *L)
{
	struct prompt *self = luaL_checkudata(L, 1, PROMPT);
	if (self->editor)
		el_end(self->editor);
	if (self->history)
		history_end(self->history);
	*self = (struct prompt){0};
	return 0;
}

/* What emacs mode lacks of the keys that people have. ~/.editrc may say otherwise. */
static void bind_keys(EditLine *editor)
{
	static const char *const keys[][2] = {
		{"^I", "keel-complete"},      {"^R", "em-inc-search-prev"}, {"\\e[3~", "ed-delete-next-char"},
		{"\\e[1~", "ed-move-to-beg"}, {"\\e[4~", "ed-move-to-end"}, {"\\e[H", "ed-move-to-beg"},
		{"\\e[F", "ed-move-to-end"},  {"\\e[1;5C", "em-next-word"}, {"\\e[1;5D", "ed-prev-word"},
	};
	el_set(editor, EL_EDITOR, "emacs");
	el_set(editor, EL_ADDFN, "keel-complete", "completes names", complete);
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		el_set(editor, EL_BIND, keys[i][0], keys[i][1], NULL);
	el_source(editor, NULL);
}

/* What bytes the terminal sends for a character. The C locale, which is what there is when nothing is set, as in most
 * containers, knows none beyond ASCII; the terminal sends UTF-8 all the same. */
static void set_characters(void)
{
	setlocale(LC_CTYPE, "");
	if (strcmp(nl_langinfo(CODESET), "ANSI_X3.4-1968") == 0)
		setlocale(LC_CTYPE, "C.UTF-8");
}

/* host.prompt(complete): a line editor on the terminal. complete(text before the cursor) gives a text to insert, or
 * nil, and a text to show, or nil. Returns it; nil and a text when this terminal cannot be used. */
static int open_prompt(lua_State *L)
{
	HistEvent event;
	luaL_checktype(L, 1, LUA_TFUNCTION);
	struct prompt *self = lua_newuserdatauv(L, sizeof *self, 1);
	*self = (struct prompt){0};
	luaL_setmetatable(L, PROMPT);
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, -2, 1);
	set_characters();
	self->history = history_init();
	self->editor = self->history ? el_init("keel", stdin, stdout, stderr) : NULL;
	if (!self->editor)
		return host_fail(L, ENOMEM);
	history(self->history, &event, H_SETSIZE, HISTORY_MAX);
	history(self->history, &event, H_SETUNIQUE, 1);
	el_set(self->editor, EL_CLIENTDATA, self);
	el_set(self->editor, EL_HIST, history, self->history);
	el_set(self->editor, EL_PROMPT, prompt_text);
	el_set(self->editor, EL_GETCFN, read_key);
	el_set(self->editor, EL_SIGNAL, 0);
	bind_keys(self->editor);
	return 1;
}

/* The signals that a read hears; in `before` how they were. */
static const int heard[] = {SIGWINCH, SIGCONT, SIGTERM, SIGHUP, SIGQUIT};

static void hear(struct sigaction before[], sigset_t *mask)
{
	struct sigaction how = {.sa_handler = note};
	sigset_t blocked;
	sigemptyset(&how.sa_mask);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGINT);
	ending = resized = continued = 0;
	for (size_t i = 0; i < sizeof heard / sizeof *heard; i++) {
		sigaddset(&blocked, heard[i]);
		sigaction(heard[i], &how, &before[i]);
	}
	sigprocmask(SIG_BLOCK, &blocked, mask);
}

static void hear_no_more(const struct sigaction before[], const sigset_t *mask)
{
	for (size_t i = 0; i < sizeof heard / sizeof *heard; i++)
		sigaction(heard[i], &before[i], NULL);
	sigprocmask(SIG_SETMASK, mask, NULL);
}

/* prompt:read(text): lets the user edit a line. Returns it without its end; nil and "interrupt" after Ctrl-C, "end" at
 * the end of the input. A signal that ends the program does so, with the terminal put back. */
static int prompt_read(lua_State *L)
{
	struct sigaction before[sizeof heard / sizeof *heard];
	sigset_t mask;
	int size = 0;
	struct prompt *self = check(L);
	self->text = luaL_checkstring(L, 2);
	lua_settop(L, 2);
	self->L = L;
	hear(before, &mask);
	const char *line = el_gets(self->editor, &size);
	hear_no_more(before, &mask);
	self->L = NULL;
	self->text = "";
	if (ending) {
		signal(ending, SIG_DFL);
		raise(ending);
	}
	if (interrupt_is_pending() || !line || size <= 0) {
		lua_pushnil(L);
		lua_pushstring(L, interrupt_is_pending() ? "interrupt" : "end");
		return 2;
	}
	lua_pushlstring(L, line, (size_t)size - (line[size - 1] == '\n'));
	return 1;
}

/* prompt:remember(text): puts a text where the arrow keys find it. One that is no text in this locale, from a prompt in
 * another one, is left out: libedit could not show it, and would go no further back. */
static int remember(lua_State *L)
{
	HistEvent event;
	struct prompt *self = check(L);
	const char *text = luaL_checkstring(L, 2);
	if (mbstowcs(NULL, text, 0) != (size_t)-1)
		history(self->history, &event, H_ENTER, text);
	return 0;
}

static const luaL_Reg methods[] = {
	{"read", prompt_read},  {"remember", remember},    {"close", prompt_close},
	{"__gc", prompt_close}, {"__close", prompt_close}, {NULL, NULL},
};

void host_add_prompt(lua_State *L)
{
	if (luaL_newmetatable(L, PROMPT)) {
		luaL_setfuncs(L, methods, 0);
		lua_pushvalue(L, -1);
		lua_setfield(L, -2, "__index");
	}
	lua_pop(L, 1);
	lua_pushcfunction(L, open_prompt);
	lua_setfield(L, -2, "prompt");
}

#else

void host_add_prompt(lua_State *L)
{
	(void)L;
}

#endif
