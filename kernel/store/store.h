/* store/store.h - all that the domain sees of an open store. */
#ifndef KEEL_KERNEL_STORE_H
#define KEEL_KERNEL_STORE_H

#include "store/handle.h"
#include "store/session.h"
#include "store/statement.h"
#include "store/transaction.h"

/* The migrations, one by one. */

#endif
