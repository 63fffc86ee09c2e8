/* version.c - the version of the library. */
#include <keel/version.h>

const char *keel_version(void)
{
	return KEEL_VERSION;
}
