/* schema/schema.h - the migrations of this folder, embedded at build by embed.cmake, in order. */
#ifndef KEEL_SCHEMA_H
#define KEEL_SCHEMA_H

struct keel_migration {
	const char *name; /* of the file */
	const char *sql;
};

/* Versions up to this one are those of stores from before the first release, which nobody can read any more. */
enum { KEEL_SCHEMA_BASE = 101 };

/* Migration number i + 1 brings the schema from version KEEL_SCHEMA_BASE + i to the next. */
extern const struct keel_migration keel_migrations[];
extern const int keel_migrations_count;

/* The version that this library writes. */
static inline int keel_schema_version(void)
{
	return KEEL_SCHEMA_BASE + keel_migrations_count;
}

#endif
