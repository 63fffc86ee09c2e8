/* supervisor.h - what a supervisor is: for supervise.c, news.c and outcome.c. */
#ifndef KEEL_COMMAND_SUPERVISOR_H
#define KEEL_COMMAND_SUPERVISOR_H

#include <stdbool.h>
#include <stdint.h>

#include <lauxlib.h>

#include "guard.h"
#include "hearing.h"
#include "relay.h"
#include "terminal.h"

#define SUPERVISOR "keel.supervisor"

struct supervisor {
	struct guard guard;
	struct guardian_start start;
	struct hearing hearing; /* closed: the supervisor is */
	struct terminal terminal;
	bool keeps;         /* the relays are in use */
	bool told;          /* that the command has ended */
	int64_t stopped_at; /* when the command was first seen stopped, keel_monotonic_us; 0: it is not */
	struct relay relays[2];
};

static inline struct supervisor *supervisor_check(lua_State *L)
{
	struct supervisor *self = luaL_checkudata(L, 1, SUPERVISOR);
	luaL_argcheck(L, self->hearing.descriptor >= 0, 1, "the supervisor is closed");
	return self;
}

/* The relays are done, or nothing is there to be waited for at the moment. */
static inline bool supervisor_is_quiet(const struct supervisor *self)
{
	return !relay_is_busy(&self->relays[0]) && !relay_is_busy(&self->relays[1]);
}

/* Methods: news.c. */
int supervisor_wait(lua_State *L);

/* outcome.c */
int supervisor_has_ended(lua_State *L);
int supervisor_left(lua_State *L);
int supervisor_refusal(lua_State *L);
int supervisor_failure(lua_State *L);
int supervisor_is_saying(lua_State *L);
int supervisor_hush(lua_State *L);
int supervisor_output(lua_State *L);
int supervisor_result(lua_State *L);

#endif
