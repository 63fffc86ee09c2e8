/* binding.h - what the files of keel.kernel share. The binding is an ordinary client of include/keel.
 *
 * Each function has three steps: read and check all arguments (may raise), call the kernel (no Lua inside), push the
 * results. Memory that must survive a raise belongs to a userdata that exists before it is acquired.
 * Stack effects are given as [-popped, +pushed, x], x as in the Lua manual: - never raises, m memory, e any error.
 */
#ifndef KEEL_BINDING_H
#define KEEL_BINDING_H

#include <locale.h>

#include <lauxlib.h>
#include <lua.h>

#include <keel/keel.h>

#include "base/assert.h"

/* At the end of a function that pushes values: the stack has so many more than at its begin, as its comment says. */
#define KEEL_LUA_PUSHED(L, top, count) KEEL_ASSERT(lua_gettop(L) - (top) == (count))

/* --- field.c ----------------------------------------------------------------------------------------------------- */

/* A duration in seconds, a whole number where it is one. [-0, +1, m] */
void keel_lua_push_seconds(lua_State *L, int64_t duration_us);

/* A time as text; leaves nil for no value. [-0, +1, m] */
void keel_lua_push_time(lua_State *L, int64_t time);

/* Sets a field of the table on top; a text without data sets none, nor does what is NULL. [-0, +0, m] */
void keel_lua_set_integer(lua_State *L, const char *name, int64_t value);
void keel_lua_set_flag(lua_State *L, const char *name, bool value);
void keel_lua_set_time(lua_State *L, const char *name, int64_t time);
void keel_lua_set_word(lua_State *L, const char *name, const char *word);
void keel_lua_set_text(lua_State *L, const char *name, struct keel_text text);

/* --- error.c ----------------------------------------------------------------------------------------------------- */

/* nil and an error table. KEEL_MISUSE raises a text instead, KEEL_FORKED the table. [-0, +2, e] Returns 2. */
int keel_lua_fail(lua_State *L, const struct keel_error *err);

/* The same for KEEL_INVALID_REQUEST about a field. Returns 2. */
int keel_lua_fail_field(lua_State *L, const char *field, const char *message);

/* Fills in KEEL_INVALID_REQUEST about a field, for an operation to return: -1. */
int keel_lua_refuse(struct keel_error *err, const char *field, const char *why);

/* Makes the metatable of errors. [-0, +0, m] */
void keel_lua_error_open(lua_State *L);

/* Pushes the metatable of errors. [-0, +1, -] */
void keel_lua_error_metatable(lua_State *L);

/* --- encode.c ---------------------------------------------------------------------------------------------------- */

/* Pushes the JSON text of the value at `index`, a string; or, for a value that is not JSON-able, nothing, with *why
 * saying so (static text). `sorted`: keys in byte order. [-0, +(0|1), m] */
bool keel_lua_json_encode(lua_State *L, int index, bool sorted, const char **why);

/* An option that is a table, as JSON with its names in byte order; data NULL when it is nil. The text stays on the
 * stack, which has one value more in any case. False, with *err, for a table that JSON cannot say. [-0, +1, e] */
bool keel_lua_option_json(lua_State *L, int argument, const char *name, struct keel_text *json, struct keel_error *err);

/* The same of the table on the top, which the text takes the place of. [-1, +1, m] */
bool keel_lua_take_json(lua_State *L, const char *name, struct keel_text *json, struct keel_error *err);

/* Adds encode to json of the module table on the top. [-0, +0, m] */
void keel_lua_encode_open(lua_State *L);

/* --- json.c ------------------------------------------------------------------------------------------------------ */

enum { KEEL_JSON_WHY_SIZE = 192 };

/* Sets a field of the table on the top to a document of a row, which `kind` and `of` name ("run", its id); a text
 * without data sets none. A document that is damaged sets none either, and is noted: a row is worth reading without it.
 * For operations on a store or a transaction. [-0, +0, m] */
void keel_lua_set_document(lua_State *L, const char *name, struct keel_text text, const char *kind, const char *of);

