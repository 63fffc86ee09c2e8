/* time.c - the system's clock, and times as RFC 3339 text. Uses: nothing. */
#include <keel/value.h>

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* The time last given out: the next is later, whatever the system's clock does. */
static _Atomic int64_t last_given;

static int64_t system_now(void *data)
{
	(void)data;
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	int64_t time = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
	int64_t last = atomic_load(&last_given);
	int64_t given;
	do {
		given = time > last ? time : last + 1;
	} while (!atomic_compare_exchange_weak(&last_given, &last, given));
	return given;
}

struct keel_clock keel_clock_system(void)
{
	return (struct keel_clock){system_now, NULL};
}

/* Days between 1970-01-01 and a date of the proleptic Gregorian calendar, and back. The year is counted from March, so
 * that the leap day is its last, in eras of 400 years. */
static int64_t days_of(int64_t year, int month, int day)
{
	year -= month <= 2;
	int64_t era = (year >= 0 ? year : year - 399) / 400;
	int64_t of_era = year - era * 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void date_of(int64_t days, int64_t *year, int *month, int *day)
{
	days += 719468;
	int64_t era = (days >= 0 ? days : days - 146096) / 146097;
	int64_t of_era = days - era * 146097;
	int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int64_t from_march = (5 * of_year + 2) / 153;
	*day = (int)(of_year - (153 * from_march + 2) / 5 + 1);
	*month = (int)(from_march < 10 ? from_march + 3 : from_march - 9);
	*year = year_of_era + era * 400 + (*month <= 2);
}

#define SECOND INT64_C(1000000)
#define DAY (86400 * SECOND)
#define TIME_MIN (INT64_C(-62167219200) * SECOND)          /* 0000-01-01T00:00:00 */
#define TIME_MAX (INT64_C(253402300799) * SECOND + 999999) /* 9999-12-31T23:59:59.999999 */

static char *digits(char *at, int64_t value, int count)
{
	for (int i = count - 1; i >= 0; i--, value /= 10)
		at[i] = (char)('0' + value % 10);
	return at + count;
}

size_t keel_time_format(int64_t time, char text[KEEL_TIME_SIZE])
{
	if (time < TIME_MIN)
		time = TIME_MIN;
	if (time > TIME_MAX)
		time = TIME_MAX;
	int64_t days = time / DAY - (time % DAY < 0);
	int64_t rest = time - days * DAY;
	int64_t year;
	int month, day;
	date_of(days, &year, &month, &day);
	char *at = digits(text, year, 4);
	*at++ = '-';
	at = digits(at, month, 2);
	*at++ = '-';
	at = digits(at, day, 2);
	*at++ = 'T';
	at = digits(at, rest / (3600 * SECOND), 2);
	*at++ = ':';
	at = digits(at, rest / (60 * SECOND) % 60, 2);
	*at++ = ':';
	at = digits(at, rest / SECOND % 60, 2);
	if (rest % SECOND) {
		*at++ = '.';
		at = digits(at, rest % SECOND, 6);
	}
	memcpy(at, "+00:00", 7);
	return (size_t)(at + 6 - text);
}

/* Reads exactly `count` digits; -1 when there are fewer. */
static int number(const char **at, const char *end, int count)
{
	int value = 0;
	if (end - *at < count)
		return -1;
	for (int i = 0; i < count; i++, ++*at) {
		if (**at < '0' || **at > '9')
			return -1;
		value = value * 10 + (**at - '0');
	}
	return value;
}

static bool mark(const char **at, const char *end, const char *any)
{
	if (*at == end || **at == '\0' || !strchr(any, **at))
		return false;
	++*at;
	return true;
}

enum keel_code keel_time_parse(struct keel_text text, int64_t *time)
{
	static const int lengths[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	const char *at = text.data, *end = at ? at + text.size : NULL;
	int year, month, day, hour, minute, second, offset = 0;
	int64_t micros = 0;
	if (!at || (year = number(&at, end, 4)) < 0 || !mark(&at, end, "-") || (month = number(&at, end, 2)) < 1 ||
		month > 12 || !mark(&at, end, "-") || (day = number(&at, end, 2)) < 1 || day > lengths[month - 1] ||
		!mark(&at, end, "Tt ") || (hour = number(&at, end, 2)) < 0 || hour > 23 || !mark(&at, end, ":") ||
		(minute = number(&at, end, 2)) < 0 || minute > 59 || !mark(&at, end, ":") ||
		(second = number(&at, end, 2)) < 0 || second > 60)
		return KEEL_INVALID_REQUEST;
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	if (month == 2 && day == 29 && !leap)
		return KEEL_INVALID_REQUEST;
	if (mark(&at, end, ".")) {
		int seen = 0;
		for (; at < end && *at >= '0' && *at <= '9'; at++, seen++)
			if (seen < 6)
				micros = micros * 10 + (*at - '0');
		if (seen == 0)
			return KEEL_INVALID_REQUEST;
		for (; seen < 6; seen++)
			micros *= 10;
	}
	if (!mark(&at, end, "Zz")) {
		bool west = at < end && *at == '-';
		int hours, minutes;
		if (!mark(&at, end, "+-") || (hours = number(&at, end, 2)) < 0 || hours > 23 || !mark(&at, end, ":") ||
			(minutes = number(&at, end, 2)) < 0 || minutes > 59)
			return KEEL_INVALID_REQUEST;
		offset = (hours * 60 + minutes) * (west ? -1 : 1);
	}
	if (at != end)
		return KEEL_INVALID_REQUEST;
	if (second == 60)
		second = 59;
	int64_t seconds = days_of(year, month, day) * 86400 + hour * 3600 + (minute - offset) * 60 + second;
	*time = seconds * SECOND + micros;
	return KEEL_OK;
}
