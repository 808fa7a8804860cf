/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/heaps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "python/pages.h"
#include "util/clock.h"
#include "util/procfs.h"
#include "util/remote.h"

#define WINDOW_BYTES (2ULL << 20)
#define MIN_PAGE 4096
#define MAX_ARENA_OFF 256 /* the first heap of an arena has the arena behind its head */
#define IS_MMAPPED 2
#define MAX_DATA_BYTES (1 << 20) /* of a C library: where the main arena is looked for */

/* struct malloc_state of glibc 2.27 to 2.42. */
#define ARENA_FAST_BINS 16
#define ARENA_TOP 96
#define ARENA_BINS 112
#define ARENA_BIN_CNT 254
#define BIN_BYTES 16
#define CHUNK_ALIGN 16
#define ARENA_BYTES 2200

struct walker {
	pid_t pid;
	uint64_t deadline_ns;
	struct page_map pages;
	struct page_runs runs;
	uint8_t *bytes;	  /* WINDOW_BYTES and a page for the lookahead */
	uint8_t *present; /* one a page */
	struct heap_span *spans;
	size_t span_cnt;
	uint64_t cache_key; /* of struct heap_walk */
	bool is_late;
};

int thread_heap__read(pid_t pid, uint64_t addr, struct thread_heap *ret)
{
	struct thread_heap head;
	int err;

	err = remote_read(pid, addr, &head, sizeof(head));
	if (err)
		return err == -EFAULT ? -ENOENT : err;
	if (addr % THREAD_HEAP_BYTES || !head.size || head.size > head.accessible ||
	    head.accessible > THREAD_HEAP_BYTES || head.accessible % MIN_PAGE || !head.arena ||
	    head.arena % sizeof(uint64_t) || head.previous % THREAD_HEAP_BYTES ||
	    head.previous == addr)
		return -ENOENT;
	if (!head.previous &&
	    (head.arena < addr + sizeof(head) || head.arena > addr + MAX_ARENA_OFF))
		return -ENOENT;
	*ret = head;
	return 0;
}

uint64_t big_block__read(pid_t pid, uint64_t at, uint64_t end)
{
	uint64_t head[2], size;

	if (at >= end || end - at < MIN_PAGE || remote_read(pid, at, head, sizeof(head)))
		return 0;
	size = head[1] & ~(uint64_t)IS_MMAPPED;
	if (head[0] || !(head[1] & IS_MMAPPED) || !size || size % MIN_PAGE || size > end - at)
		return 0;
	return size;
}

/* ---- windows --------------------------------------------------------------------------------- */

/* Reads what was found to be in memory to `bytes`, which holds what is at `start` and behind. */
static int read_runs(const struct walker *walker, uint64_t start, uint8_t *bytes)
{
	for (size_t i = 0; i < walker->runs.list.cnt; i++) {
		const struct page_run *run = &walker->runs.list.items[i];
		uint8_t *to = bytes + (run->start - start);
		int err = remote_read(walker->pid, run->start, to, run->end - run->start);

		if (err == -EFAULT)
			memset(to, 0, run->end - run->start);
		else if (err)
			return err;
	}
	return 0;
}

static int take_window(struct walker *walker, struct heap_walk *walk, uint64_t start, uint64_t end)
{
	uint64_t page_bytes = walker->pages.page_bytes;
	uint64_t behind = (end + page_bytes - 1) & ~(page_bytes - 1);
	struct heap_window window = {start, end, walker->bytes, walker->present, page_bytes};
	int err;

	/* The lookahead's page is read along with the window, but not counted in it. */
	err = page_map__list(&walker->pages, start, behind + page_bytes, &walker->runs);
	if (err)
		return err;
	memset(walker->present, 0, (behind - start) / page_bytes);
	for (size_t i = 0; i < walker->runs.list.cnt; i++) {
		const struct page_run *run = &walker->runs.list.items[i];

		for (uint64_t at = run->start; at < run->end && at < behind; at += page_bytes)
			walker->present[(at - start) / page_bytes] = 1;
	}
	if (heap_walk__needs(walk, &window)) {
		memset(walker->bytes, 0, behind - start + page_bytes);
		err = read_runs(walker, start, walker->bytes);
	}
	if (!err)
		heap_walk__take(walk, &window);
	return err;
}

