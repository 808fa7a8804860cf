/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counts allocator calls from inside a process. See count_preload.h. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/leakers/count_preload.h"

#define TABLE_BITS 21
#define TABLE_SIZE ((size_t)1 << TABLE_BITS)

struct remembered {
	uintptr_t addr; /* 0 = never used, GONE = was used */
	uint64_t size : 48;
	uint64_t generation : 16; /* of forks: an older one is inherited */
};

#define GONE ((uintptr_t)-1)

/* The page that the kernel clears in a forked child: a child that finds it empty has to take a slot
 * of its own. */
struct own_page {
	struct count_slot *slot;
	int lock;
};

static struct {
	void *(*malloc)(size_t bytes);
	void *(*calloc)(size_t count, size_t bytes);
	void *(*realloc)(void *old, size_t bytes);
	void (*free)(void *p);
	int (*posix_memalign)(void **out, size_t align, size_t bytes);
	void *(*aligned_alloc)(size_t align, size_t bytes);
	void *(*memalign)(size_t align, size_t bytes);
	void *(*valloc)(size_t bytes);
	void *(*pvalloc)(size_t bytes);
} next;

static struct count_file *file;
static struct own_page *own;
static struct remembered *table;
static struct count_slot spare; /* without COUNT_FILE the numbers go nowhere */
/* In private memory: a forked child begins with its parent's. */
static int64_t live_bytes, live_count, total_count;
static uint16_t generation;
static bool is_resolving; /* dlsym has no memory then, and can do without */

/* ---- set-up: at the first call, which the loader makes before there are threads ------------ */

static void *map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		_exit(99);
	return p;
}

static void open_file(void)
{
	const char *path = getenv("COUNT_FILE");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;

	if (fd < 0)
		return;
	file = mmap(NULL, sizeof(*file), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (file == MAP_FAILED)
		_exit(99);
}

static void resolve(void)
{
	is_resolving = true;
	next.malloc = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
	next.calloc = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "calloc");
	next.realloc = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
	next.free = (void (*)(void *))dlsym(RTLD_NEXT, "free");
	next.posix_memalign = (int (*)(void **, size_t, size_t))dlsym(RTLD_NEXT, "posix_memalign");
	next.aligned_alloc = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "aligned_alloc");
	next.memalign = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "memalign");
	next.valloc = (void *(*)(size_t))dlsym(RTLD_NEXT, "valloc");
	next.pvalloc = (void *(*)(size_t))dlsym(RTLD_NEXT, "pvalloc");
	is_resolving = false;
	table = map(TABLE_SIZE * sizeof(*table));
	own = map((size_t)sysconf(_SC_PAGESIZE));
	if (madvise(own, (size_t)sysconf(_SC_PAGESIZE), MADV_WIPEONFORK))
		_exit(99);
	open_file();
}

static void take_slot(void)
{
	struct count_slot *slot = &spare;

	if (file) {
		int64_t index = __atomic_fetch_add(&file->slot_cnt, 1, __ATOMIC_RELAXED);

		if (index < COUNT_SLOTS)
			slot = &file->slots[index];
	}
	slot->pid = getpid();
	prctl(PR_GET_NAME, slot->comm);
	slot->inherited_bytes = live_bytes;
	slot->inherited_count = live_count;
	slot->parent_alloc_count = total_count;
	generation++;
	own->slot = slot;
}

/* Returns whether calls can be passed on; false while dlsym looks for those to pass them on to. */
static bool ready(void)
{
	int saved = errno;

	if (is_resolving)
		return false;
	if (!own)
		resolve();
	if (!own->slot) {
		while (__atomic_exchange_n(&own->lock, 1, __ATOMIC_ACQUIRE))
			;
		if (!own->slot)
			take_slot();
		__atomic_store_n(&own->lock, 0, __ATOMIC_RELEASE);
	}
	errno = saved;
	return true;
}

/* ---- the books ----------------------------------------------------------------------------- */

static size_t start_of(uintptr_t addr)
{
	return (size_t)((addr >> 4) * 0x9e3779b97f4a7c15ULL >> (64 - TABLE_BITS));
}

static void lock(void)
{
	while (__atomic_exchange_n(&own->lock, 1, __ATOMIC_ACQUIRE))
		;
}

