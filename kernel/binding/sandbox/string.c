/* string.c - rep and format for sandboxed scripts: one call of Lua's own is one instruction, however long it
 * takes.
 */
#include "sandbox/box.h"

#include <string.h>

enum { COPIED = 64 }; /* bytes that count as an instruction */

/* string.rep(s, n, sep) */
static int string_rep(lua_State *S)
{
	size_t size, between;
	const char *text = luaL_checklstring(S, 1, &size);
	lua_Integer times = luaL_checkinteger(S, 2);
	const char *separator = luaL_optlstring(S, 3, "", &between);
	if (times <= 0 || size + between == 0) {
		lua_pushliteral(S, "");
		return 1;
	}
	if (times > SANDBOX_BLOCK_MAX || (size + between) * (size_t)times > SANDBOX_BLOCK_MAX)
		return keel_sandbox_stop(S, "block");
	keel_sandbox_charge(S, 1 + (size_t)times / 16 + (size + between) * (size_t)times / COPIED);
	luaL_Buffer buffer;
	size_t total = (size + between) * (size_t)times - between;
	char *at = luaL_buffinitsize(S, &buffer, total);
	for (; times > 0; times--) {
		memcpy(at, text, size);
		at += size;
		if (times > 1)
			memcpy(at, separator, between);
		at += between;
	}
	luaL_pushresultsize(&buffer, total);
	return 1;
}

/* string.format(format, ...): Lua's own, the upvalue, but for what shows an address (%p, and %s of a table) and for %q,
 * which is slow. */
static int string_format(lua_State *S)
{
	size_t size;
	const char *format = luaL_checklstring(S, 1, &size);
	int argument = 1, count = lua_gettop(S);
	keel_sandbox_charge(S, size + (size_t)count);
	for (const char *at = format, *end = format + size; at < end; at++) {
		if (*at != '%' || at + 1 == end || at[1] == '%') {
			at += *at == '%';
			continue;
		}
		argument++;
		at += 1 + strspn(at + 1, "-+ #0123456789.");
		if (at < end && (*at == 'p' || *at == 'q'))
			return luaL_error(S, "a policy has no '%%%c' in 'format'", *at);
		if (at < end && *at == 's' && argument <= count) {
			keel_sandbox_push_text(S, argument);
			keel_sandbox_charge(S, lua_rawlen(S, -1) / COPIED);
			lua_replace(S, argument);
		}
	}
	/* Not by lua_call: it is to say 'format', and the script's line, when it refuses an argument. */
	return lua_tocfunction(S, lua_upvalueindex(1))(S);
}

void keel_sandbox_add_string(lua_State *S)
{
	static const luaL_Reg functions[] = {{"rep", string_rep}, {NULL, NULL}};
	keel_sandbox_set_functions(S, functions);
	/* Below the table are the text "" and, in its metatable, Lua's library. */
	lua_getmetatable(S, -2);
	lua_getfield(S, -1, "__index");
	lua_getfield(S, -1, "format");
	lua_pushcclosure(S, string_format, 1);
	lua_setfield(S, -4, "format");
	lua_pop(S, 2);
}
