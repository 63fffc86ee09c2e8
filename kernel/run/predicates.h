/* predicates.h - the conditions that partial indexes hang on. For the domain only.
 *
 * A query finds a partial index by saying its condition, in its words. Those that a comparison with a value implies
 * (IS NOT NULL) need not be said. tests/predicates.lua compares with the schema.
 */
#ifndef KEEL_KERNEL_RUN_PREDICATES_H
#define KEEL_KERNEL_RUN_PREDICATES_H

/* Indexes: lines_ready, lines_ready_of. */
#define KEEL_LINE_READY "ready = 1"

/* Indexes: lines_parked. */
#define KEEL_LINE_PARKED "ready = 0"

/* Indexes: limits_paused. */
#define KEEL_LIMIT_PAUSED "paused = 1"

/* Indexes: workers_active. */
#define KEEL_WORKER_ACTIVE "status = 0"

/* Indexes: diagnostics_of_runtime. */
#define KEEL_DIAGNOSTIC_OF_RUNTIME "worker IS NULL AND run_id IS NULL"

#endif
