/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <errno.h>
#include <cmocka.h>

#include "model/cohort.h"
#include "util/clock.h"

#define WINDOWS 60
#define WINDOW_NS (10 * NS_PER_MS)
#define PER_WINDOW 10
#define BYTES 100
#define RATE (PER_WINDOW * BYTES / 0.01 * 3600) /* bytes per hour */

static const uint8_t key[SIPHASH_BYTES] = {9, 8, 7};

static uint64_t begin_of(uint64_t window)
{
	return (window + 1) * NS_PER_SEC;
}

static int open_at(struct cohort *cohort, uint64_t window)
{
	const struct cohort_window told = {
		.begin_ns = begin_of(window), .end_ns = begin_of(window) + WINDOW_NS, .hits = 100};

	return cohort__open(cohort, &told);
}

static void bear(struct cohort *cohort, uint64_t addr, uint64_t time_ns, uint64_t stack)
{
	const struct cohort_birth birth = {addr, BYTES, time_ns, stack, 1};

	assert_int_equal(cohort__birth(cohort, &birth), 0);
}

/* Reads what is due: words that are the address's own, as they always are. */
static void read_due(struct cohort *cohort, uint64_t now_ns)
{
	struct cohort_read reads[256];
	size_t cnt = cohort__due(cohort, now_ns, reads, 256);
	uint64_t words[12];

	for (size_t i = 0; i < cnt; i++) {
		for (size_t j = 0; j < 12; j++)
			words[j] = (reads[i].addr + j) * 0x9e3779b97f4a7c15ULL;
		cohort__look(cohort, &reads[i], words, reads[i].len + reads[i].tail_len, now_ns);
	}
}

/* A window with PER_WINDOW blocks that stay. `window` tells all but its time. */
static void leak_in(struct cohort *cohort, uint64_t number, struct cohort_window window)
{
	window.begin_ns = begin_of(number);
	window.end_ns = window.begin_ns + WINDOW_NS;
	assert_int_equal(cohort__open(cohort, &window), 0);
	for (uint64_t i = 0; i < PER_WINDOW; i++)
		bear(cohort, (number * PER_WINDOW + i + 1) << 12, window.begin_ns + i * NS_PER_MS,
		     1);
	cohort__close(cohort);
	read_due(cohort, window.end_ns);
}

static struct cohort *leaking(struct cohort_window window)
{
	struct cohort *cohort = cohort__new(key, 1 << 16, 64);

	assert_non_null(cohort);
	for (uint64_t i = 0; i < WINDOWS; i++)
		leak_in(cohort, i, window);
	return cohort;
}

static struct cohort_verdict judge(const struct cohort *cohort, double growth_high, uint64_t stack)
{
	struct cohort_verdicts verdicts;
	struct cohort_verdict found = {0};

	assert_int_equal(cohort__judge(cohort, begin_of(WINDOWS), growth_high, &verdicts), 0);
	for (size_t i = 0; i < verdicts.items.cnt; i++)
		if (verdicts.items.items[i].stack == stack)
			found = verdicts.items.items[i];
	cohort_verdicts__free(&verdicts);
	return found;
}

static void test_rate(void **state)
{
	struct cohort *cohort = leaking((struct cohort_window){.hits = 10});
	struct cohort_verdict verdict = judge(cohort, -1, 1);

	(void)state;
	assert_int_equal(verdict.state, COHORT_GROWING);
	assert_float_equal(verdict.rate, RATE, RATE / 1e6);
	/* Windows are all the same: what is uncertain is whether all blocks are kept. */
	assert_true(verdict.rate_low > 0.75 * RATE && verdict.rate_low < RATE);
	assert_float_equal(verdict.rate_high, RATE, RATE / 1e6);
	assert_true(verdict.confidence > 0.999);
	assert_float_equal(verdict.born, WINDOWS * PER_WINDOW, 0);
	assert_float_equal(verdict.bytes, WINDOWS * PER_WINDOW * BYTES, 0);
	assert_float_equal(verdict.again, 0, 0);
	assert_int_equal(verdict.contents.read, verdict.contents.kept);
	cohort__free(cohort);
	cohort__free(NULL);
}

