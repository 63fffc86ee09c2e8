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
enum keel_code postgres_keep_event(struct postgres_sql *sql, struct postgres_statement *insert, struct keel_error *err)
{
	struct postgres_events *events = &sql->events;
	size_t before = events->values.size;
	KEEL_ASSERT(sql->open && (!events->insert || events->insert == insert));
	for (int i = 0; i < insert->count; i++) {
		const struct postgres_value *value = &insert->values[i];
		int64_t size = value->bound ? (int64_t)value->text.size : -1;
		keel_buffer_add(&events->values, (const char *)&size, sizeof size);
		if (value->bound)
			keel_buffer_add(&events->values, value->text.data, value->text.size);
	}
	if (events->values.failed) {
		postgres_cut_events(sql, before);
		return keel_fail_memory(err);
	}
	events->insert = insert;
	return KEEL_OK;
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

/* Points to the values of the event at *at, and goes on behind it. */
static void point_to(const struct postgres_events *events, size_t *at)
{
	for (int i = 0; i < events->insert->count; i++) {
		int64_t size;
		memcpy(&size, events->values.data + *at, sizeof size);
		*at += sizeof size;
		events->insert->pointers[i] = size < 0 ? NULL : events->values.data + *at;
		*at += size < 0 ? 0 : (size_t)size;
	}
	KEEL_ASSERT(*at <= events->values.size);
}

enum keel_code postgres_send_events(struct postgres_sql *sql, struct keel_error *err)
{
	struct postgres_events *events = &sql->events;
	enum keel_code code = KEEL_OK;
	struct keel_error why;
	while (code == KEEL_OK && events->sent < events->values.size) {
		size_t before = events->sent;
		point_to(events, &events->sent);
		code = postgres_send_values(sql, events->insert, POSTGRES_SENT_WRITE, events->sent - before, &why);
	}
	if (code != KEEL_OK) /* half of them must not be committed */
		postgres_note_failure(sql, code, &why);
	return keel_fail_as(err, code, &why);
}
