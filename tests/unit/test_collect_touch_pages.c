/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Samples of first touches: where they are after moves, what later ones replace, what is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "collect/touch_pages.h"

#define SPACE 7
#define CERTAIN (1ULL << 32)
#define PAGES(cnt) ((cnt)*TOUCH_PAGE)

static void add(struct touch_samples *samples, uint64_t addr, uint64_t time_ns, uint64_t pages)
{
	struct touch_sample sample = {
		.key = {.addr = addr, .space = SPACE},
		.addr = addr,
		.page = {.time_ns = time_ns,
			 .p = CERTAIN,
			 .bytes = PAGES(pages),
			 .span = PAGES(pages)},
		.state = TOUCH_HELD,
		.held_bytes = PAGES(pages),
	};

	assert_int_equal(array_push(&samples->list, sample), 0);
}

static void add_move(struct touch_moves *moves, uint64_t time_ns, uint64_t from, uint64_t pages,
		     uint64_t to)
{
	struct touch_move move = {
		.kind = TOUCH_MOVED,
		.space = SPACE,
		.time_ns = time_ns,
		.addr = from,
		.len = PAGES(pages),
		.to = to,
	};

	assert_int_equal(array_push(&moves->list, move), 0);
}

static void add_displaced(struct touch_moves *moves, uint64_t time_ns, uint64_t addr,
			  uint64_t born_ns)
{
	struct touch_move move = {
		.kind = TOUCH_DISPLACED,
		.space = SPACE,
		.time_ns = time_ns,
		.addr = addr,
		.page = {.time_ns = born_ns, .p = CERTAIN, .bytes = TOUCH_PAGE, .span = TOUCH_PAGE},
	};

	assert_int_equal(array_push(&moves->list, move), 0);
}

static void test_moves_in_their_order(void **state)
{
	struct touch_samples samples = {0};
	struct touch_moves moves = {0};

	(void)state;
	add(&samples, 0x10000, 10, 1);
	add(&samples, 0x10000 + PAGES(4), 10, 1); /* behind what moves */
	add(&samples, 0x20000, 25, 1);		  /* there after the first had gone on */
	add_move(&moves, 20, 0x10000, 4, 0x20000);
	add_move(&moves, 22, 0x20000, 4, 0x30000);
	add_move(&moves, 30, 0x30000, 1, 0x10000);
	moves.list.items[2].space = SPACE + 1; /* another process */
	assert_int_equal(touch_samples__move(&samples, &moves, SPACE), 0);
	assert_int_equal(samples.list.cnt, 3);
	assert_int_equal(samples.list.items[0].addr, 0x30000);
	assert_int_equal(samples.list.items[0].page.time_ns, 22);
	assert_int_equal(samples.list.items[0].key.addr, 0x10000);
	assert_int_equal(samples.list.items[1].addr, 0x10000 + PAGES(4));
	assert_int_equal(samples.list.items[2].addr, 0x20000);
	array_free(&samples.list);
	array_free(&moves.list);
}

static void test_displaced(void **state)
{
	struct touch_samples samples = {0};
	struct touch_moves moves = {0};

	(void)state;
	add_move(&moves, 20, 0x10000, 4, 0x20000);
	add_displaced(&moves, 25, 0x10000 + PAGES(1), 10); /* it had moved away */
	add_displaced(&moves, 25, 0x10000 + PAGES(4), 10); /* it had been freed */
	add_displaced(&moves, 19, 0x10000, 10);		   /* so had this one, before the move */
	add_move(&moves, 30, 0x20000, 4, 0x40000);
	assert_int_equal(touch_samples__move(&samples, &moves, SPACE), 0);
	assert_int_equal(samples.list.cnt, 1);
	assert_int_equal(samples.list.items[0].addr, 0x40000 + PAGES(1));
	assert_int_equal(samples.list.items[0].key.addr, 0);
	assert_int_equal(samples.list.items[0].page.time_ns, 30);
	array_free(&samples.list);
	array_free(&moves.list);
}

static const struct touch_sample *sample_at(const struct touch_samples *samples, uint64_t time_ns)
{
	for (size_t i = 0; i < samples->list.cnt; i++)
		if (samples->list.items[i].page.time_ns == time_ns)
			return &samples->list.items[i];
	fail_msg("no sample of %llu", (unsigned long long)time_ns);
	return NULL;
}

