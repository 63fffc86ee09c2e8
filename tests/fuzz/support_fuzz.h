/* support_fuzz.h - what the fuzzers share: chance that a seed says all of, and their options. */
#ifndef KEEL_TESTS_SUPPORT_FUZZ_H
#define KEEL_TESTS_SUPPORT_FUZZ_H

#include <stdbool.h>
#include <stdint.h>

struct fuzz {
	const char *name;
	double seconds; /* 0: there is no such option */
	double iterations;
	uint64_t seed;
};

/* Reads [--seed N] [--seconds S] [--iterations N] over what is there, and prints the seed. False, with a line on usage:
 * an option is none of these. */
bool fuzz_start(struct fuzz *fuzz, int argc, char **argv);

/* A whole number from 0 to n - 1. */
uint64_t chance(uint64_t n);

#endif
