/* support_disk.c - the disk that loses power. Uses: the default VFS. */
#include "support_disk.h"

#include <unistd.h>

#include <sqlite3.h>

enum { SECTOR = 512, FILES = 3 };

static const char *const endings[FILES] = {"", "-wal", "-journal"};

enum kind { WRITE, TRUNCATE, SYNC, SYNC_FAILED, MAKE, DELETE, SYNC_FOLDER };

struct call {
	enum kind kind;
	int file;
	int64_t offset; /* of TRUNCATE: the size */
	size_t size;
	unsigned char *data;
};

static struct {
	sqlite3_vfs vfs, *real;
	bool recording, leaves_out_syncs;
	struct call *calls;
	size_t count, capacity;
	enum disk_fault fault;
	size_t fault_at;
	bool for_good, failed;
} disk;

struct open_file {
	sqlite3_file head;
	int file; /* -1: none of ours */
	bool is_new;
	sqlite3_file *real;
};

/* --- Recording ---------------------------------------------------------------------------------------------------- */

static int file_of(const char *name)
{
	size_t size = strlen(world.path);
	if (!disk.recording || !name || strncmp(name, world.path, size) != 0)
		return -1;
	for (int i = 0; i < FILES; i++)
		if (strcmp(name + size, endings[i]) == 0)
			return i;
	return -1;
}

static void record(struct call call, const void *data)
{
	if (disk.count == disk.capacity) {
		disk.capacity = disk.capacity ? disk.capacity * 2 : 256;
		disk.calls = realloc(disk.calls, disk.capacity * sizeof *disk.calls);
		must(disk.calls != NULL);
	}
	if (data) {
		call.data = malloc(call.size + 1);
		must(call.data != NULL);
		memcpy(call.data, data, call.size);
	}
	disk.calls[disk.count++] = call;
}

/* Whether this call is the one to fail. */
static bool fails(bool sync)
{
	bool of_syncs = disk.fault == DISK_SYNC_FAILS;
	if (disk.fault == DISK_SOUND || of_syncs != sync || disk.count < disk.fault_at || (disk.failed && !disk.for_good))
		return false;
	return disk.failed = true;
}

static struct open_file *own(sqlite3_file *file)
{
	return (struct open_file *)(void *)file;
}

static int disk_write(sqlite3_file *base, const void *data, int size, sqlite3_int64 offset)
{
	struct open_file *file = own(base);
	int failure = SQLITE_OK;
	if (file->file >= 0 && fails(false)) {
		failure = disk.fault == DISK_FULL ? SQLITE_FULL : SQLITE_IOERR_WRITE;
		if (disk.fault != DISK_SHORT)
			return failure;
		size /= 2;
	}
	if (file->file >= 0)
		record((struct call){WRITE, file->file, offset, (size_t)size, NULL}, data);
	int rc = file->real->pMethods->xWrite(file->real, data, size, offset);
	return failure != SQLITE_OK ? failure : rc;
}

static int disk_truncate(sqlite3_file *base, sqlite3_int64 size)
{
	struct open_file *file = own(base);
	if (file->file >= 0)
		record((struct call){TRUNCATE, file->file, size, 0, NULL}, NULL);
	return file->real->pMethods->xTruncate(file->real, size);
}

static int disk_sync(sqlite3_file *base, int flags)
{
	struct open_file *file = own(base);
	if (file->file >= 0 && fails(true)) {
		record((struct call){SYNC_FAILED, file->file, 0, 0, NULL}, NULL);
		return SQLITE_IOERR_FSYNC;
	}
	if (file->file >= 0 && !disk.leaves_out_syncs) {
		record((struct call){SYNC, file->file, 0, 0, NULL}, NULL);
		/* SQLite syncs the folder with the first sync of a log or journal that it made. */
		if (file->is_new && file->file > 0)
			record((struct call){SYNC_FOLDER, file->file, 0, 0, NULL}, NULL);
		file->is_new = false;
	}
	(void)flags; /* a real sync would only take time */
	return SQLITE_OK;
}

/* --- Passing on --------------------------------------------------------------------------------------------------- */

