/* lease.c - leases: acquiring, renewing, releasing, looking. Uses: store, session.
 *
 * A row says who was granted the name last. Whether that still holds is judged by whoever asks, in the transaction that
 * acts on it: nothing has to happen for a lease to end. It has expired for a handle that has seen it unrenewed for as
 * long as it lasts (watched.h). A session without a row is dead, so tidying frees nothing too
 * late.
 */
#include <keel/lease.h>

#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "store/store.h"

static enum keel_code check_ttl(int64_t ttl_us, struct keel_error *err)
{
	return ttl_us >= 1 ? KEEL_OK : keel_fail_field(err, "ttl", "ttl must be at least a microsecond");
}

static void set_owner(struct keel_lease *lease, struct keel_text owner)
{
	memcpy(lease->owner, owner.data, owner.size);
	lease->owner[owner.size] = '\0';
}

/* Reads the row of a name; token 0: there is none. */
static enum keel_code read_lease(struct keel_store *store, struct keel_text name, struct keel_lease *lease,
								 bool *expired, struct keel_error *err)
{
	static const char text[] =
		"SELECT token, session_id, owner, expires_at, lease_us, renewals FROM leases WHERE name = ?1";
	struct keel_statement *select;
	bool row;
	enum keel_code code = keel_query(store, text, &select, err, keel_value_text(name));
	if (code != KEEL_OK)
		return code;
	code = keel_first_step(store, select, &row, err);
	if (code == KEEL_OK && row) {
		struct keel_text owner;
		bool is_read = keel_column_read(select, 2, &owner);
		lease->token = keel_column_int(select, 0);
		lease->session_id = keel_column_int(select, 1);
		lease->released = keel_column_null(select, 3);
		lease->expires_at = keel_column_int(select, 3);
		struct keel_watched_state state = {lease->token, keel_column_int(select, 5), 0};
		*expired =
			keel_store_watched(store, KEEL_WATCHED_NAME, keel_watched_name(name), state) >= keel_column_int(select, 4);
		/* The last token there is cannot have been granted: there must be a greater one. */
		if (!is_read)
			code = keel_fail_memory(err);
		else if (lease->token < 1 || lease->token == INT64_MAX || !owner.data || owner.size > KEEL_ID_MAX)
			code = keel_fail(err, KEEL_STORE_CORRUPT, "%s: the lease %.*s is damaged", keel_store_path(store),
							 (int)name.size, name.data);
		else
			set_owner(lease, owner);
	}
	keel_reset(select);
	return code;
}

/* The same, and whether it is held. */
static enum keel_code look(struct keel_store *store, struct keel_text name, struct keel_lease *lease,
						   struct keel_error *err)
{
	bool expired = false;
	memset(lease, 0, sizeof *lease);
	enum keel_code code = read_lease(store, name, lease, &expired, err);
	if (code == KEEL_OK && lease->token && !lease->released && !expired)
		code = keel_store_session_alive(store, lease->session_id, &lease->held, err);
	if (code != KEEL_OK)
		memset(lease, 0, sizeof *lease);
	return code;
}

enum keel_code keel_lease_get(struct keel_store *store, struct keel_text name, struct keel_lease *lease,
							  struct keel_error *err)
{
	memset(lease, 0, sizeof *lease);
	enum keel_code code = keel_check_id(name, "name", err);
	if (code == KEEL_OK)
		code = keel_store_check(store, err);
	return code == KEEL_OK ? look(store, name, lease, err) : code;
}

static enum keel_code grant(struct keel_store *store, struct keel_text name, const struct keel_lease *lease,
							int64_t ttl_us, struct keel_error *err)
{
	static const char insert[] =
		"INSERT INTO leases (name, token, session_id, owner, expires_at, lease_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
	static const char update[] = "UPDATE leases SET token = ?2, session_id = ?3, owner = ?4, expires_at = ?5,"
								 " lease_us = ?6, renewals = 0 WHERE name = ?1";
	struct keel_watched_state state = {lease->token, 0, 0};
	keel_store_watched(store, KEEL_WATCHED_NAME, keel_watched_name(name), state);
	return keel_execute(store, lease->token == 1 ? insert : update, err, keel_value_text(name),
						keel_value_int(lease->token), keel_value_int(lease->session_id),
						keel_value_text(keel_text_of(lease->owner)), keel_value_int(lease->expires_at),
						keel_value_int(ttl_us));
}

