/* sql/postgres_parts.h - what the files of the PostgreSQL driver share. For them only. */
#ifndef KEEL_SQL_POSTGRES_PARTS_H
#define KEEL_SQL_POSTGRES_PARTS_H

#include "sql/cache.h"

#include <libpq-fe.h>

#include "base/buffer.h"

enum {
	POSTGRES_SCHEMA_MAX = 63,        /* bytes of a name on the server */
	POSTGRES_ANSWER_S = 60,          /* how long an answer may take, whatever the server was told */
	POSTGRES_LONG_S = 3600,          /* that of something that looks at the whole store */
	POSTGRES_LEAST_VERSION = 140000, /* pipelines of libpq, and what the schema uses */
	POSTGRES_SENT_MAX = 128,         /* statements on their way: more could fill the sockets of both sides */
	POSTGRES_BYTES_MAX = 65536,      /* and as many bytes of values */
};

struct postgres_value {
	struct keel_buffer text;
	bool bound; /* has a value; else it is null */
	Oid type;   /* of the value, or of those before: a null has none */
};

/* A statement as the server has it. Its values are copied when it is sent. */
struct postgres_statement {
	struct keel_statement head;
	struct postgres_sql *sql;
	char name[24];
	struct keel_buffer translated;
	int *numbers; /* the server's, by ours from 1; 0: it does not occur */
	int ours, count;
	struct postgres_value *values; /* by the server's number - 1 */
	const char **pointers;         /* to them, as libpq wants it */
	Oid *types;                    /* as they were when it was prepared */
	PGresult *rows;
	int at;                   /* the row that is looked at, from 0; -1: none */
	struct keel_arena *texts; /* of this row, where they had to be decoded */
	int64_t prepared;         /* on which connection; 0: not yet */
	bool returns_key, lacks_memory;
	bool gives_rows; /* else its step can be put off */
	bool is_of_log;  /* it looks at events, or writes one */
};

/* What is on its way to the server, in the order in which it will be answered. */
struct postgres_sent {
	enum {
		POSTGRES_SENT_PREPARE, /* the statement is made known */
		POSTGRES_SENT_WRITE,   /* run for what it does */
		POSTGRES_SENT_ROWS,    /* run for its rows, which it keeps */
		POSTGRES_SENT_COMMIT,
		POSTGRES_SENT_MARK, /* the end of a message: an error skips what stands before it, and nothing after it */
	} kind;
	struct postgres_statement *statement; /* NULL for a mark, and for a plain text */
};

struct postgres_queue {
	struct postgres_sent sent[POSTGRES_SENT_MAX];
	int count, answered; /* of them */
	size_t bytes;        /* of values, since the queue was empty */
	bool committed;      /* the newest commit in it has succeeded */
	enum keel_code code; /* what failed first, until the transaction ends or the failure was told outside of one */
	struct keel_error why;
};

/* What of the server's log a connection belongs to: a crash, or another server in its place, begins another. */
struct postgres_era {
	char checkpoint[24]; /* the newest when it was made */
	char timeline[12];   /* "" on a standby */
};

/* Events that the open transaction will write (postgres_log.c). */
struct postgres_events {
	struct postgres_statement *insert;
	struct keel_buffer values;
	size_t sent;                /* so much of that is the server's by now, who may have to undo it */
	struct keel_buffer witness; /* the values of the first of all, whether it was kept or sent at once */
};

