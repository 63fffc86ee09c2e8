/* box.h - a Lua state of its own for scripts from people one does not know; private to this folder.
 *
 * Three things stop a script: instructions (a hook counts them, the library charges for its own work), bytes (an
 * allocator counts them) and time (both look at the clock). Whichever is spent first trips the box: from then on the
 * hook raises at every instruction, so that nothing inside can go on, whatever it catches.
 *
 * An instruction of Lua's can take long by itself, where nothing stops it: a table that grows when all its keys
 * collide, two long texts that are compared. So what it can touch is bounded (SANDBOX_HASH_MAX, SANDBOX_BLOCK_MAX), the
 * clock is read the more often the more there is to touch, and a script is stopped before its time is up by as much as
 * the next instruction may take. Work of the library is charged, and looks at the clock, step by step.
 *
 * Nothing stays from one call to the next: the state's memory is put back as it was when the script had been compiled,
 * and the chunk is run again, so its locals are new. The globals cannot be written; there is neither a clock nor chance
 * nor an address to read. The same script and arguments give the same decision, and use the same instructions and
 * bytes, in every process on machines of one kind with the same Lua, unless it is the clock that stops them. That
 * takes:
 *
 * - a hash seed that is made of the script (seed.c), and blocks whose addresses have the same lower 32 bits in every
 *   box (arena.c): where a key is in a table, when it grows, and so `#` of a table with holes, depend on both;
 * - no function that is one of C without a block of its own, as its address is chance; null at a fixed one;
 * - arguments that are copied in the order of their keys, not in that of the host's tables;
 * - the C locale while it runs, whatever the host's.
 *
 * What is left: whoever knows the script knows the seed, so who may name things in the documents it is shown can choose
 * names that collide. Copying them looks at the clock as all else does; the decision fails then, it does not hang.
 */
#ifndef KEEL_SANDBOX_BOX_H
#define KEEL_SANDBOX_BOX_H

#include <locale.h>

#include "binding.h"

