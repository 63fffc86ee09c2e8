/* lease.c - leases as plain operations; lua/keel/lease.lua makes objects of them. */
#include "binding.h"

#include <math.h>
#include <string.h>

/* The ttl on the top, seconds. False, with *err: it is none. [-0, +0, -] */
static bool read_ttl(lua_State *L, int64_t *ttl_us, struct keel_error *err)
{
	if (lua_isnil(L, -1)) {
		keel_lua_refuse(err, "ttl", "must be given");
		return false;
	}
	lua_Number seconds = lua_tonumber(L, -1);
	if (!isfinite(seconds) || seconds <= 0 || !keel_lua_duration(seconds, ttl_us)) {
		keel_lua_refuse(err, "ttl", "must be a number of seconds, more than 0");
		return false;
	}
	return true;
}

/* Sets owner and expires_at in the table on the top. [-0, +0, m] */
static void set_holder(lua_State *L, const struct keel_lease *lease)
{
	keel_lua_set_word(L, "owner", lease->owner);
	if (!lease->released)
		keel_lua_set_time(L, "expires_at", lease->expires_at);
}

/* [-0, +1, m] */
static void push_lease(lua_State *L, struct keel_text name, const struct keel_lease *lease)
{
	int top = lua_gettop(L);
	lua_createtable(L, 0, 6);
	keel_lua_set_text(L, "name", name);
	keel_lua_set_integer(L, "token", lease->token);
	keel_lua_set_integer(L, "session_id", lease->session_id);
	keel_lua_set_flag(L, "held", lease->held);
	set_holder(L, lease);
	KEEL_LUA_PUSHED(L, top, 1);
}

/* acquire_lease(name, { ttl, owner }): grants the name to this store's session.
 * Parameters: name (1 to 256 bytes), ttl (seconds, more than 0; must be given), owner (a name shown to others; nil: the
 * store's). Returns { name, token, session_id, held, owner, expires_at }.
 * Fails with lease_held (owner, expires_at), invalid_request. */
static int op_acquire_lease(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	static const char *const known[] = {"ttl", "owner", NULL};
	struct keel_lease lease;
	int64_t ttl_us;
	struct keel_text name = keel_lua_check_text(L, 2, "name");
	keel_lua_check_options(L, 3, known);
	struct keel_text owner = keel_lua_option_text(L, 3, "owner");
	keel_lua_option(L, 3, "ttl", LUA_TNUMBER);
	if (!read_ttl(L, &ttl_us, err))
		return -1;
	enum keel_code code = keel_lease_acquire(store, name, owner, ttl_us, &lease, err);
	if (code == KEEL_LEASE_HELD) {
		int results = keel_lua_fail(L, err);
		set_holder(L, &lease);
		return results;
	}
	if (code != KEEL_OK)
		return -1;
	push_lease(L, name, &lease);
	return 1;
}

/* renew_lease(name, token, ttl): lets a lease of this session run for ttl seconds from now. Returns the time when it
 * ends. Fails with stale_owner, invalid_request. */
static int op_renew_lease(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	int64_t ttl_us, expires_at;
	struct keel_text name = keel_lua_check_text(L, 2, "name");
	lua_Integer token = keel_lua_check_integer(L, 3, "token");
	if (!lua_isnil(L, 4))
		keel_lua_check_type(L, 4, "ttl", LUA_TNUMBER);
	lua_pushvalue(L, 4);
	if (!read_ttl(L, &ttl_us, err) || keel_lease_renew(store, name, token, ttl_us, &expires_at, err) != KEEL_OK)
		return -1;
	keel_lua_push_time(L, expires_at);
	return 1;
}

/* release_lease(name, token): frees a lease of this session at once. Returns true. Fails with stale_owner,
 * invalid_request. */
static int op_release_lease(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	struct keel_text name = keel_lua_check_text(L, 2, "name");
	if (keel_lease_release(store, name, keel_lua_check_integer(L, 3, "token"), err) != KEEL_OK)
		return -1;
	lua_pushboolean(L, 1);
	return 1;
}

/* get_lease(name): the newest grant of a name, nil when there was none. Fails with invalid_request. */
static int op_get_lease(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	struct keel_lease lease;
	struct keel_text name = keel_lua_check_text(L, 2, "name");
	if (keel_lease_get(store, name, &lease, err) != KEEL_OK)
		return -1;
	if (lease.token)
		push_lease(L, name, &lease);
	else
		lua_pushnil(L);
	return 1;
}

const struct keel_lua_method keel_lua_lease_methods[] = {
	{"acquire_lease", op_acquire_lease, KEEL_LUA_WRITES},
	{"renew_lease", op_renew_lease, KEEL_LUA_WRITES},
	{"release_lease", op_release_lease, KEEL_LUA_WRITES},
	{"get_lease", op_get_lease, KEEL_LUA_READS},
	KEEL_LUA_METHODS_END,
};
