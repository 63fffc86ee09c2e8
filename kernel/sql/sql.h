/* sql/sql.h - the SQL driver interface: all the domain knows of a database.
 *
 * The domain writes its SQL once, in what SQLite and PostgreSQL share, with parameters ?1, ?2, …; a driver brings
 * what differs. A driver opens a connection and fills in the head of its own struct; the functions below go through the
 * driver's table. Transactions are explicit, and every function says KEEL_BUSY at once instead of waiting.
 *
 * Statements are cached by the address of their text: it must not change while the connection is open.
 */
#ifndef KEEL_SQL_H
#define KEEL_SQL_H

#include <keel/store.h>

struct keel_sql;
struct keel_statement;

struct keel_sql_config {
	const char *uri;
	enum keel_durability durability;
	bool readonly;
	bool create;
	bool exclusive; /* nobody else is to have it open: no locks are taken and given back for others */
	bool finished;  /* nobody writes it any more, so that other names of it do no harm */
};

/* Bytes of a database. */
struct keel_sql_size {
	int64_t bytes;
	int64_t unused; /* of these, what holds nothing and would go by making it compact */
};

/* What a writing transaction decides on and may change, besides new events: others who write something else need not
 * wait for it. A driver with one lock for the store ignores it. */
struct keel_sql_scope {
	enum keel_sql_scope_kind {
		KEEL_SCOPE_STORE,  /* anything */
		KEEL_SCOPE_NONE,   /* nothing that is there already */
		KEEL_SCOPE_THREAD, /* the runs of a thread */
		KEEL_SCOPE_RUN,    /* the same, of the thread that a run is on; nothing when there is no such run */
	} kind;
	struct keel_text id;        /* of the thread, or of the run */
	struct keel_text key, user; /* with a thread: an idempotency key, and whose it is; data NULL: none */
};

struct keel_server;

/* The text of a driver's migration number i + 1; NULL behind the last. Embedded at build from kernel/schema. */
typedef const char *keel_script(int i);
keel_script keel_sqlite_script, keel_postgres_script;

/* Version 1. Slots are only ever appended. Unless a slot says otherwise it may fail with the codes of a store operation
 * and must not wait for a lock, nor call back. */
