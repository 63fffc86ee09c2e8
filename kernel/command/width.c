/* width.c - how many columns of a terminal a text takes: what the system's wcwidth says, whatever the user's locale. */
#include "command.h"

#include <locale.h>
#include <wchar.h>

#include <lauxlib.h>

/* The locale in which every character has its width; made once, and kept as long as the process. */
static locale_t characters(void)
{
	static locale_t made;
	if (!made)
		made = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	return made;
}

/* Reads a character of valid UTF-8, or one byte of anything else. Returns how many bytes it has. */
static size_t decode(const unsigned char *text, size_t left, wchar_t *character)
{
	static const unsigned char lead[] = {0, 0x1F, 0x0F, 0x07};
	size_t more = text[0] >= 0xF0 ? 3 : text[0] >= 0xE0 ? 2 : text[0] >= 0xC0 ? 1 : 0;
	*character = text[0];
	if (more == 0 || more >= left || text[0] >= 0xF8)
		return 1;
	wchar_t value = text[0] & lead[more];
	for (size_t i = 1; i <= more; i++) {
		if ((text[i] & 0xC0) != 0x80)
			return 1;
		value = value << 6 | (text[i] & 0x3F);
	}
	*character = value;
	return more + 1;
}

/* What has no width of its own (a byte that is no text, a character that is not assigned) is shown as one column. */
static lua_Integer width_of(wchar_t character)
{
	int width = wcwidth(character);
	return width < 0 ? 1 : width;
}

/* command.columns(text, room): the columns that a text takes; and how many bytes of its beginning go into `room`
 * columns (default: all). */
static int columns(lua_State *L)
{
	size_t size, fits = 0, at = 0;
	const unsigned char *text = (const unsigned char *)luaL_checklstring(L, 1, &size);
	lua_Integer room = luaL_optinteger(L, 2, LUA_MAXINTEGER), sum = 0;
	locale_t plain = characters(), outer = plain ? uselocale(plain) : (locale_t)0;
	while (at < size) {
		wchar_t character;
		size_t bytes = decode(text + at, size - at, &character);
		sum += character < 0x80 ? 1 : width_of(character);
		at += bytes;
		if (sum <= room)
			fits = at;
	}
	if (plain)
		uselocale(outer);
	lua_pushinteger(L, sum);
	lua_pushinteger(L, (lua_Integer)fits);
	return 2;
}

void command_add_width(lua_State *L)
{
	lua_pushcfunction(L, columns);
	lua_setfield(L, -2, "columns");
}
