/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Budget and windows on simulated hosts: no minute costs too much, what there is gets used, nobody
 * is left out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "unit/sweep_host.h"

#define MOST 1.10 /* of a minute's budget */

/* Sanitizers look at each access: that needs no statistics, and takes ten times as long. */
#ifdef __SANITIZE_ADDRESS__
#define HOSTS_DIVISOR 8
#else
#define HOSTS_DIVISOR 1
#endif
#define HOSTS (1000 / HOSTS_DIVISOR)
#define UNMEASURED_HOSTS (100 / HOSTS_DIVISOR)
#define BUSY_HOSTS (56 / HOSTS_DIVISOR)
#define CROWDED_HOSTS (28 / HOSTS_DIVISOR)

static const unsigned int cpu_cnts[] = {1, 2, 4, 8, 16, 32, 64};
static const double grow_chances[] = {0.003, 0.01, 0.05};

/* Probes and processes of every kind; which troubles a host has depends on the seed. */
static struct host_opts any_host(uint64_t seed)
{
	return (struct host_opts){
		.seed = seed,
		.share = 0.01,
		.cpu_cnt = cpu_cnts[seed % 7],
		.duration_ns = 240 * NS_PER_SEC,
		.process_cnt = 500 + seed % 5 * 800,
		.grow_chance = grow_chances[seed % 3],
		.calls_min = 1e2,
		.calls_max = 1e6,
		.program_max_ns = 1e5,
		.cold_min = 1,
		.cold_max = TRAP_COLD,
		.has_bursts = true,
		.has_jumps = seed % 2,
		.has_deaths = seed % 4 < 2,
		.has_clock_jumps = seed % 5 < 2,
		.is_late = true,
		.is_measured = true,
	};
}

static void test_no_minute_costs_too_much(void **state)
{
	double worst = 0, used = 0;
	uint64_t worst_seed = 0, cut_cnt = 0, window_cnt = 0, exact_cnt = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= HOSTS; seed++) {
		struct host_opts opts = any_host(seed);
		struct sweep_host host;
		double minute;

		sweep_host__init(&host, &opts);
		sweep_host__run(&host);
		minute = sweep_host__worst_minute(&host);
		if (minute > worst) {
			worst = minute;
			worst_seed = seed;
		}
		used += sweep_host__used(&host) / HOSTS;
		cut_cnt += host.cut_cnt;
		window_cnt += host.window_cnt;
		exact_cnt += host.exact_cnt + host.ended_exact_cnt;
		sweep_host__free(&host);
	}
	print_message(
		"worst minute %.3f of the budget (seed %lu), used %.3f; %lu windows, %lu cut; "
		"%lu times exact\n",
		worst, (unsigned long)worst_seed, used, (unsigned long)window_cnt,
		(unsigned long)cut_cnt, (unsigned long)exact_cnt);
	assert_true(worst <= MOST);
	assert_true(exact_cnt > 0 && cut_cnt > 0 && window_cnt > 50 * HOSTS);
}

/* Where programs are never measured, they are what is thought of them at most (window_bill.c). */
static void test_unmeasured(void **state)
{
	double worst = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= UNMEASURED_HOSTS; seed++) {
		struct host_opts opts = any_host(seed);
		struct sweep_host host;

		opts.is_measured = false;
		opts.program_max_ns = 6000;
		sweep_host__init(&host, &opts);
		sweep_host__run(&host);
		worst = fmax(worst, sweep_host__worst_minute(&host));
		sweep_host__free(&host);
	}
	print_message("worst minute %.3f of the budget\n", worst);
	assert_true(worst <= MOST);
}

struct fairness {
	double lowest, highest; /* of what a suspect got, to what it was worth */
	double windows_open;	/* share of the time that takes */
};

/*
 * What suspects got beside their shares. Those that are worth little more than the windows that
 * none is denied are left out: what such a window costs is told by how late the tool wakes.
 */
static struct fairness compare_shares(struct sweep_host *host)
{
	struct fairness fairness = {.lowest = 1, .highest = 1};
	double shares = 0, spent_ns = 0;

