/* keys.c - what comes from the terminal while libedit edits a line. Uses: libedit, interrupt.
 *
 * libedit reads through read_key, so that signals are heard between two keys and nowhere else, and none is lost on the
 * way. What is pasted comes in brackets (xterm's "bracketed paste"), so that a tab in it completes nothing.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#ifdef KEEL_EDITLINE

#include "interrupt.h"
#include "keys.h"

static const char BRACKETS_ON[] = "\033[?2004h", BRACKETS_OFF[] = "\033[?2004l";

static volatile sig_atomic_t ending, resized, continued, stopping; /* signals that came during a read */

static void note(int number)
{
	if (number == SIGWINCH)
		resized = 1;
	else if (number == SIGCONT)
		continued = 1;
	else if (number == SIGTSTP)
		stopping = 1;
	else
		ending = number;
}

static struct keys *keys_of(EditLine *editor)
{
	void *keys;
	el_get(editor, EL_CLIENTDATA, &keys);
	return keys;
}

/* --- Drawing ----------------------------------------------------------------------------------------------------- */

/* The width of the terminal; 0: not known. */
static int columns_now(void)
{
	struct winsize size;
	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

/* Where the cursor is in a line that was drawn on a terminal of another width. */
struct place {
	int drawn;     /* columns of the row that libedit has drawn */
	int row, used; /* of the terminal as it is, and columns of that row */
};

/* A terminal breaks anew what has filled a row. Where a wide character did not fit, libedit began a row of its own. */
static void pass(struct place *place, int width, int before, int now)
{
	bool fits = place->drawn + width <= before, filled = place->drawn == before;
	if (place->used + width > now || (!fits && !filled)) {
		place->row++;
		place->used = 0;
	}
	place->drawn = (fits ? place->drawn : 0) + width;
	place->used += width;
}

/* How many rows the cursor is below the first of the line, on a terminal that has now another width than before. */
static int rows_above(int margin, const LineInfoW *line, int before, int now)
{
	struct place place = {.drawn = 0};
	if (before <= 0 || now <= 0)
		return 0;
	for (int i = 0; i < margin; i++)
		pass(&place, 1, before, now);
	for (const wchar_t *at = line->buffer; at < line->cursor; at++) {
		int width = wcwidth(*at);
		if (*at == L'\n') {
			place = (struct place){.row = place.row + 1};
		} else if (width < 0) { /* a control character is shown as ^X */
			pass(&place, 1, before, now);
			pass(&place, 1, before, now);
		} else {
			pass(&place, width, before, now);
		}
	}
	return place.row + (place.drawn == before || place.used == now); /* the cursor stands in the next one */
}

/* Draws the line anew where it is. libedit would draw it behind itself: it does not know where the cursor is. */
static void draw_again(EditLine *editor)
{
	struct keys *keys = keys_of(editor);
	int now = columns_now(), above = resized ? rows_above(keys->margin, el_wline(editor), keys->columns, now) : 0;
	keys->columns = now;
	if (above > 0)
		printf("\033[%dA", above);
	printf("\r\033[J");
	if (resized)
		el_resize(editor);
	if (continued) { /* the shell has put the terminal back, which libedit does not know: it would leave it so */
		el_set(editor, EL_PREP_TERM, 0);
		el_set(editor, EL_PREP_TERM, 1);
		printf("%s", BRACKETS_ON);
	}
	resized = continued = 0;
	el_set(editor, EL_REFRESH);
}

/* Stops as Ctrl-Z says, with the terminal put back. Returns when the program goes on. */
static void stop(EditLine *editor)
{
	struct sigaction by_default = {.sa_handler = SIG_DFL}, ours;
	sigset_t only;
	el_set(editor, EL_PREP_TERM, 0);
	printf("%s", BRACKETS_OFF);
	fflush(stdout);
	sigemptyset(&by_default.sa_mask);
	sigemptyset(&only);
	sigaddset(&only, SIGTSTP);
	sigaction(SIGTSTP, &by_default, &ours);
	raise(SIGTSTP);
	sigprocmask(SIG_UNBLOCK, &only, NULL); /* here */
	sigprocmask(SIG_BLOCK, &only, NULL);
	sigaction(SIGTSTP, &ours, NULL);
	stopping = 0;
	continued = 1;
}

/* --- Reading ----------------------------------------------------------------------------------------------------- */

/* Waits for input; signals come in here only. False when the read is to end. */
static bool wait_for_input(EditLine *editor, const sigset_t *open)
{
	for (;;) {
		struct pollfd descriptor = {.fd = STDIN_FILENO, .events = POLLIN};
		if (interrupt_is_pending() || ending)
			return false;
		if (stopping)
			stop(editor);
		if (resized || continued)
			draw_again(editor);
		int ready = ppoll(&descriptor, 1, NULL, open);
		if (ready < 0 && errno != EINTR)
			return false;
		/* With both there, ppoll tells of the input and leaves the signal; but Ctrl-C was typed before it. */
		ppoll(NULL, 0, &(struct timespec){0}, open);
		/* And a key that is taken before the line is drawn anew would be drawn where the line was. */
		if (ready > 0 && !interrupt_is_pending() && !ending && !stopping && !resized && !continued)
			return true;
	}
}

static const int heard[KEYS_SIGNALS] = {SIGWINCH, SIGCONT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};

/* One character: 1, 0 at the end of the input, -1 when the read is to end. */
static int read_key(EditLine *editor, wchar_t *key)
{
	mbstate_t state = {0};
	sigset_t open;
	sigprocmask(SIG_SETMASK, NULL, &open);
	sigdelset(&open, SIGINT);
	for (size_t i = 0; i < KEYS_SIGNALS; i++)
		sigdelset(&open, heard[i]);
	for (;;) {
		char byte;
		if (!wait_for_input(editor, &open))
			return -1;
		ssize_t got = read(STDIN_FILENO, &byte, 1);
		if (got <= 0)
			return (int)got;
		size_t size = mbrtowc(key, &byte, 1, &state);
		if (size == (size_t)-2)
			continue; /* there is more of it */
		if (size == (size_t)-1)
			*key = L'?';
		return 1;
	}
}

static unsigned char begin_paste(EditLine *editor, int key)
{
	(void)key;
	keys_of(editor)->is_pasting = true;
	return CC_NORM;
}

static unsigned char end_paste(EditLine *editor, int key)
{
	(void)key;
	keys_of(editor)->is_pasting = false;
	return CC_NORM;
}

void keys_bind(EditLine *editor)
{
	el_set(editor, EL_GETCFN, read_key);
	el_set(editor, EL_SIGNAL, 0);
	el_set(editor, EL_ADDFN, "keel-begin-paste", "takes what comes as it is", begin_paste);
	el_set(editor, EL_ADDFN, "keel-end-paste", "takes what comes as keys", end_paste);
	el_set(editor, EL_BIND, "\\e[200~", "keel-begin-paste", NULL);
	el_set(editor, EL_BIND, "\\e[201~", "keel-end-paste", NULL);
}

void keys_begin(struct keys *keys, int margin)
{
	struct sigaction how = {.sa_handler = note};
	struct pollfd descriptor = {.fd = STDIN_FILENO, .events = POLLIN};
	sigset_t blocked;
	keys->margin = margin;
	keys->columns = columns_now();
	if (keys->is_pasting && poll(&descriptor, 1, 0) == 0)
		keys->is_pasting = false; /* a chunk has read the end of it */
	sigemptyset(&how.sa_mask);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGINT);
	ending = resized = continued = stopping = 0;
	for (size_t i = 0; i < KEYS_SIGNALS; i++) {
		sigaddset(&blocked, heard[i]);
		sigaction(heard[i], &how, &keys->before[i]);
		if (keys->before[i].sa_handler == SIG_IGN) /* as nohup has it, or a shell without jobs */
			sigaction(heard[i], &keys->before[i], NULL);
	}
	sigprocmask(SIG_BLOCK, &blocked, &keys->mask);
	printf("%s", BRACKETS_ON);
}

int keys_end(struct keys *keys)
{
	printf("%s", BRACKETS_OFF);
	fflush(stdout);
	if (interrupt_is_pending())
		keys->is_pasting = false;
	for (size_t i = 0; i < KEYS_SIGNALS; i++)
		sigaction(heard[i], &keys->before[i], NULL);
	sigprocmask(SIG_SETMASK, &keys->mask, NULL);
	return ending;
}

#endif
