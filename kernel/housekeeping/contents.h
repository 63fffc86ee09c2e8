/* housekeeping/contents.h - every text of a store, looked at. */
#ifndef KEEL_KERNEL_CONTENTS_H
#define KEEL_KERNEL_CONTENTS_H

#include "housekeeping/collect.h"
#include "store/store.h"

/* What the texts hold. */
enum keel_code keel_verify_contents(struct keel_store *store, struct keel_collector *to, struct keel_error *err);

#endif