static void test_lost_time_and_hits(void **state)
{
	struct cohort *cohort = leaking((struct cohort_window){
		.hits = 10, .lost_low_ns = WINDOW_NS / 5, .lost_high_ns = WINDOW_NS / 2});
	struct cohort_verdict verdict = judge(cohort, -1, 1);

	(void)state;
	/* It worked for 0.5 to 0.8 of the time. */
	assert_float_equal(verdict.rate, RATE / 0.65, RATE / 1e6);
	assert_float_equal(verdict.rate_high, RATE / 0.5, RATE / 1e6);
	assert_true(verdict.rate_low < RATE / 0.8);
	cohort__free(cohort);
	/* A fifth of the events was not told. */
	cohort = leaking((struct cohort_window){.hits = 40, .lost_hits = 10});
	verdict = judge(cohort, -1, 1);
	assert_float_equal(verdict.rate, RATE / 0.8, RATE / 1e6);
	cohort__free(cohort);
}

static void test_process_does_not_grow(void **state)
{
	struct cohort *cohort = leaking((struct cohort_window){.hits = 10});

	(void)state;
	assert_int_equal(judge(cohort, RATE, 1).state, COHORT_GROWING);
	assert_int_equal(judge(cohort, RATE / 2, 1).state, COHORT_UNKNOWN);
	assert_int_equal(judge(cohort, RATE / 2, 1).doubt, COHORT_PROCESS);
	assert_int_equal(judge(cohort, 0, 1).state, COHORT_UNKNOWN);
	assert_float_equal(judge(cohort, 0, 1).rate, 0, 0);
	cohort__free(cohort);
}

static void test_windows_in_order(void **state)
{
	struct cohort *cohort = cohort__new(key, 64, 64);
	struct cohort_window window = {.begin_ns = 10, .end_ns = 5};

	(void)state;
	assert_int_equal(cohort__open(cohort, &window), -EINVAL);
	window = (struct cohort_window){
		.begin_ns = 10, .end_ns = 20, .lost_low_ns = 2, .lost_high_ns = 1};
	assert_int_equal(cohort__open(cohort, &window), -EINVAL);
	assert_int_equal(open_at(cohort, 5), 0);
	assert_int_equal(open_at(cohort, 5), -EINVAL);
	assert_int_equal(open_at(cohort, 4), -EINVAL);
	assert_int_equal(open_at(cohort, 6), 0);
	cohort__free(cohort);
}

static void test_told_late_or_from_between(void **state)
{
	struct cohort *cohort = cohort__new(key, 64, 64);
	struct cohort_verdict verdict;

	(void)state;
	assert_int_equal(open_at(cohort, 0), 0);
	bear(cohort, 0x1000, begin_of(0) + 5, 1);
	bear(cohort, 0x2000, begin_of(0) + 6, 1);
	bear(cohort, 0x3000, begin_of(0) - 1, 1); /* before the window: nobody's */
	cohort__close(cohort);
	assert_int_equal(open_at(cohort, 1), 0);
	bear(cohort, 0x4000, begin_of(0) + 7, 1);	  /* late, of the first window */
	bear(cohort, 0x1000, begin_of(0) + 2, 1);	  /* an earlier block of that address */
	cohort__death(cohort, 0x2000, begin_of(0) + 3);	  /* the same */
	bear(cohort, 0x2000, begin_of(1) - NS_PER_MS, 1); /* between windows: it has ended */
	cohort__close(cohort);
	verdict = judge(cohort, -1, 1);
	assert_float_equal(verdict.born, 4, 0);
	assert_float_equal(verdict.followed, 3, 0);
	assert_float_equal(verdict.again, 1, 0);
	assert_float_equal(verdict.outlived, 1, 0);
	cohort__free(cohort);
}

