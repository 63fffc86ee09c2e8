/* time.c - times as RFC 3339 text, and the system's clock. */
#include "support.h"

#include <pthread.h>
#include <time.h>

#define SECOND INT64_C(1000000)
#define FIRST (INT64_C(-62167219200) * SECOND)         /* 0000-01-01T00:00:00 */
#define LAST (INT64_C(253402300799) * SECOND + 999999) /* 9999-12-31T23:59:59.999999 */

static void check_format(int64_t time, const char *wanted)
{
	char shown[KEEL_TIME_SIZE];
	assert_int_equal(keel_time_format(time, shown), strlen(wanted));
	assert_string_equal(shown, wanted);
}

static void check_parse(const char *shown, int64_t wanted)
{
	int64_t time = 1;
	if (keel_time_parse(text(shown), &time) != KEEL_OK)
		fail_msg("%s was refused", shown);
	assert_int_equal(time, wanted);
}

static void check_refused(const char *shown)
{
	int64_t time = 77;
	if (keel_time_parse(text(shown), &time) != KEEL_INVALID_REQUEST)
		fail_msg("%s was accepted", shown);
	assert_int_equal(time, 77);
}

static void check_round_trip(int64_t time)
{
	char shown[KEEL_TIME_SIZE];
	size_t size = keel_time_format(time, shown);
	int64_t again;
	assert_true(size < KEEL_TIME_SIZE && shown[size] == '\0');
	assert_int_equal(keel_time_parse((struct keel_text){shown, size}, &again), KEEL_OK);
	assert_int_equal(again, time);
}

/* A time is written in UTC with six digits of fraction, and without a fraction when that is zero. */
TEST(writes_utc)
{
	check_format(0, "1970-01-01T00:00:00+00:00");
	check_format(INT64_C(1795227401123456), "2026-11-21T02:16:41.123456+00:00");
	check_format(1, "1970-01-01T00:00:00.000001+00:00");
	check_format(-1, "1969-12-31T23:59:59.999999+00:00");
	check_format(951782400 * SECOND, "2000-02-29T00:00:00+00:00");
}

/* Years 0 to 9999 can be written; what lies outside is cut to the nearest. */
TEST(cuts_to_four_digit_years)
{
	check_format(FIRST, "0000-01-01T00:00:00+00:00");
	check_format(FIRST - 1, "0000-01-01T00:00:00+00:00");
	check_format(INT64_MIN, "0000-01-01T00:00:00+00:00");
	check_format(LAST, "9999-12-31T23:59:59.999999+00:00");
	check_format(LAST + 1, "9999-12-31T23:59:59.999999+00:00");
	check_format(INT64_MAX, "9999-12-31T23:59:59.999999+00:00");
}

/* One instant has many spellings: Z, small letters, a space, any offset, any number of digits. */
TEST(reads_every_spelling)
{
	check_parse("1970-01-01T00:00:00Z", 0);
	check_parse("1970-01-01t00:00:00z", 0);
	check_parse("1970-01-01 00:00:00-00:00", 0);
	check_parse("1970-01-01T05:30:00+05:30", 0);
	check_parse("1969-12-31T12:00:00-12:00", 0);
	check_parse("1970-01-01T23:59:00+23:59", 0);
	check_parse("1970-01-01T00:00:00.5Z", SECOND / 2);
	check_parse("1970-01-01T00:00:00.1234567899999Z", 123456);
}

/* Every offset from -23:59 to +23:59 is read as the same instant. */
TEST(reads_every_offset)
{
	for (int offset = -1439; offset <= 1439; offset++) {
		int minutes = 1440 + offset, part = offset < 0 ? -offset : offset;
		char shown[64];
		snprintf(shown, sizeof shown, "2000-01-%02dT%02d:%02d:07%c%02d:%02d", 1 + minutes / 1440, minutes / 60 % 24,
				 minutes % 60, offset < 0 ? '-' : '+', part / 60 % 24, part % 60);
		check_parse(shown, 946771207 * SECOND); /* 2000-01-02T00:00:07Z */
	}
}

/* A leap second counts as the second before it. */
TEST(reads_leap_seconds)
{
	check_parse("2016-12-31T23:59:60Z", 1483228799 * SECOND);
	check_parse("2016-12-31T23:59:60.25Z", 1483228799 * SECOND + SECOND / 4);
}

/* A day is there or not as the Gregorian calendar says, for every month of years that leap and do not. */
TEST(knows_every_day)
{
	static const int years[] = {0, 4, 100, 400, 1900, 1999, 2000, 2023, 2024, 2100, 9999};
	static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	for (size_t y = 0; y < sizeof years / sizeof years[0]; y++)
		for (int month = 0; month <= 13; month++)
			for (int day = 0; day <= 33; day++) {
				int year = years[y];
				bool leap = year % 400 == 0 || (year % 4 == 0 && year % 100 != 0);
				int length = month >= 1 && month <= 12 ? lengths[month - 1] + (month == 2 && leap) : 0;
				char shown[64];
				int64_t time;
				snprintf(shown, sizeof shown, "%04d-%02d-%02dT00:00:00Z", year, month, day);
				bool read = keel_time_parse(text(shown), &time) == KEEL_OK;
				if (read != (day >= 1 && day <= length))
					fail_msg("%s was %s", shown, read ? "accepted" : "refused");
			}
}

