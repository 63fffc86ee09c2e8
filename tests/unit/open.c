/* open.c - opening: options, paths, and files that are no store. */
#include "support.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include <keel/event.h>

/* Fixture: whether a refused path keeps its bytes, and the message names it. */
static enum keel_code try_open(const char *path)
{
	struct keel_store *store;
	enum keel_code code = keel_store_open(path, &world.options, &store, &why);
	if (code == KEEL_OK)
		keel_store_close(store);
	else
		must(store == NULL);
	return code;
}

static void refused_untouched(enum keel_code wanted, const char *path)
{
	size_t before_size, after_size;
	char *before = read_file(path, &before_size);
	enum keel_code code = try_open(path);
	char *after = read_file(path, &after_size);
	bool same = before_size == after_size && memcmp(before, after, before_size) == 0;
	free(before);
	free(after);
	if (code != wanted || !same || !strstr(why.message, path))
		fail_msg("%s: %s, %s: %s", path, keel_code_name(code), same ? "untouched" : "changed", why.message);
}

static struct keel_store *open_at(const char *path)
{
	struct keel_store *store;
	succeed(keel_store_open(path, &world.options, &store, &why));
	return store;
}

static mode_t mode_of(const char *path)
{
	struct stat info;
	assert_int_equal(stat(path, &info), 0);
	return info.st_mode & 07777;
}

/* --- Success ----------------------------------------------------------------------------------------------------- */

/* By default a store is durable, writable, created, and waits five seconds for a lock. */
TEST(defaults)
{
	struct keel_store_options options;
	keel_store_options_init(&options);
	assert_int_equal(options.durability, KEEL_DURABILITY_FULL);
	assert_true(options.create && !options.readonly && options.lock_timeout_us == 5000000 && !options.owner);
	struct keel_store *store;
	succeed(keel_store_open(world.path, NULL, &store, &why));
	assert_string_equal(keel_store_backend(store), "sqlite");
	assert_string_equal(keel_store_path(store), world.path);
	assert_true(keel_store_usable(store));
	keel_store_close(store);
}

/* A new file belongs to its maker alone, with what SQLite and Keel put beside it, whatever the umask. */
TEST(files_are_private)
{
	mode_t before = umask(0);
	world.store = open_at(world.path);
	put_pending("r", "t");
	umask(before);
	assert_int_equal(mode_of(world.path), 0600);
	assert_int_equal(mode_of(in_folder("store-wal")), 0600);
	assert_int_equal(mode_of(in_folder("store-sessions")), 0600);
}

/* Two stores in memory are two stores, and leave nothing behind. */
TEST(memory_stores_are_separate)
{
	struct keel_store *other = open_at(":memory:");
	world.store = open_at(":memory:");
	put_pending("r", "t");
	assert_string_equal(keel_store_backend(world.store), "memory");
	assert_string_equal(keel_store_path(world.store), "");
	assert_string_not_equal(keel_store_epoch(world.store), keel_store_epoch(other));
	world.store = (keel_store_close(world.store), other);
	assert_false(is_there("r"));
	assert_false(file_exists(":memory:"));
}

/* Everything is there when the store is opened again; the epoch stays. */
TEST(stores_last)
{
	char epoch[KEEL_UUID_SIZE];
	world.store = open_at(world.path);
	put_pending("r", "t");
	snprintf(epoch, sizeof epoch, "%s", keel_store_epoch(world.store));
	reopen_store();
	assert_string_equal(keel_store_epoch(world.store), epoch);
	assert_true(is_there("r"));
}

/* Every durability opens the same store. */
TEST(durabilities)
{
	char id[2] = "a";
	for (enum keel_durability d = KEEL_DURABILITY_FULL; d <= KEEL_DURABILITY_OFF; d++, id[0]++) {
		world.options.durability = d;
		reopen_store();
		put_pending(id, "t");
	}
	assert_string_equal(ids_inflight("t"), "a b c");
}

