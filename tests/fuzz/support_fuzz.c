/* support_fuzz.c - chance, and the options of a fuzzer. */
#include "support_fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t state;

/* splitmix64 */
uint64_t chance(uint64_t n)
{
	uint64_t z = state += 0x9e3779b97f4a7c15;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return (z ^ z >> 31) % n;
}

bool fuzz_start(struct fuzz *fuzz, int argc, char **argv)
{
	fuzz->seed = (uint64_t)time(NULL);
	for (int i = 1; i < argc; i += 2) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;
		if (value && strcmp(argv[i], "--seed") == 0) {
			fuzz->seed = strtoull(value, NULL, 10);
		} else if (value && fuzz->seconds > 0 && strcmp(argv[i], "--seconds") == 0) {
			fuzz->seconds = atof(value);
		} else if (value && strcmp(argv[i], "--iterations") == 0) {
			fuzz->iterations = atof(value);
		} else {
			fprintf(stderr, "usage: %s [--seed N]%s [--iterations N]\n", fuzz->name,
					fuzz->seconds > 0 ? " [--seconds S]" : "");
			return false;
		}
	}
	printf("seed %llu\n", (unsigned long long)fuzz->seed);
	fflush(stdout);
	state = fuzz->seed;
	return true;
}