/* Whether the table at `index` is marked as an array. [-0, +0, -] */
bool keel_lua_is_array(lua_State *L, int index);

/* Whether the value at `index` is keel.null. [-0, +0, -] */
bool keel_lua_is_null(lua_State *L, int index);

/* Pushes keel.null. [-0, +1, m] */
void keel_lua_push_null(lua_State *L);

/* Adds json, null and array to the module table on the top. [-0, +0, m] */
void keel_lua_json_open(lua_State *L);

/* --- reuse.c ----------------------------------------------------------------------------------------------------- */

/* Pushes a zeroed userdata of a size with a metatable, or one that was given back: an object with a finalizer costs the
 * collector more than all else in a short call. `metatable` is the name and the key. One that a raise keeps from being
 * given back is collected like any other. [-0, +1, m] */
void *keel_lua_take(lua_State *L, const char *metatable, size_t size, lua_CFunction gc);

/* Gives the userdata at `index` back; it must hold nothing that has to be freed soon. [-0, +0, -] */
void keel_lua_give_back(lua_State *L, int index, const char *metatable);

/* --- value.c ----------------------------------------------------------------------------------------------------- */

/* Takes the first line off a text; data NULL: there is none. */
struct keel_text keel_lua_take_line(struct keel_text *text);

/* Raises, naming the argument, unless it has the type. [-0, +0, e] */
void keel_lua_check_type(lua_State *L, int argument, const char *name, int type);

/* A string argument, borrowed from the stack; raises for other types (a number is no string here). */
struct keel_text keel_lua_check_text(lua_State *L, int argument, const char *name);

/* A whole number; raises for anything else, a text of digits too. [-0, +0, e] */
lua_Integer keel_lua_check_integer(lua_State *L, int argument, const char *name);

/* The userdata that a method was called on, at `argument`; raises for anything else, and says that a method is called
 * with a colon. [-0, +0, e] */
void *keel_lua_check_self(lua_State *L, int argument, const char *metatable);

/* Seconds as microseconds; false for what is not a finite number of at least 0. */
bool keel_lua_duration(lua_Number seconds, int64_t *duration_us);

/* Pushes what a table itself has under a name, and returns its type. Operations read all tables so: no metamethod runs
 * in their middle, and a text that was popped is kept by its table. [-0, +1, m] */
int keel_lua_member(lua_State *L, int table, const char *name);

/* Reads options from the table at `argument` (nil: an empty one): raises for a key that is not in `known`, a list of
 * names that ends with NULL. [-0, +0, e] */
void keel_lua_check_options(lua_State *L, int argument, const char *const *known);

/* Pushes an option, nil when the table is nil, and raises unless it is nil or of the type. [-0, +1, e] */
int keel_lua_option(lua_State *L, int argument, const char *name, int type);

/* An option that is a whole number; `otherwise` when it is nil. [-0, +0, e] */
lua_Integer keel_lua_option_integer(lua_State *L, int argument, const char *name, lua_Integer otherwise);

/* Whether an option is true; nil counts as false. [-0, +0, e] */
bool keel_lua_option_flag(lua_State *L, int argument, const char *name);

/* An option in seconds, as microseconds; 0 when it is nil. False, with *err, for a number that is no duration.
 * [-0, +0, e] */
bool keel_lua_option_duration(lua_State *L, int argument, const char *name, int64_t *duration_us,
							  struct keel_error *err);

/* Reads the time at `index`, a text, or a number: seconds from now by the store's clock. Returns NULL, or what is wrong
 * with it. [-0, +0, -] */
const char *keel_lua_read_time(lua_State *L, int index, struct keel_store *store, int64_t *time);

/* An option that is a time; *given is false when it is nil. False, with *err, for what is none. [-0, +0, e] */
bool keel_lua_option_time(lua_State *L, int argument, const char *name, struct keel_store *store, int64_t *time,
						  bool *given, struct keel_error *err);

