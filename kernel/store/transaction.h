/* store/transaction.h - how an operation begins and ends. For the domain only. */
#ifndef KEEL_STORE_TRANSACTION_H
#define KEEL_STORE_TRANSACTION_H

#include "store/handle.h"

/* Around an operation that writes: joins the caller's transaction, or makes one of its own, and a session before the
 * first. Between the two nothing waits. `end` gets what the operation came to: KEEL_OK commits; an error rolls back,
 * or, in the caller's transaction and once `wrote` is true, leaves nothing but rolling back. Returns what the operation
 * came to in the end. */
enum keel_code keel_write_begin(struct keel_store *store, struct keel_error *err);
/* The same for one that writes within a scope (sql/sql.h), with the statement that it will step first, or NULL: on a
 * server others write beside it. In the caller's transaction it is in that one's scope. */
enum keel_code keel_write_begin_on(struct keel_store *store, const struct keel_sql_scope *scope,
								   struct keel_statement *first, struct keel_error *err);

/* Sees to it that the transaction may change the runs of a thread. *late: only from now on, and what was read of them
 * before has to be read again. KEEL_BUSY: somebody else has them, and the whole has to be begun again; the next
 * transaction of the handle has the whole store. */
enum keel_code keel_write_cover(struct keel_store *store, struct keel_text thread_id, bool *late,
								struct keel_error *err);

/* The same for one of several threads that will do: *does says whether nobody else has it. */
enum keel_code keel_write_try(struct keel_store *store, struct keel_text thread_id, bool *does, struct keel_error *err);

/* The same for runs of any thread: KEEL_BUSY unless it has the whole store. */
enum keel_code keel_write_cover_all(struct keel_store *store, struct keel_error *err);

enum keel_code keel_write_end(struct keel_store *store, enum keel_code code, bool wrote, struct keel_error *err);

/* Around several statements that must read the same picture. */
enum keel_code keel_read_begin(struct keel_store *store, struct keel_error *err);
void keel_read_end(struct keel_store *store);

#endif
