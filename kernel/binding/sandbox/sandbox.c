/* sandbox.c - keel.sandbox: boxes as values of the host's, and their answers. box.h says how one holds. Uses: state,
 * outlet.
 *
 * The result is read out of the box without raising there.
 */
#include "sandbox/box.h"

#include <string.h>

#include "base/monotonic.h"

static const char SANDBOX[] = "keel.sandbox";

enum {
	CHUNK_NAME_SIZE = 48, /* Lua cuts names in messages at 60 */
	REASON_SIZE = 500     /* bytes of a reason that leave the box */
};

/* The chunk's name for Lua: what is in front of messages. "=" says that it is no file. */
static void chunk_name(lua_State *L, int box, char *name)
{
	size_t size;
	lua_getiuservalue(L, box, 2);
	const char *given = lua_tolstring(L, -1, &size);
	size = size < CHUNK_NAME_SIZE - 2 ? size : CHUNK_NAME_SIZE - 2;
	name[0] = '=';
	memcpy(name + 1, given, size);
	name[size + 1] = '\0';
	lua_pop(L, 1);
}

/* Pushes the line, if it is known, after what went wrong and the reason. Returns how many values these are. */
static int push_line(lua_State *L, lua_Integer line)
{
	if (line == 0)
		return 2;
	lua_pushinteger(L, line);
	return 3;
}

/* Pushes "failed", the reason and the line. A message of Lua's starts with the name of the chunk and the line. */
static int push_failure(lua_State *L, struct sandbox *box, const char *name)
{
	lua_State *S = box->S;
	size_t size, prefix = strlen(name + 1);
	lua_pushliteral(L, "failed");
	lua_Integer line = 0;
	if (lua_type(S, -1) != LUA_TSTRING) {
		lua_pushfstring(L, "it raised a %s", luaL_typename(S, -1));
		return push_line(L, box->line);
	}
	const char *text = lua_tolstring(S, -1, &size);
	if (size > prefix && memcmp(text, name + 1, prefix) == 0 && text[prefix] == ':') {
		size_t at = prefix + 1;
		while (at < size && text[at] >= '0' && text[at] <= '9' && line < 100000)
			line = line * 10 + (text[at++] - '0');
		if (line > 0 && at + 1 < size && text[at] == ':') {
			text += at + 2;
			size -= at + 2;
		} else {
			line = 0;
		}
	}
	if (size > REASON_SIZE)
		for (size = REASON_SIZE; size > REASON_SIZE - 4 && ((unsigned char)text[size] & 0xC0) == 0x80;)
			size--; /* not in the middle of a character */
	lua_pushlstring(L, text, size);
	return push_line(L, line > 0 ? line : box->line);
}

/* Pushes why the script was stopped: "budget", the limit, the line, and true when one block was too large; or
 * "memory". */
static int push_stop(lua_State *L, const struct sandbox *box)
{
	bool block = strcmp(box->exceeded, "block") == 0;
	if (strcmp(box->exceeded, "memory") == 0) {
		lua_pushliteral(L, "memory");
		return 1;
	}
	if (strcmp(box->exceeded, "seed") == 0) {
		lua_pushliteral(L, "failed");
		lua_pushliteral(L, "the hash seed of this Lua cannot be set");
		return 2;
	}
	lua_pushliteral(L, "budget");
	lua_pushstring(L, block ? "bytes" : box->exceeded);
	int count = push_line(L, box->line);
	if (!block)
		return count;
	lua_settop(L, lua_gettop(L) + 3 - count); /* nil for a line that is not known */
	lua_pushboolean(L, 1);
	return 4;
}

/* The call itself. Protected: what it pushes in the host takes memory, so it can raise, and can make the host run
 * finalizers. Gets what sandbox_call gets, checked. */
static int call(lua_State *L, enum part part)
{
	struct sandbox *box = lua_touserdata(L, 1);
	char name[CHUNK_NAME_SIZE];
	chunk_name(L, 1, name);
	int top = lua_gettop(L);
	luaL_checkstack(L, 64, NULL); /* for reading arguments, which must not raise */
	keel_lua_push_null(L);
	struct intake in = {.host = L, .part = part, .first = 5, .last = top, .null = lua_touserdata(L, -1)};
	lua_pop(L, 1);
	keel_sandbox_begin(box, lua_tointeger(L, 2), lua_tonumber(L, 3), lua_tonumber(L, 4));
	/* A script writes and reads numbers as in every other process, whatever the locale of this one. */
	struct keel_lua_locale kept = keel_lua_locale_enter();
	int status = keel_sandbox_enter(L, box, name, &in);
	keel_lua_locale_leave(kept);
	lua_settop(L, top);
	lua_pushboolean(L, 0);
	if (box->exceeded)
		return 1 + push_stop(L, box);
	if (status != LUA_OK)
		return 1 + push_failure(L, box, name);
	lua_settop(L, top);
	lua_pushboolean(L, 1);
	const char *why = NULL;
	bool given = keel_sandbox_push_result(L, box->S, lua_gettop(box->S), lua_gettop(box->S) - 1, &in, &why);
	if (keel_monotonic_ns() > box->deadline_ns) /* the last instruction may have been long, or the copy */
		keel_sandbox_trip(box, "seconds");
	if (given && !box->exceeded)
		return 2;
	lua_settop(L, top);
	lua_pushboolean(L, 0);
	if (box->exceeded)
		return 1 + push_stop(L, box);
	lua_pushliteral(L, "failed");
	lua_pushfstring(L, "what it returned %s", why);
	return 3;
}

static int call_decide(lua_State *L)
{
	return call(L, PART_DECIDE);
}

static int call_reads(lua_State *L)
{
	return call(L, PART_READS);
}