/* A relative path is taken from where the process is when it opens, and shown in full. */
TEST(relative_paths)
{
	char *before = getcwd(NULL, 0);
	assert_int_equal(chdir(world.folder), 0);
	world.store = open_at("store");
	assert_int_equal(chdir("/"), 0);
	put_pending("r", "t");
	assert_string_equal(keel_store_path(world.store), world.path);
	assert_true(file_exists(world.path) && file_exists(in_folder("store-sessions")));
	assert_int_equal(chdir(before), 0);
	free(before);
}

/* All names of a file lead to one store and one side file. */
TEST(symbolic_links)
{
	char link[256];
	snprintf(link, sizeof link, "%s", in_folder("link"));
	world.store = open_at(world.path);
	put_pending("r", "t");
	assert_int_equal(symlink(world.path, link), 0);
	struct keel_store *other = open_at(link);
	assert_string_equal(keel_store_path(other), world.path);
	struct keel_store *mine = world.store;
	world.store = other;
	put_pending("s", "t");
	int64_t session;
	bool alive;
	succeed(keel_store_session(mine, &session, &why));
	succeed(keel_store_session_alive(other, session, &alive, &why));
	assert_true(alive && is_there("r"));
	assert_false(file_exists(in_folder("link-sessions")));
	world.store = (keel_store_close(other), mine);
}

/* A file may have any name: none of SQLite's own notations is taken for more than that. */
TEST(odd_names)
{
	static const char *const names[] = {"file:x?mode=memory", ":memory:x", "a b\tc", "ünï😀",
										"%41?x=1#y",          "-",         "'\"`;--"};
	char *before = getcwd(NULL, 0);
	assert_int_equal(chdir(world.folder), 0);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		for (int absolute = 0; absolute < 2; absolute++) {
			struct keel_store *store = open_at(absolute ? in_folder(names[i]) : names[i]);
			assert_string_equal(keel_store_path(store), in_folder(names[i]));
			assert_string_equal(keel_store_backend(store), "sqlite");
			keel_store_close(store);
		}
		assert_true(file_exists(names[i]));
	}
	assert_int_equal(chdir(before), 0);
	free(before);
}

/* An empty file is a place for a new store. */
TEST(empty_files)
{
	write_file(world.path, "", 0);
	world.store = open_at(world.path);
	put_pending("r", "t");
}

/* The owner's name is kept with the session; by default it is host and process. */
TEST(owners)
{
	struct keel_sessions list = {0};
	char owner[] = "me", process[32];
	world.options.owner = owner;
	world.store = open_at(world.path);
	strcpy(owner, "xx"); /* it was copied */
	put_pending("r", "t");
	world.options.owner = NULL;
	struct keel_store *other = open_at(world.path);
	int64_t session;
	succeed(keel_store_session(other, &session, &why));
	succeed(keel_store_sessions(other, &list, &why));
	snprintf(process, sizeof process, ":%d", (int)getpid());
	assert_int_equal(list.count, 2);
	assert_true(same_text(list.items[0].owner, text("me")) && strstr(list.items[1].owner.data, process));
	keel_sessions_clear(&list);
	keel_store_close(other);
}

/* --- Read-only --------------------------------------------------------------------------------------------------- */

/* A read-only handle reads, has no session, and refuses every write. */
TEST(readonly_never_writes)
{
	struct keel_run run = run_of("x", "t");
	struct keel_status_change change = {.status = KEEL_RUN_RUNNING};
	struct keel_event event = {.kind = text("a")};
	int64_t session = 7;
	bool is;
	world.store = open_at(world.path);
	put_pending("r", "t");
	world.options.readonly = true;
	reopen_store();
	assert_true(is_there("r") && newest_event() == 1);
	succeed(keel_store_session(world.store, &session, &why));
	assert_int_equal(session, 0);
	refuse(STORE_READONLY, keel_run_put(world.store, &run, nothing, NULL, &why));
	refuse(STORE_READONLY, keel_run_update_status(world.store, text("r"), &change, &is, NULL, &why));
	refuse(STORE_READONLY, keel_run_delete(world.store, text("r"), &is, &why));
	refuse(STORE_READONLY, keel_event_append(world.store, &event, NULL, &why));
	refuse(STORE_READONLY, keel_store_begin(world.store, &why));
	assert_non_null(strstr(why.message, world.path));
}

