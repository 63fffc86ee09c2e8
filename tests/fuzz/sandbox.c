/* sandbox.c - random chunks for the sandbox, random tables for the check of decisions.
 *
 * Whatever a script is, a call ends in one of the ways it may end, within its bytes, and leaves the host's state as it
 * was; what it returned is either a sound decision or refused with a reason. Chunks are bytes, words in any order,
 * statements that fit together, and policies with a few bytes changed.
 *
 * The chunks are made here; sandbox.lua beside this runs them and judges.
 *
 * Usage: sandbox [--seed N] [--seconds S] [--iterations N]
 *   --seed        default: the time; it is printed, and repeats the chunks (not what is stopped by the clock)
 *   --seconds     how long at most (default 5)
 *   --iterations  how many at most (default: as many as fit)
 * On a failure the chunk is printed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include <keel/module.h>

#include "support_fuzz.h"

#define PICK(list) list[chance(sizeof(list) / sizeof *(list))]

/* --- Chunks ------------------------------------------------------------------------------------------------------ */

struct text {
	char data[20000]; /* more than the sandbox takes */
	size_t size;
};

static void add(struct text *text, const char *part)
{
	size_t size = strlen(part);
	if (text->size + size < sizeof text->data) {
		memcpy(text->data + text->size, part, size);
		text->size += size;
	}
}

static const char *const words[] = {
	"and",
	"break",
	"do",
	"else",
	"elseif",
	"end",
	"false",
	"for",
	"function",
	"goto",
	"if",
	"in",
	"local",
	"nil",
	"not",
	"or",
	"repeat",
	"return",
	"then",
	"true",
	"until",
	"while",
	"+",
	"-",
	"*",
	"/",
	"%",
	"^",
	"#",
	"&",
	"~",
	"|",
	"<<",
	">>",
	"//",
	"==",
	"~=",
	"<=",
	">=",
	"<",
	">",
	"=",
	"(",
	")",
	"{",
	"}",
	"[",
	"]",
	"::",
	";",
	":",
	",",
	".",
	"..",
	"...",
	"a",
	"b",
	"request",
	"inflight",
	"string",
	"table",
	"math",
	"pairs",
	"next",
	"pcall",
	"error",
	"select",
	"null",
	"tostring",
	"<const>",
	"<close>",
	"1",
	"0x7fffffffffffffff",
	"1e308",
	"0.1",
	"'x'",
	"[[y]]",
	"'%s*(.-)$'",
	"-- c\n",
	"\n",
	"rep",
	"format",
	"gsub",
	"gmatch",
	"find",
	"concat",
	"insert",
	"remove",
	"sort",
	"unpack",
	"pack",
	"inflight[1]",
	"request.metadata",
	"admit",
	"cancel",
	"_ENV",
	"\\x",
	"'\\u{7FFFFFFF}'",
	"9223372036854775808",
};

static const char *const values[] = {
	"a",
	"b",
	"request",
	"inflight",
	"inflight[1]",
	"inflight[#inflight]",
	"request.options",
	"request.metadata",
	"nil",
	"true",
	"1",
	"-1",
	"0",
	"2^53",
	"1e308",
	"math.mininteger",
	"math.maxinteger",
	"0/0",
	"'x'",
	"('ab'):rep(100)",
	"null",
	"{}",
	"{ admit = true }",
	"{ 1, 2, 3 }",
	"{ a, b }",
	"pcall",
	"string.rep",
	"function(...) return ... end",
	"#inflight",
	"request.now",
	"'%b()'",
	"'(.-)%1'",
	"'[^%w]+'",
	"('a*'):rep(20)",
	"string",
	"table",
	"math.huge",
};

static const char *const calls[] = {
	"pcall",
	"tostring",
	"type",
	"next",
	"pairs",
	"select",
	"error",
	"assert",
	"rawlen",
	"rawget",
	"rawequal",
	"ipairs",
	"string.rep",
	"string.format",
	"string.find",
	"string.match",
	"string.gsub",
	"string.gmatch",
	"string.byte",
	"string.char",
	"string.sub",
	"string.upper",
	"table.concat",
	"table.insert",
	"table.remove",
	"table.sort",
	"table.unpack",
	"table.pack",
	"math.floor",
	"math.max",
	"math.tointeger",
	"math.fmod",
	"tonumber",
	"a",
	"b",
};

static const char *const operators[] = {" + ",  " .. ", " == ", " < ", " and ", " or ",
										" // ", " % ",  " << ", " ^ ", " ~ ",   " - "};

static void add_value(struct text *text, int depth)
{
	switch (depth > 4 ? 0 : chance(6)) {
	case 0:
	case 1:
	case 2:
		add(text, PICK(values));
		break;
	case 3:
		add(text, PICK(calls));
		add(text, "(");
		for (uint64_t i = chance(4); i > 0; i--) {
			add_value(text, depth + 1);
			add(text, i > 1 ? ", " : "");
		}
		add(text, ")");
		break;
	case 4:
		add(text, "(");
		add_value(text, depth + 1);
		add(text, PICK(operators));
		add_value(text, depth + 1);
		add(text, ")");
		break;
	default:
		add(text, "{ ");
		add_value(text, depth + 1);
		add(text, ", x = ");
		add_value(text, depth + 1);
		add(text, " }");
	}
}

static void add_block(struct text *text, int depth);

