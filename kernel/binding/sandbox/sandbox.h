/* sandbox.h - a Lua state of its own for scripts from people one does not know; private to sandbox*.c.
 *
 * Three things stop a script: instructions (a hook counts them, the library charges for its own work), bytes (an
 * allocator counts them) and time (both look at the clock). Whichever is spent first trips the box: from then on the
 * hook raises at every instruction, so that nothing inside can go on, whatever it catches.
 *
 * Nothing stays from one call to the next: the state's memory is put back as it was when the script had been compiled,
 * and the chunk is run again, so its locals are new. The globals cannot be written; there is neither a clock nor chance
 * nor an address to read. The same arguments give the same decision.
 */
#ifndef KEEL_SANDBOX_H
#define KEEL_SANDBOX_H

#include "binding.h"

enum {
	SANDBOX_EVERY = 100,          /* instructions between two looks */
	SANDBOX_EVERY_LARGE = 8,      /* once there is a large block: to compare two such texts can take milliseconds */
	SANDBOX_LARGE = 64 * 1024,    /* bytes of one */
	SANDBOX_BLOCK_MAX = 1 << 20,  /* bytes of one block, so of one text or table: what one instruction can touch */
	SANDBOX_SLACK = 256 * 1024,   /* bytes granted after the stop, until the next instruction is reached */
	SANDBOX_SMALL = 4096,         /* the largest block that is granted then */
	SANDBOX_SOURCE_MAX = 16384,   /* bytes of a script: the parser is not counted, and can be quadratic */
	SANDBOX_CALLS_MAX = 60,       /* calls from C into the script that wait for one another: 44 KiB of the C stack */
	SANDBOX_DEPTH_MAX = 8,        /* nesting of a value that crosses */
	SANDBOX_NODES_MAX = 2000,     /* values in it */
	SANDBOX_TEXT_MAX = 64 * 1024, /* bytes of text in it */
	SANDBOX_INTAKE_NODES = 20000, /* values in all the documents that a call is shown */
	SANDBOX_INTAKE_TEXT = 1 << 20 /* bytes of text in them */
};

struct chunk;
struct large;

struct sandbox {
	lua_State *S;    /* NULL: there is none */
	lua_Alloc alloc; /* the host's, so that its memory is under its control; NULL: the box is closed */
	void *alloc_data;
	struct chunk *chunk; /* the newest; small blocks are cut off it */
	struct large *large;
	void *image; /* what the chunks held when the script had been loaded; NULL: it is not yet */
	size_t image_size, image_used;
	bool entered;             /* a call is under way: its answer is not in the host yet */
	size_t used, limit, peak; /* bytes */
	size_t base;              /* bytes used before a call */
	size_t bytes;             /* the budget */
	unsigned growths;         /* since it was made: the clock is not read at each */
	lua_Integer given, left;  /* instructions; left negative: spent */
	lua_Integer unseen;       /* charged since the clock was read */
	int calls;                /* from C into the script that have not returned, weighed */
	int pace;                 /* instructions between two looks */
	int every;                /* the hook's count: that, or what is left */
	int64_t deadline_ns;
	const char *exceeded; /* NULL, or why it stops: "instructions", "bytes", "block", "seconds"; "memory" (host's) */
	int line;             /* of the script, where it was stopped; 0: unknown */
};

/* --- sandbox_memory.c -------------------------------------------------------------------------------------------- */

/* The allocator of a box. */
void *keel_sandbox_allocate(void *data, void *block, size_t before, size_t size);

/* Remembers the state as it is; false: there is no memory for that. */
bool keel_sandbox_keep(struct sandbox *box);

/* Puts the state back, byte for byte, and frees what came since. */
void keel_sandbox_restore(struct sandbox *box);

/* Frees all of it. Nothing is to be finalized in the state. */
void keel_sandbox_drop(struct sandbox *box);

/* --- sandbox.c --------------------------------------------------------------------------------------------------- */

/* The box of a state. */
struct sandbox *keel_sandbox_of(lua_State *S);

/* Stops the script for good: at the latest with its next instruction. [-0, +0, -] */
void keel_sandbox_trip(struct sandbox *box, const char *limit);

/* Looks at the clock, not at each call, when so many bytes are taken; trips the box when its time is up. */
void keel_sandbox_look(struct sandbox *box, size_t bytes);

/* From now on looks more often. */
void keel_sandbox_hasten(struct sandbox *box);

