/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "model/heap_walk.h"

#include <string.h>

#define PREV_INUSE 1
#define IS_MMAPPED 2
#define NON_MAIN_ARENA 4
#define SIZE_MASK (~7ULL)

#define CHUNK_ALIGN 16
#define CHUNK_HEAD 16 /* size of the one before, and its own */
#define MIN_CHUNK 32
#define RECORD_BYTES 48 /* of a free chunk that malloc_trim(3) leaves (struct malloc_chunk) */
#define MAX_FAST 0xb0	/* M_MXFAST's highest value, as a chunk */
#define LINK_SHIFT 12	/* PROTECT_PTR, from glibc 2.32 on */
/* How far a first chunk may be: others, static programs' TLS at first, have memory from brk, too.
 */
#define SEARCH_BYTES (1 << 20)
#define CHAIN_LEN 4

void heap_walk__begin(struct heap_walk *walk, const struct heap_place *place,
		      const struct heap_span *spans, size_t span_cnt)
{
	*walk = (struct heap_walk){
		.place = *place,
		.spans = spans,
		.span_cnt = span_cnt,
		.at = place->start,
		.counted = place->start,
		.fast_bin = -1,
	};
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static uint64_t word_at(const struct heap_window *window, uint64_t addr)
{
	uint64_t value;

	memcpy(&value, window->bytes + (addr - window->start), sizeof(value));
	return value;
}

/* Whether a chunk's head is among the bytes of a window. */
static bool holds(const struct heap_window *window, uint64_t addr)
{
	return addr >= window->start && addr < window->end;
}

static bool in_heaps(const struct heap_walk *walk, uint64_t addr)
{
	size_t low = 0, high = walk->span_cnt;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (walk->spans[middle].end <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low < walk->span_cnt && walk->spans[low].start <= addr;
}

static bool is_size(const struct heap_walk *walk, uint64_t at, uint64_t raw)
{
	uint64_t size = raw & SIZE_MASK;

	return size >= MIN_CHUNK && !(size % CHUNK_ALIGN) && size <= walk->place.end - at &&
	       !(raw & IS_MMAPPED) && !(walk->place.is_main && raw & NON_MAIN_ARENA);
}

/* ---- pages ----------------------------------------------------------------------------------- */

/* Counts what is in memory up to `end`, of the chunk at hand: all, and whole pages if it is free.
 */
static void count(struct heap_walk *walk, const struct heap_window *window, uint64_t end)
{
	uint64_t page_bytes = window->page_bytes, from = walk->counted, to;
	uint64_t first = (walk->at + RECORD_BYTES + page_bytes - 1) & ~(page_bytes - 1);
	uint64_t last = (walk->at + walk->size) & ~(page_bytes - 1);

	if (end > window->end)
		end = window->end;
	for (; from < end; from = to) {
		uint64_t page = from & ~(page_bytes - 1);

		to = page + page_bytes < end ? page + page_bytes : end;
		if (!window->present[(page - window->start) / page_bytes])
			continue;
		walk->resident += to - from;
		if (page >= first && to <= last)
			walk->resident_pages += to - from;
	}
	if (end > walk->counted)
		walk->counted = end;
}

static void put(struct heap_walk *walk, enum heap_part part, uint64_t size, uint64_t resident)
{
	walk->sums.size[part] += size;
	walk->sums.resident[part] += resident;
}

/* ---- chunks that only look as if they were in use -------------------------------------------- */

/* Returns the fast bin that a chunk seems to be in, or -1. */
static int find_fast_bin(const struct heap_walk *walk, const struct heap_window *window,
			 uint64_t at, uint64_t size)
{
	uint64_t link = word_at(window, at + CHUNK_HEAD);
	uint64_t plain = link ^ (at + CHUNK_HEAD) >> LINK_SHIFT;
	const uint64_t ways[] = {plain, link};
	int bin = (int)((size - MIN_CHUNK) / CHUNK_ALIGN);

	if (size > MAX_FAST || (walk->cache_key && walk->cache_key == word_at(window, at + 24)))
		return -1;
	if (!plain)
		return bin;
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		uint64_t next = ways[i];

		if (next % CHUNK_ALIGN || !in_heaps(walk, next))
			continue;
		/* A plain link may as well be a pointer of the program's. */
		if (!holds(window, next) ? !i : (word_at(window, next + 8) & SIZE_MASK) == size)
			return bin;
	}
	return -1;
}

/* struct tcache_perthread_struct: numbers of blocks, and the first block of each size. */
struct cache_layout {
	uint64_t chunk_size;
	unsigned int number_bytes, bin_cnt;
	bool has_slots; /* the numbers are of blocks that have room yet */
};

static const struct cache_layout cache_layouts[] = {
	{0x250, 1, 64, false}, /* up to glibc 2.29 */
	{0x290, 2, 64, false}, /* 2.30 */
	{0x300, 2, 76, true},  /* 2.42 */
};

#define SMALL_BINS 64 /* whose blocks have one size each */

static uint64_t number_at(const struct heap_window *window, uint64_t head,
			  const struct cache_layout *layout, unsigned int bin)
{
	const uint8_t *bytes = window->bytes + (head - window->start) + bin * layout->number_bytes;

	return layout->number_bytes == 1 ? bytes[0] : bytes[0] | (uint64_t)bytes[1] << 8;
}

static uint64_t first_at(const struct heap_window *window, uint64_t head,
			 const struct cache_layout *layout, unsigned int bin)
{
	return word_at(window, head + layout->bin_cnt * layout->number_bytes + bin * 8);
}

/* Returns the size of the blocks in a cache whose head is at `head`; 0 if there is none. */
static uint64_t cache_size(struct heap_walk *walk, const struct heap_window *window, uint64_t head,
			   const struct cache_layout *layout)
{
	uint64_t room = 0, bytes = 0, block = 0;

	for (unsigned int i = 0; layout->has_slots && i < SMALL_BINS; i++) {
		uint64_t number = number_at(window, head, layout, i);

		room = number > room ? number : room;
	}
	for (unsigned int i = 0; i < SMALL_BINS; i++) {
		uint64_t number = number_at(window, head, layout, i);
		uint64_t first = first_at(window, head, layout, i);

		if (layout->has_slots)
			number = room - number;
		if (!number != !first || first % CHUNK_ALIGN || (first && !in_heaps(walk, first)))
			return 0;
		bytes += number * (MIN_CHUNK + i * CHUNK_ALIGN);
		block = first ? first : block;
	}
	if (block)
		walk->cached_block = block;
	return bytes;
}

static uint64_t find_cache(struct heap_walk *walk, const struct heap_window *window)
{
	for (size_t i = 0; i < sizeof(cache_layouts) / sizeof(cache_layouts[0]); i++)
		if (walk->size == cache_layouts[i].chunk_size)
			return cache_size(walk, window, walk->at + CHUNK_HEAD, &cache_layouts[i]);
	return 0;
}

/* ---- from chunk to chunk --------------------------------------------------------------------- */

static void begin_chunk(struct heap_walk *walk, const struct heap_window *window, uint64_t at,
			uint64_t raw)
{
	walk->state = HEAP_WALK_ON;
	walk->at = at;
	walk->size = raw & SIZE_MASK;
	walk->resident = walk->resident_pages = 0;
	walk->fence_cnt = 0;
	walk->fast_bin = find_fast_bin(walk, window, at, walk->size);
	walk->cache = find_cache(walk, window);
}

static void end_free(struct heap_walk *walk, const struct heap_window *window)
{
	uint64_t page_bytes = window->page_bytes, end = walk->at + walk->size;
	uint64_t first = (walk->at + RECORD_BYTES + page_bytes - 1) & ~(page_bytes - 1);
	uint64_t last = end & ~(page_bytes - 1);
	uint64_t pages = last > first ? last - first : 0;

	put(walk, HEAP_PAGES, pages, walk->resident_pages);
	put(walk, HEAP_HOLES, walk->size - pages, walk->resident - walk->resident_pages);
	walk->sums.free_cnt++;
	if (walk->size > walk->sums.largest_free)
		walk->sums.largest_free = walk->size;
}

static void end_used(struct heap_walk *walk)
{
	walk->sums.cache += walk->cache;
	if (walk->fast_bin >= 0) {
		walk->fast_size[walk->fast_bin] += walk->size;
		walk->fast_resident[walk->fast_bin] += walk->resident;
	} else {
		put(walk, HEAP_USED, walk->size, walk->resident);
	}
}

/* What lies between the walk's place and `to` is nobody's block. */
static void skip(struct heap_walk *walk, const struct heap_window *window, uint64_t to)
{
	walk->size = 0;
	walk->resident = walk->resident_pages = 0;
	count(walk, window, to);
	put(walk, HEAP_USED, to - walk->at, walk->resident);
	walk->resident = 0;
	walk->at = to;
}

/*
 * Whether chunks follow one another from `at` on: a few of them, or all until the heap or a part of
 * it ends. Where the heap begins, one of them is enough.
 */
static bool is_chain(const struct heap_walk *walk, const struct heap_window *window, uint64_t at)
{
	bool is_start = at == walk->place.first;
	uint64_t raw = word_at(window, at + 8), size;

	if (!(raw & PREV_INUSE))
		return false;
	for (int i = 0; i < CHAIN_LEN; i++) {
		if (!is_size(walk, at, raw))
			return i && (is_start || (raw & SIZE_MASK) == CHUNK_HEAD);
		size = raw & SIZE_MASK;
		at += size;
		if (at == walk->place.end)
			return is_start || i;
		if (!holds(window, at))
			return is_start || i;
		raw = word_at(window, at + 8);
		if (!(raw & PREV_INUSE) && word_at(window, at) != size)
			return is_start && i;
	}
	return true;
}

static void find_first(struct heap_walk *walk, const struct heap_window *window)
{
	uint64_t end =
		window->end - walk->at < SEARCH_BYTES ? window->end : walk->at + SEARCH_BYTES;

	uint64_t from = walk->at == walk->place.start ? walk->place.first : walk->at;

	for (uint64_t at = (from + CHUNK_ALIGN - 1) & ~(CHUNK_ALIGN - 1ULL); at < end;
	     at += CHUNK_ALIGN) {
		if (!is_chain(walk, window, at))
			continue;
		skip(walk, window, at);
		begin_chunk(walk, window, at, word_at(window, at + 8));
		return;
	}
	walk->state = HEAP_WALK_BROKEN;
}

/*
 * Behind the chunk at hand, chunks of no use end a part of a heap: another one follows in another
 * heap, or behind memory that somebody else has from sbrk(2).
 */
static void pass_fences(struct heap_walk *walk, const struct heap_window *window)
{
	uint64_t raw;

	for (;;) {
		if (!holds(window, walk->at)) {
			walk->state =
				walk->at < walk->place.end ? HEAP_WALK_BROKEN : HEAP_WALK_DONE;
			return;
		}
		raw = word_at(window, walk->at + 8);
		if ((raw & SIZE_MASK) != CHUNK_HEAD || ++walk->fence_cnt > 2)
			break;
		skip(walk, window, walk->at + CHUNK_HEAD);
	}
	if (walk->place.is_main && walk->fence_cnt == 2)
		find_first(walk, window);
	else
		walk->state = !walk->place.is_main && walk->place.end - walk->at <= MIN_CHUNK
				      ? HEAP_WALK_DONE
				      : HEAP_WALK_BROKEN;
}

/* Ends the chunk at hand and begins the next one. */
static void step(struct heap_walk *walk, const struct heap_window *window)
{
	uint64_t next = walk->at + walk->size, raw = word_at(window, next + 8);
	uint64_t next_size = raw & SIZE_MASK;
	bool is_fence = next_size == CHUNK_HEAD || (!next_size && raw & PREV_INUSE);
	bool is_free = !(raw & PREV_INUSE);

	if ((!is_fence && !is_size(walk, next, raw)) ||
	    (is_free && word_at(window, next) != walk->size)) {
		walk->state = HEAP_WALK_BROKEN;
		return;
	}
	if (is_free)
		end_free(walk, window);
	else
		end_used(walk);
	if (is_fence) {
		walk->at = next;
		walk->resident = 0;
		pass_fences(walk, window);
	} else {
		begin_chunk(walk, window, next, raw);
	}
}

bool heap_walk__needs(const struct heap_walk *walk, const struct heap_window *window)
{
	return walk->state == HEAP_WALK_FIRST ||
	       (walk->state == HEAP_WALK_ON && walk->at + walk->size < window->end);
}

void heap_walk__take(struct heap_walk *walk, const struct heap_window *window)
{
	if (walk->state == HEAP_WALK_FIRST)
		find_first(walk, window);
	while (walk->state == HEAP_WALK_ON) {
		count(walk, window, walk->at + walk->size);
		if (walk->at + walk->size == walk->place.end && window->end == walk->place.end) {
			put(walk, HEAP_TOP, walk->size, walk->resident);
			walk->top = walk->at;
			walk->at = walk->place.end;
			walk->resident = 0;
			walk->state = HEAP_WALK_DONE;
		} else if (holds(window, walk->at + walk->size)) {
			step(walk, window);
		} else {
			return;
		}
	}
	count(walk, window, window->end);
}

void heap_walk__finish(struct heap_walk *walk, const uint64_t heads[HEAP_FAST_BINS],
		       struct heap_sums *sums)
{
	for (int i = 0; i < HEAP_FAST_BINS; i++)
		put(walk, heads && !heads[i] ? HEAP_USED : HEAP_CACHED, walk->fast_size[i],
		    walk->fast_resident[i]);
	put(walk, walk->state == HEAP_WALK_DONE ? HEAP_USED : HEAP_UNREAD,
	    walk->place.end - walk->at, walk->resident);
	for (int i = 0; i < HEAP_PART_CNT; i++) {
		sums->size[i] += walk->sums.size[i];
		sums->resident[i] += walk->sums.resident[i];
	}
	sums->cache += walk->sums.cache;
	sums->free_cnt += walk->sums.free_cnt;
	if (walk->sums.largest_free > sums->largest_free)
		sums->largest_free = walk->sums.largest_free;
}

static uint64_t move(uint64_t parts[HEAP_PART_CNT], uint64_t bytes)
{
	if (bytes > parts[HEAP_USED])
		bytes = parts[HEAP_USED];
	parts[HEAP_USED] -= bytes;
	parts[HEAP_CACHED] += bytes;
	return bytes;
}

void heap_sums__settle(struct heap_sums *sums)
{
	uint64_t moved = move(sums->size, sums->cache);

	move(sums->resident, moved);
	sums->cache = 0;
}