/* An option that is a text, borrowed from the table; data NULL when it is nil. [-0, +0, e] */
struct keel_text keel_lua_option_text(lua_State *L, int argument, const char *name);

/* --- functions.c -------------------------------------------------------------------------------------------------- */

/* The small functions of the module table on the top: clocks, ids, hashes, times, numbers. [-0, +0, m] */
void keel_lua_functions_open(lua_State *L);

/* --- number.c ---------------------------------------------------------------------------------------------------- */

/* Around what reads or writes numbers: gives this thread the C locale, and puts the host's back. Cannot fail: without
 * memory the host's stays. */
struct keel_lua_locale {
	locale_t plain, outer;
};
struct keel_lua_locale keel_lua_locale_enter(void);
void keel_lua_locale_leave(struct keel_lua_locale kept);

enum { KEEL_DECIMALS_MAX = 20 };

/* Pushes the text of the number at `index` with a decimal point; decimals, at most
 * KEEL_DECIMALS_MAX; below 0: as many as it has. [-0, +1, m] */
void keel_lua_push_number_text(lua_State *L, int index, int decimals);

enum { KEEL_JSON_REAL_SIZE = 32 };

/* Writes a finite number as JSON has it, so that it is read back as the same and as no whole number. Returns how many
 * bytes that took. */
size_t keel_lua_real_text(lua_Number value, char text[KEEL_JSON_REAL_SIZE]);

/* --- sleep.c ----------------------------------------------------------------------------------------------------- */

/* What is told once of a `sleep` that yields where nothing may. */
#define KEEL_LUA_BLOCKING "the sleep yields where nothing may yield: waiting there blocks the thread"

enum keel_lua_wait { KEEL_LUA_MAY_YIELD, KEEL_LUA_SLEPT, KEEL_LUA_BLOCKED, KEEL_LUA_BLOCKED_FIRST };

/* Waits where L may not yield: through the host's function at `index` unless it yields; then blocks, and says so the
 * first time. [-0, +0, e] */
enum keel_lua_wait keel_lua_sleep_outside(lua_State *L, int index, lua_Number seconds);

/* Blocks the thread. */
void keel_lua_block(lua_Number seconds);

/* sleep and sleep_through of the module table on the top. [-0, +0, m] */
void keel_lua_sleep_open(lua_State *L);

/* --- suggest.c --------------------------------------------------------------------------------------------------- */

enum { KEEL_LUA_WORD_MAX = 64 };

/* The search for the known word that was probably meant by another one. */
struct keel_lua_guess {
	char word[KEEL_LUA_WORD_MAX];
	size_t size;
	int least;        /* mistakes that the best one would take */
	const char *best; /* borrowed from who tried it; NULL: none is near */
};

/* Begins a search; `word` ends with a zero byte. */
void keel_lua_guess_start(struct keel_lua_guess *guess, const char *word);

/* Compares with a known word, which must outlive the search. */
void keel_lua_guess_try(struct keel_lua_guess *guess, const char *name);

/* Pushes "; did you mean 'best'?", or an empty text, and returns it. [-0, +1, m] */
const char *keel_lua_guess_text(lua_State *L, const struct keel_lua_guess *guess);

/* nearest of the module table on the top. [-0, +0, m] */
void keel_lua_suggest_open(lua_State *L);

/* --- hash_dir.c -------------------------------------------------------------------------------------------------- */

/* hash_dir(path) of the module. */
int keel_lua_hash_dir(lua_State *L);

/* --- store.c ----------------------------------------------------------------------------------------------------- */

struct keel_lua_store;

/* An operation on a store or in a transaction: arguments from index 2 on (KEEL_LUA_ARGUMENTS of them, nil for those not
 * given). Pushes its results and returns their number; or fills *err and returns -1, pushed values notwithstanding. It
 * is called again when the store was busy, so it must not change its arguments. */
typedef int (*keel_lua_operation)(lua_State *L, struct keel_store *store, struct keel_error *err);

enum { KEEL_LUA_ARGUMENTS = 5 };