/* A read-only handle makes no file, and takes an empty one for no store. */
TEST(readonly_makes_nothing)
{
	world.options.readonly = true;
	assert_int_equal(try_open(world.path), KEEL_STORE_MISSING);
	assert_false(file_exists(world.path));
	write_file(world.path, "", 0);
	refused_untouched(KEEL_STORE_CORRUPT, world.path);
}

/* --- Failure ----------------------------------------------------------------------------------------------------- */

/* Without create a missing file is missing, and is not made. */
TEST(create_false)
{
	world.options.create = false;
	assert_int_equal(try_open(world.path), KEEL_STORE_MISSING);
	assert_non_null(strstr(why.message, world.path));
	assert_false(file_exists(world.path));
}

/* A directory is never made, nor is a file taken for one. */
TEST(missing_folders)
{
	assert_int_equal(try_open(in_folder("none/store")), KEEL_STORE_MISSING);
	assert_false(file_exists(in_folder("none")));
	write_file(in_folder("plain"), "x", 1);
	assert_int_equal(try_open(in_folder("plain/store")), KEEL_STORE_MISSING);
}

/* A directory is no store, nor is anything else that is not a file; opening a pipe does not hang. */
TEST(not_regular_files)
{
	assert_int_equal(try_open(world.folder), KEEL_IO);
	assert_non_null(strstr(why.message, world.folder));
	assert_int_equal(mkfifo(world.path, 0600), 0);
	assert_int_equal(try_open(world.path), KEEL_IO);
	assert_int_equal(try_open("/dev/null"), KEEL_IO);
}

/* A name too long for the system, and a link that leads nowhere or in a circle, are the system's to refuse. */
TEST(impossible_paths)
{
	char name[6000];
	memset(name, 'x', sizeof name);
	name[0] = '/';
	name[sizeof name - 1] = '\0';
	assert_int_equal(try_open(name), KEEL_IO);
	assert_int_equal(symlink(world.path, world.path), 0);
	assert_int_equal(try_open(world.path), KEEL_IO);
}

/* Text, noise and bytes too few for a database are no database, and stay what they are. */
TEST(not_databases)
{
	static const size_t sizes[] = {1, 15, 16, 99, 100, 511, 512, 1000, 4096, 10000};
	char bytes[10000];
	memset(bytes, 'x', sizeof bytes);
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		write_file(world.path, bytes, sizes[i]);
		refused_untouched(KEEL_STORE_CORRUPT, world.path);
	}
	memcpy(bytes, "SQLite format 3", 16);
	write_file(world.path, bytes, sizeof bytes);
	refused_untouched(KEEL_STORE_CORRUPT, world.path);
}

/* A store cut short anywhere is found to be, and is not cut or grown any more. */
TEST(truncated_stores)
{
	size_t size;
	world.store = open_at(world.path);
	put_pending("r", "t");
	close_store();
	char *bytes = read_file(world.path, &size);
	for (size_t left = 1; left < size; left += left % 4096 == 4095 || left % 4096 == 0 ? 1 : 511) {
		write_file(world.path, bytes, left);
		refused_untouched(KEEL_STORE_CORRUPT, world.path);
	}
	free(bytes);
}

