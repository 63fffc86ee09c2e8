/* memory.c - the allocator a host may set, arenas, and text that grows. */
#include "support.h"

#include <stdalign.h>

#include "base/buffer.h"
#include "base/memory.h"

/* Fixture: an allocator that counts, and refuses from a given request on. */
static struct {
	int requests, releases;
	int refuse_from; /* 0: never */
	size_t smallest; /* request since the last look; 0: none */
} host;

static void *host_resize(void *data, void *memory, size_t size)
{
	assert_ptr_equal(data, &host);
	assert_true(size > 0);
	if (++host.requests == host.refuse_from || (host.refuse_from && host.requests > host.refuse_from))
		return NULL;
	if (!host.smallest || size < host.smallest)
		host.smallest = size;
	return size < SIZE_MAX / 2 ? realloc(memory, size) : NULL;
}

static void host_release(void *data, void *memory)
{
	assert_ptr_equal(data, &host);
	assert_non_null(memory);
	host.releases++;
	free(memory);
}

static int use_host(void **state)
{
	static const struct keel_allocator allocator = {host_resize, host_release, &host};
	(void)state;
	memset(&host, 0, sizeof host);
	keel_set_allocator(&allocator);
	return 0;
}

static int use_default(void **state)
{
	(void)state;
	keel_set_allocator(NULL);
	return 0;
}

#define HOSTED(test) cmocka_unit_test_setup_teardown(test, use_host, use_default)

/* --- Allocator --------------------------------------------------------------------------------------------------- */

/* All memory of a handle comes from the host's allocator and goes back to it. */
TEST(memory_is_the_hosts)
{
	struct keel_store *store;
	succeed(keel_store_open(":memory:", NULL, &store, &why));
	assert_true(host.requests > 0);
	keel_store_close(store);
	assert_true(host.releases > 0);
}

/* New memory is zero; giving nothing back is fine. */
TEST(new_memory_is_zero)
{
	char zeros[100] = {0};
	char *memory = keel_new(sizeof zeros);
	assert_memory_equal(memory, zeros, sizeof zeros);
	keel_free(memory);
	keel_free(NULL);
	assert_int_equal(host.releases, 1);
}

/* When there is none, there is none. */
TEST(refused_memory_is_null)
{
	host.refuse_from = 1;
	struct keel_arena *arena = NULL;
	struct keel_text copy;
	assert_null(keel_new(1));
	assert_null(keel_copy_text("x"));
	assert_null(keel_arena_get(&arena, 1));
	assert_false(keel_arena_text(&arena, text("x"), &copy));
	assert_null(copy.data);
	assert_null(arena);
}

/* --- Arenas ------------------------------------------------------------------------------------------------------ */

/* What an arena hands out is aligned for anything and does not overlap. */
TEST(arena_memory_is_separate)
{
	struct keel_arena *arena = NULL;
	unsigned char *pieces[200];
	for (size_t i = 0; i < 200; i++) {
		pieces[i] = keel_arena_get(&arena, i * 7 + 1);
		assert_non_null(pieces[i]);
		assert_int_equal((uintptr_t)pieces[i] % alignof(max_align_t), 0);
		memset(pieces[i], (int)i, i * 7 + 1);
	}
	for (size_t i = 0; i < 200; i++)
		for (size_t at = 0; at < i * 7 + 1; at++)
			assert_int_equal(pieces[i][at], i);
	keel_arena_free(&arena);
	assert_null(arena);
}

/* A text is copied with a zero behind it; no value stays none; zero bytes count. */
TEST(arena_texts_are_copies)
{
	struct keel_arena *arena = NULL;
	struct keel_text copy;
	static const char odd[] = {'a', '\0', 'b'};
	assert_true(keel_arena_text(&arena, (struct keel_text){odd, 3}, &copy));
	assert_memory_equal(copy.data, "a\0b", 4);
	assert_int_equal(copy.size, 3);
	assert_true(keel_arena_text(&arena, text(""), &copy) && copy.data && copy.size == 0);
	assert_true(keel_arena_text(&arena, nothing, &copy) && !copy.data);
	keel_arena_free(&arena);
}

/* A long list costs few blocks; after a reset the same list costs none. */
TEST(arena_blocks_are_few_and_kept)
{
	struct keel_arena *arena = NULL;
	for (int round = 0; round < 3; round++) {
		int before = host.requests;
		for (int i = 0; i < 1000; i++)
			assert_non_null(keel_arena_get(&arena, 100));
		assert_true(host.requests - before <= (round ? 1 : 8));
		keel_arena_reset(&arena);
	}
	keel_arena_free(&arena);
	assert_int_equal(host.requests, host.releases);
}