enum keel_lua_kind { KEEL_LUA_READS, KEEL_LUA_WRITES }; /* what commits when it is called on a store is shared */

struct keel_lua_method {
	const char *name;
	keel_lua_operation operation;
	enum keel_lua_kind kind;
};

/* The open store at `argument`; raises for another value and a closed or forked one. [-0, +0, e] */
struct keel_store *keel_lua_check_store(lua_State *L, int argument);

/* Takes a sentence off the top that says what is damaged in the store of the operation under way. When the operation
 * is over, the host is told, once for each sentence and handle. [-1, +0, m] */
void keel_lua_note_damage(lua_State *L);

/* Pushes the `sleep` that the store at `argument` was given, or nil. [-0, +1, -] */
int keel_lua_push_sleep(lua_State *L, int argument);

/* Waits through the `sleep` at the top where L may not yield, and tells the log of the store at `argument` the first
 * time that it cannot. KEEL_LUA_MAY_YIELD: nothing was done. [-0, +0, e] */
enum keel_lua_wait keel_lua_slept_outside(lua_State *L, int argument, lua_Number seconds);

/* The metatables of stores and transactions, and `open` of the module table on the top. [-0, +0, m] */
void keel_lua_store_open(lua_State *L);

/* Gives stores and transactions the methods of a list of operations, which ends with KEEL_LUA_METHODS_END and stays;
 * and stores functions of their own. [-0, +0, m] */
#define KEEL_LUA_METHODS_END       \
	{                              \
		NULL, NULL, KEEL_LUA_READS \
	}
void keel_lua_store_add(lua_State *L, const struct keel_lua_method *operations);
void keel_lua_store_add_functions(lua_State *L, const luaL_Reg *functions);

/* What the files of operations have for that; module.c gives it on. */
extern const struct keel_lua_method keel_lua_run_methods[];
extern const struct keel_lua_method keel_lua_listing_methods[];
extern const struct keel_lua_method keel_lua_ownership_methods[];
extern const struct keel_lua_method keel_lua_event_methods[];
extern const struct keel_lua_method keel_lua_session_methods[];
extern const struct keel_lua_method keel_lua_token_methods[];
extern const struct keel_lua_method keel_lua_lease_methods[];
extern const struct keel_lua_method keel_lua_schedule_methods[];
extern const struct keel_lua_method keel_lua_limit_methods[];
extern const struct keel_lua_method keel_lua_worker_methods[];
extern const struct keel_lua_method keel_lua_runtime_methods[];
extern const struct keel_lua_method keel_lua_housekeeping_methods[];

/* --- wants.c ----------------------------------------------------------------------------------------------------- */

/* Pushes the text of the list of slots, or rates, on the top. False, with *err: it is none, and nothing was pushed.
 * [-0, +(0|1), m] */
bool keel_lua_join_wants(lua_State *L, bool is_rate, const char *field, struct keel_error *err);

/* Pushes the list of a text. [-0, +1, m] */
void keel_lua_push_wants(lua_State *L, struct keel_text text, bool is_rate);

/* Of the module: whether a list can be a run's. */
int keel_lua_check_wants(lua_State *L);

/* The same two for what a run is after: a list of ids, or of { run_id | batch_id, on }. */
bool keel_lua_join_after(lua_State *L, const char *field, struct keel_error *err);
void keel_lua_push_after(lua_State *L, struct keel_text text);

/* --- ownership.c ------------------------------------------------------------------------------------------------- */

/* Pushes a table that says what is in the way of a run. [-0, +1, m] */
void keel_lua_push_gate(lua_State *L, const struct keel_gate_state *state);

/* --- event.c ----------------------------------------------------------------------------------------------------- */

/* Reads the cursor at index 2: where to go on, and whether it is of this store; false, with *err, when it is not. nil
 * is the start. [-0, +0, e] */
bool keel_lua_read_cursor(lua_State *L, struct keel_store *store, int64_t *next_event_id, struct keel_error *err);