/* Trips the box and raises at once. */
int keel_sandbox_stop(lua_State *S, const char *limit);

/* Takes so many instructions off the budget, for work that the hook does not see; raises when it is spent. An
 * instruction is some 10 ns: one for each step of a search, one for each 64 bytes that are copied. [-0, +0, v] */
void keel_sandbox_charge(lua_State *S, size_t instructions);

/* The same for each step of a loop through a table. A step can take microseconds when the keys of a table collide, so
 * the clock is read every hundred of them. [-0, +0, v] */
void keel_sandbox_step(lua_State *S);

/* Calls a function of the script's from C: lua_call, with a bound on how many of these wait for one another, so that a
 * stack of 128 KiB is enough. `weight` is what the caller has on the C stack, in some 700 bytes. [-(args+1), +results,
 * e] */
void keel_sandbox_call(lua_State *S, int arguments, int results, int weight);

/* The same, protected. [-(args+1), +(results|1), e] */
int keel_sandbox_pcall(lua_State *S, int arguments, int results);

/* Pushes the environment of a chunk: read-only, nothing but a whitelist in it. [-0, +1, e] */
void keel_sandbox_push_environment(lua_State *S);

/* Raises if the table at `index` is one of the environment's. [-0, +0, v] */
void keel_sandbox_check_writable(lua_State *S, int index);

/* Adds to the table on the top: pairs, next, tostring, pcall, null (sandbox_base.c); rep, format (sandbox_string.c);
 * find, match, gmatch, gsub (sandbox_match.c); those of `table` (sandbox_table.c). [-0, +0, m] */
void keel_sandbox_add_base(lua_State *S);
void keel_sandbox_add_string(lua_State *S);
void keel_sandbox_add_match(lua_State *S);
void keel_sandbox_add_table(lua_State *S);

/* Pushes what tostring gives: no addresses, which differ from call to call. [-0, +1, m] */
void keel_sandbox_push_text(lua_State *S, int index);

/* --- sandbox_pattern.c ------------------------------------------------------------------------------------------- */

enum {
	PATTERN_MAX = 1024, /* bytes */
	CAPTURES_MAX = 32,
	REPEATS_MAX = 128 /* items with ?, *, + or -: each is a call on the C stack, 18 KiB in all */
};

struct pattern;

struct capture {
	const char *start;
	ptrdiff_t size; /* CAPTURE_POSITION: the place, no text */
};

enum { CAPTURE_POSITION = -1 };

struct matching {
	lua_State *S;
	const char *subject, *end;
	size_t steps; /* not charged yet */
	const struct pattern *pattern;
	struct capture captures[CAPTURES_MAX];
};

/* Pushes a pattern read from its text; raises for one that is malformed. [-0, +1, e] */
const struct pattern *keel_pattern_compile(lua_State *S, const char *text, size_t size, bool may_anchor);

bool keel_pattern_is_anchored(const struct pattern *pattern);
int keel_pattern_captures(const struct pattern *pattern);

/* Where a match that starts at `at` ends; NULL: there is none. Charges for each step. [-0, +0, v] */
const char *keel_pattern_match(struct matching *m, const char *at);

/* --- sandbox_values.c -------------------------------------------------------------------------------------------- */

/* What a call is given: values from `first` to `last` on the host's stack. */
struct intake {
	lua_State *host;
	int first, last;
	const void *null;  /* keel.null in the host */
	lua_Integer nodes; /* that documents may still have */
	lua_Integer bytes;
	int fields;        /* of the last record */
	lua_Integer shown; /* records that were copied from a list */
};

/* The key of what stands for JSON null in the box: its address as light userdata. */
extern const char KEEL_SANDBOX_NULL;

/* Pushes copies of the host's values, which are only read, and never raise there; and below them a userdata that
 * remembers which table is which record. [-0, +1+n, e] */
void keel_sandbox_push_arguments(lua_State *S, struct intake *in);

/* Pushes a copy of the value at `index` of the box on the host's stack; a record that the call was shown becomes the
 * host's own again. `remembered` is the index of that userdata. False, with *why, for what cannot cross; something may
 * be on the host's stack then. [box: -0, +0, -; host: -0, +(0|1), m] */
bool keel_sandbox_push_result(lua_State *L, lua_State *S, int index, int remembered, const struct intake *in,
							  const char **why);

#endif