enum keel_code keel_lease_acquire(struct keel_store *store, struct keel_text name, struct keel_text owner,
								  int64_t ttl_us, struct keel_lease *lease, struct keel_error *err)
{
	char until[KEEL_TIME_SIZE];
	bool wrote = false;
	memset(lease, 0, sizeof *lease);
	enum keel_code code = keel_check_id(name, "name", err);
	if (code == KEEL_OK && owner.data)
		code = keel_check_id(owner, "owner", err);
	if (code == KEEL_OK)
		code = check_ttl(ttl_us, err);
	if (code == KEEL_OK)
		code = keel_write_begin(store, err);
	if (code != KEEL_OK)
		return code;
	code = look(store, name, lease, err);
	if (code == KEEL_OK && lease->held) {
		keel_time_format(lease->expires_at, until);
		code = keel_fail(err, KEEL_LEASE_HELD, "%s holds the lease %.*s until %s", lease->owner, (int)name.size,
						 name.data, until);
	}
	if (code == KEEL_OK) {
		lease->token++;
		lease->session_id = store->session;
		lease->released = false;
		lease->held = true;
		lease->expires_at = keel_store_after(store, ttl_us);
		set_owner(lease, owner.data ? owner : keel_text_of(store->options.owner));
		wrote = true;
		code = grant(store, name, lease, ttl_us, err);
	}
	code = keel_write_end(store, code, wrote, err);
	if (code != KEEL_OK && code != KEEL_LEASE_HELD)
		memset(lease, 0, sizeof *lease);
	return code;
}

/* Gives a lease of this session another end; null: it is released. */
static enum keel_code change(struct keel_store *store, struct keel_text name, int64_t token,
							 struct keel_value expires_at, int64_t ttl_us, struct keel_error *err)
{
	static const char update[] = "UPDATE leases SET expires_at = ?4, lease_us = ?5, renewals = renewals + 1"
								 " WHERE name = ?1 AND token = ?2 AND session_id = ?3 AND expires_at IS NOT NULL";
	bool wrote = true;
	int64_t count;
	enum keel_code code = keel_execute(store, update, err, keel_value_text(name), keel_value_int(token),
									   keel_value_int(store->session), expires_at, keel_value_int(ttl_us));
	if (code == KEEL_OK)
		code = store->sql->driver->changes(store->sql, &count, err);
	if (code == KEEL_OK && count == 0) {
		wrote = false;
		code = keel_fail(err, KEEL_STALE_OWNER, "the lease %.*s with token %lld was released, or granted again",
						 (int)name.size, name.data, (long long)token);
	}
	return keel_write_end(store, code, wrote, err);
}

enum keel_code keel_lease_renew(struct keel_store *store, struct keel_text name, int64_t token, int64_t ttl_us,
								int64_t *expires_at, struct keel_error *err)
{
	*expires_at = 0;
	enum keel_code code = keel_check_id(name, "name", err);
	if (code == KEEL_OK)
		code = check_ttl(ttl_us, err);
	if (code == KEEL_OK)
		code = keel_write_begin(store, err);
	if (code != KEEL_OK)
		return code;
	int64_t end = keel_store_after(store, ttl_us);
	code = change(store, name, token, keel_value_int(end), ttl_us, err);
	if (code == KEEL_OK)
		*expires_at = end;
	return code;
}

enum keel_code keel_lease_release(struct keel_store *store, struct keel_text name, int64_t token,
								  struct keel_error *err)
{
	enum keel_code code = keel_check_id(name, "name", err);
	if (code == KEEL_OK)
		code = keel_write_begin(store, err);
	return code == KEEL_OK ? change(store, name, token, keel_value_null(), 0, err) : code;
}
