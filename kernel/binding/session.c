/* session.c - who has a store open, and what the store itself says of orphans. */
#include "binding.h"

#include <string.h>

/* store:session_id(): the session of this handle, made now if it has not written yet; nil for a readonly store. */
static int op_session_id(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	int64_t session;
	if (keel_store_session(store, &session, err) != KEEL_OK)
		return -1;
	if (session)
		lua_pushinteger(L, session);
	else
		lua_pushnil(L);
	return 1;
}

/* store:session_alive(id): whether that session's process is there: true unless that can be ruled out. A second
 * result is true when nothing here can tell. */
static int op_session_alive(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	enum keel_session_state state;
	if (keel_store_session_state(store, keel_lua_check_integer(L, 2, "session_id"), &state, err) != KEEL_OK)
		return -1;
	lua_pushboolean(L, state != KEEL_SESSION_DEAD);
	if (state != KEEL_SESSION_UNDECIDED)
		return 1;
	lua_pushboolean(L, 1);
	return 2;
}

/* store:end_session(id): ends a session that is known to be dead where nothing else can tell: its runs are orphans from
 * then on. Returns whether there was one. Fails with conflict for one that is certainly alive. */
static int op_end_session(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	bool ended;
	if (keel_store_end_session(store, keel_lua_check_integer(L, 2, "session_id"), &ended, err) != KEEL_OK)
		return -1;
	lua_pushboolean(L, ended);
	return 1;
}

/* store:set_reconciler(name): what becomes of orphans whose runs name no reconciler, whoever recovers them; nil: the
 * manager that recovers them decides. Fails with invalid_request. */
static int op_set_reconciler(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	struct keel_text name = {NULL, 0};
	if (!lua_isnil(L, 2) && !keel_lua_is_null(L, 2))
		name = keel_lua_check_text(L, 2, "reconciler");
	if (keel_store_set_reconciler(store, name, err) != KEEL_OK)
		return -1;
	lua_pushboolean(L, 1);
	return 1;
}

/* store:reconciler(): that name, or nil. */
static int op_reconciler(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	char name[KEEL_ID_MAX + 1];
	if (keel_store_reconciler(store, name, err) != KEEL_OK)
		return -1;
	if (name[0])
		lua_pushstring(L, name);
	else
		lua_pushnil(L);
	return 1;
}

/* store:session_descriptor(): what holds the session's lock, for a process that is to keep it alive; nil: nothing. */
static int op_session_descriptor(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	int descriptor;
	if (keel_store_session_descriptor(store, &descriptor, err) != KEEL_OK)
		return -1;
	if (descriptor < 0)
		lua_pushnil(L);
	else
		lua_pushinteger(L, descriptor);
	return 1;
}

static const char SESSIONS[] = "keel.store.sessions";

static int sessions_gc(lua_State *L)
{
	keel_sessions_clear(lua_touserdata(L, 1));
	return 0;
}

/* store:sessions(): the sessions the store knows, oldest first: a list of
 * { session_id, owner, pid, started_at, alive, undecided, foreign }. */
static int op_sessions(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	struct keel_sessions *sessions = keel_lua_take(L, SESSIONS, sizeof *sessions, sessions_gc);
	if (keel_store_sessions(store, sessions, err) != KEEL_OK)
		return -1;
	lua_newtable(L);
	for (size_t i = 0; i < sessions->count; i++) {
		const struct keel_session *session = &sessions->items[i];
		lua_createtable(L, 0, 7);
		keel_lua_set_integer(L, "session_id", session->session_id);
		keel_lua_set_text(L, "owner", session->owner);
		keel_lua_set_integer(L, "pid", session->pid);
		keel_lua_set_time(L, "started_at", session->started_at);
		keel_lua_set_flag(L, "alive", session->alive);
		keel_lua_set_flag(L, "undecided", session->undecided);
		keel_lua_set_flag(L, "foreign", session->foreign);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	return 1;
}

/* store:epoch(): the id made when the store was created. */
static int op_epoch(lua_State *L, struct keel_store *store, struct keel_error *err)
{
	(void)err;
	lua_pushstring(L, keel_store_epoch(store));
	return 1;
}

const struct keel_lua_method keel_lua_session_methods[] = {
	{"session_id", op_session_id, KEEL_LUA_READS},
	{"session_alive", op_session_alive, KEEL_LUA_READS},
	{"session_descriptor", op_session_descriptor, KEEL_LUA_READS},
	{"sessions", op_sessions, KEEL_LUA_READS},
	{"end_session", op_end_session, KEEL_LUA_WRITES},
	{"reconciler", op_reconciler, KEEL_LUA_READS},
	{"set_reconciler", op_set_reconciler, KEEL_LUA_WRITES},
	{"epoch", op_epoch, KEEL_LUA_READS},
	KEEL_LUA_METHODS_END,
};
