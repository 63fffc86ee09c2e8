/* lua_json.c - random values through json.encode, beside what Jansson writes for the same value.
 *
 * Usage: lua_json [--seed N] [--iterations N]
 *   --seed        default: the time; it is printed, and repeats the values
 *   --iterations  how many values (default 2000)
 * On a failure both texts are printed.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include <keel/module.h>
#include <keel/value.h>

#include "base/document.h"
#include "support_fuzz.h"

/* --- Values ------------------------------------------------------------------------------------------------------ */

/* Characters of each size, those that are escaped among them; as names, without the zero byte. */
static size_t make_text(char *text, bool name)
{
	static const char *const wide[] = {"ü", "\xc2\x80", "世", "\xe2\x80\xa8", "\xef\xbf\xbf", "🚲", "\xf4\x8f\xbf\xbf"};
	size_t size = 0;
	uint64_t kind = chance(4);
	for (uint64_t left = chance(chance(20) ? 24 : 600); left > 0; left--) {
		if (kind > 1 && chance(4) == 0) {
			const char *character = wide[chance(sizeof wide / sizeof *wide)];
			memcpy(text + size, character, strlen(character));
			size += strlen(character);
		} else if (kind > 0 && chance(6) == 0) {
			text[size++] = "\"\\/\b\f\n\r\t\x01\x1f\x7f\x0e '"[chance(14)];
		} else if (kind > 0 && !name && chance(40) == 0) {
			text[size++] = '\0';
		} else {
			text[size++] = (char)('!' + chance('~' - '!' + 1));
		}
	}
	return size;
}

static double make_real(void)
{
	static const double picked[] = {0.0,  -0.0,   0.1,    1.0,      -2.5,     1e300, 5e-324,  1e15,
									1e16, 1e17,   1e18,   1e-4,     1e-5,     1e-10, 1 / 3.0, 9007199254740992.0,
									1e20, 1e-300, 123456, 1.5e+100, 1.5e-100, 1e22,  0.5e-7};
	double real;
	uint64_t bits;
	switch (chance(3)) {
	case 0:
		return picked[chance(sizeof picked / sizeof *picked)];
	case 1:
		return (double)chance(2000001) / 1000 - 1000;
	default:
		do {
			bits = chance(UINT64_MAX);
			memcpy(&real, &bits, sizeof real);
		} while (!isfinite(real));
		return real;
	}
}

static json_t *make_scalar(void)
{
	static char text[4096];
	static const json_int_t picked[] = {0, 1, -1, 9, 10, 99, 100, INT64_MAX, INT64_MIN, INT64_MIN + 1, 1 << 30};
	switch (chance(8)) {
	case 0:
		return json_null();
	case 1:
		return json_boolean(chance(2));
	case 2:
		return json_integer(picked[chance(sizeof picked / sizeof *picked)]);
	case 3:
		return json_integer((json_int_t)chance(UINT64_MAX) >> chance(64));
	case 4:
		return json_real(make_real());
	default:
		return json_stringn(text, make_text(text, false));
	}
}

static json_t *make_value(int depth)
{
	static char name[4096];
	uint64_t kind = depth > 5 ? 2 : chance(depth == 0 ? 2 : 4);
	if (kind > 1)
		return make_scalar();
	json_t *value = kind ? json_array() : json_object();
	for (uint64_t left = chance(chance(10) ? 6 : 40); left > 0; left--) {
		if (kind) {
			json_array_append_new(value, make_value(depth + 1));
			continue;
		}
		json_t *member = make_value(depth + 1);
		name[make_text(name, true)] = '\0';
		json_object_set_new(value, name, member);
	}
	return value;
}

/* --- The comparison ---------------------------------------------------------------------------------------------- */

/* Pushes what a function of the module's json says of the value on the top, which it pops. */
static const char *call(lua_State *L, const char *function, size_t *size)
{
	lua_getfield(L, 1, function);
	lua_insert(L, -2);
	lua_call(L, 1, 1);
	return size ? lua_tolstring(L, -1, size) : NULL;
}

/* Whether a value is written as Jansson writes it, and what is written passes for a document. */
static bool compare(lua_State *L, json_t *value)
{
	char *wanted = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
	size_t size = 0;
	lua_settop(L, 1);
	lua_pushstring(L, wanted);
	call(L, "decode", NULL);
	const char *got = call(L, "encode", &size);
	bool same = got && size == strlen(wanted) && memcmp(got, wanted, size) == 0 &&
				keel_document_is_valid((struct keel_text){got, size});
	if (!same)
		fprintf(stderr, "wanted %s\ngot    %s\n", wanted, got ? got : "nothing");
	free(wanted);
	return same;
}

int main(int argc, char **argv)
{
	struct fuzz fuzz = {.name = "lua_json", .iterations = 2000};
	if (!fuzz_start(&fuzz, argc, argv))
		return 2;
	lua_State *L = luaL_newstate();
	if (!L)
		return 1;
	luaL_openlibs(L);
	luaL_requiref(L, "keel.kernel", luaopen_keel_kernel, 0);
	lua_getfield(L, -1, "json");
	lua_replace(L, 1);
	bool same = true;
	for (double i = 0; same && i < fuzz.iterations; i++) {
		json_t *value = make_value(0);
		same = value && compare(L, value);
		json_decref(value);
	}
	lua_close(L);
	if (!same)
		fprintf(stderr, "lua_json: failed with --seed %llu\n", (unsigned long long)fuzz.seed);
	return !same;
}