/* Another application's database is refused and left alone, whether it says whose it is or not. */
TEST(other_applications)
{
	raw_at(in_folder("a"), "CREATE TABLE theirs (x)");
	refused_untouched(KEEL_STORE_CORRUPT, in_folder("a"));
	raw_at(in_folder("b"), "PRAGMA application_id = 77; CREATE TABLE theirs (x)");
	refused_untouched(KEEL_STORE_CORRUPT, in_folder("b"));
	raw_at(in_folder("c"), "PRAGMA user_version = 1; CREATE TABLE runs (x)");
	refused_untouched(KEEL_STORE_CORRUPT, in_folder("c"));
	raw_at(in_folder("d"), "PRAGMA application_id = 77");
	refused_untouched(KEEL_STORE_CORRUPT, in_folder("d"));
}

/* A store made by a newer version is refused by that name and left alone. */
TEST(newer_stores)
{
	world.store = open_at(world.path);
	close_store();
	raw("PRAGMA user_version = 1000");
	refused_untouched(KEEL_STORE_VERSION, world.path);
	world.options.readonly = true;
	refused_untouched(KEEL_STORE_VERSION, world.path);
}

/* A store whose tables are not what its version says is damaged. */
TEST(wrong_schemas)
{
	world.store = open_at(world.path);
	close_store();
	raw("DELETE FROM store");
	assert_int_equal(try_open(world.path), KEEL_STORE_CORRUPT);
	raw("DROP TABLE runs");
	assert_int_equal(try_open(world.path), KEEL_STORE_CORRUPT);
	assert_non_null(strstr(why.message, "lacks the table runs"));
}

/* No uri and an unknown scheme are no request. */
TEST(bad_uris)
{
	static const char *const uris[] = {"", "http://x", "sqlite://x", "://", "file:///tmp/x"};
	for (size_t i = 0; i < sizeof uris / sizeof uris[0]; i++) {
		assert_int_equal(try_open(uris[i]), KEEL_INVALID_REQUEST);
		assert_string_equal(why.field, "uri");
	}
	assert_int_equal(try_open(NULL), KEEL_INVALID_REQUEST);
}

/* A store on a server needs a driver that this program has not brought. */
TEST(no_driver)
{
	assert_int_equal(try_open("postgresql://somebody:secret@host/db"), KEEL_NOT_SUPPORTED);
	assert_non_null(strstr(why.message, "keel.postgres"));
	assert_null(strstr(why.message, "secret"));
	refuse(NOT_SUPPORTED, keel_store_use_driver(NULL, &why));
}

/* Nor is no path for a backup. */
TEST(bad_backup_paths)
{
	world.store = open_at(":memory:");
	assert_int_equal(keel_store_backup(world.store, NULL, &why), KEEL_INVALID_REQUEST);
	assert_int_equal(keel_store_backup(world.store, "", &why), KEEL_INVALID_REQUEST);
	assert_string_equal(why.field, "path");
}

/* An owner's name that cannot be is refused. */
TEST(bad_owners)
{
	world.options.owner = "";
	assert_int_equal(try_open(world.path), KEEL_INVALID_REQUEST);
	assert_string_equal(why.field, "owner");
	world.options.owner = "a\nb";
	assert_int_equal(try_open(world.path), KEEL_INVALID_REQUEST);
	assert_false(file_exists(world.path));
}

static void refused_options(const char *field)
{
	assert_int_equal(try_open(":memory:"), KEEL_INVALID_REQUEST);
	assert_string_equal(why.field, field);
}

/* A durability that is none, and options that nobody has filled in, are refused. */
TEST(bad_options)
{
	world.options.durability = (enum keel_durability)3;
	refused_options("durability");
	world.options.durability = (enum keel_durability) - 1;
	refused_options("durability");
	world.options = (struct keel_store_options){0};
	refused_options("clock");
	world.options.clock = keel_clock_system();
	refused_options("ids");
	world.options.ids = keel_ids_uuid7();
	refused_options("sleep");
	struct keel_store_options defaults;
	keel_store_options_init(&defaults);
	world.options.sleep = defaults.sleep;
	refused_options("monotonic");
}

