/* number.c - numbers as text with a decimal point, whatever the host's locale says. What Lua itself writes has the
 * locale's mark: "0,5" where a program or a reader in another locale expects "0.5".
 */
#include "binding.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>

struct keel_lua_locale keel_lua_locale_enter(void)
{
	struct keel_lua_locale kept;
	kept.plain = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* the C library's own: nothing is loaded for it */
	kept.outer = uselocale(kept.plain);
	return kept;
}

void keel_lua_locale_leave(struct keel_lua_locale kept)
{
	uselocale(kept.outer);
	if (kept.plain)
		freelocale(kept.plain);
}

enum { NUMBER_SIZE = 400 }; /* the largest double has 309 digits before its point */

size_t keel_lua_real_text(lua_Number value, char text[KEEL_JSON_REAL_SIZE])
{
	char printed[KEEL_JSON_REAL_SIZE];
	size_t size = 0;
	bool whole = true;
	snprintf(printed, sizeof printed, "%.17g", value);
	for (const char *from = printed; *from; from++) {
		if (*from == 'e') {
			whole = false;
			text[size++] = 'e';
			if (from[1] == '-')
				text[size++] = '-';
			from += 1 + strspn(from + 2, "0"); /* the sign, and zeros: the power of ten behind them is never 0 */
		} else if (*from == '-' || (*from >= '0' && *from <= '9')) {
			text[size++] = *from;
		} else if (whole) { /* the locale's mark, which may have several bytes */
			whole = false;
			text[size++] = '.';
		}
	}
	if (whole) {
		text[size++] = '.';
		text[size++] = '0';
	}
	return size;
}

void keel_lua_push_number_text(lua_State *L, int index, int decimals)
{
	int top = lua_gettop(L);
	char text[NUMBER_SIZE];
	if (lua_isinteger(L, index) && decimals < 0) {
		lua_pushfstring(L, "%I", (LUAI_UACINT)lua_tointeger(L, index));
		return;
	}
	lua_Number value = lua_tonumber(L, index);
	struct keel_lua_locale kept = keel_lua_locale_enter();
	if (decimals < 0)
		lua_number2str(text, sizeof text, value); /* as this Lua writes it */
	else
		snprintf(text, sizeof text, "%.*f", decimals, value);
	keel_lua_locale_leave(kept);
	lua_pushstring(L, text);
	if (decimals < 0 && text[strspn(text, "-0123456789")] == '\0')
		lua_pushliteral(L, ".0"); /* as Lua tells a float from a whole number */
	else
		lua_pushliteral(L, "");
	lua_concat(L, 2);
	KEEL_LUA_PUSHED(L, top, 1);
}
