/* store/handle.h - what is behind a struct keel_store. For the domain only. */
#ifndef KEEL_STORE_HANDLE_H
#define KEEL_STORE_HANDLE_H

#include <keel/store.h>

#include "base/buffer.h"
#include "base/process.h"
#include "base/sidefile.h"
#include "base/turn.h"
#include "base/wake.h"
#include "sql/sql.h"
#include "store/files.h"
#include "store/watched.h"

/* What a part of the domain keeps from one operation to the next: the first member of its struct. */
struct keel_kept {
	struct keel_kept *next;
	void (*release)(struct keel_kept *kept); /* also tells whose it is */
};

enum { KEEL_SESSIONS_FORMER = 8 };

struct keel_store {
	struct keel_sql *sql;
	struct keel_store_options options; /* owner points to owner_name */
	char *owner_name;
	struct keel_files files;   /* which file is open */
	char *side_path;           /* of the side file; NULL for a store that is no file */
	struct keel_sidefile side; /* the locks of sessions; also knows of forks */
	char *wake_path;           /* of the file that wakes readers; NULL likewise */
	struct keel_wake wake;
	struct keel_turn turn; /* of waiting for the write lock; its bytes are in the same file */
	/* How many events the open transaction has written, or else the last one if it was committed, and the id of the
	 * newest of them; on a server it is known only when it was committed. And what both were when a savepoint was
	 * made. */
	int64_t events, last_event;
	int64_t events_at[KEEL_SAVEPOINTS_MAX], last_at[KEEL_SAVEPOINTS_MAX];
	struct keel_process process;          /* this one, as recorded in sessions */
	struct keel_watched watched;          /* what others have left unchanged */
	int64_t session;                      /* 0: none yet */
	int64_t connection;                   /* on a server: which one the session was made on */
	int64_t former[KEEL_SESSIONS_FORMER]; /* those that were lost so, the last ones */
	unsigned losses;                      /* how many were */
	int64_t lost;                         /* the session of one that is gone: the next one goes on for it; 0: none */
	char epoch[KEEL_UUID_SIZE];
	bool open;               /* a transaction of the caller's is open */
	bool wants_all;          /* one in a scope did not reach far enough: the next has the whole store */
	bool reached_far;        /* the last change of a run concerned runs of other threads */
	bool behind;             /* there was something left to resolve when this was seen last (run/resolve.h) */
	bool claims_in_vain;     /* the last claim found nothing */
	int64_t claims_look_us;  /* the time of the look of the claim that is being asked for */
	enum keel_code broken;   /* why it can only roll back; KEEL_OK while it can commit */
	int savepoints;          /* how many are open in it */
	keel_progress *progress; /* hears of what takes long; NULL: nobody does */
	void *progress_data;
	/* The runs of this session that the transaction has changed besides those it was about: ids, one a line. */
	struct keel_buffer changed;
	struct keel_kept *kept; /* released when the store is closed */
};

/* Whether the store is a file, with others beside it: not in memory, and not on a server. */
static inline bool keel_store_is_file(const struct keel_store *store)
{
	return !store->sql->driver->judge && store->sql->driver->path(store->sql)[0];
}

/* What is asked of the database until it is called again looks at much of the store, and may take long. */
static inline void keel_store_be_patient(struct keel_store *store, bool patient)
{
	if (store->sql->driver->be_patient)
		store->sql->driver->be_patient(store->sql, patient);
}

/* Tells whoever watches how far something has come. */
static inline void keel_store_tell(const struct keel_store *store, int64_t done, int64_t total)
{
	if (store->progress)
		store->progress(store->progress_data, done, total);
}

/* What is kept with this release; the first time it is made, of `size` bytes and zero. NULL: out of memory. */
void *keel_store_keep(struct keel_store *store, size_t size, void (*release)(struct keel_kept *kept));
void keel_store_release_kept(struct keel_store *store);

/* Whether the handle may be used at all: KEEL_FORKED in a forked child, or what the open
 * transaction failed with before. */
enum keel_code keel_store_check(struct keel_store *store, struct keel_error *err);

/* The store's time in a while; a time too far off is the last there is. */
int64_t keel_store_after(const struct keel_store *store, int64_t duration_us);

/* How long this handle has seen something unchanged, by its monotonic clock (watched.h). */
int64_t keel_store_watched(struct keel_store *store, enum keel_watched_kind kind, int64_t key,
						   struct keel_watched_state state);

/* How a handle waits unless its host says how. */
void keel_system_sleep(void *data, int64_t duration_us);

/* Waits a moment for a lock. False when `deadline`, set at the first call from 0, has passed. */
bool keel_store_wait(struct keel_store *store, int64_t *deadline);

#endif
