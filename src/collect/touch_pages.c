/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "collect/touch_pages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/procfs_read.h"

/* Documentation/admin-guide/mm/pagemap.rst */
#define ENTRY_PRESENT (1ULL << 63)
#define ENTRY_SWAPPED (1ULL << 62)
#define ENTRY_FILE (1ULL << 61) /* or shared */
#define ENTRY_FRAME ((1ULL << 55) - 1)

#define MAX_LOOKS                                                                                  \
	512 /* pages of a sample that are looked up: a huge page's, or as many of more             \
	     */
#define MAX_OVERLAPS 4096
#define LOOKS_A_CLOCK 64

/* ---- moves ---- */

/* Follows a sample from its address at page.time_ns on. Returns whether it moved; *ret_first_ns is
 * when it first did. */
static bool follow(struct touch_sample *sample, const struct touch_moves *moves,
		   uint64_t *ret_first_ns)
{
	bool moved = false;

	for (size_t i = 0; i < moves->list.cnt; i++) {
		const struct touch_move *move = &moves->list.items[i];

		if (move->time_ns < sample->page.time_ns || sample->addr - move->addr >= move->len)
			continue;
		if (!moved)
			*ret_first_ns = move->time_ns;
		moved = true;
		sample->addr += move->to - move->addr;
		sample->page.time_ns = move->time_ns;
	}
	return moved;
}

static int add_displaced(struct touch_samples *samples, const struct touch_move *displaced,
			 const struct touch_moves *moves)
{
	struct touch_sample sample = {.addr = displaced->addr, .page = displaced->page};
	uint64_t first_ns;

	if (!follow(&sample, moves, &first_ns) || first_ns >= displaced->time_ns)
		return 0;
	return array_push(&samples->list, sample);
}

int touch_samples__move(struct touch_samples *samples, const struct touch_moves *moves,
			uint32_t space)
{
	struct touch_moves own = {0};
	uint64_t first_ns;
	int err = 0;

	for (size_t i = 0; i < moves->list.cnt && !err; i++)
		if (moves->list.items[i].space == space && moves->list.items[i].kind == TOUCH_MOVED)
			err = array_push(&own.list, moves->list.items[i]);
	for (size_t i = 0; i < samples->list.cnt && own.list.cnt; i++)
		follow(&samples->list.items[i], &own, &first_ns);
	for (size_t i = 0; i < moves->list.cnt && !err; i++)
		if (moves->list.items[i].space == space &&
		    moves->list.items[i].kind == TOUCH_DISPLACED)
			err = add_displaced(samples, &moves->list.items[i], &own);
	array_free(&own.list);
	return err;
}

/* ---- what later samples have replaced ---- */

static int compare(const void *a, const void *b)
{
	const struct touch_sample *x = a, *y = b;

	if (x->addr != y->addr)
		return x->addr < y->addr ? -1 : 1;
	return x->page.time_ns > y->page.time_ns ? -1 : x->page.time_ns < y->page.time_ns;
}

static void lose(struct touch_sample *sample, double bytes)
{
	if (sample->state != TOUCH_HELD)
		return;
	sample->held_bytes -= bytes;
	if (sample->held_bytes > 0)
		return;
	sample->held_bytes = 0;
	sample->state = TOUCH_GONE;
}

static double stands_for(const struct touch_page *page)
{
	return page->bytes * (TOUCH_P_ONE / page->p);
}

void touch_samples__settle(struct touch_samples *samples)
{
	struct touch_sample *items = samples->list.items;

	if (samples->list.cnt)
		qsort(items, samples->list.cnt, sizeof(*items), compare);
	for (size_t i = 0; i < samples->list.cnt; i++)
		for (size_t j = i + 1; j < samples->list.cnt && j - i <= MAX_OVERLAPS &&
				       items[j].addr - items[i].addr < items[i].page.span;
		     j++) {
			if (items[j].page.time_ns <= items[i].page.time_ns) {
				/* All of it was new then: nothing older can be there. */
				if (items[i].page.bytes == items[i].page.span)
					lose(&items[j], items[j].held_bytes);
			} else {
				lose(&items[i], stands_for(&items[j].page));
			}
		}
}

/* ---- what is left ---- */

static bool is_held(uint64_t entry, uint64_t zero_frame)
{
	if (entry & ENTRY_SWAPPED)
		return !(entry & ENTRY_FILE);
	return entry & ENTRY_PRESENT && !(entry & ENTRY_FILE) &&
	       !(zero_frame && (entry & ENTRY_FRAME) == zero_frame);
}

/* Reads `cnt` entries. Returns how many of the pages are held, or a negative errno. */
static int look(int fd, uint64_t addr, size_t cnt, uint64_t zero_frame)
{
	uint64_t entries[MAX_LOOKS];
	ssize_t got = pread(fd, entries, cnt * sizeof(*entries),
			    (off_t)(addr / TOUCH_PAGE * sizeof(*entries)));
	int held = 0;

	if (got < 0)
		return -errno;
	for (size_t i = 0; i < got / sizeof(*entries); i++)
		held += is_held(entries[i], zero_frame);
	/* Nothing at all: the process has ended, or there are no such addresses. */
	return held;
}

static int check(struct touch_sample *sample, int fd, uint64_t zero_frame)
{
	uint64_t pages = sample->page.span / TOUCH_PAGE, looks = pages;
	int held = 0, one;

	if (pages <= MAX_LOOKS) {
		held = look(fd, sample->addr, pages, zero_frame);
	} else {
		looks = MAX_LOOKS;
		for (uint64_t i = 0; i < looks && held >= 0; i++) {
			one = look(fd, sample->addr + pages * i / looks * TOUCH_PAGE, 1,
				   zero_frame);
			held = one < 0 ? one : held + one;
		}
	}
	if (held < 0)
		return held;
	sample->state = held ? TOUCH_HELD : TOUCH_GONE;
	sample->held_bytes = looks ? (double)sample->page.bytes * held / looks : 0;
	return 0;
}

int touch_samples__check(struct touch_samples *samples, pid_t pid, uint64_t zero_frame,
			 uint64_t limit_ns)
{
	uint64_t deadline_ns = limit_ns ? clock_ns(CLOCK_MONOTONIC) + limit_ns : 0;
	int fd = procfs_open_pid(pid, "pagemap"), err = 0;

	if (fd < 0)
		return fd;
	for (size_t i = 0; i < samples->list.cnt && !err; i++) {
		struct touch_sample *sample = &samples->list.items[i];

		if (deadline_ns && i && !(i % LOOKS_A_CLOCK) &&
		    clock_ns(CLOCK_MONOTONIC) >= deadline_ns)
			break;
		err = check(sample, fd, zero_frame);
	}
	close(fd);
	return err;
}

uint64_t touch_zero_frame(void)
{
	volatile char *page = mmap(NULL, TOUCH_PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t entry = 0;
	int fd;

	if (page == MAP_FAILED)
		return 0;
	fd = procfs_open_pid(getpid(), "pagemap");
	(void)page[0];
	if (fd >= 0) {
		if (pread(fd, &entry, sizeof(entry),
			  (off_t)((uintptr_t)page / TOUCH_PAGE * sizeof(entry))) != sizeof(entry))
			entry = 0;
		close(fd);
	}
	munmap((void *)page, TOUCH_PAGE);
	return entry & ENTRY_PRESENT ? entry & ENTRY_FRAME : 0;
}