enum {
	SANDBOX_EVERY = 100,        /* instructions between two looks */
	SANDBOX_PACED = 256 * 1024, /* bytes of texts that may be compared between two looks, so many for each of them */
	SANDBOX_EVERY_HUGE = 8,     /* instructions between two looks once there are so many bytes */
	SANDBOX_HUGE = 512 * 1024,
	SANDBOX_MUCH = 4 << 20,       /* bytes from which on there is a look at each instruction */
	SANDBOX_BLOCK_MAX = 1 << 20,  /* bytes of one block, so of one text or table: what one instruction can touch */
	SANDBOX_HASH_MAX = 2048,      /* nodes of a table's hash part: when it grows, 2 million steps if all keys collide */
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

struct key;
struct large;

/* Memory that begins at the same lower 32 bits of an address in every process; arena.c */
struct arena {
	char *start; /* NULL: there is none yet */
	size_t mapped, used;
};

/* Where the hash seed of a state is; seed.c */
struct seed {
	size_t place; /* in the first block of it */
	bool is_known;
	unsigned value;
};

struct sandbox {
	lua_State *S;    /* NULL: there is none */
	lua_Alloc alloc; /* the host's, so that its memory is under its control; NULL: the box is closed */
	void *alloc_data;
	locale_t locale; /* C */
	struct arena arena;
	struct seed seed;
	unsigned blocks;  /* asked for while the state is made */
	size_t vector;    /* bytes of the last new vector, and of a node of a table: what Lua's headers do not say */
	size_t node_size; /* 0: not known yet */
	struct large *large;
	void *image; /* what the arena held when the script had been loaded; NULL: it is not yet */
	size_t image_size, image_used;
	struct key *keys;         /* of the host's tables while these are copied */
	const char **names;       /* of a record, in the host's order */
	size_t key_room;          /* of both */
	bool running;             /* what it raises is caught */
	bool raised;              /* the allocator has raised the stop */
	bool entered;             /* a call is under way: its answer is not in the host yet */
	size_t used, limit, peak; /* bytes */
	size_t base;              /* bytes used before a call */
	size_t bytes;             /* the budget */
	unsigned growths;         /* since it was made: the clock is not read at each */
	lua_Integer given, left;  /* instructions; left negative: spent */
	lua_Integer unseen;       /* charged since the clock was read */
	int calls;                /* from C into the script that have not returned, weighed */
	int pace;                 /* instructions between two looks */
	int haste;                /* how many times more often than at first */
	size_t longest;           /* bytes of a text there has been */
	int every;                /* the hook's count: that, or what is left */
	int64_t deadline_ns, reserve_max_ns;
	const char *exceeded; /* NULL, or why it stops: "instructions", "bytes", "block", "seconds"; "memory" (the host's),
	                         "seed" (of this Lua it cannot be set) */
	int line;             /* of the script, where it was stopped; 0: unknown */
};

/* --- memory.c ---------------------------------------------------------------------------------------------------- */

/* The allocator of a box. */
void *keel_sandbox_allocate(void *data, void *block, size_t before, size_t size);

/* Remembers the state as it is; false: there is no memory for that. */
bool keel_sandbox_keep(struct sandbox *box);

/* Puts the state back, byte for byte, and frees what came since. */
void keel_sandbox_restore(struct sandbox *box);

/* Frees all of it. Nothing is to be finalized in the state. */
void keel_sandbox_drop(struct sandbox *box);

/* --- arena.c ----------------------------------------------------------------------------------------------------- */

bool keel_arena_has(const struct arena *arena, const void *block);

/* Cuts a block off, or lets `block`, of `old` bytes, grow in its place if it was cut off last. NULL: no memory. */
char *keel_arena_cut(struct arena *arena, char *block, size_t old, size_t size);

/* Copies what is used, and puts the copy back, with all behind it free again. */
void keel_arena_save(struct arena *arena, void *image);
void keel_arena_load(struct arena *arena, const void *image, size_t size);

void keel_arena_close(struct arena *arena);

/* --- seed.c ------------------------------------------------------------------------------------------------------ */

/* Finds out where states have their seed. False: this Lua makes it in another way. */
bool keel_seed_find(struct seed *seed);

/* Writes the seed into the first block of a state, when the second one is asked for. */
void keel_seed_set(const struct seed *seed, char *block);

/* --- limits.c ---------------------------------------------------------------------------------------------------- */

/* The box of a state. */
struct sandbox *keel_sandbox_of(lua_State *S);

/* Begins a call with its budget. */
void keel_sandbox_begin(struct sandbox *box, lua_Integer instructions, lua_Number seconds, lua_Number bytes);

/* Sets the hook, for a state that is about to run. */
void keel_sandbox_watch(struct sandbox *box);

/* Stops the script for good: at the latest with its next instruction. [-0, +0, -] */
void keel_sandbox_trip(struct sandbox *box, const char *limit);

/* Looks at the clock, not at each call, when so many bytes are taken; trips the box when its time is up, or so short
 * that what they are taken for may not fit into it. */
void keel_sandbox_look(struct sandbox *box, size_t bytes, int64_t needed_ns);

/* From now on looks after so many instructions, unless it does already after fewer. */
void keel_sandbox_hasten(struct sandbox *box, int pace);

/* Trips the box and raises at once. */
int keel_sandbox_stop(lua_State *S, const char *limit);

/* Raises what a stop raises. The box has to be tripped. */
int keel_sandbox_raise(lua_State *S);

/* The handler of messages of a call: notes where an error comes from that nothing in the script catches, before
 * the stack unwinds: one that C raises, in a comparison of table.sort or for a nil that is gone through, does not say
 * it. */
int keel_sandbox_note_line(lua_State *S);

/* Looks at the clock; raises when time is up. For loops over what comes from the host or goes there. [-0, +0, v] */
void keel_sandbox_check_time(lua_State *S);

/* Whether the time of a call is up, or nearly: what one instruction may take is kept back, or what is about to be done.
 */
bool keel_sandbox_is_late(const struct sandbox *box, int64_t needed_ns);

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

/* --- base.c, and the libraries ----------------------------------------------------------------------------------- */

/* Adds to the table on the top: pairs, next, tostring, pcall, null (base.c); rep, format (string.c);
 * find, match, gmatch, gsub (match.c); those of `table` (table.c). [-0, +0, m] */
void keel_sandbox_add_base(lua_State *S);
void keel_sandbox_add_string(lua_State *S);
void keel_sandbox_add_match(lua_State *S);
void keel_sandbox_add_table(lua_State *S);

/* Pushes a function with an upvalue, so with a block of its own, whose address is no chance. [-0, +1, m] */
void keel_sandbox_push_function(lua_State *S, lua_CFunction function);

/* Adds functions to the table on the top, each with a block of its own, whose address is no chance. [-0, +0, m] */
void keel_sandbox_set_functions(lua_State *S, const luaL_Reg *functions);

/* Pushes what tostring gives: no addresses, which differ from call to call. [-0, +1, m] */
void keel_sandbox_push_text(lua_State *S, int index);

/* Raises if the table at `index` is one of the environment's. [-0, +0, v] */
void keel_sandbox_check_writable(lua_State *S, int index);

/* --- environment.c ----------------------------------------------------------------------------------------------- */

/* Pushes the environment of a chunk: read-only, nothing but a whitelist in it. [-0, +1, e] */
void keel_sandbox_push_environment(lua_State *S);

/* --- keys.c ------------------------------------------------------------------------------------------------------ */

/* A key of a table. What it points to belongs to the table. */
struct key {
	enum { KEY_NUMBER, KEY_TEXT, KEY_FLAG } kind;
	bool is_integer;
	int place; /* where it was, for whoever wants to know */
	union {
		lua_Integer integer;
		lua_Number number;
		struct {
			const char *data;
			size_t size;
			uint64_t start; /* its first bytes as a number, to compare by */
		} text;
	} as;
};

/* Reads the key at `index`; false for one of a type that has no order. [-0, +0, -] */
bool keel_key_read(lua_State *L, int index, struct key *key);

bool keel_key_less(const struct key *a, const struct key *b);
void keel_key_sort(struct key *keys, size_t count);

/* --- pattern.c --------------------------------------------------------------------------------------------------- */

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

/* --- matching.c -------------------------------------------------------------------------------------------------- */

/* Where a match that starts at `at` ends; NULL: there is none. Charges for each step. [-0, +0, v] */
const char *keel_pattern_match(struct matching *m, const char *at);

/* --- intake.c ---------------------------------------------------------------------------------------------------- */

/* Which tables in the box are records of the host's lists. Nothing is collected during a call, so an address stays one
 * table's. */
struct record {
	const void *table;
	int argument, item;
};

/* What of a script is called: nothing, it is only looked at; its decision; its questions. */
enum part { PART_NONE, PART_DECIDE, PART_READS };

/* What a call is given: values from `first` to `last` on the host's stack. */
struct intake {
	lua_State *host;
	enum part part;
	int first, last;
	const void *null;  /* keel.null in the host */
	lua_Integer nodes; /* that documents may still have */
	lua_Integer bytes;
	size_t used;       /* of the box's keys: those of the tables that are being copied */
	lua_Integer shown; /* records that were copied from a list */
};

/* What stands for JSON null in the box, as light userdata: no address of anything, which would be another in each
 * process. */
#define KEEL_SANDBOX_NULL ((void *)(uintptr_t)0x6e756c6c)

/* Pushes copies of the host's values, which are only read, and never raise there; and below them a userdata that
 * remembers which table is which record. [-0, +1+n, e] */
void keel_sandbox_push_arguments(lua_State *S, struct intake *in);

/* --- outlet.c ---------------------------------------------------------------------------------------------------- */

/* Pushes a copy of the value at `index` of the box on the host's stack; a record that the call was shown becomes the
 * host's own again. `remembered` is the index of that userdata. False, with *why, for what cannot cross; something may
 * be on the host's stack then. [box: -0, +0, -; host: -0, +(0|1), m] */
bool keel_sandbox_push_result(lua_State *L, lua_State *S, int index, int remembered, const struct intake *in,
							  const char **why);

/* --- state.c ----------------------------------------------------------------------------------------------------- */

/* Makes the state, if there is none, and runs the chunk in it, in the C locale, on which comparisons of texts and the
 * point of numbers depend. Returns what lua_pcall does; on the box's stack is then what remembers the records, and the
 * result above it, or only an error. The result of PART_NONE is a table: whether the script `reads`, and its `idle`.
 * The box's user values at index 1 of the host's stack are its source and name. */
int keel_sandbox_enter(lua_State *L, struct sandbox *box, const char *name, struct intake *in);

/* After a call: all is as before it. */
void keel_sandbox_leave(struct sandbox *box);

#endif
