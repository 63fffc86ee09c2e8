/* collect.c - the list of what is wrong with a store. */
#include <stdio.h>

#include "base/memory.h"
#include "base/text.h"
#include "housekeeping/collect.h"

bool keel_collect(struct keel_collector *to, enum keel_code code, const char *sentence, struct keel_text name)
{
	struct keel_problems *list = to->list;
	char text[512], readable[KEEL_ID_MAX + 1];
	/* What is not UTF-8 is shown as far as it is ASCII: a problem is a text itself. */
	if (name.data && !keel_text_is_utf8(name)) {
		size_t length = name.size < KEEL_ID_MAX ? name.size : KEEL_ID_MAX;
		for (size_t i = 0; i < length; i++)
			readable[i] = (unsigned char)name.data[i] < 0x80 ? name.data[i] : '?';
		name = (struct keel_text){readable, length};
	}
	int size = snprintf(text, sizeof text, "%s%s%.*s", sentence, name.data ? ": " : "", name.data ? (int)name.size : 0,
						name.data ? name.data : "");
	struct keel_problem *items = keel_resize(list->items, (list->count + 1) * sizeof *items);
	if (items)
		list->items = items;
	struct keel_text words = {text, (size_t)size < sizeof text ? (size_t)size : sizeof text - 1};
	if (!items || !keel_arena_text(&to->arena, words, &items[list->count].text)) {
		to->failed = true;
		return false;
	}
	items[list->count].code = code;
	return ++list->count < KEEL_PROBLEMS_MAX;
}