static void add_statement(struct text *text, int depth)
{
	switch (chance(depth > 3 ? 4 : 9)) {
	case 0:
		add(text, "a = ");
		add_value(text, 0);
		break;
	case 1:
		add(text, "b = ");
		add_value(text, 0);
		break;
	case 2:
		add(text, "local _ = ");
		add_value(text, 0);
		break;
	case 3:
		add(text, "pcall(");
		add(text, PICK(calls));
		add(text, ", ");
		add_value(text, 0);
		add(text, ")");
		break;
	case 4:
		add(text, "for a = 1, ");
		add(text, PICK(values));
		add(text, " do ");
		add_block(text, depth + 1);
		add(text, " end");
		break;
	case 5:
		add(text, "for a, b in pairs(");
		add_value(text, 0);
		add(text, ") do ");
		add_block(text, depth + 1);
		add(text, " end");
		break;
	case 6:
		add(text, "if ");
		add_value(text, 0);
		add(text, " then ");
		add_block(text, depth + 1);
		add(text, " end");
		break;
	case 7:
		add(text, "pcall(function() ");
		add_block(text, depth + 1);
		add(text, " end)");
		break;
	default:
		add(text, "while ");
		add_value(text, 0);
		add(text, " do ");
		add_block(text, depth + 1);
		add(text, " end");
	}
	add(text, "\n");
}

static void add_block(struct text *text, int depth)
{
	for (uint64_t i = chance(4) + 1; i > 0; i--) {
		/* Most statements raise: what comes after them should be reached, too. */
		bool guarded = depth == 0 && chance(5) > 0;
		add(text, guarded ? "pcall(function() " : "");
		add_statement(text, depth);
		add(text, guarded ? "end)\n" : "");
	}
}

static void make_program(struct text *text)
{
	add(text, "local a, b\nreturn function(request, inflight)\n");
	add_block(text, 0);
	add(text, "return ");
	if (chance(2)) {
		add(text, "{ admit = true, cancel = ");
		add_value(text, 2);
		add(text, ", concurrency = ");
		add_value(text, 3);
		add(text, " }");
	} else {
		add_value(text, 0);
	}
	add(text, "\nend\n");
}

static void make_words(struct text *text)
{
	if (chance(2))
		add(text, "return function(request, inflight) ");
	for (uint64_t i = chance(60); i > 0; i--) {
		add(text, PICK(words));
		add(text, " ");
	}
	if (chance(2))
		add(text, "end");
}

static void make_bytes(struct text *text)
{
	static const char *const starts[] = {"", "\033Lua", "return ", "\xef\xbb\xbf", "#!", "return '", "--[["};
	add(text, PICK(starts));
	for (uint64_t i = chance(200); i > 0; i--)
		text->data[text->size++] = (char)chance(256);
}

static void make_changed(struct text *text)
{
	make_program(text);
	for (uint64_t i = chance(5) + 1; i > 0 && text->size > 0; i--)
		text->data[chance(text->size)] = chance(2) ? (char)chance(256) : "()[]{}'\"=.,;%"[chance(13)];
}

static void make_deep(struct text *text)
{
	static const char *const opening[] = {"(", "{", "function() ", "do ", "a or ", "not ", "a..", "[[", "if a then "};
	const char *again = PICK(opening);
	add(text, "return ");
	for (uint64_t i = chance(6000); i > 0; i--)
		add(text, again);
}

static int make_chunk(lua_State *L)
{
	static struct text text;
	text.size = 0;
	switch (chance(10)) {
	case 0:
		make_bytes(&text);
		break;
	case 1:
	case 2:
		make_words(&text);
		break;
	case 3:
		make_deep(&text);
		break;
	case 4:
	case 5:
		make_changed(&text);
		break;
	default:
		make_program(&text);
	}
	lua_pushlstring(L, text.data, text.size);
	return 1;
}

/* --- The host's side --------------------------------------------------------------------------------------------- */

static int lua_chance(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)chance((uint64_t)luaL_checkinteger(L, 1)) + 1);
	return 1;
}

static int traceback(lua_State *L)
{
	luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
	return 1;
}

int main(int argc, char **argv)
{
	struct fuzz fuzz = {.name = "sandbox", .seconds = 5, .iterations = 1e15};
	if (!fuzz_start(&fuzz, argc, argv))
		return 2;
	lua_State *L = luaL_newstate();
	if (!L)
		return 1;
	luaL_openlibs(L);
	luaL_requiref(L, "keel.kernel", luaopen_keel_kernel, 0);
	lua_getglobal(L, "package");
	lua_pushliteral(L, KEEL_SOURCE_DIR "/lua/?.lua;" KEEL_SOURCE_DIR "/lua/?/init.lua");
	lua_setfield(L, -2, "path");
	lua_settop(L, 0);
	lua_pushcfunction(L, traceback);
	int failed = luaL_loadfile(L, KEEL_SOURCE_DIR "/tests/fuzz/sandbox.lua");
	lua_pushcfunction(L, lua_chance);
	lua_pushcfunction(L, make_chunk);
	lua_pushnumber(L, fuzz.iterations);
	lua_pushnumber(L, fuzz.seconds);
	if (!failed)
		failed = lua_pcall(L, 4, 0, 1);
	if (failed)
		fprintf(stderr, "%s\nsandbox: failed with --seed %llu\n", lua_tostring(L, -1), (unsigned long long)fuzz.seed);
	lua_close(L);
	return failed != 0;
}