/* Days follow each other: each of four centuries is 24 hours after the one before, and back. */
TEST(counts_days)
{
	for (int64_t day = -146097; day < 146097; day++) {
		int64_t time = day * 86400 * SECOND;
		struct tm parts;
		time_t seconds = (time_t)(day * 86400);
		char wanted[64];
		assert_non_null(gmtime_r(&seconds, &parts));
		snprintf(wanted, sizeof wanted, "%04d-%02d-%02dT00:00:00+00:00", parts.tm_year + 1900, parts.tm_mon + 1,
				 parts.tm_mday);
		check_format(time, wanted);
		check_parse(wanted, time);
	}
}

/* What is not such a time is refused, and the result left alone. */
TEST(refuses_what_is_no_time)
{
	static const char *const bad[] = {"",
									  "now",
									  "2026",
									  "2026-11-21",
									  "2026-11-21T",
									  "2026-11-21T02:16",
									  "2026-11-21T02:16:41", /* no offset */
									  "2026-11-21T02:16:41.Z",
									  "2026-11-21T02:16:41,5Z",
									  "2026-11-21T02:16:41+",
									  "2026-11-21T02:16:41+00",
									  "2026-11-21T02:16:41+0000",
									  "2026-11-21T02:16:41+00:0",
									  "2026-11-21T02:16:41+24:00",
									  "2026-11-21T02:16:41+00:60",
									  "2026-11-21T02:16:41 Z",
									  "2026-11-21T02:16:41Z ",
									  " 2026-11-21T02:16:41Z",
									  "2026-11-21T02:16:41ZZ",
									  "2026-11-21T24:00:00Z",
									  "2026-11-21T23:60:00Z",
									  "2026-11-21T23:59:61Z",
									  "2026-13-01T00:00:00Z",
									  "2026-00-01T00:00:00Z",
									  "2026-01-00T00:00:00Z",
									  "2026-02-29T00:00:00Z",
									  "26-11-21T02:16:41Z",
									  "02026-11-21T02:16:41Z",
									  "-2026-11-21T02:16:41Z",
									  "2026/11/21T02:16:41Z",
									  "2026-11-21X02:16:41Z",
									  "2026-11-21T-2:16:41Z",
									  "2026-11-21T+2:16:41Z",
									  "2026-11-21T 2:16:41Z",
									  "2026-11-21T02:16:41.5.5Z",
									  "2026-11-21T02:16:41\xC2\xA0Z",
									  "٢026-11-21T02:16:41Z",
									  "2026-W47-6T02:16:41Z",
									  "1795227401"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		check_refused(bad[i]);
}

/* A zero byte ends nothing and means nothing: text is as long as it says. */
TEST(minds_the_size)
{
	int64_t time;
	static const char shown[] = "1970-01-01T00:00:00Z\0";
	assert_int_equal(keel_time_parse((struct keel_text){shown, 21}, &time), KEEL_INVALID_REQUEST);
	assert_int_equal(keel_time_parse((struct keel_text){"1970-01-01\0"
														"00:00:00Z",
														20},
									 &time),
					 KEEL_INVALID_REQUEST);
	assert_int_equal(keel_time_parse((struct keel_text){shown, 20}, &time), KEEL_OK);
	assert_int_equal(keel_time_parse((struct keel_text){NULL, 0}, &time), KEEL_INVALID_REQUEST);
}

/* No beginning of a time is read as a time, and nothing is read beyond its end. */
TEST(reads_no_prefix)
{
	static const char shown[] = "2026-11-21T02:16:41.123456+05:30";
	for (size_t size = 0; size < sizeof shown - 1; size++) {
		char *exact = malloc(size + 1);
		int64_t time;
		memcpy(exact, shown, size);
		assert_int_equal(keel_time_parse((struct keel_text){exact, size}, &time), KEEL_INVALID_REQUEST);
		free(exact);
	}
}

/* Whatever is written is read back as it was, over the whole range and to the microsecond. */
TEST(goes_there_and_back)
{
	uint64_t chance = chance_start("times");
	check_round_trip(FIRST);
	check_round_trip(LAST);
	for (int i = 0; i < 300000; i++)
		check_round_trip(FIRST + (int64_t)(chance_next(&chance) % (uint64_t)(LAST - FIRST + 1)));
	for (int i = 0; i < 100000; i++)
		check_round_trip((INT64_C(1) << chance_below(&chance, 56)) * (i % 2 ? 1 : -1) + chance_below(&chance, 3) - 1);
}

static void *look_at_clock(void *data)
{
	struct keel_clock clock = keel_clock_system();
	int64_t last = 0;
	for (int i = 0; i < 50000; i++) {
		int64_t now = clock.now(clock.data);
		if (now <= last)
			*(bool *)data = false;
		last = now;
	}
	return NULL;
}

/* The system's clock never says the same time twice nor goes back, whichever threads ask; and it is about right. */
TEST(clock_only_grows)
{
	pthread_t threads[4];
	bool grew = true;
	struct keel_clock clock = keel_clock_system();
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, look_at_clock, &grew), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_true(grew);
	assert_true(llabs(clock.now(clock.data) / SECOND - (int64_t)time(NULL)) < 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALONE(writes_utc),         ALONE(cuts_to_four_digit_years), ALONE(reads_every_spelling),
		ALONE(reads_every_offset), ALONE(reads_leap_seconds),       ALONE(knows_every_day),
		ALONE(counts_days),        ALONE(refuses_what_is_no_time),  ALONE(minds_the_size),
		ALONE(reads_no_prefix),    ALONE(goes_there_and_back),      ALONE(clock_only_grows),
	};
	return cmocka_run_group_tests_name("time", tests, NULL, NULL);
}
