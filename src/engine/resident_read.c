/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/resident_read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/resident_stacks.h"
#include "python/pages.h"
#include "util/clock.h"
#include "util/procfs_smaps.h"
#include "util/remote.h"

/*
 * glibc's arena.c on 64-bit machines: a thread's heap is aligned to 64 MiB, the most that it grows
 * to; the part in use is made accessible and begins with this.
 */
#define HEAP_BYTES (64ULL << 20)
#define HEAP_PAGE 4096
#define MAX_HEAPS_A_MAP 1024
#define MAX_ARENA_OFF 256 /* the first heap of an arena has the arena behind its head */

struct heap_head {
	uint64_t arena, previous, size, accessible;
};

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
	struct heap_head head;
	uint64_t resident;
	int err;

	*ret_bytes = 0;
	err = count_resident(reader, addr, addr + HEAP_PAGE, &resident);
	if (err || !resident)
		return err;
	err = remote_read(reader->pid, addr, &head, sizeof(head));
	if (err)
		return err == -EFAULT ? 0 : err;
	if (!head.size || head.size > head.accessible || head.accessible > HEAP_BYTES ||
	    head.accessible % HEAP_PAGE || !head.arena || head.arena % sizeof(uint64_t) ||
	    head.previous % HEAP_BYTES || head.previous == addr)
		return 0;
	if (!head.previous &&
	    (head.arena < addr + sizeof(head) || head.arena > addr + MAX_ARENA_OFF))
		return 0;
	*ret_bytes = head.accessible;
	return 0;
}

static int add_heap(struct reader *reader, uint64_t start, uint64_t end, uint64_t rss_bytes)
{
	struct resident_reading *out = reader->out;

	out->sums.heaps_bytes += rss_bytes;
	out->heaps_mapped_bytes += end - start;
	return array_push(&out->heaps, ((struct heap_range){start, end}));
}

/* Finds the heaps in a mapping, which other memory may have become one with. */
static int take_heaps(struct reader *reader, const struct smaps_area *area, uint64_t *rest_bytes)
{
	const struct proc_map *map = area->map;
	uint64_t at = (map->start + HEAP_BYTES - 1) & ~(HEAP_BYTES - 1), bytes, resident;
	int err = 0;

	for (int i = 0; !err && i < MAX_HEAPS_A_MAP && at >= map->start && at < map->end; i++) {
		uint64_t end;

		err = read_heap(reader, at, &bytes);
		if (err || !bytes) {
			at += HEAP_BYTES;
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
		at += HEAP_BYTES;
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

static int take_anonymous(struct reader *reader, const struct smaps_area *area)
{
	struct snap_resident *sums = &reader->out->sums;
	const struct proc_map *map = area->map;
	uint64_t rest = area->rss_bytes, pools;
	int err = 0;

	if (has_prefix(map->path, "[anon: glibc: pthread")) {
		sums->stacks_bytes += rest;
		return 0;
	}
	pools = pools_in(reader, map);
	if (rest && is_writable(map))
		err = take_heaps(reader, area, &rest);
	if (pools > rest)
		pools = rest;
	reader->pool_bytes += pools;
	rest -= pools;
	if (is_zero_data(reader, map)) {
		sums->files_bytes += rest;
		sums->files_dirty_bytes +=
			area->private_dirty_bytes < rest ? area->private_dirty_bytes : rest;
	} else if (rest && is_stack(reader, area)) {
		sums->stacks_bytes += rest;
	} else {
		sums->mapped_bytes += rest;
	}
	return err;
}

static int take_area(struct reader *reader, const struct smaps_area *area)
{
	struct snap_resident *sums = &reader->out->sums;
	const struct proc_map *map = area->map;

	sums->total_bytes += area->rss_bytes;
	sums->swapped_bytes += area->swap_bytes;
	if (is_shared_memory(map)) {
		sums->shared_bytes += area->rss_bytes;
	} else if (!strcmp(map->path, "[heap]")) {
		return add_heap(reader, map->start, map->end, area->rss_bytes);
	} else if (has_prefix(map->path, "[stack")) {
		sums->stacks_bytes += area->rss_bytes;
	} else if (is_anonymous(map)) {
		return take_anonymous(reader, area);
	} else {
		sums->files_bytes += area->rss_bytes;
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
}

static int read_areas(struct reader *reader, uint64_t deadline_ns)
{
	struct snap_resident *sums = &reader->out->sums;
	uint64_t rss_bytes = 0;
	struct smaps smaps;
	struct smaps_area area;
	int got, err = 0;

	err = smaps__open(reader->pid, &smaps);
	if (err)
		return err;
	while (!err && (got = smaps__next(&smaps, &area)) > 0) {
		err = take_area(reader, &area);
		note_neighbour(reader, area.map);
		if (clock_ns(CLOCK_MONOTONIC) > deadline_ns) {
			rss_bytes = proc_rss_bytes(reader->pid);
			break;
		}
	}
	if (!err && got < 0)
		err = got;
	smaps__close(&smaps);
	if (err)
		return err;
	divide_pools(reader);
	if (rss_bytes > sums->total_bytes) {
		sums->unread_bytes = rss_bytes - sums->total_bytes;
		sums->total_bytes = rss_bytes;
	}
	return sums->total_bytes ? 0 : -ESRCH;
}

int resident_reading__read(pid_t pid, const struct pool_scan *scan, uint64_t deadline_ns,
			   struct resident_reading *ret)
{
	struct reader reader = {.pid = pid, .scan = scan, .out = ret, .pages.fd = -1};
	int err;

	ret->heaps.cnt = 0;
	ret->heaps_mapped_bytes = 0;
	ret->sums = (struct snap_resident){0};
	err = read_areas(&reader, deadline_ns);
	ret->sums.is_known = !err;
	page_map__close(&reader.pages);
	array_free(&reader.runs.list);
	stack_pointers__free(&reader.stacks);
	return err;
}
