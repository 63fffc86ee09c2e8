/* keel/postgres.h - the driver for stores on PostgreSQL: in libkeel_postgres, which links libpq.
 *
 *     keel_store_use_driver(keel_postgres(), &err);
 *     keel_store_open("postgresql://host/database", NULL, &store, &err);
 */
#ifndef KEEL_POSTGRES_H
#define KEEL_POSTGRES_H

#include <keel/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct keel_sql_driver;

/* The driver; static, never NULL. */
KEEL_API const struct keel_sql_driver *keel_postgres(void);

#ifdef __cplusplus
}
#endif

#endif
