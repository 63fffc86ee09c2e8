/* store/transaction.h - how an operation begins and ends. For the domain only. */
#ifndef KEEL_STORE_TRANSACTION_H
#define KEEL_STORE_TRANSACTION_H

#include "store/handle.h"

/* Around an operation that writes: joins the caller's transaction, or makes one of its own, and a session before the
 * first. Between the two nothing waits. `end` gets what the operation came to: KEEL_OK commits; an error rolls back,
 * or, in the caller's transaction and once `wrote` is true, leaves nothing but rolling back. Returns what the operation
 * came to in the end. */
enum keel_code keel_write_begin(struct keel_store *store, struct keel_error *err);
enum keel_code keel_write_end(struct keel_store *store, enum keel_code code, bool wrote, struct keel_error *err);

/* Around several statements that must read the same picture. */
enum keel_code keel_read_begin(struct keel_store *store, struct keel_error *err);
void keel_read_end(struct keel_store *store);

#endif
