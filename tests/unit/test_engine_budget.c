/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What may be spent, when: the bucket, the sliding minute, clocks that jump. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "unit/sweep_host.h"

#define MS 1e6
#define START (1000 * NS_PER_SEC)
#define MINUTE_MS 1200.0 /* the budget of 1 % on two CPUs */

/* 1 % of two CPUs; `own_cpu_ns` is the start-up. */
static struct budget two_cpus(uint64_t own_cpu_ns)
{
	struct budget budget;

	budget__init(&budget, 0.01, 2, START, own_cpu_ns);
	return budget;
}

/* Lets time pass as the tool does, without any work of its own. */
static void pass_ms(struct budget *budget, uint64_t ms)
{
	uint64_t end = budget->clock_ns + ms * NS_PER_MS;

	while (budget->clock_ns < end) {
		uint64_t left = end - budget->clock_ns;

		budget__pass(budget, budget->clock_ns + (left < NS_PER_SEC ? left : NS_PER_SEC),
			     budget->own_cpu_ns);
	}
}

static void check_ms(const char *what, double ns, double from_ms, double to_ms)
{
	if (ns < from_ms * MS - 1 || ns > to_ms * MS + 1)
		fail_msg("%s: %.3f ms, not %.3f to %.3f", what, ns / MS, from_ms, to_ms);
}

static void test_bucket(void **state)
{
	struct budget budget = two_cpus(0);

	(void)state;
	check_ms("minute", budget__minute_ns(&budget), MINUTE_MS, MINUTE_MS);
	check_ms("at first", budget__room_ns(&budget), 100, 100);
	budget__spend(&budget, 100 * MS);
	check_ms("all spent", budget__room_ns(&budget), 0, 0);
	pass_ms(&budget, 1000);
	check_ms("a second", budget__room_ns(&budget), 20, 20);
	budget__spend(&budget, 70 * MS);
	check_ms("owed", budget__room_ns(&budget), -50, -50);
	budget__spend(&budget, -20 * MS);
	check_ms("given back", budget__room_ns(&budget), -30, -30);
	pass_ms(&budget, 3600000);
	check_ms("an hour", budget__room_ns(&budget), 100, 100);
	check_ms("spent", budget__spent_ns(&budget), 0, 0);
}

static void test_no_budget(void **state)
{
	struct budget budget;

	(void)state;
	budget__init(&budget, 0, 64, START, 300 * NS_PER_MS);
	for (int i = 0; i < 100; i++) {
		pass_ms(&budget, 10000);
		assert_true(budget__room_ns(&budget) <= 0);
		assert_false(budget__has_room_for(&budget, 1e-9));
	}
	check_ms("free", budget__free_rate(&budget), 0, 0);
}

static void test_start_up_is_charged(void **state)
{
	struct budget budget = two_cpus(600 * NS_PER_MS);
	double spent_ms = 600;

	(void)state;
	check_ms("spent", budget__spent_ns(&budget), 600, 600);
	for (int i = 0; i < 60; i++) {
		double room_ns = fmax(budget__room_ns(&budget), 0);

		/* What is left is spread: not all at once. */
		check_ms("room", room_ns, 0, i ? 10 : 100);
		budget__spend(&budget, room_ns);
		spent_ms += room_ns / MS;
		pass_ms(&budget, 1000);
	}
	check_ms("first minute", spent_ms * MS, 0.9 * MINUTE_MS, MINUTE_MS);

	/* More than a minute has: nothing else until it is over. */
	budget = two_cpus(1300 * NS_PER_MS);
	for (int i = 0; i < 60; i++) {
		assert_true(budget__room_ns(&budget) <= 0);
		pass_ms(&budget, 1000);
	}
	pass_ms(&budget, 8000);
	check_ms("after it", budget__room_ns(&budget), 100, 100);
}

