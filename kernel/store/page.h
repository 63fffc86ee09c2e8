/* store/page.h - the rows of a query as a list, a page of them. For the domain only. */
#ifndef KEEL_STORE_PAGE_H
#define KEEL_STORE_PAGE_H

#include "base/memory.h"
#include "store/statement.h"

/* A list of the public interface, whatever its items are. */
struct keel_page {
	void *items;
	size_t count;
	bool cut;
	size_t capacity;
	void *memory;
};

/* Takes the row that the statement is at into *item; adds the size of its texts to *bytes. */
typedef enum keel_code keel_page_row(struct keel_store *store, struct keel_statement *select, void *item,
									 struct keel_arena **arena, size_t *bytes, const void *context,
									 struct keel_error *err);

/* Steps a bound query to its end, or until there are KEEL_PAGE_BYTES, and resets it. On failure the list is empty. */
enum keel_code keel_page_read(struct keel_store *store, struct keel_statement *select, struct keel_page *page,
							  size_t item_size, keel_page_row *read, const void *context, struct keel_error *err);

#endif
