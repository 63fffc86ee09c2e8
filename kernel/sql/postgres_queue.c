/* postgres_queue.c - statements that are on their way to the server. Uses: postgres_answer, postgres_error.
 *
 * A trip to the server costs more than what is done there, so whoever needs no answer does not wait for one. What was
 * sent is answered in order. A mark ends a message: behind an error the server skips everything up to the next one, so
 * that nothing is done that was decided without knowing of it.
 */
#include "sql/postgres_parts.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/monotonic.h"
#include "base/trace.h"

static void forget_sent(struct postgres_sql *sql)
{
	struct postgres_queue *queue = &sql->queue;
	/* Of what got no answer nobody knows whether the server has it. */
	for (int i = queue->answered; i < queue->count; i++)
		if (queue->sent[i].kind == POSTGRES_SENT_PREPARE)
			queue->sent[i].statement->prepared = 0;
	queue->count = queue->answered = 0;
	queue->bytes = 0;
}

/* --- Answers ------------------------------------------------------------------------------------------------------ */

void postgres_note_failure(struct postgres_sql *sql, enum keel_code code, const struct keel_error *why)
{
	if (sql->queue.code == KEEL_OK) {
		sql->queue.code = code;
		sql->queue.why = *why;
	}
	sql->failed = sql->open;
}

static void note_result(struct postgres_sql *sql, const PGresult *result)
{
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
	struct keel_error why;
	enum keel_code code = postgres_fail(sql, result, &why);
	postgres_note_failure(sql, code, &why);
	/* The server has ended the connection, and libpq will notice only when it reads the end of it. */
	if (severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0))
		postgres_cut(sql);
}

/* What one result says; it is freed, or kept by the statement. */
static void take(struct postgres_sql *sql, const struct postgres_sent *sent, PGresult *result)
{
	struct postgres_statement *statement = sent->statement;
	bool failed = postgres_has_failed(result), skipped = PQresultStatus(result) == PGRES_PIPELINE_ABORTED;
	if (failed)
		note_result(sql, result);
	if (failed || skipped) {
		if (sent->kind == POSTGRES_SENT_PREPARE)
			statement->prepared = 0;
	} else if (sent->kind == POSTGRES_SENT_ROWS) {
		KEEL_ASSERT(!statement->rows);
		statement->rows = result;
		result = NULL;
	} else if (sent->kind == POSTGRES_SENT_WRITE) {
		sql->changes = strtoll(PQcmdTuples(result), NULL, 10);
		if (statement && statement->returns_key && PQntuples(result) > 0)
			sql->inserted = strtoll(PQgetvalue(result, PQntuples(result) - 1, 0), NULL, 10);
		if (statement && statement->returns_key && statement->is_of_log)
			sql->logged = sql->inserted;
	} else if (sent->kind == POSTGRES_SENT_COMMIT) {
		/* The server takes a COMMIT of what has failed for a ROLLBACK, and calls that a success. */
		sql->queue.committed = strcmp(PQcmdStatus(result), "COMMIT") == 0;
	}
	PQclear(result);
}

/* Goes on with the answers until all are there. */
static enum keel_code take_answers(struct postgres_sql *sql, int64_t deadline_us, struct keel_error *err)
{
	struct postgres_queue *queue = &sql->queue;
	enum keel_code code = KEEL_OK;
	while (queue->answered < queue->count && (code = postgres_reach(sql, deadline_us, err)) == KEEL_OK) {
		const struct postgres_sent *sent = &queue->sent[queue->answered];
		PGresult *result = PQgetResult(sql->db);
		if (sent->kind == POSTGRES_SENT_MARK) {
			queue->answered += PQresultStatus(result) == PGRES_PIPELINE_SYNC;
			PQclear(result);
		} else if (result) {
			take(sql, sent, result);
		} else {
			queue->answered++;
		}
	}
	return code;
}

bool postgres_is_waiting(const struct postgres_sql *sql)
{
	return sql->queue.answered < sql->queue.count && PQstatus(sql->db) == CONNECTION_OK;
}

static bool put_mark(struct postgres_sql *sql)
{
	struct postgres_queue *queue = &sql->queue;
	if (queue->count == 0 || queue->sent[queue->count - 1].kind == POSTGRES_SENT_MARK)
		return true;
	KEEL_ASSERT(queue->count < POSTGRES_SENT_MAX);
	if (!PQpipelineSync(sql->db))
		return false;
	queue->sent[queue->count++] = (struct postgres_sent){POSTGRES_SENT_MARK, NULL};
	return true;
}

