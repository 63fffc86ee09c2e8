/* sql/postgres_parts.h - what the files of the PostgreSQL driver share. For them only. */
#ifndef KEEL_SQL_POSTGRES_PARTS_H
#define KEEL_SQL_POSTGRES_PARTS_H

#include "sql/cache.h"

#include <libpq-fe.h>

#include "base/buffer.h"

enum {
	POSTGRES_SCHEMA_MAX = 63,        /* bytes of a name on the server */
	POSTGRES_ANSWER_US = 60000000,   /* how long an answer may take, whatever the server was told */
	POSTGRES_LEAST_VERSION = 140000, /* pipelines of libpq, and what the schema uses */
};

struct postgres_sql {
	struct keel_sql head;
	PGconn *db;
	char *path; /* postgresql://host:port/database?schema=name: for people, without user and password */
	char schema[POSTGRES_SCHEMA_MAX + 1];
	bool readonly, flushes;
	bool open;          /* a transaction is, as far as we know */
	bool failed;        /* and an error in it keeps it from committing */
	bool waits;         /* for the lock of the store, which was asked for */
	bool holds;         /* the lock of a session, as long as the connection lasts */
	bool listens, told; /* news: it has come */
	int event;          /* with listens: whom to tell; -1: nobody */
	int *descriptor;    /* where the socket is to be found, or -1 while there is none; NULL: nobody asks */
	int savepoints;
	int64_t changes, inserted; /* by the last statement */
	int64_t lock;              /* the store's, among the advisory locks */
	int64_t connection;        /* which one it is, from 1: grows when a lost one was made anew */
	char transaction[24];      /* the server's number of the writing transaction that is open */
	uint64_t made;             /* statements, for their names */
	struct keel_sql_cache statements;
};

static inline struct postgres_sql *postgres_own(struct keel_sql *sql)
{
	return (struct postgres_sql *)sql;
}

/* Says where the socket is by now: whenever libpq may have closed it, or opened another. */
static inline void postgres_show_descriptor(struct postgres_sql *sql)
{
	if (sql->descriptor)
		*sql->descriptor = PQsocket(sql->db);
}

/* postgres_text.c: our SQL as the server reads it. `?3` becomes `$2` when it is the second number that occurs; numbers
 * has room for one more than keel_sql_parameters, and says at [3] that it is 2 by now, or 0: it does not occur. *count
 * is how many there are. INDEXED BY goes, and an INSERT into a table whose keys the database makes returns the key. */
bool postgres_translate(const char *text, struct keel_buffer *out, int *numbers, int *count, bool *returns_key);

/* A text of ours as the server can keep it, which takes no zero bytes: byte 0 becomes 01 30 and byte 1 01 31, which
 * changes neither equality nor order. With a zero behind it. */
void postgres_encode(struct keel_buffer *out, struct keel_text text);

/* The other way, in place; returns the size. */
size_t postgres_decode(char *data, size_t size);

/* postgres_uri.c: takes our own parameter `schema` out of a uri, or gives it its default. */
enum keel_code postgres_read_uri(const char *uri, char **for_libpq, char schema[POSTGRES_SCHEMA_MAX + 1],
								 struct keel_error *err);

/* postgres_error.c: what a result, or without one the connection, came to. */
enum keel_code postgres_fail(struct postgres_sql *sql, const PGresult *result, struct keel_error *err);
enum keel_code postgres_classify(const char *state);

/* postgres_answer.c: waits for the answer to what was sent and takes all of it; *result is the last one with rows, or
 * the first that failed, and is freed by the caller. With a deadline in the past it says KEEL_BUSY and waits for
 * nothing; the answer is still to come. */
enum keel_code postgres_answer(struct postgres_sql *sql, int64_t deadline_us, PGresult **result,
							   struct keel_error *err);

/* The same within POSTGRES_ANSWER_US; later than that the connection is cut. */
enum keel_code postgres_wait(struct postgres_sql *sql, PGresult **result, struct keel_error *err);

/* Ends the connection, without a word to the server that might not come through. */
void postgres_cut(struct postgres_sql *sql);

/* Takes note of what the server has told besides. */
void postgres_hear(struct postgres_sql *sql);

/* Takes the question for the store's lock back, if it was asked: for whoever looks at something meanwhile. */
void postgres_take_back(struct postgres_sql *sql);

/* Ends the transaction that the server has open for us, if any, or with it the connection. Cannot fail. */
void postgres_undo(struct postgres_sql *sql);

/* Sends texts of SQL and waits for the answer; *result may be NULL: not wanted. */
enum keel_code postgres_exec(struct postgres_sql *sql, const char *text, PGresult **result, struct keel_error *err);

/* postgres_connect.c: connects, and once a connection is lost, again: with another number, no session and nothing
 * prepared. `revive` does nothing while there is one. */
enum keel_code postgres_connect(struct postgres_sql *sql, const char *uri, struct keel_error *err);
enum keel_code postgres_revive(struct postgres_sql *sql, struct keel_error *err);

/* Runs a query of one row whose columns are numbers, or truths. */
enum keel_code postgres_numbers(struct postgres_sql *sql, const char *text, int64_t *numbers, int count,
								struct keel_error *err);

/* postgres_statement.c: slots of the driver. */
enum keel_code postgres_prepare(struct keel_sql *base, const char *text, struct keel_statement **statement,
								struct keel_error *err);
void postgres_forget(struct keel_sql *base, const char *text);
enum keel_code postgres_bind_null(struct keel_statement *statement, int parameter, struct keel_error *err);
enum keel_code postgres_bind_int(struct keel_statement *statement, int parameter, int64_t value,
								 struct keel_error *err);
enum keel_code postgres_bind_text(struct keel_statement *statement, int parameter, struct keel_text value,
								  struct keel_error *err);
enum keel_code postgres_step(struct keel_statement *statement, bool *row, struct keel_error *err);
bool postgres_column_null(struct keel_statement *statement, int column);
int64_t postgres_column_int(struct keel_statement *statement, int column);
struct keel_text postgres_column_text(struct keel_statement *statement, int column);
void postgres_reset(struct keel_statement *statement);
int64_t postgres_changes(struct keel_sql *sql);
int64_t postgres_inserted(struct keel_sql *sql);
void postgres_drop_statements(struct postgres_sql *sql);

/* postgres_session.c: slots of the driver. */
enum keel_code postgres_hold(struct keel_sql *sql, int64_t session, struct keel_error *err);
enum keel_code postgres_judge(struct keel_sql *sql, int64_t session, bool *alive, struct keel_error *err);
enum keel_code postgres_listen(struct keel_sql *sql, int event, bool *listens, struct keel_error *err);
void postgres_let_go(struct postgres_sql *sql); /* of all that; for one that is to be closed */
bool postgres_news(struct keel_sql *sql);
void postgres_keep_descriptor(struct keel_sql *sql, int *descriptor);
int64_t postgres_connection(struct keel_sql *sql);

/* postgres_transaction.c: slots of the driver. */
bool postgres_in_transaction(struct keel_sql *sql);
void postgres_rollback(struct keel_sql *sql);
enum keel_code postgres_begin(struct keel_sql *sql, bool write, struct keel_error *err);
enum keel_code postgres_commit(struct keel_sql *sql, struct keel_error *err);
enum keel_code postgres_savepoint(struct keel_sql *sql, struct keel_error *err);
enum keel_code postgres_release(struct keel_sql *sql, struct keel_error *err);
enum keel_code postgres_rollback_to(struct keel_sql *sql, struct keel_error *err);
enum keel_code postgres_durable(struct keel_sql *sql, struct keel_error *err);

#endif
