/* prompt.c - keel.command for the prompt: a line editor. Uses: libedit, keys, interrupt.
 *
 * libedit is asked for its own interface (histedit.h) and not for readline's, which keeps its state in globals.
 *
 * Without libedit the command is built all the same: command.prompt is missing then, and lines are read as they come.
 */
#include "command.h"

#ifdef KEEL_EDITLINE

#include <errno.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "interrupt.h"
#include "keys.h"

static const char PROMPT[] = "keel.prompt";

enum { HISTORY_MAX = 1000 };

struct prompt {
	struct keys keys;
	EditLine *editor; /* NULL: closed */
	History *history;
	lua_State *L;     /* of the running read */
	const char *text; /* in front of the line; on the stack of the running read */
};

static struct prompt *check(lua_State *L)
{
	struct prompt *self = luaL_checkudata(L, 1, PROMPT);
	luaL_argcheck(L, self->editor, 1, "the prompt is closed");
	return self;
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
	if (self->keys.is_pasting)
		return el_insertstr(editor, "\t") == 0 ? CC_REFRESH : CC_ERROR;
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
	keys_bind(editor);
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

/* command.prompt(complete): a line editor on the terminal. complete(text before the cursor) gives a text to insert, or
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
		return command_fail(L, ENOMEM);
	history(self->history, &event, H_SETSIZE, HISTORY_MAX);
	history(self->history, &event, H_SETUNIQUE, 1);
	el_set(self->editor, EL_CLIENTDATA, self);
	el_set(self->editor, EL_HIST, history, self->history);
	el_set(self->editor, EL_PROMPT, prompt_text);
	bind_keys(self->editor);
	return 1;
}

/* prompt:read(text): lets the user edit a line. Returns it without its end; nil and "interrupt" after Ctrl-C, "end" at
 * the end of the input. A signal that ends the program does so, with the terminal put back. */
static int prompt_read(lua_State *L)
{
	int size = 0;
	struct prompt *self = check(L);
	self->text = luaL_checkstring(L, 2);
	lua_settop(L, 2);
	self->L = L;
	keys_begin(&self->keys, (int)strlen(self->text));
	const char *line = el_gets(self->editor, &size);
	int ending = keys_end(&self->keys);
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

void command_add_prompt(lua_State *L)
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

void command_add_prompt(lua_State *L)
{
	(void)L;
}

#endif
