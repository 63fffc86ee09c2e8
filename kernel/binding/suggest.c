/* suggest.c - "did you mean …?": the known word that was probably meant. */
#include "binding.h"

#include <string.h>

enum { WORD_MAX = KEEL_LUA_WORD_MAX, SHORT = 4 }; /* Two mistakes in a short word make any word of another. */

static const char *without_dashes(const char *word)
{
	return word + strspn(word, "-");
}

static int least(int a, int b)
{
	return a < b ? a : b;
}

/* How many letters have to be changed, added, left out or swapped with their neighbour to make one word of another. */
static int distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
	int rows[3][WORD_MAX + 1];
	for (size_t j = 0; j <= b_size; j++)
		rows[0][j] = (int)j;
	for (size_t i = 1; i <= a_size; i++) {
		int *row = rows[i % 3], *above = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
		row[0] = (int)i;
		for (size_t j = 1; j <= b_size; j++) {
			int change = above[j - 1] + (a[i - 1] != b[j - 1]);
			row[j] = least(change, least(above[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = least(row[j], before[j - 2] + 1);
		}
	}
	return rows[a_size % 3][b_size];
}

void keel_lua_guess_start(struct keel_lua_guess *guess, const char *word)
{
	word = without_dashes(word);
	size_t size = strlen(word);
	guess->best = NULL;
	guess->size = size <= WORD_MAX ? size : 0;
	for (size_t i = 0; i < guess->size; i++)
		guess->word[i] = word[i] >= 'A' && word[i] <= 'Z' ? (char)(word[i] - 'A' + 'a') : word[i];
	int bound = guess->size <= SHORT ? 2 : 3;
	guess->least = guess->size < (size_t)bound ? (int)guess->size : bound;
}

void keel_lua_guess_try(struct keel_lua_guess *guess, const char *name)
{
	const char *bare = without_dashes(name);
	size_t size = strlen(bare);
	if (guess->size == 0 || size > WORD_MAX)
		return;
	int far = distance(guess->word, guess->size, bare, size);
	if (guess->size >= 2 && size >= guess->size && memcmp(bare, guess->word, guess->size) == 0)
		far = 1;
	if (far < guess->least) {
		guess->best = name;
		guess->least = far;
	}
}

const char *keel_lua_guess_text(lua_State *L, const struct keel_lua_guess *guess)
{
	return guess->best ? lua_pushfstring(L, "; did you mean '%s'?", guess->best) : lua_pushliteral(L, "");
}

/* nearest(word, names): the name in a list that was probably meant by a word: one that begins like it, or is at most
 * two mistakes away, one if it is short. The dashes of options do not count. Nil: there is none. */
static int nearest(lua_State *L)
{
	struct keel_lua_guess guess;
	const char *word = luaL_checkstring(L, 1);
	luaL_checktype(L, 2, LUA_TTABLE);
	keel_lua_guess_start(&guess, word);
	for (lua_Integer i = 1; lua_rawgeti(L, 2, i) == LUA_TSTRING; i++) {
		keel_lua_guess_try(&guess, lua_tostring(L, -1)); /* the list keeps it */
		lua_pop(L, 1);
	}
	lua_pushstring(L, guess.best);
	return 1;
}

void keel_lua_suggest_open(lua_State *L)
{
	lua_pushcfunction(L, nearest);
	lua_setfield(L, -2, "nearest");
}
