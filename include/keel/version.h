/* keel/version.h - which version the headers are of, and which the library. */
#ifndef KEEL_VERSION_H
#define KEEL_VERSION_H

#include <keel/error.h>

/* The version of these headers. The build reads it from here. */
#define KEEL_VERSION_MAJOR 0
#define KEEL_VERSION_MINOR 1
#define KEEL_VERSION_PATCH 0
#define KEEL_VERSION "0.1.0"

/* As one number, for #if: 1 002 003 for 1.2.3. */
#define KEEL_VERSION_NUMBER (KEEL_VERSION_MAJOR * 1000000 + KEEL_VERSION_MINOR * 1000 + KEEL_VERSION_PATCH)

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the library that the program runs with, as KEEL_VERSION has it. A program that was built with other
 * headers can compare the two. Never fails; may be called from any thread. */
KEEL_API const char *keel_version(void);

#ifdef __cplusplus
}
#endif

#endif