static void test_forgotten(void **state)
{
	struct cohort *cohort = cohort__new(key, 64, 64);
	struct cohort_verdict verdict;

	(void)state;
	assert_int_equal(open_at(cohort, 0), 0);
	bear(cohort, 0x1000, begin_of(0) + 5, 1);
	bear(cohort, 0x2000, begin_of(0) + 6, 1);
	cohort__close(cohort);
	cohort__forget(cohort, 0x1000, begin_of(0) + 4); /* looked before it was born */
	cohort__forget(cohort, 0x2000, begin_of(0) + NS_PER_SEC / 2);
	assert_int_equal(open_at(cohort, 1), 0);
	bear(cohort, 0x2000, begin_of(1), 2); /* nothing is known there any more */
	cohort__close(cohort);
	verdict = judge(cohort, -1, 1);
	assert_float_equal(verdict.outlived, 0.5, 1e-9);
	assert_float_equal(verdict.followed, 1, 0);
	assert_float_equal(verdict.again, 0, 0);
	cohort__free(cohort);
}

static void test_layers_are_sites(void **state)
{
	struct cohort *cohort = cohort__new(key, 64, 2);
	const struct cohort_birth births[] = {
		{0x1000, 10, begin_of(0), 1, 1}, {0x2000, 10, begin_of(0), 1, 2},
		{0x3000, 10, begin_of(0), 1, 1}, {0x4000, 70, begin_of(0), 3, 1}, /* one too many */
		{0x5000, 7, begin_of(0), 3, 1},
	};
	struct cohort_verdicts verdicts;

	(void)state;
	assert_int_equal(open_at(cohort, 0), 0);
	for (size_t i = 0; i < sizeof(births) / sizeof(*births); i++)
		assert_int_equal(cohort__birth(cohort, &births[i]), 0);
	cohort__close(cohort);
	assert_int_equal(cohort__judge(cohort, begin_of(9), -1, &verdicts), 0);
	assert_int_equal(verdicts.items.cnt, 2);
	assert_int_equal(verdicts.items.items[0].layer, 1);
	assert_float_equal(verdicts.items.items[0].born, 2, 0);
	assert_int_equal(verdicts.items.items[1].layer, 2);
	assert_int_equal(cohort__untold_bytes(cohort), 77);
	cohort_verdicts__free(&verdicts);
	cohort__free(cohort);
}

/* More blocks than are remembered: a quarter dies in its window, half of the rest is seen again. */
static void test_sample(void **state)
{
	struct cohort *cohort = cohort__new(key, 2000, 64);
	struct cohort_verdict verdict;

	(void)state;
	for (uint64_t window = 0; window < WINDOWS; window++) {
		uint64_t begin = begin_of(window);

		assert_int_equal(open_at(cohort, window), 0);
		for (uint64_t i = 0; window && i < 1000; i++)
			if (i % 4 >= 2 && (i / 4) % 4)
				cohort__death(cohort, ((window - 1) * 1000 + i + 1) << 8, begin);
		for (uint64_t i = 0; i < 1000; i++)
			bear(cohort, (window * 1000 + i + 1) << 8, begin + i, 1 + i % 2);
		for (uint64_t i = 0; i < 1000; i += 4)
			cohort__death(cohort, (window * 1000 + i + 1) << 8, begin + 2000);
		cohort__close(cohort);
	}
	verdict = judge(cohort, -1, 1);
	assert_float_equal(verdict.born, WINDOWS * 500, 0);
	assert_float_equal(verdict.outlived, 0.5, 0.06);
	assert_true(verdict.followed > 100 && verdict.followed < 2000);
	assert_float_equal(verdict.again / verdict.followed, 0.75, 0.08);
	assert_int_equal(verdict.state, COHORT_CHURN); /* half of it ends within 2 us */
	cohort__free(cohort);
}