static enum keel_code no_id(void *data, char id[KEEL_UUID_SIZE])
{
	(void)data;
	(void)id;
	return KEEL_IO;
}

/* A source of ids that fails is the caller's code; nothing half-made is left to be taken for a store. */
TEST(failing_ids)
{
	struct keel_ids ids = world.options.ids;
	world.options.ids = (struct keel_ids){no_id, NULL};
	assert_int_equal(try_open(world.path), KEEL_IO);
	world.options.ids = ids;
	world.store = open_at(world.path);
	put_pending("r", "t");
}

/* Closing nothing is fine, and error detail is optional. */
TEST(optional_arguments)
{
	struct keel_store *store;
	keel_store_close(NULL);
	assert_int_equal(keel_store_open("", NULL, &store, NULL), KEEL_INVALID_REQUEST);
	assert_int_equal(keel_store_open(world.folder, NULL, &store, NULL), KEEL_IO);
}

/* --- Permissions ------------------------------------------------------------------------------------------------- */

/* In a child, since root may do anything: opens as somebody with no rights and says what came of it. */
static int play_nobody(int argc, char **argv)
{
	struct keel_store_options options;
	struct keel_store *store;
	keel_store_options_init(&options);
	if (geteuid() == 0)
		must(setgroups(0, NULL) == 0 && setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
	for (int i = 0; i + 1 < argc; i += 2) {
		options.readonly = strcmp(argv[i], "read") == 0;
		const char *code = keel_code_name(keel_store_open(argv[i + 1], &options, &store, &why));
		const char *folder = strstr(why.message, "its folder");
		child_says("%s%s%s", code, folder ? ": " : "", folder ? folder : "");
		keel_store_close(store);
	}
	_exit(0); /* LeakSanitizer cannot look at a process that changed its user */
}

/* Who may not read or write the file, or not make one in its folder, gets io; also who only wants to read, for SQLite
 * makes a file for that, but is told of the folder. */
TEST(permissions)
{
	world.store = open_at(world.path);
	close_store();
	assert_int_equal(chmod(world.path, 0444), 0);
	assert_int_equal(chmod(world.folder, 0555), 0);
	struct child child = start("nobody", "write", world.path, "read", world.path, "write", in_folder("new"), NULL);
	await(&child, "io");
	await(&child, "io: its folder cannot be written, so it is only read while others use it");
	await(&child, "io");
	assert_int_equal(finish_child(&child), 0);
	assert_int_equal(chmod(world.path, 0), 0);
	child = start("nobody", "read", world.path, "write", world.path, NULL);
	await(&child, "io");
	await(&child, "io");
	assert_int_equal(finish_child(&child), 0);
	assert_int_equal(chmod(world.folder, 0755), 0);
	assert_false(file_exists(in_folder("new")));
}

/* F-8: a second copy of SQLite in this process that has the file open: closing either would drop the locks of both. A
 * connection of the same copy, and a descriptor that was handed down, do no harm. */
TEST(another_copy_of_sqlite)
{
	Dl_info library;
	size_t size;
	sqlite3 *same = NULL;
	int fd;
	world.store = open_at(world.path);
	put_pending("r", "t");
	close_store();
	fd = open(world.path, O_RDONLY);
	assert_int_equal(sqlite3_open(world.path, &same), SQLITE_OK);
	world.store = open_at(world.path);
	close_store();
	sqlite3_close(same);
	close(fd);
	assert_true(dladdr(sqlite3_sourceid(), &library) != 0);
	char *bytes = read_file(library.dli_fname, &size);
	write_file(in_folder("copy.so"), bytes, size);
	free(bytes);
#ifdef __SANITIZE_ADDRESS__
	skip(); /* it does not bear two libraries of one name apart */
#else
	void *copy = dlopen(in_folder("copy.so"), RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
	if (!copy || !strstr(library.dli_fname, "sqlite"))
		skip(); /* linked in */
	sqlite3 *strange = NULL;
	int (*open_strange)(const char *, sqlite3 **);
	int (*close_strange)(sqlite3 *);
	*(void **)&open_strange = dlsym(copy, "sqlite3_open");
	*(void **)&close_strange = dlsym(copy, "sqlite3_close");
	world.store = open_at(world.path); /* the other copy has it not open */
	close_store();
	assert_int_equal(open_strange(world.path, &strange), SQLITE_OK);
	refuse(IO, keel_store_open(world.path, &world.options, &world.store, &why));
	assert_non_null(strstr(why.message, "another copy of SQLite"));
	assert_int_equal(close_strange(strange), SQLITE_OK);
	world.store = open_at(world.path);
	dlclose(copy);
#endif
}

/* F-40: a process that has changed its root goes on, and one whose file is gone meanwhile is told all the same. */
static int play_rooted(int argc, char **argv)
{
	struct keel_store *store;
	char line[16];
	must(argc == 2 && keel_store_open(argv[0], NULL, &store, &why) == KEEL_OK);
	if (chroot(argv[1]) != 0 || chdir("/") != 0)
		child_says("not allowed");
	for (int i = 0; i < 2; i++) {
		struct keel_event event = {.kind = text("rooted")};
		child_says("%s", keel_code_name(keel_event_append(store, &event, NULL, &why)));
		child_hears(line, sizeof line);
	}
	keel_store_close(store);
	_exit(0); /* LeakSanitizer, which would look at the end, finds no /proc under this root */
}

TEST(another_root)
{
	if (geteuid() != 0)
		skip();
	char empty[256];
	snprintf(empty, sizeof empty, "%s", in_folder("empty"));
	assert_int_equal(mkdir(empty, 0700), 0);
	struct child child = start("rooted", world.path, empty, NULL);
	await(&child, "ok");
	assert_int_equal(unlink(world.path), 0);
	say(&child, "gone");
	await(&child, "replaced");
	say(&child, "end");
	assert_int_equal(finish_child(&child), 0);
}

int main(int argc, char **argv)
{
	static const struct role roles[] = {{"nobody", play_nobody}, {"rooted", play_rooted}, {0}};
	const struct CMUnitTest tests[] = {
		WITH_FOLDER(defaults),
		WITH_FOLDER(files_are_private),
		WITH_FOLDER(memory_stores_are_separate),
		WITH_FOLDER(stores_last),
		WITH_FOLDER(durabilities),
		WITH_FOLDER(relative_paths),
		WITH_FOLDER(symbolic_links),
		WITH_FOLDER(odd_names),
		WITH_FOLDER(empty_files),
		WITH_FOLDER(owners),
		WITH_FOLDER(readonly_never_writes),
		WITH_FOLDER(readonly_makes_nothing),
		WITH_FOLDER(create_false),
		WITH_FOLDER(missing_folders),
		WITH_FOLDER(not_regular_files),
		WITH_FOLDER(impossible_paths),
		WITH_FOLDER(not_databases),
		WITH_FOLDER(truncated_stores),
		WITH_FOLDER(other_applications),
		WITH_FOLDER(newer_stores),
		WITH_FOLDER(wrong_schemas),
		WITH_FOLDER(bad_uris),
		WITH_FOLDER(no_driver),
		WITH_FOLDER(bad_backup_paths),
		WITH_FOLDER(bad_owners),
		WITH_FOLDER(bad_options),
		WITH_FOLDER(failing_ids),
		WITH_FOLDER(optional_arguments),
		WITH_FOLDER(permissions),
		WITH_FOLDER(another_copy_of_sqlite),
		WITH_FOLDER(another_root),
	};
	return RUN_TESTS(argc, argv, roles, tests);
}
