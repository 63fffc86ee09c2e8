/* store/statement.h - statements with their values. For the domain only. */
#ifndef KEEL_STORE_STATEMENT_H
#define KEEL_STORE_STATEMENT_H

#include "store/handle.h"

/* A prepared statement with nothing bound. */
enum keel_code keel_store_prepare(struct keel_store *store, const char *text, struct keel_statement **statement,
								  struct keel_error *err);

/* A value to bind: null, a number or a text. */
struct keel_value {
	enum { KEEL_VALUE_NULL, KEEL_VALUE_INT, KEEL_VALUE_TEXT } kind;
	int64_t number;
	struct keel_text text;
};
static inline struct keel_value keel_value_int(int64_t number)
{
	return (struct keel_value){.kind = KEEL_VALUE_INT, .number = number};
}
static inline struct keel_value keel_value_text(struct keel_text text) /* data NULL: null */
{
	return (struct keel_value){.kind = text.data ? KEEL_VALUE_TEXT : KEEL_VALUE_NULL, .text = text};
}
static inline struct keel_value keel_value_null(void)
{
	return (struct keel_value){.kind = KEEL_VALUE_NULL};
}

/* A statement with its parameters ?1, ?2, … bound, ready to step: the common beginning of every query. The values
 * follow the other arguments: keel_query(store, text, &statement, err, keel_value_int(1), keel_value_text(name)). */
#define keel_query(store, text, statement, err, ...)                                         \
	keel_query_values(store, text, statement, err, (const struct keel_value[]){__VA_ARGS__}, \
					  sizeof((const struct keel_value[]){__VA_ARGS__}) / sizeof(struct keel_value))
enum keel_code keel_query_values(struct keel_store *store, const char *text, struct keel_statement **statement,
								 struct keel_error *err, const struct keel_value *values, size_t count);

/* The same for a statement that gives no rows: binds and runs it. */
#define keel_execute(store, text, err, ...)                                         \
	keel_execute_values(store, text, err, (const struct keel_value[]){__VA_ARGS__}, \
						sizeof((const struct keel_value[]){__VA_ARGS__}) / sizeof(struct keel_value))
enum keel_code keel_execute_values(struct keel_store *store, const char *text, struct keel_error *err,
								   const struct keel_value *values, size_t count);

/* The first step of a query that may run outside of a transaction. Another process that recovers the log of one that
 * was killed keeps readers out meanwhile: waits for that. */
enum keel_code keel_first_step(struct keel_store *store, struct keel_statement *query, bool *row,
							   struct keel_error *err);

/* The number that the first row of a bound query begins with; resets the query. Without a row *number stays as it is,
 * and *found, which may be NULL, is false. */
enum keel_code keel_first_number(struct keel_store *store, struct keel_statement *query, bool *found, int64_t *number,
								 struct keel_error *err);

/* Copies a text of the row that a statement is at, with its end: "" for null. KEEL_STORE_CORRUPT: it has no room, as
 * only damage has. */
enum keel_code keel_column_copy(struct keel_statement *select, int column, char *to, size_t room,
								struct keel_error *err);

#endif
