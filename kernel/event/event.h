/* event.h - writing events from the domain. */
#ifndef KEEL_KERNEL_EVENT_H
#define KEEL_KERNEL_EVENT_H

#include <keel/event.h>

#include "base/buffer.h"
#include "store/store.h"

/* What of a worker_ref finds its events, in SQL: characters that fit an entry of an index, of which the refs that the
 * kernel makes have no more. Readers compare the rest. */
#define KEEL_WORKER_REF_KEY(ref) "substr(" ref ", 1, 640)"

/* Appends an event as it is, in the open transaction. `id` may be NULL. */
enum keel_code keel_event_write(struct keel_store *store, const struct keel_event *event, int64_t *id,
								struct keel_error *err);

/* An empty buffer for the data of the event to be written next. There is one a handle. */
enum keel_code keel_event_draft(struct keel_store *store, struct keel_buffer **data, struct keel_error *err);

/* The oldest id that was not pruned, and the newest there ever was (*low - 1 in an empty log): one search, however long
 * the log. */
enum keel_code keel_event_ends(struct keel_store *store, int64_t *low, int64_t *newest, struct keel_error *err);

#endif
