/* schema/schema.h - the migrations of this folder, embedded at build by embed.cmake, in order. */
#ifndef KEEL_SCHEMA_H
#define KEEL_SCHEMA_H

struct keel_migration {
	const char *name; /* of the file */
	const char *sql;
};

/* Migration number i + 1 brings the schema from version i to i + 1. */
extern const struct keel_migration keel_migrations[];
extern const int keel_migrations_count;

#endif
