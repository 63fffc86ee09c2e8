/* sql/cache.h - the statements of a connection, found by the address of their text. For the drivers only. */
#ifndef KEEL_SQL_CACHE_H
#define KEEL_SQL_CACHE_H

#include "sql/sql.h"

/* Open addressing, a power of two, at most half full. Starts as {0}. */
struct keel_sql_cache {
	struct keel_statement **slots;
	size_t slots_count;
	size_t used; /* slots that are or were taken */
};

/* The statement with this text; NULL: there is none. */
struct keel_statement *keel_cache_find(const struct keel_sql_cache *cache, const char *text);

/* Makes room for one more; on the way it frees the statements that were forgotten. False: out of memory. */
bool keel_cache_make_room(struct keel_sql_cache *cache);

/* Adds a statement, whose head is filled in, where room was made. The cache owns its memory from now on. A driver
 * forgets a statement by freeing what is behind its head and setting head.text to NULL. */
void keel_cache_add(struct keel_sql_cache *cache, struct keel_statement *statement);

/* Frees the cache and its statements; `drop` frees what is behind their heads, of those that were not forgotten. */
void keel_cache_clear(struct keel_sql_cache *cache, void (*drop)(struct keel_statement *statement));

#endif
