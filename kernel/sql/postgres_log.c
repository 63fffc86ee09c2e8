/* postgres_log.c - events, which a transaction writes last. Uses: postgres_queue, buffer.
 *
 * An event gets its id under the lock of the log, which is held until the commit. So that nobody holds it over a trip
 * to the server, events are kept here and go out with the COMMIT; before that only when the transaction itself looks at
 * the log, or wants the id of one.
 */
#include "sql/postgres_parts.h"

#include <string.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"

bool postgres_is_of_log(const char *text)
{
	return strstr(text, "events") != NULL;
}

/* Each value is its size, -1 for null, and its bytes with a zero behind them. */
static void add_values(struct keel_buffer *buffer, const struct postgres_statement *insert)
{
	for (int i = 0; i < insert->count; i++) {
		const struct postgres_value *value = &insert->values[i];
		int64_t size = value->bound ? (int64_t)value->text.size : -1;
		keel_buffer_add(buffer, (const char *)&size, sizeof size);
		if (value->bound)
			keel_buffer_add(buffer, value->text.data, value->text.size);
	}
}

enum keel_code postgres_keep_event(struct postgres_sql *sql, struct postgres_statement *insert, struct keel_error *err)
{
	struct postgres_events *events = &sql->events;
	size_t before = events->values.size;
	KEEL_ASSERT(sql->open && (!events->insert || events->insert == insert));
	add_values(&events->values, insert);
	if (events->values.failed) {
		postgres_cut_events(sql, before);
		return keel_fail_memory(err);
	}
	events->insert = insert;
	return postgres_note_witness(sql, insert, err);
}

void postgres_cut_events(struct postgres_sql *sql, size_t size)
{
	struct postgres_events *events = &sql->events;
	events->values.failed = false;
	if (size < events->values.size)
		events->values.size = size;
	if (size < events->sent)
		events->sent = size;
}

void postgres_point_to(struct postgres_statement *statement, int count, const struct keel_buffer *values, size_t *at)
{
	for (int i = 0; i < count; i++) {
		int64_t size;
		memcpy(&size, values->data + *at, sizeof size);
		*at += sizeof size;
		statement->pointers[i] = size < 0 ? NULL : values->data + *at;
		*at += size < 0 ? 0 : (size_t)size;
	}
	KEEL_ASSERT(*at <= values->size);
}

enum keel_code postgres_send_events(struct postgres_sql *sql, struct keel_error *err)
{
	struct postgres_events *events = &sql->events;
	enum keel_code code = KEEL_OK;
	struct keel_error why;
	while (code == KEEL_OK && events->sent < events->values.size) {
		size_t before = events->sent;
		postgres_point_to(events->insert, events->insert->count, &events->values, &events->sent);
		code = postgres_send_values(sql, events->insert, POSTGRES_SENT_WRITE, events->sent - before, &why);
	}
	if (code != KEEL_OK) /* half of them must not be committed */
		postgres_note_failure(sql, code, &why);
	return keel_fail_as(err, code, &why);
}

/* --- The witness -------------------------------------------------------------------------------------------------- */

enum keel_code postgres_note_witness(struct postgres_sql *sql, const struct postgres_statement *insert,
									 struct keel_error *err)
{
	struct keel_buffer *witness = &sql->events.witness;
	if (witness->size > 0 || !strstr(insert->head.text, POSTGRES_EVENT))
		return KEEL_OK;
	add_values(witness, insert);
	if (!witness->failed)
		return KEEL_OK;
	witness->failed = false;
	keel_buffer_clear(witness);
	return keel_fail_memory(err);
}
