/* base/sidefile.h - byte locks in a file beside the store, held by a process until it lets go or dies.
 *
 * The locks are Linux's open-file-description locks: the operating system drops them with the last descriptor, so the
 * death of a process, even by SIGKILL, needs no message and no timeout. What follows from that:
 *  - the descriptor is closed in a forked child, or the child would keep a dead parent "alive" (pthread_atfork; a raw
 *    clone() does not run the handler), and it is never unlocked there, which would end the parent's locks;
 *  - exec drops it (O_CLOEXEC);
 *  - a question through one's own descriptor never sees one's own locks.
 * Local file systems only. Bytes are numbered from 1, and need not be in the file.
 */
#ifndef KEEL_BASE_SIDEFILE_H
#define KEEL_BASE_SIDEFILE_H

#include <keel/value.h>

/* Whose a file beside the store is, and who may use it: what the store's own file says. */
struct keel_rights {
	uint32_t owner, group;
	uint32_t mode; /* bits for reading and writing */
};

/* In a handle; starts as {.fd = -1}. After keel_sidefile_watch the struct must stay where it is. */
struct keel_sidefile {
	int fd;
	struct keel_rights rights; /* set by the owner; zeros: the caller's own file, mode 0600 */
	bool forked;               /* this is a child made by fork from the process that watches */
	bool watched;
	int64_t device, inode; /* of the file it stands beside; set by the owner */
	struct keel_sidefile *previous, *next;
};

/* Has `forked` set and the descriptor closed in children, until keel_sidefile_close. KEEL_NO_MEMORY when the process
 * cannot register a fork handler. */
enum keel_code keel_sidefile_watch(struct keel_sidefile *file, struct keel_error *err);

/* What helps after a fork. */
#define KEEL_FORK_ADVICE "open the store after the fork, in each process that uses it, or close it before the fork"

/* Whether a file watched here before a fork, and not closed by then, stood beside this one. */
bool keel_sidefile_inherited(int64_t device, int64_t inode);

/* Opens the file; with `create`, for locking, made when there is none, with the owner, group and mode of `rights` as
 * far as this process may give them; without, for questions only. A link, a FIFO, a device, a file with a second name,
 * or of a user who has nothing to do with the store, is not opened: a write would go into something else.
 * KEEL_STORE_MISSING when it is not there, KEEL_STORE_READONLY and KEEL_STORE_FULL when it cannot be made, KEEL_IO for
 * the rest. Does nothing when it is open. */
enum keel_code keel_sidefile_open(struct keel_sidefile *file, const char *path, bool create, struct keel_error *err);

/* Whether a file of that name, if there is one, is what a file beside the store has to be: KEEL_IO if not. */
enum keel_code keel_sidefile_check(const struct keel_rights *rights, const char *path, struct keel_error *err);

/* Whether the name still leads to the file that is open. */
bool keel_sidefile_is_at(const struct keel_sidefile *file, const char *path);

/* Locks a byte; KEEL_BUSY when another descriptor holds it. */
enum keel_code keel_sidefile_lock(struct keel_sidefile *file, int64_t byte, struct keel_error *err);

/* The same, shared: any number of descriptors may hold the byte, which may be open for reading only. */
enum keel_code keel_sidefile_share(struct keel_sidefile *file, int64_t byte, struct keel_error *err);

/* Lets go of a byte that was locked or shared here. Children have no copy of the descriptor, so it is not theirs too;
 * sessions, whose lock a child by a raw clone() must not end, let go by closing. */
void keel_sidefile_unlock(struct keel_sidefile *file, int64_t byte);

/* A byte of `count` from `first` on that somebody else holds, shared or not; 0 when there is none. 0 also when that
 * cannot be told: for questions that only save work. */
int64_t keel_sidefile_find(struct keel_sidefile *file, int64_t first, int64_t count);

/* Whether somebody else holds the byte. */
enum keel_code keel_sidefile_held(struct keel_sidefile *file, int64_t byte, bool *held, struct keel_error *err);

/* Which file is open, as long as it is mounted: device and inode. */
enum keel_code keel_sidefile_identity(struct keel_sidefile *file, int64_t *device, int64_t *inode,
									  struct keel_error *err);

/* Which file is open: the token in it; "" when it has none yet. Device and inode last no longer than a mount, and a
 * file that was copied with its store keeps its token: whoever held a byte of the original holds none of the copy. */
enum keel_code keel_sidefile_token(struct keel_sidefile *file, char token[KEEL_UUID_SIZE], struct keel_error *err);

/* Gives the file a token. `flush`: it is on the disk before this returns. */
enum keel_code keel_sidefile_set_token(struct keel_sidefile *file, const char *token, bool flush,
									   struct keel_error *err);

/* Closes the descriptor, and with it every lock, and goes on watching; the next open starts anew. */
void keel_sidefile_drop(struct keel_sidefile *file);

/* Releases every lock by closing the descriptor, and ends the watch. Safe to call again. */
void keel_sidefile_close(struct keel_sidefile *file);

#endif