/* A reset does not keep a huge block, and is fine with nothing at all. */
TEST(arena_gives_huge_blocks_back)
{
	struct keel_arena *arena = NULL;
	keel_arena_reset(&arena);
	assert_null(arena);
	assert_non_null(keel_arena_get(&arena, 10));
	assert_non_null(keel_arena_get(&arena, 4 * 1024 * 1024));
	int before = host.releases;
	keel_arena_reset(&arena);
	assert_int_equal(host.releases, before + 1);
	keel_arena_free(&arena);
}

/* A size near the end of numbers is refused, not wrapped around. */
TEST(arena_sizes_do_not_overflow)
{
	struct keel_arena *arena = NULL;
	for (size_t less = 0; less < 200; less++)
		assert_null(keel_arena_get(&arena, SIZE_MAX - less));
	assert_true(host.smallest == 0 || host.smallest > SIZE_MAX - 200);
	keel_arena_free(&arena);
}

/* --- Buffers ----------------------------------------------------------------------------------------------------- */

/* A buffer grows and always ends with a zero. */
TEST(buffer_grows)
{
	struct keel_buffer buffer = {0};
	for (int i = 0; i < 1000; i++) {
		keel_buffer_format(&buffer, "%d,", i % 10);
		assert_int_equal(strlen(buffer.data), buffer.size);
	}
	assert_int_equal(keel_buffer_text(&buffer).size, 2000);
	keel_buffer_clear(&buffer);
	keel_buffer_put(&buffer, "again");
	assert_string_equal(buffer.data, "again");
	keel_buffer_free(&buffer);
	assert_int_equal(host.releases, 1);
}

/* Once memory ran out, the buffer says so until it is cleared, and keeps what it had. */
TEST(buffer_remembers_a_failure)
{
	struct keel_buffer buffer = {0};
	keel_buffer_put(&buffer, "kept");
	host.refuse_from = host.requests + 1;
	for (int i = 0; i < 100; i++)
		keel_buffer_put(&buffer, "0123456789");
	assert_true(buffer.failed && strncmp(buffer.data, "kept", 4) == 0);
	keel_buffer_clear(&buffer);
	keel_buffer_put(&buffer, "new");
	assert_true(!buffer.failed && strcmp(buffer.data, "new") == 0);
	keel_buffer_free(&buffer);
}

/* A size that cannot be is a failure. */
TEST(buffer_refuses_huge_sizes)
{
	struct keel_buffer buffer = {0};
	keel_buffer_put(&buffer, "x");
	keel_buffer_add(&buffer, "x", SIZE_MAX - 4);
	assert_true(buffer.failed);
	keel_buffer_free(&buffer);
}

/* EVENT-6 */
/* JSON strings are escaped: quotes, backslashes, every control character; the rest stands as it is. */
TEST(buffer_writes_json)
{
	struct keel_buffer buffer = {0};
	keel_buffer_put(&buffer, "{");
	keel_buffer_json(&buffer, "a", text("say \"hi\" \\ \n\t€\xE2\x80\xA8"));
	keel_buffer_json(&buffer, "skipped", nothing);
	keel_buffer_json(&buffer, "b", (struct keel_text){"\0\x1F", 2});
	keel_buffer_json(&buffer, "c", text(""));
	keel_buffer_put(&buffer, "}");
	assert_string_equal(buffer.data,
						"{\"a\":\"say \\\"hi\\\" \\\\ \\u000a\\u0009€\xE2\x80\xA8\",\"b\":\"\\u0000\\u001f\","
						"\"c\":\"\"}");
	keel_buffer_free(&buffer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		HOSTED(memory_is_the_hosts),
		HOSTED(new_memory_is_zero),
		HOSTED(refused_memory_is_null),
		HOSTED(arena_memory_is_separate),
		HOSTED(arena_texts_are_copies),
		HOSTED(arena_blocks_are_few_and_kept),
		HOSTED(arena_gives_huge_blocks_back),
		HOSTED(arena_sizes_do_not_overflow),
		HOSTED(buffer_grows),
		HOSTED(buffer_remembers_a_failure),
		HOSTED(buffer_refuses_huge_sizes),
		HOSTED(buffer_writes_json),
	};
	return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