static void test_own_time_is_spent_once(void **state)
{
	struct budget budget = two_cpus(0);

	(void)state;
	budget__pass(&budget, START + NS_PER_SEC, 10 * NS_PER_MS);
	check_ms("own", budget__spent_ns(&budget), 10, 10);
	/* 5 ms are expected, 3 of them are seen next, then it turns out to be 4. */
	budget__spend_own(&budget, 5 * MS);
	check_ms("expected", budget__spent_ns(&budget), 15, 15);
	budget__pass(&budget, START + 2 * NS_PER_SEC, 13 * NS_PER_MS);
	check_ms("seen", budget__spent_ns(&budget), 15, 15);
	budget__spend_own(&budget, -1 * MS);
	budget__pass(&budget, START + 3 * NS_PER_SEC, 16 * NS_PER_MS);
	check_ms("all of it", budget__spent_ns(&budget), 16, 16);
	/* A counter that goes back gives nothing back. */
	budget__pass(&budget, START + 4 * NS_PER_SEC, 1 * NS_PER_MS);
	budget__pass(&budget, START + 5 * NS_PER_SEC, 2 * NS_PER_MS);
	check_ms("gone back", budget__spent_ns(&budget), 17, 17);
}

static void test_clock_jumps(void **state)
{
	struct budget budget = two_cpus(0);

	(void)state;
	budget__spend(&budget, 100 * MS);
	budget__pass(&budget, START + 3600 * NS_PER_SEC, 0);
	check_ms("an hour ahead", budget__room_ns(&budget), 20, 20);
	budget__pass(&budget, START, 0);
	check_ms("and back", budget__room_ns(&budget), 20, 20);
	check_ms("spent", budget__spent_ns(&budget), 100, 100);
	budget__pass(&budget, START + NS_PER_SEC, 0);
	check_ms("goes on", budget__room_ns(&budget), 40, 40);
	budget__pass(&budget, 0, 0);
	budget__pass(&budget, UINT64_MAX, 0);
	check_ms("from end to end", budget__room_ns(&budget), 60, 60);
}

/* What goes on for sure has its place in each minute to come. */
static void test_what_is_bound(void **state)
{
	struct budget budget = two_cpus(0);

	(void)state;
	assert_true(budget__has_room_for(&budget, 0.018));
	assert_false(budget__has_room_for(&budget, 0.02));
	budget.bound_rate = 0.019;
	/* 1152 ms less 61 s of it. */
	check_ms("much bound", budget__room_ns(&budget), -20, 0);
	budget.bound_rate = 0.01;
	check_ms("half bound", budget__room_ns(&budget), 100, 100);
	for (int i = 0; i < 30; i++) {
		budget__spend(&budget, 20 * MS);
		pass_ms(&budget, 1000);
	}
	/* All was spent for half a minute, and goes out of the minute only after the other half. */
	assert_false(budget__has_room_for(&budget, 0.01));
	pass_ms(&budget, 62000);
	assert_true(budget__has_room_for(&budget, 0.008));
}

/* However greedy the others are, what is kept is there when it is asked for. */
static void test_what_is_kept(void **state)
{
	struct budget budget = two_cpus(0);
	double free_rate = budget__free_rate(&budget);

	(void)state;
	budget.kept_ns = 150 * MS;
	check_ms("a minute's free rate",
		 (free_rate - budget__free_rate(&budget)) * BUDGET_MINUTE_NS, 150, 150);
	for (int i = 0; i < 2000; i++) {
		double room_ns = budget__room_ns(&budget);

		if (room_ns > 0)
			budget__spend(&budget, room_ns);
		pass_ms(&budget, 100);
		if (budget__minute_ns(&budget) - budget__spent_ns(&budget) < budget.kept_ns)
			fail_msg("only %.1f ms are left",
				 (budget__minute_ns(&budget) - budget__spent_ns(&budget)) / MS);
	}
}

/* Returns the worst minute of a host where all that may be spent is spent at once. */
static double spend_greedily(uint64_t seed, double *ret_used)
{
	struct host_opts opts = {
		.seed = seed,
		.share = 0.01,
		.cpu_cnt = 1 + seed % 64,
		.duration_ns = 300 * NS_PER_SEC,
		.process_cnt = 1,
		.calls_min = 1,
		.calls_max = 2,
		.program_max_ns = 1,
		.cold_min = 1,
		.cold_max = 1,
	};
	struct sweep_host host;
	double worst;

	sweep_host__init(&host, &opts);
	while (host.now_ns < opts.duration_ns) {
		double room_ns = budget__room_ns(&host.budget);

		if (room_ns > 0) {
			budget__spend(&host.budget, room_ns);
			host_spend(&host, room_ns);
		}
		host_pass(&host, host_random_scale(&host, 1e6, 0.9e9));
	}
	worst = sweep_host__worst_minute(&host);
	*ret_used = sweep_host__used(&host);
	sweep_host__free(&host);
	return worst;
}