static int call_nothing(lua_State *L)
{
	return call(L, PART_NONE);
}

/* Checks the arguments, and makes the call. The box is in use until the answer is in the host, and a finalizer that the
 * host runs meanwhile may ask it again: that is refused, as leaving it would put back the memory that is read. */
static int call_protected(lua_State *L, lua_CFunction function)
{
	struct sandbox *box = luaL_checkudata(L, 1, SANDBOX);
	lua_Integer instructions = luaL_checkinteger(L, 2);
	lua_Number seconds = luaL_checknumber(L, 3), bytes = luaL_checknumber(L, 4);
	luaL_argcheck(L, instructions >= 1, 2, "must be at least 1");
	luaL_argcheck(L, seconds > 0, 3, "must be more than 0");
	luaL_argcheck(L, bytes >= 1, 4, "must be at least 1");
	if (box->entered || !box->alloc) {
		lua_pushboolean(L, 0);
		lua_pushliteral(L, "failed");
		lua_pushstring(L, box->entered ? "it is being called already" : "its state is closed");
		return 3;
	}
	int arguments = lua_gettop(L);
	luaL_checkstack(L, arguments + 1, NULL);
	lua_pushcfunction(L, function);
	for (int i = 1; i <= arguments; i++)
		lua_pushvalue(L, i);
	box->entered = true;
	int status = lua_pcall(L, arguments, LUA_MULTRET, 0);
	keel_sandbox_leave(box);
	return status == LUA_OK ? lua_gettop(L) - arguments : lua_error(L);
}

/* box:call(instructions, seconds, bytes, ...): runs the chunk and the function that it returned, or `decide` of the
 * table, on copies of the arguments: a list of tables is a list of records, another table a record. Raises for wrong
 * types only.
 * Returns true and a copy of the result; or false and "failed", the reason, the line, if known; "budget", the limit
 * ("instructions", "bytes" or "seconds"), the line, if known, and true when the bytes would have been enough, but not
 * for one block; "memory": the host's is used up. */
static int sandbox_call(lua_State *L)
{
	return call_protected(L, call_decide);
}

/* box:reads(instructions, seconds, bytes, ...): the same with `reads` of the table. */
static int sandbox_reads(lua_State *L)
{
	return call_protected(L, call_reads);
}

/* box:check(instructions, seconds, bytes): runs the chunk only, and sees whether it returns a function, or a table with
 * the function `decide`. Returns true and { reads, idle }: whether it is one with `reads`, and a copy of its `idle`; or
 * what call returns. */
static int sandbox_check(lua_State *L)
{
	if (lua_gettop(L) > 4)
		lua_settop(L, 4);
	return call_protected(L, call_nothing);
}

/* box:usage(): what the last call used: instructions, as far as they were counted, and bytes at its peak. */
static int sandbox_usage(lua_State *L)
{
	struct sandbox *box = luaL_checkudata(L, 1, SANDBOX);
	lua_pushinteger(L, box->given - box->left);
	lua_pushinteger(L, (lua_Integer)(box->peak - box->base));
	return 2;
}

static int sandbox_gc(lua_State *L)
{
	struct sandbox *box = luaL_checkudata(L, 1, SANDBOX);
	if (box->entered) /* called by hand */
		return 0;
	keel_sandbox_drop(box);
	if (box->locale)
		freelocale(box->locale);
	box->locale = (locale_t)0;
	box->alloc = NULL; /* finalizers that run after this one may still have the box: nothing would free it again */
	return 0;
}

/* sandbox(source, name): a box for the chunk, which is looked at only when it is called. `name` stands in messages.
 * Raises for wrong types. Returns the box; or nil, why the source cannot be one, and the line, if it is in one. */
static int sandbox_new(lua_State *L)
{
	struct keel_text source = keel_lua_check_text(L, 1, "source");
	keel_lua_check_text(L, 2, "name");
	lua_settop(L, 2);
	const char *problem = NULL, *place = NULL;
	if (source.size > SANDBOX_SOURCE_MAX)
		problem = "the script has more than 16 KiB";
	else if (source.size > 0 && source.data[0] == LUA_SIGNATURE[0])
		problem = "the script is bytecode; only text is loaded";
	/* Lua 5.4.4 reads wild memory when it compiles some uses of a constant _ENV (CVE-2022-28805). No policy needs the
	 * name, and a name cannot be written in another way. */
	else if ((place = memmem(source.data, source.size, "_ENV", 4)))
		problem = "the script names _ENV";
	if (problem) {
		lua_Integer line = place != NULL;
		for (const char *at = source.data; place && at < place; at++)
			line += *at == '\n';
		lua_pushnil(L);
		lua_pushstring(L, problem);
		return push_line(L, line);
	}
	struct sandbox *box = lua_newuserdatauv(L, sizeof *box, 2);
	memset(box, 0, sizeof *box);
	luaL_setmetatable(L, SANDBOX);
	box->alloc = lua_getallocf(L, &box->alloc_data);
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, -2, 1);
	lua_pushvalue(L, 2);
	lua_setiuservalue(L, -2, 2);
	return 1;
}

void keel_lua_sandbox_open(lua_State *L)
{
	static const luaL_Reg methods[] = {{"call", sandbox_call},
									   {"reads", sandbox_reads},
									   {"check", sandbox_check},
									   {"usage", sandbox_usage},
									   {NULL, NULL}};
	if (luaL_newmetatable(L, SANDBOX)) {
		luaL_newlib(L, methods);
		lua_setfield(L, -2, "__index");
		lua_pushcfunction(L, sandbox_gc);
		lua_setfield(L, -2, "__gc");
	}
	lua_pop(L, 1);
	lua_pushcfunction(L, sandbox_new);
	lua_setfield(L, -2, "sandbox");
}