/* What a savepoint goes back to, besides what the server does. */
struct postgres_mark {
	size_t events, sent; /* of them */
	size_t witness;
	size_t threads; /* the locks that were taken after it are given back */
	int64_t logged;
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
	bool hosts;         /* it may be any of several */
	bool connects;      /* again, and has not come to an end with it */
	PostgresPollingStatusType polling; /* what that waits for */
	int64_t connect_us, connect_until; /* how long it may take */
	struct postgres_era era;
	int savepoints;
	int answer_s;                  /* POSTGRES_ANSWER_S, or POSTGRES_LONG_S for a while */
	int64_t changes, inserted;     /* by the last statement */
	int64_t lock;                  /* the store's, among the advisory locks */
	int64_t connection;            /* which one it is, from 1: grows when a lost one was made anew */
	struct keel_statement *locks;  /* the one that asked for the lock of the store */
	struct keel_statement *thread; /* and that of a run's thread; NULL: none did */
	struct keel_statement *first;  /* with `waits`: what will be looked at first */
	uint64_t asked;                /* with `waits`: a digest of what was asked for */
	bool whole;                    /* the open transaction has the store for itself */
	struct keel_buffer threads;    /* else those that it has, each with a zero behind it */
	char transaction[24];          /* the server's number of the writing transaction that is open */
	uint64_t made;                 /* statements, for their names */
	struct postgres_queue queue;
	struct postgres_events events;
	struct postgres_mark marks[KEEL_SAVEPOINTS_MAX];
	int64_t logged; /* the id of the newest event that the transaction has written; 0: not known */
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

/* postgres_answer.c: sends what is queued in libpq and reads until there is an answer. KEEL_BUSY: the deadline has
 * passed, and the answer is still to come. */
enum keel_code postgres_reach(struct postgres_sql *sql, int64_t deadline_us, struct keel_error *err);

/* Whether a result is an error. */
bool postgres_has_failed(const PGresult *result);

/* Ends the connection, without a word to the server that might not come through. */
void postgres_cut(struct postgres_sql *sql);

/* Takes note of what the server has told besides. */
void postgres_hear(struct postgres_sql *sql);

/* postgres_queue.c: sends a statement with the values it has, and does not wait. What a WRITE fails with is told by
 * whatever waits next. */
enum keel_code postgres_send(struct postgres_sql *sql, struct postgres_statement *statement, int kind,
							 struct keel_error *err);

/* Waits until all that was sent is answered. Fails with what failed first, in a transaction again each time until it is
 * undone. KEEL_BUSY also when the deadline has passed: then `postgres_is_waiting`, and it can be called again. */
enum keel_code postgres_drain_until(struct postgres_sql *sql, int64_t deadline_us, struct keel_error *err);
bool postgres_is_waiting(const struct postgres_sql *sql);

/* The same within answer_s; later than that the connection is cut. */
enum keel_code postgres_drain(struct postgres_sql *sql, struct keel_error *err);

/* Takes note of what an open transaction, or what is on its way, failed with, unless something did before. */
void postgres_note_failure(struct postgres_sql *sql, enum keel_code code, const struct keel_error *why);

/* Sends what is queued, and waits for nothing. Cannot fail: whatever waits next will. */
void postgres_push(struct postgres_sql *sql);

/* The same with the values that its pointers lead to, of so many bytes. */
enum keel_code postgres_send_values(struct postgres_sql *sql, struct postgres_statement *statement, int kind,
									size_t bytes, struct keel_error *err);

/* The same for a text that has no values. */
enum keel_code postgres_send_plain(struct postgres_sql *sql, const char *text, int kind, struct keel_error *err);

/* postgres_log.c: keeps an event with its values; sends those that were kept and not sent; forgets those after the
 * first `size` bytes. And whether a text looks at events, or writes some. */
enum keel_code postgres_keep_event(struct postgres_sql *sql, struct postgres_statement *insert, struct keel_error *err);
enum keel_code postgres_send_events(struct postgres_sql *sql, struct keel_error *err);
void postgres_cut_events(struct postgres_sql *sql, size_t size);
bool postgres_is_of_log(const char *text);

/* Remembers the first event of a transaction, by which a doubt is resolved. */
enum keel_code postgres_note_witness(struct postgres_sql *sql, const struct postgres_statement *insert,
									 struct keel_error *err);

/* Has a statement's first values be those of the event at *at, and goes on behind it. */
void postgres_point_to(struct postgres_statement *statement, int count, const struct keel_buffer *values, size_t *at);

/* What is told of an event when it is written. */
#define POSTGRES_EVENT "(kind, at, runtime_id, thread_id, run_id, worker_ref, message, data)"

/* postgres_exec.c. */
/* Takes the question for the store's lock back, if it was asked: for whoever looks at something meanwhile. */
void postgres_take_back(struct postgres_sql *sql);

/* Ends the transaction that the server has open for us, if any, or with it the connection. Cannot fail. */
void postgres_undo(struct postgres_sql *sql);

/* Sends texts of SQL and waits for the answer; *result, which may be NULL: not wanted, is that of the last one with
 * rows, and is freed by the caller. */
enum keel_code postgres_exec(struct postgres_sql *sql, const char *text, PGresult **result, struct keel_error *err);

/* postgres_connect.c: connects, and once a connection is lost, again: with another number, no session and nothing
 * prepared. `revive` does nothing while there is one; KEEL_BUSY: it has begun to connect, and goes on when it is called
 * again. */
enum keel_code postgres_connect(struct postgres_sql *sql, const char *uri, struct keel_error *err);
enum keel_code postgres_revive(struct postgres_sql *sql, struct keel_error *err);

/* Runs a query of one row whose columns are numbers, or truths. */
enum keel_code postgres_numbers(struct postgres_sql *sql, const char *text, int64_t *numbers, int count,
								struct keel_error *err);

/* postgres_doubt.c: finds out what became of a COMMIT without an answer: succeeds when it was done, and is on the disk
 * if the durability is full, and fails with `failed` and `why` when it was not. KEEL_IO: nobody knows. Waits for a
 * server that starts again. */
enum keel_code postgres_resolve(struct postgres_sql *sql, enum keel_code failed, const struct keel_error *why,
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
enum keel_code postgres_changes(struct keel_sql *sql, int64_t *count, struct keel_error *err);
int64_t postgres_inserted(struct keel_sql *sql);
enum keel_code postgres_log(struct keel_statement *insert, struct keel_error *err);
int64_t postgres_logged(struct keel_sql *sql);
void postgres_drop_statements(struct postgres_sql *sql);

/* postgres_session.c: slots of the driver. */
enum keel_code postgres_hold(struct keel_sql *sql, int64_t session, struct keel_error *err);
enum keel_code postgres_judge(struct keel_sql *sql, int64_t session, bool *alive, struct keel_error *err);
enum keel_code postgres_listen(struct keel_sql *sql, int event, bool *listens, struct keel_error *err);
void postgres_let_go(struct postgres_sql *sql); /* of all that; for one that is to be closed */
bool postgres_news(struct keel_sql *sql);
void postgres_keep_descriptor(struct keel_sql *sql, int *descriptor);
bool postgres_asks(struct keel_sql *sql, const struct keel_statement *first);
void postgres_await(struct keel_sql *sql, int64_t limit_us);
int64_t postgres_connection(struct keel_sql *sql);

/* What is in a schema: catalogs have no index by schema, and a database may have many. There is one by what something
 * depends on. The name of the schema follows. */
#define POSTGRES_DEPENDS(catalog)                           \
	"SELECT objid FROM pg_depend WHERE classid = '" catalog \
	"'::regclass AND refclassid = 'pg_namespace'::regclass AND refobjid = "
#define POSTGRES_TABLES POSTGRES_DEPENDS("pg_class")
#define POSTGRES_ANY_TABLE "ANY (ARRAY(" POSTGRES_TABLES "current_schema()::regnamespace))"
#define POSTGRES_ANY_FUNCTION "ANY (ARRAY(" POSTGRES_DEPENDS("pg_proc") "current_schema()::regnamespace))"

/* postgres_server.c: a slot of the driver. */
enum keel_code postgres_look_at_server(struct keel_sql *sql, struct keel_server *server, struct keel_error *err);

/* postgres_transaction.c: slots of the driver. */
bool postgres_in_transaction(struct keel_sql *sql);
void postgres_rollback(struct keel_sql *sql);
enum keel_code postgres_begin(struct keel_sql *sql, const struct keel_sql_scope *scope, bool write,
							  struct keel_statement *first, struct keel_error *err);
enum keel_code postgres_cover(struct keel_sql *sql, struct keel_text thread_id, bool *covers, bool *late,
							  struct keel_error *err);
enum keel_code postgres_commit(struct keel_sql *sql, struct keel_error *err);
enum keel_code postgres_savepoint(struct keel_sql *sql, struct keel_error *err);
enum keel_code postgres_release(struct keel_sql *sql, struct keel_error *err);
enum keel_code postgres_rollback_to(struct keel_sql *sql, struct keel_error *err);
enum keel_code postgres_durable(struct keel_sql *sql, struct keel_error *err);

#endif