static int disk_close(sqlite3_file *base)
{
	return own(base)->real->pMethods->xClose(own(base)->real);
}
static int disk_read(sqlite3_file *base, void *data, int size, sqlite3_int64 offset)
{
	return own(base)->real->pMethods->xRead(own(base)->real, data, size, offset);
}
static int disk_size(sqlite3_file *base, sqlite3_int64 *size)
{
	return own(base)->real->pMethods->xFileSize(own(base)->real, size);
}
static int disk_lock(sqlite3_file *base, int level)
{
	return own(base)->real->pMethods->xLock(own(base)->real, level);
}
static int disk_unlock(sqlite3_file *base, int level)
{
	return own(base)->real->pMethods->xUnlock(own(base)->real, level);
}
static int disk_check_lock(sqlite3_file *base, int *locked)
{
	return own(base)->real->pMethods->xCheckReservedLock(own(base)->real, locked);
}
static int disk_control(sqlite3_file *base, int op, void *argument)
{
	return own(base)->real->pMethods->xFileControl(own(base)->real, op, argument);
}
static int disk_sector(sqlite3_file *base)
{
	return own(base)->real->pMethods->xSectorSize(own(base)->real);
}
/* A disk that promises nothing: no atomic writes, no order, and a power cut may spoil what is beside a write not. */
static int disk_traits(sqlite3_file *base)
{
	return own(base)->real->pMethods->xDeviceCharacteristics(own(base)->real) & SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}
static int disk_shm_map(sqlite3_file *base, int page, int size, int extend, void volatile **memory)
{
	return own(base)->real->pMethods->xShmMap(own(base)->real, page, size, extend, memory);
}
static int disk_shm_lock(sqlite3_file *base, int offset, int count, int flags)
{
	return own(base)->real->pMethods->xShmLock(own(base)->real, offset, count, flags);
}
static void disk_shm_barrier(sqlite3_file *base)
{
	own(base)->real->pMethods->xShmBarrier(own(base)->real);
}
static int disk_shm_unmap(sqlite3_file *base, int remove)
{
	return own(base)->real->pMethods->xShmUnmap(own(base)->real, remove);
}

static const sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = disk_close,
	.xRead = disk_read,
	.xWrite = disk_write,
	.xTruncate = disk_truncate,
	.xSync = disk_sync,
	.xFileSize = disk_size,
	.xLock = disk_lock,
	.xUnlock = disk_unlock,
	.xCheckReservedLock = disk_check_lock,
	.xFileControl = disk_control,
	.xSectorSize = disk_sector,
	.xDeviceCharacteristics = disk_traits,
	.xShmMap = disk_shm_map,
	.xShmLock = disk_shm_lock,
	.xShmBarrier = disk_shm_barrier,
	.xShmUnmap = disk_shm_unmap,
};

static int disk_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags, int *out_flags)
{
	struct open_file *file = own(base);
	(void)vfs;
	file->real = (sqlite3_file *)(file + 1);
	file->file = file_of(name);
	file->is_new = file->file >= 0 && access(name, F_OK) != 0;
	if (file->is_new)
		record((struct call){MAKE, file->file, 0, 0, NULL}, NULL);
	int rc = disk.real->xOpen(disk.real, name, file->real, flags, out_flags);
	file->head.pMethods = file->real->pMethods ? &methods : NULL;
	return rc;
}

static int disk_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
	int file = file_of(name);
	(void)vfs;
	if (file >= 0)
		record((struct call){DELETE, file, 0, 0, NULL}, NULL);
	if (file >= 0 && sync)
		record((struct call){SYNC_FOLDER, file, 0, 0, NULL}, NULL);
	return disk.real->xDelete(disk.real, name, 0);
}

void disk_begin(void)
{
	disk_end();
	if (!disk.real) {
		disk.real = sqlite3_vfs_find(NULL);
		disk.vfs = *disk.real;
		disk.vfs.zName = "power";
		disk.vfs.szOsFile = (int)sizeof(struct open_file) + disk.real->szOsFile;
		disk.vfs.xOpen = disk_open;
		disk.vfs.xDelete = disk_delete;
	}
	sqlite3_vfs_register(&disk.vfs, 1);
	disk.recording = true;
}