static void test_later_ones_replace(void **state)
{
	struct touch_samples samples = {0};

	(void)state;
	add(&samples, 0x200000 + PAGES(3), 12, 1); /* touched in the huge page, later */
	add(&samples, 0x200000, 10, 512);
	add(&samples, 0x200000 + PAGES(2), 8, 1); /* and before it was there */
	add(&samples, 0x200000 + PAGES(512), 5, 1);
	add(&samples, 0x900000, 20, 1); /* twice at one address: a move and a touch */
	add(&samples, 0x900000, 21, 1);
	samples.list.items[0].page.p = CERTAIN / 4; /* it stands for four */
	touch_samples__settle(&samples);
	assert_int_equal(sample_at(&samples, 12)->held_bytes, TOUCH_PAGE);
	assert_int_equal(sample_at(&samples, 10)->held_bytes, PAGES(508));
	assert_int_equal(sample_at(&samples, 8)->state, TOUCH_GONE);
	assert_int_equal(sample_at(&samples, 5)->state, TOUCH_HELD);
	assert_int_equal(sample_at(&samples, 20)->state, TOUCH_GONE);
	assert_int_equal(sample_at(&samples, 21)->state, TOUCH_HELD);
	array_free(&samples.list);
}

static char *map_area(size_t len)
{
	char *area = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(area, MAP_FAILED);
	return area;
}

static void test_what_is_left(void **state)
{
	char *area = map_area(PAGES(4096));
	uint64_t at = (uintptr_t)area, zero = geteuid() ? 0 : touch_zero_frame();
	struct touch_samples samples = {0};

	(void)state;
	madvise(area, PAGES(4096), MADV_NOHUGEPAGE);
	for (size_t i = 0; i < 4096; i++)
		if (i < 512 || i % 4 == 0)
			area[i * TOUCH_PAGE] = 1;
	madvise(area, PAGES(256), MADV_DONTNEED);
	assert_int_equal(*(volatile char *)area, 0); /* the page of zeros is there now */
	add(&samples, at, 1, 1);
	add(&samples, at + PAGES(1), 2, 1);
	add(&samples, at + PAGES(256), 3, 1);
	add(&samples, at, 4, 512);
	add(&samples, at + PAGES(512), 5, 3584);
	add(&samples, 1ULL << 60, 6, 1); /* no address at all */
	assert_int_equal(touch_samples__check(&samples, getpid(), zero, 0), 0);
	if (zero)
		assert_int_equal(sample_at(&samples, 1)->state, TOUCH_GONE);
	assert_int_equal(sample_at(&samples, 2)->state, TOUCH_GONE);
	assert_int_equal(sample_at(&samples, 3)->state, TOUCH_HELD);
	assert_int_equal(sample_at(&samples, 4)->held_bytes, PAGES(256 + !zero));
	assert_int_equal(sample_at(&samples, 5)->held_bytes, PAGES(3584 / 4));
	assert_int_equal(sample_at(&samples, 6)->state, TOUCH_GONE);
	array_free(&samples.list);
	munmap(area, PAGES(4096));
}

/* Pages of a file at the address are no anonymous memory. */
static void test_files_are_not(void **state)
{
	FILE *file = tmpfile();
	struct touch_samples samples = {0};
	char *area;

	(void)state;
	assert_non_null(file);
	assert_int_equal(ftruncate(fileno(file), PAGES(1)), 0);
	area = mmap(NULL, PAGES(1), PROT_READ | PROT_WRITE, MAP_SHARED, fileno(file), 0);
	assert_ptr_not_equal(area, MAP_FAILED);
	area[0] = 1;
	add(&samples, (uintptr_t)area, 1, 1);
	assert_int_equal(touch_samples__check(&samples, getpid(), 0, 0), 0);
	assert_int_equal(samples.list.items[0].state, TOUCH_GONE);
	array_free(&samples.list);
	munmap(area, PAGES(1));
	fclose(file);
}

static void test_time_is_up(void **state)
{
	struct touch_samples samples = {0};
	size_t cnt;

	(void)state;
	for (cnt = 0; cnt < 1000; cnt++) {
		add(&samples, 0x10000, 1, 1);
		samples.list.items[cnt].state = TOUCH_UNCHECKED;
	}
	assert_int_equal(touch_samples__check(&samples, getpid(), 0, 1), 0);
	for (cnt = 0; samples.list.items[cnt].state != TOUCH_UNCHECKED; cnt++)
		;
	assert_in_range(cnt, 10, 100); /* a few are always looked up */
	for (; cnt < samples.list.cnt; cnt++)
		assert_int_equal(samples.list.items[cnt].state, TOUCH_UNCHECKED);
	array_free(&samples.list);
}

static void test_process_has_ended(void **state)
{
	struct touch_samples samples = {0};
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (!pid)
		_exit(0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	add(&samples, 0x10000, 1, 1);
	assert_int_equal(touch_samples__check(&samples, pid, 0, 0), -ESRCH);
	array_free(&samples.list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_moves_in_their_order), cmocka_unit_test(test_displaced),
		cmocka_unit_test(test_later_ones_replace),   cmocka_unit_test(test_what_is_left),
		cmocka_unit_test(test_files_are_not),	     cmocka_unit_test(test_time_is_up),
		cmocka_unit_test(test_process_has_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
