/* version.c - the library says which version it is. */
#include <keel/keel.h>

#include <stdio.h>

#include "support.h"

/* The library that these headers were built with says what they say. */
TEST(library_and_headers_agree)
{
	assert_string_equal(keel_version(), KEEL_VERSION);
}

/* The text and the numbers are one version. */
TEST(text_and_numbers_agree)
{
	char text[32];
	snprintf(text, sizeof text, "%d.%d.%d", KEEL_VERSION_MAJOR, KEEL_VERSION_MINOR, KEEL_VERSION_PATCH);
	assert_string_equal(text, KEEL_VERSION);
	assert_int_equal(KEEL_VERSION_NUMBER / 1000000, KEEL_VERSION_MAJOR);
	assert_int_equal(KEEL_VERSION_NUMBER / 1000 % 1000, KEEL_VERSION_MINOR);
	assert_int_equal(KEEL_VERSION_NUMBER % 1000, KEEL_VERSION_PATCH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALONE(library_and_headers_agree),
		ALONE(text_and_numbers_agree),
	};
	return cmocka_run_group_tests_name("version", tests, NULL, NULL);
}