static void begin_walk(const struct walker *walker, const struct heap_place *place,
		       struct heap_walk *walk)
{
	heap_walk__begin(walk, place, walker->spans, walker->span_cnt);
	walk->cache_key = walker->cache_key;
}

/* Returns whether the key was not known before: blocks may have been misunderstood. */
static bool learn_cache_key(struct walker *walker, const struct heap_walk *walk)
{
	uint64_t key;

	if (walker->cache_key || !walk->cached_block ||
	    remote_read(walker->pid, walk->cached_block + 8, &key, sizeof(key)))
		return false;
	walker->cache_key = key;
	return key;
}

/* Goes over a heap's chunks, twice if the first time fails. */
static int walk_chunks(struct walker *walker, const struct heap_place *place, struct heap_walk *ret)
{
	struct heap_walk walk;
	int err = 0;

	for (int i = 0; i < 2 && !err; i++) {
		begin_walk(walker, place, &walk);
		for (uint64_t at = place->start, to; !err && at < place->end; at = to) {
			to = place->end - at < WINDOW_BYTES ? place->end : at + WINDOW_BYTES;
			walker->is_late = clock_ns(CLOCK_MONOTONIC) > walker->deadline_ns;
			if (walker->is_late)
				break;
			err = take_window(walker, &walk, at, to);
			if (!err && learn_cache_key(walker, &walk)) {
				begin_walk(walker, place, &walk);
				to = place->start;
			}
		}
		if (!i || walk.at > ret->at)
			*ret = walk;
		if (walker->is_late || walk.state != HEAP_WALK_BROKEN)
			break;
	}
	return err;
}

/* ---- arenas ---------------------------------------------------------------------------------- */

static bool in_spans(const struct walker *walker, uint64_t addr)
{
	for (size_t i = 0; i < walker->span_cnt; i++)
		if (addr >= walker->spans[i].start && addr < walker->spans[i].end)
			return true;
	return false;
}

/* Whether `arena`, which is at `addr`, has bins as an arena does: circular lists of chunks, that
 * begin and end in the arena. */
static bool is_arena(const struct walker *walker, const uint8_t *arena, uint64_t addr)
{
	uint64_t bin;

	for (size_t i = 0; i < ARENA_BIN_CNT; i++) {
		memcpy(&bin, arena + ARENA_BINS + i * sizeof(bin), sizeof(bin));
		if (bin != addr + ARENA_BINS + i / 2 * BIN_BYTES - BIN_BYTES &&
		    !in_spans(walker, bin))
			return false;
	}
	return true;
}

/* Looks for the arena whose top chunk is at `top` in a library's data. */
static int find_in_data(struct walker *walker, const struct proc_map *map, uint64_t top,
			uint64_t heads[HEAP_FAST_BINS])
{
	size_t len = map->end - map->start;
	uint8_t *data;
	int err;

	if (len > MAX_DATA_BYTES || len < ARENA_BYTES)
		return -ENOENT;
	/* The other pages are the file's, which may be on a mount that does not answer. */
	data = calloc(1, len);
	err = data ? page_map__list(&walker->pages, map->start, map->end, &walker->runs) : -ENOMEM;
	if (!err)
		err = read_runs(walker, map->start, data);
	if (!err)
		err = -ENOENT;
	for (size_t at = 0; err == -ENOENT && at + ARENA_BYTES <= len; at += sizeof(uint64_t)) {
		if (memcmp(data + at + ARENA_TOP, &top, sizeof(top)) != 0 ||
		    !is_arena(walker, data + at, map->start + at))
			continue;
		memcpy(heads, data + at + ARENA_FAST_BINS, HEAP_FAST_BINS * sizeof(*heads));
		err = 0;
	}
	free(data);
	return err;
}

static bool may_hold_main_arena(const struct proc_map *map, const char *exe)
{
	const char *name = strrchr(map->path, '/');

	return map->ino && map->writable && map->readable && !map->shared && name &&
	       (!strncmp(name, "/libc.so", strlen("/libc.so")) ||
		!strncmp(name, "/libc-2.", strlen("/libc-2.")) || !strcmp(map->path, exe));
}

/* Reads the heads of the main arena's fast bins. Returns 0, -ENOENT (it was not found) or another
 * negative errno. */
