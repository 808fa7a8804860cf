/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What windows teach of what the next one costs, and what they do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <math.h>

#include "engine/window_cost.h"

#define CALIBRATED_NS 2000.0
#define LONG_NS (10 * NS_PER_SEC)

static struct window_cost new_cost(void)
{
	struct window_cost cost;

	window_cost__init(&cost, CALIBRATED_NS, NULL);
	return cost;
}

static void check_near(const char *what, double found, double expected, double part)
{
	if (fabs(found - expected) > part * fabs(expected))
		fail_msg("%s: %g, not %g", what, found, expected);
}

/* A window of which all is known: `ns_per_hit` within `off`, busy for all of its time. */
static double run_window(struct window_cost *cost, uint64_t hits, uint64_t open_ns,
			 double ns_per_hit, double off)
{
	double lost = hits * ns_per_hit / open_ns;
	struct window_bill bill = {
		.hits = hits,
		.busy_ns = open_ns,
		.lost_low = lost * (1 - off),
		.lost_high = lost * (1 + off),
	};

	return window_cost__learn(cost, &bill, open_ns);
}

static void test_wrong_calibration(void **state)
{
	static const double wrong[] = {0.05, 0.3, 1, 4, 20};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct window_cost cost = new_cost();
		double true_ns = wrong[i] * CALIBRATED_NS, charged;

		/* The first window is charged what was lost, not what was thought. */
		charged = run_window(&cost, 100, 20 * NS_PER_MS, true_ns, 0.2);
		check_near("first", charged, 100 * true_ns, 0.2);
		for (int j = 0; j < 20; j++)
			run_window(&cost, 1000, 200 * NS_PER_MS, true_ns, 0.1);
		check_near("learnt", window_cost__ns(&cost, 1), true_ns, 0.02);
	}
}

static void test_charged_within_the_range(void **state)
{
	struct window_cost cost = new_cost();
	struct window_bill bill = {.hits = 1000};

	(void)state;
	/* Nothing was measured: what calibration says, doubled. */
	check_near("unmeasured", window_cost__learn(&cost, &bill, NS_PER_SEC), 4e6, 1e-9);
	/* A range that says next to nothing hardly moves it. */
	bill.busy_ns = NS_PER_SEC;
	bill.lost_high = 1;
	check_near("wide", window_cost__learn(&cost, &bill, NS_PER_SEC), 4e6, 0.2);
	/* A range that is empty or upside down is none. */
	bill.lost_low = 0.5;
	bill.lost_high = 0.1;
	window_cost__learn(&cost, &bill, NS_PER_SEC);
	check_near("upside down", cost.factor, 2, 0.2);
	bill = (struct window_bill){.busy_ns = NS_PER_SEC};
	check_near("no hits", window_cost__learn(&cost, &bill, NS_PER_SEC) + 1, 1, 1e-9);
	check_near("no hits", cost.factor, 2, 0.2);
}

static void test_moment_teaches_no_rate(void **state)
{
	struct window_cost cost = new_cost();
	uint64_t length_ns, before_ns = 0;

	(void)state;
	for (int i = 0; i < 20; i++) {
		length_ns = window_cost__length_ns(&cost, 1, LONG_NS);
		assert_true(length_ns > before_ns || length_ns >= 500 * NS_PER_MS);
		before_ns = length_ns;
		if (length_ns >= 500 * NS_PER_MS)
			break;
		run_window(&cost, 3, length_ns, CALIBRATED_NS, 0.1);
		assert_false(cost.knows_hits);
	}
	/* Half a second is no moment, though there was no hit at all. */
	run_window(&cost, 0, 500 * NS_PER_MS, CALIBRATED_NS, 0.1);
	assert_true(cost.knows_hits);
	check_near("rate", cost.hits_per_sec + 1, 1, 1e-9);
}

/* A rate that was thought too high asks for windows of a moment, which could never mend it. */
static void test_wrong_rate_mends(void **state)
{
	struct window_cost cost = new_cost();
	double cost_ns = 1e6;
	int windows = 0;

	(void)state;
	run_window(&cost, 100000, 2 * NS_PER_MS, 20, 0.1);
	assert_true(window_cost__length_ns(&cost, cost_ns, LONG_NS) <= NS_PER_MS);
	while (fabs(cost.hits_per_sec - 1000) > 100) {
		uint64_t length_ns = window_cost__length_ns(&cost, cost_ns, LONG_NS);

		run_window(&cost, length_ns / NS_PER_MS, length_ns, 20, 0.1);
		if (++windows > 60)
			fail_msg("%g hits/s after 60 windows, not 1000", cost.hits_per_sec);
	}
}

static void test_length(void **state)
{
	struct window_cost cost = new_cost();
	uint64_t length_ns;

	(void)state;
	assert_true(window_cost__length_ns(&cost, 1e9, LONG_NS) <= 5 * NS_PER_MS);
	run_window(&cost, 1000, 5 * NS_PER_MS, CALIBRATED_NS, 0.1);
	/* However much it may cost: not much longer than what is known. */
	assert_int_equal(window_cost__length_ns(&cost, 1e12, LONG_NS), 20 * NS_PER_MS);
	for (int i = 0; i < 30; i++)
		run_window(&cost, 20000, 100 * NS_PER_MS, CALIBRATED_NS, 0.1);
	/* 200 k hits a second of 2 us: 0.4 of a CPU. */
	check_near("rate", window_cost__rate(&cost), 0.4, 0.1);
	length_ns = window_cost__length_ns(&cost, 40e6, LONG_NS);
	check_near("length", length_ns, 100e6, 0.1);
	assert_int_equal(window_cost__length_ns(&cost, 40e6, NS_PER_MS / 2), NS_PER_MS / 2);
	/* One that is cut in a moment does not make the next one longer. */
	run_window(&cost, 20000, NS_PER_MS / 4, CALIBRATED_NS, 0.1);
	assert_true(window_cost__length_ns(&cost, 1e6, LONG_NS) <= 5 * NS_PER_MS);
}

static void test_new_suspect_begins_with_what_is_known(void **state)
{
	struct window_cost first = new_cost(), second;

	(void)state;
	for (int i = 0; i < 20; i++)
		run_window(&first, 1000, 100 * NS_PER_MS, 5 * CALIBRATED_NS, 0.1);
	window_cost__init(&second, 1000, &first);
	check_near("a hit", window_cost__ns(&second, 1), 5000, 0.05);
	/* It is not sure of it. */
	run_window(&second, 1000, 100 * NS_PER_MS, 1000, 0.1);
	check_near("a hit", window_cost__ns(&second, 1), 1000, 0.05);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wrong_calibration),
		cmocka_unit_test(test_charged_within_the_range),
		cmocka_unit_test(test_moment_teaches_no_rate),
		cmocka_unit_test(test_wrong_rate_mends),
		cmocka_unit_test(test_length),
		cmocka_unit_test(test_new_suspect_begins_with_what_is_known),
	};

	return cmocka_run_group_tests_name("engine window cost", tests, NULL, NULL);
}
