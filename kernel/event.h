/* event.h - writing events from the domain. */
#ifndef KEEL_KERNEL_EVENT_H
#define KEEL_KERNEL_EVENT_H

#include <keel/event.h>

#include "store.h"

/* Appends an event as it is, in the open transaction. `id` may be NULL. */
enum keel_code keel_event_write(struct keel_store *store, const struct keel_event *event, int64_t *id,
                                struct keel_error *err);

/* The newest id there is, 0 in an empty log: one search, however long the log. */
enum keel_code keel_event_newest(struct keel_store *store, int64_t *id, struct keel_error *err);

#endif