/* Numbers that no allocator gives, and times that no clock does. */
static void test_hostile(void **state)
{
	struct cohort *cohort = leaking((struct cohort_window){0});
	const uint64_t odd[] = {0, 1, UINT64_MAX, UINT64_MAX - 1, 1ULL << 63, begin_of(3)};
	const size_t cnt = sizeof(odd) / sizeof(*odd);
	struct cohort_verdicts verdicts;

	(void)state;
	for (size_t i = 0; i < cnt * cnt * cnt; i++) {
		const struct cohort_birth birth = {odd[i % cnt], odd[i / cnt % cnt],
						   odd[i / cnt / cnt], i, i};

		assert_int_equal(cohort__birth(cohort, &birth), 0);
		cohort__death(cohort, odd[i % cnt], odd[i / cnt % cnt]);
		cohort__forget(cohort, odd[i / cnt % cnt], odd[i % cnt]);
	}
	cohort__close(cohort);
	for (size_t i = 0; i < cnt; i++) {
		read_due(cohort, odd[i]);
		assert_int_equal(cohort__judge(cohort, odd[i], 1, &verdicts), 0);
		cohort_verdicts__free(&verdicts);
	}
	cohort__free(cohort);
}

static void test_nothing_seen(void **state)
{
	struct cohort *cohort = cohort__new(key, 64, 64);
	struct cohort_verdicts verdicts;

	(void)state;
	bear(cohort, 0x1000, 5, 1);
	cohort__death(cohort, 0x1000, 6);
	assert_int_equal(cohort__judge(cohort, 7, -1, &verdicts), 0);
	assert_int_equal(verdicts.items.cnt, 0);
	cohort_verdicts__free(&verdicts);
	cohort__free(cohort);
}

/* A site whose blocks have all ended makes place for a new one, the one silent for longest first.
 */
static void test_place_for_new_sites(void **state)
{
	struct cohort *cohort = cohort__new(key, 1 << 10, 3);
	struct cohort_verdicts verdicts;

	(void)state;
	assert_non_null(cohort);
	for (uint64_t window = 0; window < 3; window++) {
		assert_int_equal(open_at(cohort, window), 0);
		assert_int_equal(cohort__churn(cohort, 10 + window, 1, 5, 500), 0);
		cohort__close(cohort);
	}
	assert_int_equal(open_at(cohort, 3), 0);
	bear(cohort, 0x1000, begin_of(3), 20);
	bear(cohort, 0x2000, begin_of(3), 21);
	bear(cohort, 0x3000, begin_of(3), 22);
	bear(cohort, 0x4000, begin_of(3), 23); /* all of them have a block now */
	cohort__close(cohort);
	assert_int_equal(cohort__untold_bytes(cohort), BYTES);
	assert_int_equal(cohort__judge(cohort, begin_of(4), -1, &verdicts), 0);
	assert_int_equal(verdicts.items.cnt, 3);
	for (size_t i = 0; i < 3; i++)
		assert_in_range(verdicts.items.items[i].stack, 20, 22);
	cohort_verdicts__free(&verdicts);
	assert_int_equal(open_at(cohort, 4), 0);
	cohort__death(cohort, 0x2000, begin_of(4) + 1);
	cohort__close(cohort);
	assert_int_equal(open_at(cohort, 5), 0);
	bear(cohort, 0x5000, begin_of(5), 24);
	cohort__close(cohort);
	assert_float_equal(judge(cohort, -1, 24).born, 1, 0);
	assert_float_equal(judge(cohort, -1, 21).born, 0, 0);
	assert_float_equal(judge(cohort, -1, 20).born, 1, 0);
	assert_int_equal(cohort__untold_bytes(cohort), BYTES);
	cohort__free(cohort);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_lost_time_and_hits),
		cmocka_unit_test(test_process_does_not_grow),
		cmocka_unit_test(test_windows_in_order),
		cmocka_unit_test(test_told_late_or_from_between),
		cmocka_unit_test(test_forgotten),
		cmocka_unit_test(test_layers_are_sites),
		cmocka_unit_test(test_sample),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_place_for_new_sites),
		cmocka_unit_test(test_nothing_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
