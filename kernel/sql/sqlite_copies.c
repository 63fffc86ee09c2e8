/* sqlite_copies.c - whether this process has another copy of SQLite in it than the one that the driver calls.
 *
 * Two copies do not know of each other's descriptors: closing one drops the locks of the other. A copy is known by a
 * sentence that every version has among its messages.
 */
#include "sql/sqlite_parts.h"

#include <link.h>
#include <stdio.h>
#include <string.h>

struct search {
	char sentence[96];
	size_t size;
	uintptr_t own; /* an address in the copy that is called */
};

/* As memmem, which a sanitizer stops: all of a module is looked at, with what lies between its variables. */
__attribute__((no_sanitize("address"))) static bool contains(const char *memory, size_t size,
															 const struct search *search)
{
	for (size_t at = 0; at + search->size <= size; at++) {
		size_t same = 0;
		while (same < search->size && memory[at + same] == search->sentence[same])
			same++;
		if (same == search->size)
			return true;
	}
	return false;
}

/* Calls with each module of the process. Its own copy counts nowhere, even if it is in parts. */
static int look_at_module(struct dl_phdr_info *module, size_t size, void *data)
{
	const struct search *search = data;
	bool is_own = false, has_it = false;
	(void)size;
	for (int i = 0; i < module->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &module->dlpi_phdr[i];
		uintptr_t start = (uintptr_t)module->dlpi_addr + (uintptr_t)part->p_vaddr;
		if (part->p_type != PT_LOAD || !(part->p_flags & PF_R) || (part->p_flags & PF_W))
			continue;
		is_own = is_own || (search->own >= start && search->own - start < part->p_filesz);
		has_it = has_it || contains((const char *)start, part->p_filesz, search);
	}
	return has_it && !is_own;
}

bool sqlite_has_other_copy(void)
{
	struct search search = {.own = (uintptr_t)sqlite3_sourceid()};
	/* Put together here, or this module would be found by it. */
	snprintf(search.sentence, sizeof search.sentence, "unable to close due to %s or %s", "unfinalized statements",
			 "unfinished backups");
	search.size = strlen(search.sentence);
	return dl_iterate_phdr(look_at_module, &search) != 0;
}
