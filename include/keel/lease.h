/* keel/lease.h - leases: one holder a name, and a fencing token that grows with every grant.
 *
 *   free ──acquire──► held ──release, expiry, death of the session──► free       (the next grant has a greater token)
 *
 * A holder that was held up may believe in a lease that is another's by now. What it protects has to know the token:
 * keep the greatest one seen and refuse a smaller one.
 *
 * Expiry goes by the store's clock. A lease that has expired is still its holder's to renew until somebody else
 * acquires the name: its token is the newest, so nobody can have been told otherwise.
 */
#ifndef KEEL_LEASE_H
#define KEEL_LEASE_H

#include <keel/store.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The newest grant of a name. */
struct keel_lease {
	int64_t token;               /* from 1; 0: the name was never granted, and the rest means nothing */
	int64_t session_id;          /* whom it was granted to */
	char owner[KEEL_ID_MAX + 1]; /* a name shown to people */
	bool held;                   /* neither released nor expired, and the session is alive */
	bool released;               /* then expires_at means nothing */
	int64_t expires_at;          /* microseconds since the epoch */
};

/* Grants the name, an id, to this handle's session for ttl_us microseconds, at least 1. `owner`, an id, is what others
 * see; data NULL: the store's. *lease is the grant. The row of a name stays for ever.
 * Fails with KEEL_LEASE_HELD when somebody holds it, this session included: *lease says who. In the caller's
 * transaction that leaves the transaction good. Fails with KEEL_INVALID_REQUEST (name, owner, ttl). */
KEEL_API enum keel_code keel_lease_acquire(struct keel_store *store, struct keel_text name, struct keel_text owner,
										   int64_t ttl_us, struct keel_lease *lease, struct keel_error *err);

/* Lets a lease of this handle's session run for ttl_us from now, which may be shorter than before. *expires_at is the
 * new end. Fails with KEEL_STALE_OWNER when the token is not the newest, not this session's, or was released, and has
 * then changed nothing; with KEEL_INVALID_REQUEST (name, ttl). */
KEEL_API enum keel_code keel_lease_renew(struct keel_store *store, struct keel_text name, int64_t token, int64_t ttl_us,
										 int64_t *expires_at, struct keel_error *err);

/* Frees a lease of this handle's session at once. Fails as renew. */
KEEL_API enum keel_code keel_lease_release(struct keel_store *store, struct keel_text name, int64_t token,
										   struct keel_error *err);

/* Looks at a name. Fails with KEEL_INVALID_REQUEST (name). */
KEEL_API enum keel_code keel_lease_get(struct keel_store *store, struct keel_text name, struct keel_lease *lease,
									   struct keel_error *err);

#ifdef __cplusplus
}
#endif
#endif
