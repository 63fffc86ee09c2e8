/* page.c - the rows of a query as a list. Uses: statement, memory. */
#include "store/page.h"

#include "base/assert.h"
#include "base/error.h"

/* Adds the row that the statement is at. */
static enum keel_code add(struct keel_store *store, struct keel_statement *select, struct keel_page *page,
						  size_t item_size, keel_page_row *read, struct keel_arena **arena, size_t *bytes,
						  const void *context, struct keel_error *err)
{
	void *items = keel_make_room(page->items, page->count, &page->capacity, item_size);
	if (!items)
		return keel_fail_memory(err);
	page->items = items;
	enum keel_code code = read(store, select, (char *)items + page->count * item_size, arena, bytes, context, err);
	page->count += code == KEEL_OK;
	return code;
}

enum keel_code keel_page_read(struct keel_store *store, struct keel_statement *select, struct keel_page *page,
							  size_t item_size, keel_page_row *read, const void *context, struct keel_error *err)
{
	struct keel_arena *arena = page->memory;
	enum keel_code code;
	size_t bytes = 0;
	bool row;
	KEEL_ASSERT(item_size > 0 && (page->items || !page->capacity));
	page->count = 0;
	page->cut = false;
	keel_arena_reset(&arena);
	for (code = keel_first_step(store, select, &row, err); code == KEEL_OK && row && !page->cut;) {
		page->cut = bytes >= KEEL_PAGE_BYTES;
		if (!page->cut)
			code = add(store, select, page, item_size, read, &arena, &bytes, context, err);
		if (!page->cut && code == KEEL_OK)
			code = keel_step(select, &row, err);
	}
	keel_reset(select);
	page->memory = arena;
	if (code != KEEL_OK)
		page->count = 0;
	return code;
}
