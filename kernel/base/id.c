/* id.c - UUIDs of version 7. Uses: nothing.
 *
 * RFC 9562, section 6.2, method 1: 48 bits of milliseconds, then a counter of 12 bits that starts at a random value
 * below 2048 and counts within the millisecond, then 62 random bits. Should a counter run over, the millisecond moves
 * on ahead of the clock. The state is one word, so that ids grow across threads without a lock; a forked child goes on
 * from the same word with other random bits.
 */
#include <keel/value.h>

#include <stdatomic.h>
#include <sys/random.h>
#include <time.h>

static _Atomic uint64_t last_stamp; /* milliseconds << 12 | counter */

static enum keel_code uuid7(void *data, char id[KEEL_UUID_SIZE])
{
	(void)data;
	unsigned char bytes[16];
	uint16_t seed;
	/* One request of up to 256 bytes is never cut short by a signal. */
	unsigned char chance[10];
	if (getrandom(chance, sizeof chance, 0) != (ssize_t)sizeof chance)
		return KEEL_IO;
	seed = (uint16_t)((chance[8] << 8 | chance[9]) & 0x7FF);
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	uint64_t stamp = ((uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000) << 12 | seed;
	uint64_t last = atomic_load(&last_stamp);
	uint64_t given;
	do {
		given = stamp >> 12 > last >> 12 ? stamp : last + 1;
	} while (!atomic_compare_exchange_weak(&last_stamp, &last, given));
	for (int i = 0; i < 6; i++)
		bytes[i] = (unsigned char)(given >> (12 + 8 * (5 - i)));
	bytes[6] = (unsigned char)(0x70 | (given >> 8 & 0x0F));
	bytes[7] = (unsigned char)given;
	for (int i = 0; i < 8; i++)
		bytes[8 + i] = chance[i];
	bytes[8] = (unsigned char)((bytes[8] & 0x3F) | 0x80);
	static const char hex[] = "0123456789abcdef";
	char *at = id;
	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		*at++ = hex[bytes[i] >> 4];
		*at++ = hex[bytes[i] & 0x0F];
	}
	*at = '\0';
	return KEEL_OK;
}

struct keel_ids keel_ids_uuid7(void)
{
	return (struct keel_ids){uuid7, NULL};
}
