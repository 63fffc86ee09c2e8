/* attempt.h - how an operation waits for the lock. Private to the binding. */
#ifndef KEEL_BINDING_ATTEMPT_H
#define KEEL_BINDING_ATTEMPT_H

#include "handle.h"

/* What a call that may wait is: tried until it is not busy, or the time is over. `self` is the store at index
 * `holder`; the arguments stand at 1 to KEEL_LUA_ARGUMENTS + 1, the time of the first wait behind them. */
struct keel_lua_attempt {
	int (*try)(lua_State *L, struct keel_lua_store *self, struct keel_error *err);
	int holder;
};

/* Tries it with the arguments on the stack, and waits in between as long as the store may. Returns the results, or nil
 * and the error. Yields when the host's `sleep` does. */
int keel_lua_try(lua_State *L, const struct keel_lua_attempt *attempt);

#endif