static void test_greed(void **state)
{
	double worst = 0, least_used = 1, used;

	(void)state;
	for (uint64_t seed = 1; seed <= 1000; seed++) {
		double minute = spend_greedily(seed, &used);

		if (minute > 1.03)
			fail_msg("seed %lu: %.3f of the budget in a minute", (unsigned long)seed,
				 minute);
		worst = fmax(worst, minute);
		least_used = fmin(least_used, used);
	}
	print_message("worst minute %.3f of the budget, used %.3f at least\n", worst, least_used);
	assert_true(least_used > 0.85);
}

/* Another budget counts from now on: what was saved beyond it is gone, what was spent is not. */
static void test_other_share(void **state)
{
	struct budget budget = two_cpus(0);

	(void)state;
	budget__set_share(&budget, 0.005, 2);
	check_ms("minute", budget__minute_ns(&budget), MINUTE_MS / 2, MINUTE_MS / 2);
	check_ms("saved", budget__room_ns(&budget), 50, 50);
	budget__spend(&budget, 50 * MS);
	check_ms("all spent", budget__room_ns(&budget), 0, 0);
	budget__set_share(&budget, 0.02, 2);
	check_ms("nothing is given", budget__room_ns(&budget), 0, 0);
	check_ms("spent", budget__spent_ns(&budget), 50, 50);
	pass_ms(&budget, 1000);
	check_ms("a second", budget__room_ns(&budget), 40, 40);
}

#define DAY_S 86400

/* Days in which nothing is looked at, or nothing may be, while the tool itself works on: when
 * something may be spent, it soon can. */
static void test_days_are_not_owed(void **state)
{
	struct budget idle = two_cpus(0), none;

	(void)state;
	pass_ms(&idle, 60000);
	budget__resume(&idle, START + 3 * DAY_S * NS_PER_SEC, (uint64_t)(DAY_S * 12 * MS));
	check_ms("after idle days", budget__room_ns(&idle), 100, 100);
	pass_ms(&idle, 1000);
	check_ms("goes on", budget__room_ns(&idle), 100, 100);

	budget__init(&none, 0, 2, START, 0);
	for (int i = 0; i < DAY_S; i++)
		budget__pass(&none, none.clock_ns + NS_PER_SEC,
			     none.own_cpu_ns + (uint64_t)(4 * MS));
	budget__set_share(&none, 0.01, 2);
	pass_ms(&none, 10000);
	check_ms("after a day without", budget__room_ns(&none), 100, 100);
}

/* What cannot be put off takes more than there is: that is over soon after it. */
static void test_debt_ends(void **state)
{
	struct budget budget = two_cpus(0);

	(void)state;
	for (int i = 0; i < 3600; i++)
		budget__pass(&budget, budget.clock_ns + NS_PER_SEC,
			     budget.own_cpu_ns + (uint64_t)(40 * MS));
	assert_true(budget__room_ns(&budget) < 0);
	pass_ms(&budget, 130000);
	check_ms("two minutes later", budget__room_ns(&budget), 1, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_other_share),
		cmocka_unit_test(test_bucket),
		cmocka_unit_test(test_days_are_not_owed),
		cmocka_unit_test(test_debt_ends),
		cmocka_unit_test(test_no_budget),
		cmocka_unit_test(test_start_up_is_charged),
		cmocka_unit_test(test_own_time_is_spent_once),
		cmocka_unit_test(test_clock_jumps),
		cmocka_unit_test(test_what_is_bound),
		cmocka_unit_test(test_what_is_kept),
		cmocka_unit_test(test_greed),
	};

	return cmocka_run_group_tests_name("engine budget", tests, NULL, NULL);
}