struct keel_sql_driver {
	int version;
	const char *name;
	/* Opens a connection, and reads nothing yet; *sql is NULL on failure. */
	enum keel_code (*open)(const struct keel_sql_config *config, struct keel_sql **sql, struct keel_error *err);
	/* Frees the connection and its statements. Cannot fail. Not for a forked child, who would do it to the parent's. */
	void (*close)(struct keel_sql *sql);
	/* What is in the file: *version 0 and *ours true for an empty one; *ours false when it is another application's. */
	enum keel_code (*identify)(struct keel_sql *sql, int64_t *version, bool *ours, struct keel_error *err);
	/* Makes a file that is ours ready to be written. */
	enum keel_code (*make_ready)(struct keel_sql *sql, struct keel_error *err);
	/* Runs a script inside the open transaction and marks the schema with the version. */
	enum keel_code (*migrate)(struct keel_sql *sql, const char *script, int64_t version, struct keel_error *err);
	/* Begins a transaction: a writing one has what its scope says for itself from then on, without a scope the whole
	 * store. `first`, which may be NULL, is a statement with its values that gives rows and is not stepped yet: it will
	 * be the first, and may be sent along. KEEL_BUSY: the same call again asks on, and another one asks anew. */
	enum keel_code (*begin)(struct keel_sql *sql, const struct keel_sql_scope *scope, bool write,
							struct keel_statement *first, struct keel_error *err);
	/* Commits, or rolls back and fails. */
	enum keel_code (*commit)(struct keel_sql *sql, struct keel_error *err);
	/* Cannot fail. */
	void (*rollback)(struct keel_sql *sql);
	/* Whether a transaction is open: some errors make the database roll back by itself. Cannot fail. */
	bool (*in_transaction)(struct keel_sql *sql);
	/* A statement ready to bind; it belongs to the connection. */
	enum keel_code (*prepare)(struct keel_sql *sql, const char *text, struct keel_statement **statement,
							  struct keel_error *err);
	/* Parameters count from 1; texts are borrowed until reset. */
	enum keel_code (*bind_null)(struct keel_statement *statement, int parameter, struct keel_error *err);
	enum keel_code (*bind_int)(struct keel_statement *statement, int parameter, int64_t value, struct keel_error *err);
	enum keel_code (*bind_text)(struct keel_statement *statement, int parameter, struct keel_text value,
								struct keel_error *err);
	/* Goes to the next row; *row is false behind the last. */
	enum keel_code (*step)(struct keel_statement *statement, bool *row, struct keel_error *err);
	/* Columns count from 0; texts live until the next step or reset. Cannot fail, but column_text may give a NULL
	 * text for a value that is not null when memory ran out: the next step then fails. */
	bool (*column_null)(struct keel_statement *statement, int column);
	int64_t (*column_int)(struct keel_statement *statement, int column);
	struct keel_text (*column_text)(struct keel_statement *statement, int column);
	/* Makes the statement ready for other parameters. Cannot fail. */
	void (*reset)(struct keel_statement *statement);
	/* Forgets a statement of the cache by its text, which may then change. Cannot fail. */
	void (*forget)(struct keel_sql *sql, const char *text);
	/* Rows changed by the last statement. Fails with what that failed with, if it was put off. */
	enum keel_code (*changes)(struct keel_sql *sql, int64_t *count, struct keel_error *err);
	/* The integer key that the last INSERT made. Cannot fail. */
	int64_t (*inserted)(struct keel_sql *sql);
	/* Looks over the database itself; calls `found` with each problem as a sentence, until it returns false. */
	enum keel_code (*check)(struct keel_sql *sql, bool (*found)(void *data, const char *sentence), void *data,
							struct keel_error *err);
	/* The path as the database resolved it; "" when there is no file. */
	const char *(*path)(struct keel_sql *sql);
	/* Savepoints in a writing transaction, a stack: makes one; ends the newest and keeps what was done since; undoes
	 * what was done since the newest, and ends it. */
	enum keel_code (*savepoint)(struct keel_sql *sql, struct keel_error *err);
	enum keel_code (*release)(struct keel_sql *sql, struct keel_error *err);
	enum keel_code (*rollback_to)(struct keel_sql *sql, struct keel_error *err);
	/* Copies the database as the open reading transaction sees it into the empty file `path`, which nobody has open;
	 * others go on writing. `tell` hears how many pages there are, and how many are done. The copy is on the disk when
	 * this returns, and whole without any other file. */
	enum keel_code (*copy)(struct keel_sql *sql, const char *path,
						   void (*tell)(void *data, int64_t done, int64_t total), void *data, struct keel_error *err);
	/* The size of the database. */
	enum keel_code (*size)(struct keel_sql *sql, struct keel_sql_size *size, struct keel_error *err);
	/* Makes a connection that was opened ready for everything else: from now on it uses what stands beside the file. */
	enum keel_code (*start)(struct keel_sql *sql, const struct keel_sql_config *config, struct keel_error *err);
	/* The endings of the files that the database keeps beside its own, for as long as it needs them; ends with NULL. */
	const char *const *beside;
	/* Whether a log stands beside the file that is not empty. Before `start`, too. Cannot fail. */
	bool (*has_log)(struct keel_sql *sql);
	/* Looks for a text in the first page of a table, in the file itself and not in the log: *page is the number of that
	 * page, 0: it is not there. `holds` looks into a page; before `start`, too, and cannot fail. */
	enum keel_code (*find)(struct keel_sql *sql, const char *table, struct keel_text text, int64_t *page,
						   struct keel_error *err);
	bool (*holds)(struct keel_sql *sql, int64_t page, struct keel_text text);
	/* Whether the file is another application's database. Before `start`, too. Cannot fail. */
	bool (*is_foreign)(struct keel_sql *sql);
	/* Whether the path leads to another file than the one that is open, or to none. Cannot fail. */
	bool (*has_moved)(struct keel_sql *sql);
	/* The file is not this connection's any more: closing leaves the log as it is. Cannot fail. */
	void (*leave_log)(struct keel_sql *sql);
	/* Makes the file as small as its content. Not in a transaction. KEEL_BUSY while others write. */
	enum keel_code (*compact)(struct keel_sql *sql, struct keel_error *err);
	/* Writes the log back into the file as far as others let it, and cuts it if they do; *left is how many bytes of it
	 * could not be written back. Not in a transaction. */
	enum keel_code (*write_back)(struct keel_sql *sql, int64_t *left, struct keel_error *err);
	/* Fails with KEEL_STORE_CORRUPT unless the schema is what the migrations make, all of them, and nothing else. */
	enum keel_code (*check_schema)(struct keel_sql *sql, struct keel_error *err);
	/* Its migrations. */
	keel_script *script;
	/* Of a driver whose stores are on a server; NULL of one whose stores are files or in memory. `hold` locks the
	 * number of this connection's session until the connection ends; `judge` says whether somebody holds that of a
	 * session, in a transaction so that it stays true until its end. KEEL_BUSY from `hold`: somebody is judging it. */
	enum keel_code (*hold)(struct keel_sql *sql, int64_t session, struct keel_error *err);
	enum keel_code (*judge)(struct keel_sql *sql, int64_t session, bool *alive, struct keel_error *err);
	/* Likewise: has the server tell of commits with events from now on; whether it has told of any since the last
	 * question. What it tells in an answer to something else is passed on to `event`, an eventfd; -1: to nobody.
	 * *listens is false while somebody writes who will not tell: ask again. `news` cannot fail. */
	enum keel_code (*listen)(struct keel_sql *sql, int event, bool *listens, struct keel_error *err);
	bool (*news)(struct keel_sql *sql);
	/* Likewise: keeps the connection's descriptor in *descriptor from now on until it is closed: readable with news and
	 * at other times, -1 while there is none. Whoever forks must have it closed in the child. Cannot fail. */
	void (*keep_descriptor)(struct keel_sql *sql, int *descriptor);
	/* Likewise: whether a begin was KEEL_BUSY with its question for the locks under way: to ask again is only to look
	 * whether the answer has come. `first`: whether that begin's first statement was this one; NULL: any. `await` waits
	 * for the answer, at most so long. Neither can fail. */
	bool (*asks)(struct keel_sql *sql, const struct keel_statement *first);
	void (*await)(struct keel_sql *sql, int64_t limit_us);
	/* Likewise: which connection it is. It grows when a lost one was made anew, as beginning a transaction does: what
	 * was held by the one before is not held any more. Cannot fail. */
	int64_t (*connection)(struct keel_sql *sql);
	/* Whether the open writing transaction covers the runs of a thread: it does, or can at once without waiting; else
	 * *covers is false. Data NULL: all threads, which it has or has not. *late: only from now on, and what was read of
	 * them before may have changed. NULL: each covers the whole store. */
	enum keel_code (*cover)(struct keel_sql *sql, struct keel_text thread_id, bool *covers, bool *late,
							struct keel_error *err);
	/* Of a driver on which an id of an event makes others wait: has an INSERT into the log, with its values, run as the
	 * last thing of the transaction, or before whatever looks at the log; it is undone with its savepoint. Such a
	 * database closes the blocks of the log by itself. `logged` is the id of the newest event that the transaction
	 * has written, once it is committed, and cannot fail. */
	enum keel_code (*log)(struct keel_statement *insert, struct keel_error *err);
	int64_t (*logged)(struct keel_sql *sql);
	/* The last key that was given to a row of a table whose keys are never used again; 0: none was. */
	enum keel_code (*last_key)(struct keel_sql *sql, struct keel_text table, int64_t *key, struct keel_error *err);
	/* How many bytes the text in a column of the row with this key has, without reading it; 0 for null and no row. */
	enum keel_code (*text_size)(struct keel_sql *sql, const char *table, const char *column, int64_t key, int64_t *size,
								struct keel_error *err);
	/* Of a driver whose commits can be seen before they are on the disk; NULL of others. What was read so far, outside
	 * of a transaction, is there when this, or the step after it if this puts it off, has succeeded. It does nothing
	 * unless the durability is full; nor in a transaction: what that has read is there once it has committed. */
	enum keel_code (*durable)(struct keel_sql *sql, struct keel_error *err);
	/* A query of the tables with the domain's rows and of their columns, a row each, table by table: the table, the
	 * column, whether it is a number, and its place, from 1, in the key by which the table can be read in pages, with
	 * the lowest first; 0: not in it. A table without one is read in one go, as the database brings rows one by one. */
	const char *catalog;
	/* Has the keys that the database makes from now on go on behind all that are there, and those of `table` behind
	 * `last`, too. In a writing transaction. */
	enum keel_code (*continue_keys)(struct keel_sql *sql, struct keel_text table, int64_t last, struct keel_error *err);
	/* Of a driver whose stores are on a server, NULL of others. What is asked until it is called again looks at much of
	 * the store: an answer may take an hour. Cannot fail. */
	void (*be_patient)(struct keel_sql *sql, bool patient);
	/* Likewise: what there is to know of it, but for `skew_us`. */
	enum keel_code (*look_at_server)(struct keel_sql *sql, struct keel_server *server, struct keel_error *err);
};