static void unlock(void)
{
	__atomic_store_n(&own->lock, 0, __ATOMIC_RELEASE);
}

/* Books a new block; returns it. */
static void *note_new(void *p, size_t bytes)
{
	size_t at = start_of((uintptr_t)p), left;

	if (!p)
		return NULL;
	lock();
	for (left = TABLE_SIZE; left && table[at].addr && table[at].addr != GONE; left--)
		at = (at + 1) & (TABLE_SIZE - 1);
	if (left)
		table[at] = (struct remembered){(uintptr_t)p, bytes, generation};
	else
		own->slot->blocks_lost++;
	own->slot->alloc_bytes += (int64_t)bytes;
	own->slot->alloc_count++;
	live_bytes += (int64_t)bytes;
	live_count++;
	total_count++;
	unlock();
	return p;
}

static struct remembered *find(void *p)
{
	size_t at = start_of((uintptr_t)p);

	for (size_t left = TABLE_SIZE; left && table[at].addr; left--) {
		if (table[at].addr == (uintptr_t)p)
			return &table[at];
		at = (at + 1) & (TABLE_SIZE - 1);
	}
	return NULL;
}

/* Forgets a block before the allocator can give its address to another thread. Returns whether it
 * was known. */
static bool forget(void *p, struct remembered *ret)
{
	struct remembered *entry;

	lock();
	entry = find(p);
	if (entry) {
		*ret = *entry;
		/* What ends a chain of probes may be empty again. */
		entry->addr =
			table[((size_t)(entry - table) + 1) & (TABLE_SIZE - 1)].addr ? GONE : 0;
	}
	unlock();
	return entry != NULL;
}

static void note_gone(bool known, struct remembered block)
{
	struct count_slot *slot = own->slot;
	int64_t bytes = (int64_t)block.size;

	lock();
	if (!known) {
		slot->unknown_frees++;
	} else {
		slot->free_bytes += bytes;
		slot->free_count++;
		slot->inherited_free_bytes += block.generation == generation ? 0 : bytes;
		slot->inherited_free_count += block.generation != generation;
		live_bytes -= bytes;
		live_count--;
	}
	unlock();
}

/* A realloc that failed: the block is still there. */
static void remember(struct remembered block)
{
	size_t at = start_of(block.addr);

	lock();
	while (table[at].addr && table[at].addr != GONE)
		at = (at + 1) & (TABLE_SIZE - 1);
	table[at] = block;
	unlock();
}

/* ---- the calls ----------------------------------------------------------------------------- */

void *malloc(size_t bytes)
{
	return ready() ? note_new(next.malloc(bytes), bytes) : NULL;
}

void *calloc(size_t count, size_t bytes)
{
	return ready() ? note_new(next.calloc(count, bytes), count * bytes) : NULL;
}

void free(void *p)
{
	struct remembered block = {0};
	bool known;

	if (!p || !ready())
		return;
	known = forget(p, &block);
	note_gone(known, block);
	next.free(p);
}

void *realloc(void *old, size_t bytes)
{
	struct remembered block = {0};
	bool known;
	void *p;

	if (!ready())
		return NULL;
	if (!old)
		return note_new(next.realloc(NULL, bytes), bytes);
	known = forget(old, &block);
	p = next.realloc(old, bytes);
	if (!p && bytes) {
		if (known)
			remember(block);
		return NULL;
	}
	note_gone(known, block);
	return note_new(p, bytes);
}

int posix_memalign(void **out, size_t align, size_t bytes)
{
	int err;

	if (!ready())
		return ENOMEM;
	err = next.posix_memalign(out, align, bytes);
	if (!err)
		note_new(*out, bytes);
	return err;
}

void *aligned_alloc(size_t align, size_t bytes)
{
	return ready() ? note_new(next.aligned_alloc(align, bytes), bytes) : NULL;
}

void *memalign(size_t align, size_t bytes)
{
	return ready() ? note_new(next.memalign(align, bytes), bytes) : NULL;
}

void *valloc(size_t bytes)
{
	return ready() ? note_new(next.valloc(bytes), bytes) : NULL;
}

void *pvalloc(size_t bytes)
{
	return ready() ? note_new(next.pvalloc(bytes), bytes) : NULL;
}