void disk_end(void)
{
	for (size_t i = 0; i < disk.count; i++)
		free(disk.calls[i].data);
	free(disk.calls);
	disk.calls = NULL;
	disk.count = disk.capacity = 0;
	disk.recording = disk.leaves_out_syncs = disk.failed = false;
	disk.fault = DISK_SOUND;
	if (disk.real)
		sqlite3_vfs_register(disk.real, 1);
}

size_t disk_calls(void)
{
	return disk.count;
}

void disk_fail(enum disk_fault fault, size_t n, bool for_good)
{
	disk.fault = fault;
	disk.fault_at = n;
	disk.for_good = for_good;
	disk.failed = false;
}

bool disk_has_failed(void)
{
	return disk.failed;
}

void disk_leave_out_syncs(bool leave_out)
{
	disk.leaves_out_syncs = leave_out;
}

/* --- After the cut ------------------------------------------------------------------------------------------------ */

/* A file as it is on the disk. */
struct image {
	unsigned char *data;
	size_t size, capacity;
	bool there;
};

static void resize(struct image *image, size_t size)
{
	if (size > image->capacity) {
		image->capacity = size * 2;
		image->data = realloc(image->data, image->capacity);
		must(image->data != NULL);
	}
	if (size > image->size)
		memset(image->data + image->size, 0, size - image->size);
	image->size = size;
}

static bool is_lucky(enum disk_luck luck, uint64_t *chance)
{
	return luck == LUCK_ALL || (luck == LUCK_CHANCE && chance_below(chance, 2) == 0);
}

static void apply_write(struct image *image, const struct call *call, enum disk_luck luck, uint64_t *chance)
{
	for (size_t done = 0; done < call->size;) {
		size_t at = (size_t)call->offset + done;
		size_t part = SECTOR - at % SECTOR;
		part = part < call->size - done ? part : call->size - done;
		if (is_lucky(luck, chance)) {
			if (at + part > image->size)
				resize(image, at + part);
			memcpy(image->data + at, call->data + done, part);
		}
		done += part;
	}
}

/* Whether the power cannot take what call number i did. Content is safe by the next sync of its file; after one that
 * failed it may be gone, whatever later ones say: the system has forgotten that it was to be written. Names are safe by
 * the next sync of the folder. */
static bool is_safe(size_t i, size_t calls)
{
	const struct call *call = &disk.calls[i];
	bool is_name = call->kind == MAKE || call->kind == DELETE;
	for (i++; i < calls; i++) {
		enum kind kind = disk.calls[i].kind;
		if (is_name && kind == SYNC_FOLDER)
			return true;
		if (!is_name && disk.calls[i].file == call->file && (kind == SYNC || kind == SYNC_FAILED))
			return kind == SYNC;
	}
	return false;
}

/* Does to a file what is durable of the first calls, and as many of the others as luck has it. A name that was not made
 * or not deleted leads to what it led to before, whatever came of the file itself. */
static void apply(struct image *image, int file, size_t calls, enum disk_luck luck, uint64_t *chance)
{
	for (size_t i = 0; i < calls; i++) {
		const struct call *call = &disk.calls[i];
		if (call->file != file)
			continue;
		bool names_a_file = call->kind == MAKE || call->kind == DELETE;
		enum disk_luck its = is_safe(i, calls) ? LUCK_ALL : luck;
		if (call->kind == WRITE)
			apply_write(image, call, its, chance);
		else if (call->kind == TRUNCATE && is_lucky(its, chance))
			resize(image, (size_t)call->offset);
		else if (names_a_file && !is_lucky(its, chance))
			return;
		else if (call->kind == MAKE)
			image->there = true;
		else if (call->kind == DELETE)
			*image = (struct image){.data = image->data, .capacity = image->capacity};
	}
}

void disk_cut(size_t calls, enum disk_luck luck, uint64_t *chance)
{
	char name[256];
	disk.recording = false; /* who looks at it is not part of it */
	for (int file = 0; file < FILES; file++) {
		struct image image = {0};
		image.there = file == 0; /* it is made before SQLite is called */
		apply(&image, file, calls, luck, chance);
		snprintf(name, sizeof name, "%s%s", world.path, endings[file]);
		if (image.there)
			write_file(name, image.data ? (const void *)image.data : "", image.size);
		else
			unlink(name);
		free(image.data);
	}
	snprintf(name, sizeof name, "%s-shm", world.path);
	unlink(name);
}