/* The head of every driver's connection and statement. */
struct keel_sql {
	const struct keel_sql_driver *driver;
};
struct keel_statement {
	const struct keel_sql_driver *driver;
	const char *text; /* NULL: forgotten */
};

/* Finds the driver for a uri. KEEL_INVALID_REQUEST when there is none for its scheme; KEEL_NOT_SUPPORTED when there is
 * one, in a module that the host has not given to keel_store_use_driver. */
enum keel_code keel_sql_find(const char *uri, const struct keel_sql_driver **driver, struct keel_error *err);

extern const struct keel_sql_driver keel_sqlite_driver;

/* Binds nothing for a NULL text, else the text. */
static inline enum keel_code keel_bind_text(struct keel_statement *statement, int parameter, struct keel_text value,
											struct keel_error *err)
{
	return value.data ? statement->driver->bind_text(statement, parameter, value, err)
					  : statement->driver->bind_null(statement, parameter, err);
}

static inline enum keel_code keel_bind_int(struct keel_statement *statement, int parameter, int64_t value,
										   struct keel_error *err)
{
	return statement->driver->bind_int(statement, parameter, value, err);
}

static inline enum keel_code keel_bind_null(struct keel_statement *statement, int parameter, struct keel_error *err)
{
	return statement->driver->bind_null(statement, parameter, err);
}

static inline enum keel_code keel_step(struct keel_statement *statement, bool *row, struct keel_error *err)
{
	return statement->driver->step(statement, row, err);
}

static inline bool keel_column_null(struct keel_statement *statement, int column)
{
	return statement->driver->column_null(statement, column);
}

static inline int64_t keel_column_int(struct keel_statement *statement, int column)
{
	return statement->driver->column_int(statement, column);
}

static inline struct keel_text keel_column_text(struct keel_statement *statement, int column)
{
	return statement->driver->column_text(statement, column);
}

/* The text of a column, data NULL for null. False: memory ran out for it. */
static inline bool keel_column_read(struct keel_statement *statement, int column, struct keel_text *text)
{
	*text = keel_column_text(statement, column);
	return text->data || keel_column_null(statement, column);
}

static inline void keel_reset(struct keel_statement *statement)
{
	statement->driver->reset(statement);
}

/* The highest number of a parameter in a text: as many values does it take. */
int keel_sql_parameters(const char *text);

/* Steps a statement that gives no rows, and resets it. */
enum keel_code keel_run_statement(struct keel_statement *statement, struct keel_error *err);

#endif