enum keel_code postgres_drain_until(struct postgres_sql *sql, int64_t deadline_us, struct keel_error *err)
{
	struct postgres_queue *queue = &sql->queue;
	struct keel_error why;
	enum keel_code code = KEEL_OK;
	if (queue->count > 0 && !put_mark(sql))
		code = postgres_fail(sql, NULL, &why);
	if (code == KEEL_OK)
		code = take_answers(sql, deadline_us, &why);
	if (code == KEEL_BUSY && postgres_is_waiting(sql))
		return keel_fail_as(err, code, &why);
	forget_sent(sql);
	if (sql->listens)
		postgres_hear(sql);
	if (PQstatus(sql->db) != CONNECTION_OK) {
		sql->failed = sql->open; /* the server undoes what a lost connection has left */
		postgres_show_descriptor(sql);
	}
	if (queue->code == KEEL_OK && code != KEEL_OK) {
		queue->code = code;
		queue->why = why;
	}
	code = queue->code;
	keel_fail_as(err, code, &queue->why);
	if (!sql->open) /* nobody is told twice */
		queue->code = KEEL_OK;
	return code;
}

enum keel_code postgres_drain(struct postgres_sql *sql, struct keel_error *err)
{
	enum keel_code code =
		postgres_drain_until(sql, keel_later(keel_monotonic_us(), sql->answer_s * INT64_C(1000000)), err);
	if (!postgres_is_waiting(sql))
		return code;
	/* What comes now would be taken for the answer to something else. */
	postgres_cut(sql);
	forget_sent(sql);
	sql->failed = sql->open;
	return keel_fail(err, KEEL_BUSY, "%s: no answer came for %d s, and the connection was given up", sql->path,
					 sql->answer_s);
}

/* --- Sending ------------------------------------------------------------------------------------------------------ */

void postgres_push(struct postgres_sql *sql)
{
	/* What does not fit into the socket now would stay here for as long as nothing else is asked. */
	if (!put_mark(sql) || PQflush(sql->db) != 0)
		postgres_drain(sql, NULL);
}

static enum keel_code add(struct postgres_sql *sql, struct postgres_statement *statement, int kind, int sent,
						  struct keel_error *err)
{
	struct postgres_queue *queue = &sql->queue;
	if (!sent)
		return postgres_fail(sql, NULL, err);
	KEEL_ASSERT(queue->count < POSTGRES_SENT_MAX - 1); /* a mark has room */
	queue->sent[queue->count++] = (struct postgres_sent){kind, statement};
	return KEEL_OK;
}

/* Left alone the server would take the number in `?1 + 63` for a short one, as 63 is. Of a parameter that was always
 * null so far it finds the type by itself. */
static enum keel_code prepare_there(struct postgres_sql *sql, struct postgres_statement *statement,
									struct keel_error *err)
{
	bool same = statement->prepared == sql->connection;
	for (int i = 0; i < statement->count; i++)
		same = same && statement->types[i] == statement->values[i].type;
	if (same)
		return KEEL_OK;
	for (int i = 0; i < statement->count; i++)
		statement->types[i] = statement->values[i].type;
	/* A new name each time: whether the server has kept one that failed here is not known. */
	snprintf(statement->name, sizeof statement->name, "k%llu", (unsigned long long)++sql->made);
	enum keel_code code = add(
		sql, statement, POSTGRES_SENT_PREPARE,
		PQsendPrepare(sql->db, statement->name, statement->translated.data, statement->count, statement->types), err);
	if (code == KEEL_OK)
		statement->prepared = sql->connection;
	return code;
}

/* For a statement, what makes it known, and a mark. */
static enum keel_code make_room(struct postgres_sql *sql, struct keel_error *err)
{
	struct postgres_queue *queue = &sql->queue;
	enum keel_code code = KEEL_OK;
	if (queue->count >= POSTGRES_SENT_MAX - 3 || queue->bytes > POSTGRES_BYTES_MAX)
		code = postgres_drain(sql, err);
	return code == KEEL_OK && !PQenterPipelineMode(sql->db) ? postgres_fail(sql, NULL, err) : code;
}

enum keel_code postgres_send_values(struct postgres_sql *sql, struct postgres_statement *statement, int kind,
									size_t bytes, struct keel_error *err)
{
	KEEL_TRACE("sql", "%s", statement->translated.data);
	enum keel_code code = make_room(sql, err);
	if (code == KEEL_OK)
		code = prepare_there(sql, statement, err);
	if (code != KEEL_OK)
		return code;
	sql->queue.bytes += bytes;
	return add(sql, statement, kind,
			   PQsendQueryPrepared(sql->db, statement->name, statement->count, statement->pointers, NULL, NULL, 0),
			   err);
}

enum keel_code postgres_send(struct postgres_sql *sql, struct postgres_statement *statement, int kind,
							 struct keel_error *err)
{
	size_t bytes = 0;
	for (int i = 0; i < statement->count; i++) {
		struct postgres_value *value = &statement->values[i];
		statement->pointers[i] = value->bound ? value->text.data : NULL;
		bytes += value->bound ? value->text.size : 0;
	}
	return postgres_send_values(sql, statement, kind, bytes, err);
}

enum keel_code postgres_send_plain(struct postgres_sql *sql, const char *text, int kind, struct keel_error *err)
{
	KEEL_TRACE("sql", "%s", text);
	enum keel_code code = make_room(sql, err);
	if (code != KEEL_OK)
		return code;
	return add(sql, NULL, kind, PQsendQueryParams(sql->db, text, 0, NULL, NULL, NULL, NULL, 0), err);
}