	for (size_t i = 0; i < host->plan.cnt; i++) {
		const struct window_suspect *suspect = &host->plan.suspects[i];
		struct host_process *process = host_process(host, suspect->facts.id);
		double alone = process->calls_per_sec * process->true_ns_per_hit / NS_PER_SEC;

		shares += suspect->share;
		spent_ns += process->spent_ns;
		fairness.windows_open += suspect->share * (1 / alone + 1 / process->threads);
	}
	for (size_t i = 0; i < host->plan.cnt; i++) {
		const struct window_suspect *suspect = &host->plan.suspects[i];
		double least_ns =
			2 * suspect->facts.attach_ns + budget__minute_ns(&host->budget) / 1000;
		double got = host_process(host, suspect->facts.id)->spent_ns / spent_ns;
		double part = got / (suspect->share / shares);

		if (suspect->share < 3 * least_ns / (WINDOW_MAX_AGE_NS / 2))
			continue;
		fairness.lowest = fmin(fairness.lowest, part);
		fairness.highest = fmax(fairness.highest, part);
	}
	return fairness;
}

/*
 * Suspects that could use all of the budget, and time enough for windows one after another. What
 * is charged for a trap is what it costs here: shares are of what is charged.
 */
static void test_budget_is_used_and_shared(void **state)
{
	double lowest = 1, highest = 1, used = 0, least_used = 1, worst = 0;
	int host_cnt = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= BUSY_HOSTS; seed++) {
		struct host_opts opts = {
			.seed = seed,
			.share = 0.01,
			.cpu_cnt = cpu_cnts[seed % 7],
			.duration_ns = 1800 * NS_PER_SEC,
			.process_cnt = 2000,
			.grow_chance = 0.003 + 0.004 * (seed % 4),
			.calls_min = 1e5,
			.calls_max = 1e6,
			.program_max_ns = 2e4,
			.cold_min = TRAP_CHARGED,
			.cold_max = TRAP_CHARGED,
			.is_late = true,
			.is_measured = true,
		};
		struct fairness fairness;
		struct sweep_host host;

		sweep_host__init(&host, &opts);
		sweep_host__run(&host);
		fairness = compare_shares(&host);
		worst = fmax(worst, sweep_host__worst_minute(&host));
		if (host.plan.cnt && fairness.windows_open < 0.5 && !host.exact_cnt &&
		    !host.ended_exact_cnt) {
			host_cnt++;
			lowest = fmin(lowest, fairness.lowest);
			highest = fmax(highest, fairness.highest);
			used += sweep_host__used(&host);
			least_used = fmin(least_used, sweep_host__used(&host));
		}
		sweep_host__free(&host);
	}
	used /= host_cnt;
	print_message("%d hosts: used %.3f of the budget, %.3f at least; suspects got %.2f to %.2f "
		      "times their shares; worst minute %.3f\n",
		      host_cnt, used, least_used, lowest, highest, worst);
	assert_true(host_cnt >= BUSY_HOSTS / 2 && worst <= MOST);
	assert_true(used >= 0.7 && least_used >= 0.7);
	assert_true(lowest >= 0.7 && highest <= 1.4);
}

static void test_nobody_starves(void **state)
{
	uint64_t longest_ns = 0, seed_of_it = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= CROWDED_HOSTS; seed++) {
		struct host_opts opts = any_host(seed);
		struct sweep_host host;

		opts.duration_ns = 1200 * NS_PER_SEC;
		opts.process_cnt = 2000;
		opts.grow_chance = 0.03;
		opts.has_deaths = false;
		sweep_host__init(&host, &opts);
		sweep_host__run(&host);
		if (host.longest_gap_ns > longest_ns) {
			longest_ns = host.longest_gap_ns;
			seed_of_it = seed;
		}
		sweep_host__free(&host);
	}
	print_message("longest time without a window: %.0f s (seed %lu)\n", longest_ns / 1e9,
		      (unsigned long)seed_of_it);
	assert_true(longest_ns <= WINDOW_MAX_AGE_NS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_minute_costs_too_much),
		cmocka_unit_test(test_unmeasured),
		cmocka_unit_test(test_budget_is_used_and_shared),
		cmocka_unit_test(test_nobody_starves),
	};

	return cmocka_run_group_tests_name("engine sweep hosts", tests, NULL, NULL);
}
