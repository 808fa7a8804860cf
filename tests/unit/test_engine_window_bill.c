/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What hits are said to have cost, beside what they did, and what is learnt from that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <math.h>

#include "engine/window_bill.h"

#define HITS 1000
#define MOST 1.12 /* times of what is charged is the truth; a minute is not quite full */
#define CALIBRATED_NS (TRAP_COLD * 1700.0) /* an emulated probe and a program of 1 us */

static const struct trap_price price = {.hit_ns = 700, .step_ns = 3300};

/* Probes as they may be; the program's time is measured. */
struct probe {
	const char *name;
	double stepped, program_ns, cold;
};

static const struct probe probes[] = {
	{"emulated", 0, 1000, 1},
	{"emulated, cold", 0, 1000, 2},
	{"half of them stepped", 0.5, 1000, 1.5},
	{"stepped", 1, 1000, 1},
	{"stepped, cold", 1, 1500, 2},
	{"a deep stack", 0, 9000, 1.5},
	{"a deep stack, stepped", 1, 9000, 1.5},
};

static double true_ns(const struct probe *probe)
{
	return probe->program_ns + probe->cold * (price.hit_ns + probe->stepped * price.step_ns);
}

static struct window_work work_of(const struct probe *probe, uint64_t busy_ns)
{
	return (struct window_work){
		.hits = HITS,
		.stepped = probe->stepped,
		.program_ns = probe->program_ns,
		.busy_ns = busy_ns,
	};
}

static void test_range_has_the_truth(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++) {
		struct window_work work = work_of(&probes[i], NS_PER_SEC);
		struct window_bill bill = window_bill__of(&price, &work);
		double lost = HITS * true_ns(&probes[i]) / NS_PER_SEC, off = lost * 1e-9;

		if (bill.lost_least > lost + off || bill.lost_most < lost - off)
			fail_msg("%s: lost %g to %g, not %g", probes[i].name, bill.lost_least,
				 bill.lost_most, lost);
		assert_true(bill.lost_most <= TRAP_COLD * bill.lost_least);
		assert_true(bill.lost_high >= lost / MOST);
		assert_int_equal(bill.hits, HITS);
		assert_int_equal(bill.busy_ns, NS_PER_SEC);
	}
}

/* Whatever the probe is: what is charged for it settles at what it may cost, not at one number. */
static void test_learnt_is_enough(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++) {
		struct window_work work = work_of(&probes[i], 100 * NS_PER_MS);
		struct window_bill bill = window_bill__of(&price, &work);
		struct window_cost cost;
		double charged = 0, want = HITS * true_ns(&probes[i]);

		window_cost__init(&cost, CALIBRATED_NS, NULL);
		for (int j = 0; j < 20; j++)
			charged = window_cost__learn(&cost, &bill, 100 * NS_PER_MS);
		print_message("%s: %.0f ns a hit, charged %.0f\n", probes[i].name, want / HITS,
			      charged / HITS);
		if (charged < want / MOST || charged > want * TRAP_COLD)
			fail_msg("%s: %g, not %g", probes[i].name, charged, want);
	}
}

/* A program that nobody has measured may be one that walks far: that is charged. */
static void test_never_measured(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++) {
		struct window_work work = work_of(&probes[i], 100 * NS_PER_MS);
		struct window_cost cost;
		struct window_bill bill;

		if (probes[i].program_ns > 6000)
			continue;
		work.program_ns = 0;
		bill = window_bill__of(&price, &work);
		window_cost__init(&cost, CALIBRATED_NS, NULL);
		for (int j = 0; j < 20; j++)
			assert_true(window_cost__learn(&cost, &bill, 100 * NS_PER_MS) >=
				    HITS * true_ns(&probes[i]) / MOST);
		assert_true(bill.lost_least * bill.busy_ns <= HITS * true_ns(&probes[i]));
		assert_true(window_cost__ns(&cost, HITS) >= HITS * true_ns(&probes[i]) / MOST);
	}
}

static void test_not_more_than_was_used(void **state)
{
	struct window_work work = work_of(&probes[0], HITS * 100);
	struct window_bill bill = window_bill__of(&price, &work);

	(void)state;
	assert_true(bill.lost_least == 1 && bill.lost_high == 1);
	work.busy_ns = 0;
	bill = window_bill__of(&price, &work);
	assert_int_equal(bill.busy_ns, 0);
	assert_int_equal(bill.hits, HITS);
}

/* The first windows are measured, later ones now and then: it costs the whole host a little. */
static void test_when_measured(void **state)
{
	int cnt = 0;

	(void)state;
	assert_true(window_bill__measures(0) && window_bill__measures(1));
	for (uint64_t i = 100; i < 200; i++)
		cnt += window_bill__measures(i);
	assert_in_range(cnt, 5, 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_range_has_the_truth),
		cmocka_unit_test(test_learnt_is_enough),
		cmocka_unit_test(test_never_measured),
		cmocka_unit_test(test_not_more_than_was_used),
		cmocka_unit_test(test_when_measured),
	};

	return cmocka_run_group_tests_name("engine window bill", tests, NULL, NULL);
}
