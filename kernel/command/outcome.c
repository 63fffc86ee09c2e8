/* outcome.c - what became of a command, and of what it said. Uses: guard, relay. */
#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#include "supervisor.h"

/* supervisor:has_ended(): whether the command has. */
int supervisor_has_ended(lua_State *L)
{
	struct supervisor *self = supervisor_check(L);
	guard_hear(&self->guard);
	self->told = self->guard.ended;
	lua_pushboolean(L, self->told);
	return 1;
}

/* supervisor:left(): how many of the command's family are there after its end: in our session or its own, and at all.
 */
int supervisor_left(lua_State *L)
{
	struct supervisor *self = supervisor_check(L);
	guard_hear(&self->guard);
	lua_pushinteger(L, self->guard.left.near);
	lua_pushinteger(L, self->guard.left.all);
	return 2;
}

/* supervisor:refusal(): why signals were refused: the system's text; nil: they were not. */
int supervisor_refusal(lua_State *L)
{
	struct supervisor *self = supervisor_check(L);
	guard_hear(&self->guard);
	if (!self->guard.refusal)
		return 0;
	lua_pushstring(L, strerror(self->guard.refusal));
	return 1;
}

/* supervisor:failure(): why there was no command to end: the system's text, its number and the step that failed;
 * nothing: there was one. */
int supervisor_failure(lua_State *L)
{
	const struct guard *guard = &supervisor_check(L)->guard;
	if (!guard->failure)
		return 0;
	lua_pushstring(L, strerror(guard->failure));
	lua_pushinteger(L, guard->failure);
	lua_pushstring(L, guard_step_name(guard->step));
	return 3;
}

/* supervisor:is_saying(): whether something the command said is still to be shown or kept. */
int supervisor_is_saying(lua_State *L)
{
	struct supervisor *self = supervisor_check(L);
	lua_pushboolean(L, self->keeps && !supervisor_is_quiet(self));
	return 1;
}

/* supervisor:hush(): shows no more of what the command said; what is there is only kept. */
int supervisor_hush(lua_State *L)
{
	struct supervisor *self = supervisor_check(L);
	for (int i = 0; self->keeps && i < 2; i++)
		if (relay_is_busy(&self->relays[i]))
			relay_blind(&self->relays[i], ETIMEDOUT);
	return 0;
}

/* supervisor:output(): ends the relays. Returns why something could not be kept, and why something could not be shown;
 * nil: it could. */
int supervisor_output(lua_State *L)
{
	struct supervisor *self = supervisor_check(L);
	int unkept = 0, unshown = 0;
	for (int i = 0; self->keeps && i < 2; i++) {
		unkept = self->relays[i].kept.failure ? self->relays[i].kept.failure : unkept;
		unshown = self->relays[i].unshown ? self->relays[i].unshown : unshown;
		relay_close(&self->relays[i]);
	}
	self->keeps = false;
	lua_pushstring(L, unkept ? strerror(unkept) : NULL);
	lua_pushstring(L, unshown ? strerror(unshown) : NULL);
	return 2;
}

/* supervisor:result(): how the command ended: its exit code, or nil and the name of the signal; then the exit code of a
 * shell; and whether its guardian was killed. Modes of the terminal that a killed command has left are set back. */
int supervisor_result(lua_State *L)
{
	struct supervisor *self = supervisor_check(L);
	luaL_argcheck(L, self->guard.ended, 1, "the command has not ended");
	int status = self->guard.status;
	if (WIFEXITED(status)) {
		lua_pushinteger(L, WEXITSTATUS(status));
		lua_pushnil(L);
	} else {
		const char *name = sigabbrev_np(WTERMSIG(status));
		lua_pushnil(L);
		if (name)
			lua_pushstring(L, name);
		else
			lua_pushfstring(L, "%d", WTERMSIG(status));
		terminal_restore(&self->terminal);
	}
	lua_pushinteger(L, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	lua_pushboolean(L, self->guard.is_lost);
	return 4;
}