/* committed_events(store) of the module: the ids of the events that the last transaction of the store has written, from
 * the first on and below the second; nothing when there are none. */
int keel_lua_committed_events(lua_State *L);

/* --- wait.c ------------------------------------------------------------------------------------------------------ */

/* store:wait_events(cursor, { timeout }). */
int keel_lua_wait_events(lua_State *L);

/* keel.restore; in housekeeping.c. */
int keel_lua_restore(lua_State *L);

/* --- event_waiter.c ---------------------------------------------------------------------------------------------- */

/* store:event_waiter(). */
int keel_lua_event_waiter(lua_State *L);

/* --- worker.c ---------------------------------------------------------------------------------------------------- */

/* Reads the worker ref at `index`, any table with runtime_id and worker_id, which keeps the texts. False: it is none.
 * [-0, +0, m] */
bool keel_lua_read_ref(lua_State *L, int index, struct keel_worker_ref *ref);

/* The same of an argument; raises. [-0, +0, e] */
struct keel_worker_ref keel_lua_check_ref(lua_State *L, int argument);

/* The option worker_ref as JSON, as keel_lua_option_json; a worker's detail or summary will do as well. [-0, +1, e] */
bool keel_lua_option_ref(lua_State *L, int argument, struct keel_text *json, struct keel_error *err);

/* Pushes the ref of a worker. [-0, +1, m] */
void keel_lua_push_ref(lua_State *L, struct keel_text runtime_id, struct keel_text worker_id);

/* --- record.c ---------------------------------------------------------------------------------------------------- */

/* In the registry: field number + 1 -> name, and name -> field number + 1. */
#define KEEL_LUA_FIELD_NAMES "keel.run.names"

/* Reads the table at `argument` into *run; `may` says which fields are known here. What is pushed has to stay while the
 * record is used. [-0, +n, e] False: a value is invalid, *err says which. */
bool keel_lua_read_record(lua_State *L, int argument, struct keel_store *store, keel_run_set may, struct keel_run *run,
						  struct keel_error *err);

/* Makes what reading and writing records needs, run_fields and run_givers of the module table on the top.
 * [-0, +0, m] */
void keel_lua_run_open(lua_State *L);

/* --- row.c ------------------------------------------------------------------------------------------------------- */

/* Pushes a record: a field that is null, or a damaged document, is left out. [-0, +1, m] */
void keel_lua_push_record(lua_State *L, struct keel_run *run);

/* Pushes ids, one a line, as a list. [-0, +1, m] */
void keel_lua_push_ids(lua_State *L, struct keel_text ids);

/* Pushes a list of runs that outlives a raise; gives the one at `index` back. [-0, +1, m] [-0, +0, m] */
struct keel_runs *keel_lua_new_runs(lua_State *L);
void keel_lua_drop_runs(lua_State *L, int index, struct keel_runs *list);

/* Pushes the records of the list on the top, which is given back, and true when it was cut. Returns the number of
 * results. */
int keel_lua_push_runs(lua_State *L, struct keel_runs *list);

/* Pushes the one record of the list on the top, or nil when it is empty; the list is given back. Results as above. */
int keel_lua_push_run(lua_State *L, struct keel_runs *list);

/* Pushes true and a table of what was written, without the callers' JSON; or false when there is no such row. Returns
 * the number of results. */
int keel_lua_push_written(lua_State *L, bool found, struct keel_run *written);

/* --- policy.c ---------------------------------------------------------------------------------------------------- */

/* bounded_call and pcall of the module table on the top. [-0, +0, m] */
void keel_lua_policy_open(lua_State *L);

/* --- sandbox.c --------------------------------------------------------------------------------------------------- */

/* sandbox of the module table on the top. [-0, +0, m] */
void keel_lua_sandbox_open(lua_State *L);

/* --- script.c ---------------------------------------------------------------------------------------------------- */

/* script_stamp and script_read of the module table on the top. [-0, +0, m] */
void keel_lua_script_open(lua_State *L);

#endif
