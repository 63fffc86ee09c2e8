/* base/room.h - what a system that has no room means by it. */
#ifndef KEEL_BASE_ROOM_H
#define KEEL_BASE_ROOM_H

#include <stdbool.h>

/* Whether a file cannot be made for want of room: ENOSPC, EDQUOT. */
bool keel_is_no_room(int failure);

/* What the system says of a failure at a path, in words; of ENOSPC where there is room for bytes but none for another
 * file, that there are no inodes left: people look at the bytes. Static text, or the C library's. */
const char *keel_room_words(const char *path, int failure);

#endif
