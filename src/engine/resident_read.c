/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/resident_read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/heaps.h"
#include "engine/resident_stacks.h"
#include "python/pages.h"
#include "util/clock.h"
#include "util/procfs_smaps.h"
#include "util/remote.h"

#define MAX_HEAPS_A_MAP 1024
#define HEAP_PAGE 4096
#define MAX_BLOCKS_A_MAP 16384 /* looked for; a page that begins none counts, too */

/* The kernel goes through a mapping without a break, and changes of the mappings wait meanwhile:
 * 8 ms for each GiB of small pages. */
#define WALK_BYTES_PER_US (128ULL << 10)
#define MAX_LATE_NS NS_PER_MS

enum neighbour { NO_NEIGHBOUR, GUARD, FILE_DATA };

#define MAX_GUARD_BYTES (1 << 20)

struct reader {
	pid_t pid;
	const struct pool_scan *scan;
	size_t next_range; /* of the scan */
	uint64_t pool_bytes;
	struct resident_reading *out;
	struct page_map pages; /* opened when it is needed */
	struct page_runs runs;
	struct stack_pointers stacks;
	enum neighbour before; /* what ends at ... */
	uint64_t before_end;
};

static bool has_prefix(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

/* ---- what a mapping is by its name ----------------------------------------------------------- */

/* prctl(PR_SET_VMA_ANON_NAME); glibc from 2.39 on names its own where it is told to
 * (glibc.mem.decorate_maps). */
static bool is_anonymous(const struct proc_map *map)
{
	return !map->ino && !map->shared && (!map->path[0] || has_prefix(map->path, "[anon:"));
}

/* memfd_create(2), shm_open(3), shmget(2), and shared anonymous memory. */
static bool is_shared_memory(const struct proc_map *map)
{
	return has_prefix(map->path, "/memfd:") || has_prefix(map->path, "/dev/shm/") ||
	       has_prefix(map->path, "/SYSV") || has_prefix(map->path, "[anon_shmem:") ||
	       (map->shared && (has_prefix(map->path, "/dev/zero") || !map->path[0]));
}

static bool is_writable(const struct proc_map *map)
{
	return map->readable && map->writable && !map->shared;
}

/* ---- glibc's heaps of threads ---------------------------------------------------------------- */

static int open_pages(struct reader *reader)
{
	return reader->pages.fd >= 0 ? 0 : page_map__open(reader->pid, &reader->pages);
}

/* Counts what is in memory of a part of a mapping. */
static int count_resident(struct reader *reader, uint64_t start, uint64_t end, uint64_t *ret)
{
	uint64_t bytes = 0;
	int err;

	err = open_pages(reader);
	if (!err)
		err = page_map__list(&reader->pages, start, end, &reader->runs);
	for (size_t i = 0; !err && i < reader->runs.list.cnt; i++)
		bytes += reader->runs.list.items[i].end - reader->runs.list.items[i].start;
	if (!err)
		*ret = bytes;
	return err;
}

/* Whether the first page of a heap says so; one that is not in memory is left alone. */
static int read_heap(struct reader *reader, uint64_t addr, uint64_t *ret_bytes)
{
	struct thread_heap head;
	uint64_t resident;
	int err;

	*ret_bytes = 0;
	err = count_resident(reader, addr, addr + HEAP_PAGE, &resident);
	if (err || !resident)
		return err;
	err = thread_heap__read(reader->pid, addr, &head);
	if (!err)
		*ret_bytes = head.accessible;
	return err == -ENOENT ? 0 : err;
}

static int add_heap(struct reader *reader, uint64_t start, uint64_t end, uint64_t rss_bytes)
{
	struct resident_reading *out = reader->out;

	out->sums.heaps_bytes += rss_bytes;
	ledger__put(&out->ledger, LEDGER_HEAP_UNREAD, rss_bytes);
	out->heaps_mapped_bytes += end - start;
	return array_push(&out->heaps, ((struct heap_range){start, end}));
}

/* Finds the heaps in a mapping, which other memory may have become one with. */
static int take_heaps(struct reader *reader, const struct smaps_area *area, uint64_t *rest_bytes)
{
	const struct proc_map *map = area->map;
	uint64_t at = (map->start + THREAD_HEAP_BYTES - 1) & ~(THREAD_HEAP_BYTES - 1), bytes,
		 resident;
	int err = 0;

	for (int i = 0; !err && i < MAX_HEAPS_A_MAP && at >= map->start && at < map->end; i++) {
		uint64_t end;

		err = read_heap(reader, at, &bytes);
		if (err || !bytes) {
			at += THREAD_HEAP_BYTES;
			continue;
		}
		end = map->end - at < bytes ? map->end : at + bytes;
		resident = *rest_bytes;
		if (at != map->start || end != map->end)
			err = count_resident(reader, at, end, &resident);
		if (resident > *rest_bytes)
			resident = *rest_bytes;
		*rest_bytes -= resident;
		if (!err)
			err = add_heap(reader, at, end, resident);
		reader->out->sums.thread_heaps++;
		at += THREAD_HEAP_BYTES;
	}
	return err;
}

/* ---- pymalloc's pools ------------------------------------------------------------------------ */

/* Returns what the pools in a mapping take up: it may hold other memory, too. */
static uint64_t pools_in(struct reader *reader, const struct proc_map *map)
{
	const struct pool_scan *scan = reader->scan;
	uint64_t pools = 0;

	while (scan && reader->next_range < scan->ranges.cnt) {
		const struct pool_range *range = &scan->ranges.items[reader->next_range];

		if (range->start >= map->end)
			break;
		if (range->end > map->start)
			pools += range->pool_cnt;
		reader->next_range++;
	}
	return scan ? pools * scan->pool_bytes : 0;
}

/* ---- everything ------------------------------------------------------------------------------ */

/* A stack of a thread lies above pages that nobody may touch. */
static bool is_stack(struct reader *reader, const struct smaps_area *area)
{
	if (reader->before != GUARD || reader->before_end != area->map->start)
		return false;
	return area->no_huge ||
	       stack_pointers__any(&reader->stacks, reader->pid, area->map->start, area->map->end);
}

/* Data of a file that is zero at first; what was mapped behind it is one mapping with it. */
static bool is_zero_data(const struct reader *reader, const struct proc_map *map)
{
	return reader->before == FILE_DATA && reader->before_end == map->start && is_writable(map);
}

/* Puts what is left of a mapping into both accounts: nothing of it is of a file. */
static void put_anonymous(struct reader *reader, uint64_t *sum, enum ledger_part part,
			  uint64_t bytes)
{
	*sum += bytes;
	ledger__put(&reader->out->ledger, part, bytes);
}

/* malloc's blocks that have mappings of their own: their heads follow one another, but for what
 * other mappings have become one with theirs. */
static int take_big_blocks(struct reader *reader, const struct proc_map *map, uint64_t rest_bytes)
{
	uint64_t at = map->start, bytes, resident = 0;
	int err = 0;

	for (int i = 0; !err && i < MAX_BLOCKS_A_MAP && at < map->end; i++) {
		err = count_resident(reader, at, at + HEAP_PAGE, &resident);
		bytes = resident ? big_block__read(reader->pid, at, map->end) : 0;
		if (!bytes && at == map->start)
			break;
		if (!bytes) {
			at += HEAP_PAGE;
			continue;
		}
		resident = rest_bytes;
		if (!err && bytes != map->end - map->start)
			err = count_resident(reader, at, at + bytes, &resident);
		if (resident > rest_bytes)
			resident = rest_bytes;
		rest_bytes -= ledger__move(&reader->out->ledger, LEDGER_MAPPED, LEDGER_BIG_BLOCKS,
					   err ? 0 : resident);
		at += bytes;
	}
	return err;
}

static int note_huge(struct reader *reader, const struct smaps_area *area, enum ledger_part part)
{
	struct huge_area huge = {area->map->start, area->map->end, area->anon_huge_bytes, part};

	return huge.huge_bytes ? array_push(&reader->out->huge, huge) : 0;
}

/* What is left of a mapping is the program's, but for malloc's blocks. */
static int divide_mapped(struct reader *reader, const struct smaps_area *area, uint64_t rest_bytes)
{
	const uint64_t *parts = reader->out->ledger.part_bytes;
	uint64_t blocks = parts[LEDGER_BIG_BLOCKS];
	int err;

	err = take_big_blocks(reader, area->map, rest_bytes);
	if (err || rest_bytes != area->rss_bytes)
		return err;
	return note_huge(reader, area,
			 parts[LEDGER_BIG_BLOCKS] > blocks ? LEDGER_BIG_BLOCKS : LEDGER_MAPPED);
}

static int take_anonymous(struct reader *reader, const struct smaps_area *area)
{
	struct snap_resident *sums = &reader->out->sums;
	const struct proc_map *map = area->map;
	uint64_t rest = area->rss_bytes, pools;
	int err = 0;

	if (has_prefix(map->path, "[anon: glibc: pthread")) {
		put_anonymous(reader, &sums->stacks_bytes, LEDGER_THREAD_STACKS, rest);
		return note_huge(reader, area, LEDGER_THREAD_STACKS);
	}
	pools = pools_in(reader, map);
	if (rest && is_writable(map))
		err = take_heaps(reader, area, &rest);
	if (pools > rest)
		pools = rest;
	put_anonymous(reader, &reader->pool_bytes, LEDGER_OBJECTS_FREE, pools);
	rest -= pools;
	if (is_zero_data(reader, map)) {
		put_anonymous(reader, &sums->files_bytes, LEDGER_FILES, rest);
		sums->files_dirty_bytes +=
			area->private_dirty_bytes < rest ? area->private_dirty_bytes : rest;
	} else if (rest && is_stack(reader, area)) {
		put_anonymous(reader, &sums->stacks_bytes, LEDGER_THREAD_STACKS, rest);
		if (!err)
			err = note_huge(reader, area, LEDGER_THREAD_STACKS);
	} else {
		put_anonymous(reader, &sums->mapped_bytes, LEDGER_MAPPED, rest);
		if (!err && rest && !pools && is_writable(map))
			err = divide_mapped(reader, area, rest);
	}
	return err;
}

static int take_area(struct reader *reader, const struct smaps_area *area)
{
	struct snap_resident *sums = &reader->out->sums;
	struct ledger *ledger = &reader->out->ledger;
	const struct proc_map *map = area->map;

	sums->total_bytes += area->rss_bytes;
	sums->swapped_bytes += area->swap_bytes;
	ledger->swapped_bytes += area->swap_bytes;
	ledger->huge_bytes += area->anon_huge_bytes;
	if (!strcmp(map->path, "[heap]"))
		return add_heap(reader, map->start, map->end, area->rss_bytes);
	if (is_anonymous(map))
		return take_anonymous(reader, area);
	if (has_prefix(map->path, "[stack")) {
		put_anonymous(reader, &sums->stacks_bytes, LEDGER_MAIN_STACK, area->rss_bytes);
		return 0;
	}
	/* What was written of a private mapping, of shared memory too, is the process's own. */
	ledger__put(ledger, LEDGER_FILES, area->anon_bytes);
	if (is_shared_memory(map)) {
		sums->shared_bytes += area->rss_bytes;
		ledger->shared_bytes += area->rss_bytes - area->anon_bytes;
	} else {
		sums->files_bytes += area->rss_bytes;
		ledger->file_bytes += area->rss_bytes - area->anon_bytes;
		if (!map->shared)
			sums->files_dirty_bytes += area->private_dirty_bytes;
	}
	return 0;
}

static void note_neighbour(struct reader *reader, const struct proc_map *map)
{
	reader->before_end = map->end;
	reader->before = NO_NEIGHBOUR;
	if (is_anonymous(map) && !map->readable && !map->writable && !map->executable &&
	    map->end - map->start <= MAX_GUARD_BYTES)
		reader->before = GUARD;
	else if (map->ino && is_writable(map) && !is_shared_memory(map))
		reader->before = FILE_DATA;
}

/* What the pools take up is in blocks or free. */
static void divide_pools(struct reader *reader)
{
	struct snap_resident *sums = &reader->out->sums;
	uint64_t live = reader->scan ? reader->scan->live_bytes : 0;

	sums->objects_bytes = live < reader->pool_bytes ? live : reader->pool_bytes;
	sums->objects_kept_bytes = reader->pool_bytes - sums->objects_bytes;
	ledger__move(&reader->out->ledger, LEDGER_OBJECTS_FREE, LEDGER_OBJECTS,
		     sums->objects_bytes);
}

static bool is_late(uint64_t bytes, uint64_t left_ns)
{
	uint64_t walk_ns = bytes / WALK_BYTES_PER_US * 1000;

	return walk_ns > left_ns && walk_ns - left_ns > MAX_LATE_NS;
}

/* Whether one of the mappings alone may take longer than there is time; of each no more is in
 * memory than of the process. */
static int is_too_much(pid_t pid, uint64_t deadline_ns, bool *ret)
{
	uint64_t now_ns = clock_ns(CLOCK_MONOTONIC), rss_bytes = proc_rss_bytes(pid), most = 0;
	uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
	struct proc_maps maps = {0};
	int err = 0;

	if (is_late(rss_bytes, left_ns))
		err = proc_maps__read(pid, &maps);
	for (size_t i = 0; i < maps.maps.cnt; i++) {
		uint64_t bytes = maps.maps.items[i].end - maps.maps.items[i].start;

		most = bytes > most ? bytes : most;
	}
	proc_maps__free(&maps);
	*ret = is_late(most < rss_bytes ? most : rss_bytes, left_ns);
	return err;
}

/* Returns 1 when the time was not enough for all of them. */
static int take_areas(struct reader *reader, uint64_t deadline_ns)
{
	struct ledger *ledger = &reader->out->ledger;
	struct smaps smaps;
	struct smaps_area area;
	bool too_much;
	int got, err;

	err = is_too_much(reader->pid, deadline_ns, &too_much);
	if (err || too_much)
		return err ? err : 1;
	err = smaps__open(reader->pid, &smaps);
	if (err)
		return err;
	while (!err && (got = smaps__next(&smaps, &area)) > 0) {
		struct ledger before = *ledger;

		err = take_area(reader, &area);
		ledger__share(ledger, &before, area.pss_bytes);
		note_neighbour(reader, area.map);
		if (clock_ns(CLOCK_MONOTONIC) > deadline_ns)
			break;
	}
	smaps__close(&smaps);
	return err ? err : got;
}

static int read_areas(struct reader *reader, uint64_t deadline_ns)
{
	struct snap_resident *sums = &reader->out->sums;
	struct ledger *ledger = &reader->out->ledger;
	uint64_t rss_bytes = 0, anon_bytes = 0;
	int got = take_areas(reader, deadline_ns);

	if (got < 0)
		return got;
	if (got) {
		rss_bytes = proc_rss_bytes(reader->pid);
		anon_bytes = proc_anon_bytes(reader->pid);
	}
	divide_pools(reader);
	if (rss_bytes > sums->total_bytes) {
		sums->unread_bytes = rss_bytes - sums->total_bytes;
		sums->total_bytes = rss_bytes;
	}
	if (anon_bytes > ledger->anon_bytes)
		ledger__put(ledger, LEDGER_UNEXPLAINED, anon_bytes - ledger->anon_bytes);
	return sums->total_bytes ? 0 : -ESRCH;
}

int resident_reading__read(pid_t pid, const struct pool_scan *scan, uint64_t deadline_ns,
			   struct resident_reading *ret)
{
	struct reader reader = {.pid = pid, .scan = scan, .out = ret, .pages.fd = -1};
	int err;

	ret->heaps.cnt = ret->huge.cnt = 0;
	ret->heaps_mapped_bytes = 0;
	ret->sums = (struct snap_resident){0};
	ret->ledger = (struct ledger){0};
	err = read_areas(&reader, deadline_ns);
	ret->sums.is_known = ret->ledger.is_known = !err;
	page_map__close(&reader.pages);
	array_free(&reader.runs.list);
	stack_pointers__free(&reader.stacks);
	return err;
}

void resident_reading__free(struct resident_reading *reading)
{
	array_free(&reading->heaps);
	array_free(&reading->huge);
}
