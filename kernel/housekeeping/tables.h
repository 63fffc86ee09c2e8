/* housekeeping/tables.h - the rows of a store, table by table, on their way into another database. */
#ifndef KEEL_HOUSEKEEPING_TABLES_H
#define KEEL_HOUSEKEEPING_TABLES_H

#include "store/store.h"

/* Copies all rows of a store but its sessions into the empty tables of `to`, in whose transaction they are written. The
 * store's must be open, too. Which tables and columns there are, the store's database says. */
enum keel_code keel_tables_copy(struct keel_store *from, struct keel_sql *to, struct keel_error *err);

#endif