static int read_main_heads(struct walker *walker, uint64_t top, uint64_t heads[HEAP_FAST_BINS])
{
	char *exe = proc_exe(walker->pid);
	struct proc_maps maps = {0};
	int err;

	err = proc_maps__read(walker->pid, &maps);
	if (!err)
		err = -ENOENT;
	for (size_t i = 0; err == -ENOENT && i < maps.maps.cnt; i++)
		if (may_hold_main_arena(&maps.maps.items[i], exe ? exe : ""))
			err = find_in_data(walker, &maps.maps.items[i], top, heads);
	proc_maps__free(&maps);
	free(exe);
	return err;
}

/* Returns whether the heads were found. */
static bool read_heads(struct walker *walker, const struct heap_walk *walk, uint64_t arena,
		       uint64_t heads[HEAP_FAST_BINS])
{
	if (arena)
		return !remote_read(walker->pid, arena + ARENA_FAST_BINS, heads,
				    HEAP_FAST_BINS * sizeof(*heads));
	return walk->top && !read_main_heads(walker, walk->top, heads);
}

/* ---- heaps ----------------------------------------------------------------------------------- */

/* Returns where the first chunk of a thread's heap is: behind the arena, if that is in it. */
static uint64_t first_of(const struct walker *walker, uint64_t start,
			 const struct thread_heap *head)
{
	uint64_t page_bytes;

	if (!head->previous)
		return (head->arena + ARENA_BYTES + CHUNK_ALIGN - 1) & ~(CHUNK_ALIGN - 1ULL);
	/* From glibc 2.35 on the page size is in the head, too. */
	if (remote_read(walker->pid, start + sizeof(*head), &page_bytes, sizeof(page_bytes)) ||
	    page_bytes < MIN_PAGE || page_bytes & (page_bytes - 1))
		return start + sizeof(*head);
	return start + sizeof(*head) + 16;
}

static int walk_heap(struct walker *walker, const struct heap_span *span, struct heap_sums *sums)
{
	struct heap_place place = {.start = span->start, .first = span->start, .end = span->end};
	uint64_t heads[HEAP_FAST_BINS];
	struct thread_heap head;
	struct heap_walk walk;
	int err;

	err = thread_heap__read(walker->pid, span->start, &head);
	if (err && err != -ENOENT)
		return err;
	place.is_main = err;
	if (place.is_main) {
		head = (struct thread_heap){0};
	} else {
		place.first = first_of(walker, place.start, &head);
		if (head.size < place.end - place.start)
			place.end = place.start + head.size;
	}
	err = walk_chunks(walker, &place, &walk);
	if (err)
		return err;
	heap_walk__finish(&walk, read_heads(walker, &walk, head.arena, heads) ? heads : NULL, sums);
	return 0;
}

/* Parts of a heap that are mappings of their own lie one behind the other. */
static int list_spans(struct walker *walker, const struct heap_range *heaps, size_t cnt)
{
	walker->spans = calloc(cnt + 1, sizeof(*walker->spans));
	if (!walker->spans)
		return -ENOMEM;
	for (size_t i = 0; i < cnt; i++) {
		struct heap_span *last =
			walker->span_cnt ? &walker->spans[walker->span_cnt - 1] : NULL;

		if (last && last->end == heaps[i].start && heaps[i].start % THREAD_HEAP_BYTES)
			last->end = heaps[i].end;
		else
			walker->spans[walker->span_cnt++] =
				(struct heap_span){heaps[i].start, heaps[i].end};
	}
	return 0;
}

int heaps__walk(pid_t pid, const struct heap_range *heaps, size_t cnt, uint64_t deadline_ns,
		struct heap_sums *ret)
{
	struct walker walker = {.pid = pid, .deadline_ns = deadline_ns, .pages.fd = -1};
	struct heap_sums sums = {0};
	int err;

	err = page_map__open(pid, &walker.pages);
	if (err)
		return err;
	walker.bytes = malloc(WINDOW_BYTES + walker.pages.page_bytes);
	walker.present = malloc(WINDOW_BYTES / MIN_PAGE);
	err = walker.bytes && walker.present ? list_spans(&walker, heaps, cnt) : -ENOMEM;
	for (size_t i = 0; !err && i < walker.span_cnt; i++)
		err = walk_heap(&walker, &walker.spans[i], &sums);
	page_map__close(&walker.pages);
	array_free(&walker.runs.list);
	free(walker.spans);
	free(walker.present);
	free(walker.bytes);
	if (err)
		return err;
	heap_sums__settle(&sums);
	sums.is_late = walker.is_late;
	sums.cache_key = walker.cache_key;
	*ret = sums;
	return 0;
}
