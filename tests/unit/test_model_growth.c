/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Growth told from everything else that memory does, on simulated processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "chance_fixture.h"

#include "model/growth.h"

#define SEC 1000000000ULL
#define MINUTE (60 * SEC)
#define HOUR (60 * MINUTE)
#define KIB 1024.0
#define MIB (1024 * KIB)
#define NOISE ((uint64_t)(256 * KIB))

/* ---- processes ---- */

struct process {
	double base, rate;	  /* bytes, bytes per hour */
	double warm, warm_s;	  /* warm * (1 - exp(-t / warm_s)) */
	double saw, saw_s, phase; /* a ramp of `saw` bytes every `saw_s` */
	double noise;		  /* of each sample */
	double step, step_s;	  /* one that stays; each `step_s` there is a chance of it */
	double walk;		  /* of each sample, and it stays */
	double pull;		  /* back to the base, of what has been walked, per sample */
	double walked, stepped, stepped_s;
};

static double process_at(struct process *process, double t_s)
{
	double bytes = process->base + process->rate * t_s / 3600;

	if (process->warm_s > 0)
		bytes += process->warm * (1 - exp(-t_s / process->warm_s));
	if (process->saw_s > 0)
		bytes += process->saw * fmod(t_s / process->saw_s + process->phase, 1);
	if (process->step_s > 0 && t_s - process->stepped_s >= process->step_s) {
		process->stepped_s = t_s;
		process->stepped += process->step * (uniform() < 0.5);
	}
	process->walked += process->walk * normal() - process->pull * process->walked;
	bytes += process->stepped + process->walked + process->noise * fabs(normal());
	return bytes > 0 ? bytes : 0;
}

/* As the sweep samples: about each second at first, then each fifth. Pages are whole. */
static uint64_t next_ns(uint64_t at_ns)
{
	return at_ns + (uint64_t)((at_ns < 30 * SEC ? SEC : 5 * SEC) * (0.7 + 0.6 * uniform()));
}

static uint64_t pages(double bytes)
{
	return (uint64_t)bytes / 4096 * 4096;
}

/* Feeds a process up to a time and returns the verdict. */
static struct growth_verdict run(struct growth *growth, struct process *process, uint64_t *at_ns,
				 uint64_t until_ns)
{
	struct growth_verdict verdict;

	for (; *at_ns <= until_ns; *at_ns = next_ns(*at_ns))
		growth__add(growth, 7 * HOUR + *at_ns, pages(process_at(process, *at_ns / 1e9)));
	growth__judge(growth, NOISE, &verdict);
	return verdict;
}

static struct growth_verdict run_once(struct process process, uint64_t ns)
{
	struct growth growth = {0};
	uint64_t at_ns = 0;

	return run(&growth, &process, &at_ns, ns);
}

static void assert_state(const char *what, struct growth_verdict verdict, enum growth_state want)
{
	if (verdict.state != want)
		fail_msg("%s is %s, not %s: %.2f MiB/h (%.2f to %.2f) over %.0f s", what,
			 growth_state__name(verdict.state), growth_state__name(want),
			 verdict.bytes_per_hour / MIB, verdict.lower / MIB, verdict.upper / MIB,
			 verdict.seen_ns / 1e9);
}

/* ---- leaks ---- */

static void test_size(void **state)
{
	(void)state;
	assert_true(sizeof(struct growth) <= 2048);
}

/* 10 MB a minute within half a minute, slower ones later; always with bounds around the truth. */
static void test_linear(void **state)
{
	static const struct {
		double rate, noise;
		uint64_t within_ns;
	} leaks[] = {
		{600 * MIB, 0, 28 * SEC},	   {600 * MIB, 100 * KIB, 28 * SEC},
		{60 * MIB, 20 * KIB, 4 * MINUTE},  {60 * MIB, 1 * MIB, 20 * MINUTE},
		{6 * MIB, 100 * KIB, 30 * MINUTE}, {1 * MIB, 20 * KIB, 2 * HOUR},
		{100 * KIB, 0, 12 * HOUR},
	};
	struct growth_verdict verdict;
	unsigned int wrong = 0;

	(void)state;
	seed = 1;
	for (size_t i = 0; i < sizeof(leaks) / sizeof(leaks[0]); i++) {
		for (int times = 0; times < 100; times++) {
			verdict = run_once((struct process){.base = 50 * MIB,
							    .rate = leaks[i].rate,
							    .noise = leaks[i].noise},
					   leaks[i].within_ns);
			assert_state("a leak", verdict, GROWTH_GROWING);
			wrong += leaks[i].rate < verdict.lower || leaks[i].rate > verdict.upper;
		}
	}
	print_message("bounds without the truth: %u of 700\n", wrong);
	assert_true(wrong <= 35);
}

/* Load changes by the minute, and the leak with it. */
static void test_leak_by_load(void **state)
{
	struct growth_verdict verdict;
	unsigned int told = 0, held = 0;

	(void)state;
	seed = 2;
	for (int times = 0; times < 200; times++) {
		struct process process = {.base = 50 * MIB};
		struct growth growth = {0};
		double leaked = 0, load = 1;
		uint64_t next, changed = 0;

		for (uint64_t at = 0; at < 30 * MINUTE; at = next) {
			if (at - changed >= MINUTE) {
				load = 0.4 + 1.2 * uniform();
				changed = at;
			}
			growth__add(&growth, at, pages(process_at(&process, at / 1e9) + leaked));
			next = next_ns(at);
			leaked += load * 100 * MIB / 3600 * (next - at) / 1e9;
		}
		growth__judge(&growth, NOISE, &verdict);
		told += verdict.state == GROWTH_GROWING;
		held += verdict.lower <= 100 * MIB && verdict.upper >= 100 * MIB;
	}
	print_message("leaks by load told %u, within bounds %u of 200\n", told, held);
	assert_true(told >= 190);
	assert_true(held >= 180);
}

/* A leak below a collector's teeth is told by what they come down to. */
static void test_leak_below_teeth(void **state)
{
	struct process process = {
		.base = 80 * MIB, .rate = 60 * MIB, .saw = 100 * MIB, .saw_s = 23};
	struct growth_verdict verdict = run_once(process, 3 * HOUR);

	(void)state;
	assert_state("a leak below teeth", verdict, GROWTH_GROWING);
	assert_true(verdict.lower < 60 * MIB && verdict.upper > 60 * MIB);
}

/* After hours of nothing, and after a warm-up. */
static void test_late_leak(void **state)
{
	struct process process = {.base = 50 * MIB, .warm = 200 * MIB, .warm_s = 60};
	struct growth growth = {0};
	uint64_t at_ns = 0;

	(void)state;
	assert_state("a warm one", run(&growth, &process, &at_ns, 8 * HOUR), GROWTH_FLAT);
	process.base -= 600 * MIB * 8;
	process.rate = 600 * MIB;
	assert_state("a late leak", run(&growth, &process, &at_ns, 8 * HOUR + 5 * MINUTE),
		     GROWTH_GROWING);
	assert_state("a leak after a warm-up",
		     run_once((struct process){.base = 50 * MIB,
					       .rate = 60 * MIB,
					       .warm = 200 * MIB,
					       .warm_s = 60},
			      30 * MINUTE),
		     GROWTH_GROWING);
}

/* ---- everything else ---- */

/* However long it takes, and whenever one looks once a fifth of it is over. */
static void test_warm_up(void **state)
{
	static const double lengths_s[] = {5, 20, 60, 300, 1800, 7200};
	unsigned int looks = 0, growing = 0, warming = 0;

	(void)state;
	seed = 3;
	for (size_t i = 0; i < sizeof(lengths_s) / sizeof(lengths_s[0]); i++) {
		for (int times = 0; times < 20; times++) {
			struct process process = {.base = 20 * MIB,
						  .warm = 300 * MIB,
						  .warm_s = lengths_s[i],
						  .noise = times * 20 * KIB};
			uint64_t at_ns = 0, first = (uint64_t)(lengths_s[i] / 5 * 1e9);
			struct growth growth = {0};

			for (uint64_t look = first; look < 8 * first * 5; look += first / 2) {
				struct growth_verdict verdict =
					run(&growth, &process, &at_ns, look);

				looks++;
				growing += verdict.state == GROWTH_GROWING;
				warming += verdict.state == GROWTH_WARMING;
			}
			assert_state("one that is warm",
				     run(&growth, &process, &at_ns,
					 first * 100 > 10 * MINUTE ? first * 100 : 10 * MINUTE),
				     GROWTH_FLAT);
		}
	}
	print_message("warm-ups: of %u looks %u growing, %u warming up\n", looks, growing, warming);
	assert_true(growing * 200 <= looks);
}

static void test_teeth(void **state)
{
	static const double lengths_s[] = {3, 11, 47, 180, 900};
	unsigned int looks = 0, growing = 0;

	(void)state;
	seed = 4;
	for (size_t i = 0; i < sizeof(lengths_s) / sizeof(lengths_s[0]); i++) {
		for (int times = 0; times < 20; times++) {
			struct process process = {.base = 20 * MIB,
						  .saw = 200 * MIB,
						  .saw_s = lengths_s[i],
						  .phase = uniform(),
						  .noise = MIB};
			struct growth growth = {0};
			uint64_t at_ns = 0;

			/* The first tooth is nothing but growth to who has not seen it end. */
			run(&growth, &process, &at_ns, (uint64_t)(2 * lengths_s[i] * 1e9));
			for (int look = 0; look < 200; look++, looks++)
				growing += run(&growth, &process, &at_ns, at_ns + 30 * SEC).state ==
					   GROWTH_GROWING;
		}
	}
	print_message("teeth: of %u looks %u growing\n", looks, growing);
	assert_int_equal(growing, 0);
}

static void test_steps(void **state)
{
	unsigned int looks = 0, growing = 0;

	(void)state;
	seed = 5;
	for (int times = 0; times < 200; times++) {
		struct process process = {
			.base = 20 * MIB, .step = 30 * MIB, .step_s = 40 + 600 * uniform()};
		struct growth growth = {0};
		uint64_t at_ns = 0;

		for (int look = 1; look <= 4; look++, looks++)
			growing += run(&growth, &process, &at_ns,
				       (uint64_t)(look * process.step_s * 0.7e9))
					   .state == GROWTH_GROWING;
	}
	print_message("steps: of %u looks %u growing\n", looks, growing);
	assert_int_equal(growing, 0);
}

/* One of 3000 processes of a host, none of which leaks: most do nothing. */
static struct process bystander(int nr)
{
	struct process process = {.base = (1 + 200 * uniform()) * MIB,
				  .noise = 100 * KIB * uniform()};

	switch (nr % 10) {
	case 5: /* a collector */
		process.saw = 300 * MIB * uniform();
		process.saw_s = 2 + 600 * uniform();
		process.phase = uniform();
		break;
	case 6: /* a cache that fills up */
		process.warm = 300 * MIB * uniform();
		process.warm_s = 10 + 7200 * uniform() * uniform();
		break;
	case 7: /* configuration is read again, now and then */
		process.step = (uniform() - 0.3) * 20 * MIB;
		process.step_s = 1800 + 7200 * uniform();
		break;
	case 8: /* requests */
		process.walk = 3 * MIB * uniform();
		process.pull = 0.02;
		break;
	case 9: /* it wanders */
		process.walk = 500 * KIB * uniform();
		break;
	}
	return process;
}

/* A night of eight hours, looked at every minute. The first tooth of a collector and the first
 * two fifths of a warm-up are growth, as far as anybody can tell. */
static void test_night(void **state)
{
	unsigned int growing[10] = {0}, looks_growing = 0, all = 0;

	(void)state;
	seed = 6;
	for (int nr = 0; nr < 3000; nr++) {
		struct process process = bystander(nr);
		struct growth growth = {0};
		uint64_t at_ns = 0;
		unsigned int told = 0;

		for (uint64_t look = MINUTE; look <= 8 * HOUR; look += MINUTE)
			told += run(&growth, &process, &at_ns, look).state == GROWTH_GROWING &&
				look > 2 * process.saw_s * SEC &&
				look > process.warm_s * SEC * 2 / 5;
		growing[nr % 10] += told > 0;
		looks_growing += told;
		all += told > 0;
	}
	print_message(
		"a night of 3000: %u ever called growing (collectors %u, caches %u, steps %u, "
		"requests %u, wandering %u, idle %u), in %u of 1440000 looks\n",
		all, growing[5], growing[6], growing[7], growing[8], growing[9],
		growing[0] + growing[1] + growing[2] + growing[3] + growing[4], looks_growing);
	assert_true(growing[6] <= 15);
	assert_true(all - growing[6] <= 6);
}

static void test_shrinking(void **state)
{
	(void)state;
	assert_state(
		"one that gives back",
		run_once((struct process){.base = 4000 * MIB, .rate = -600 * MIB}, 10 * MINUTE),
		GROWTH_SHRINKING);
	assert_state("an idle one", run_once((struct process){.base = MIB}, 10 * MINUTE),
		     GROWTH_FLAT);
	assert_state("an empty one", run_once((struct process){.base = 0}, 10 * MINUTE),
		     GROWTH_FLAT);
	assert_state("a new one",
		     run_once((struct process){.base = MIB, .rate = 6000 * MIB}, 9 * SEC),
		     GROWTH_TOO_EARLY);
}

/* ---- time ---- */

static void test_clock_jumps(void **state)
{
	static const int64_t jumps_s[] = {-3600, 3600, -86400 * 365, -2, 400};
	struct growth_verdict verdict;

	(void)state;
	for (size_t i = 0; i < sizeof(jumps_s) / sizeof(jumps_s[0]); i++) {
		struct growth growth = {0};
		int64_t clock_s = 500000000;

		for (int t = 0; t < 1200; t += 5) {
			clock_s += t == 600 ? jumps_s[i] : 5;
			growth__add(&growth, clock_s * SEC, pages(t * 100 * MIB / 3600));
		}
		growth__judge(&growth, NOISE, &verdict);
		assert_state("a leak beside a clock that jumps", verdict, GROWTH_GROWING);
		assert_true(fabs(verdict.bytes_per_hour / MIB - 100) < 5);
	}
}

/* Samples that are late, at random, and not there for half an hour. */
static void test_uneven(void **state)
{
	struct growth growth = {0};
	struct growth_verdict verdict;
	double t_s = 0;

	(void)state;
	seed = 7;
	while (t_s < 7200) {
		t_s += uniform() < 0.1 ? 60 * uniform() : 5 + uniform();
		if (t_s > 3000 && t_s < 4800)
			t_s = 4800;
		growth__add(&growth, (uint64_t)(t_s * 1e9),
			    pages(50 * MIB + t_s * 60 * MIB / 3600));
	}
	growth__judge(&growth, NOISE, &verdict);
	assert_state("a leak seen now and then", verdict, GROWTH_GROWING);
	assert_true(fabs(verdict.bytes_per_hour / MIB - 60) < 2);
}

/* Sizes and times that no process has. */
static void test_hostile(void **state)
{
	struct growth_verdict verdict;
	struct growth growth = {0};

	(void)state;
	seed = 8;
	for (int i = 0; i < 10000; i++) {
		uint64_t bytes = (uint64_t)(uniform() * 1.8e19);

		if (i % 7 == 0)
			growth__restart(&growth);
		growth__add(&growth, (uint64_t)(uniform() * 1.8e19), i % 3 ? bytes : UINT64_MAX);
		growth__judge(&growth, i % 2 ? 0 : UINT64_MAX, &verdict);
		assert_false(isnan(verdict.bytes_per_hour));
		assert_true(verdict.lower <= verdict.upper);
	}
}

/* ---- a service's next process ---- */

static void test_restart(void **state)
{
	struct growth growth = {0};
	struct growth_verdict verdict;

	(void)state;
	for (int t = 0; t < 3600; t += 5) {
		if (t && t % 600 == 0) /* each process begins anew */
			growth__restart(&growth);
		growth__add(&growth, t * SEC, pages(20 * MIB + t % 600 * 60 * MIB / 3600));
	}
	growth__judge(&growth, NOISE, &verdict);
	assert_int_equal(growth.restarts, 5);
	assert_state("a leak over restarts", verdict, GROWTH_GROWING);
	assert_true(verdict.lower <= 60 * MIB && verdict.upper >= 59 * MIB);
}

static void test_seconds_to(void **state)
{
	(void)state;
	assert_int_equal(growth__seconds_to(7200, 3600), 7200);
	assert_int_equal(growth__seconds_to(0, 1), 0);
	assert_int_equal(growth__seconds_to(1, 0), UINT64_MAX);
	assert_int_equal(growth__seconds_to(1, -1), UINT64_MAX);
	assert_int_equal(growth__seconds_to(1, NAN), UINT64_MAX);
	assert_int_equal(growth__seconds_to(UINT64_MAX, 1), UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_size),	     cmocka_unit_test(test_linear),
		cmocka_unit_test(test_leak_by_load), cmocka_unit_test(test_leak_below_teeth),
		cmocka_unit_test(test_late_leak),    cmocka_unit_test(test_warm_up),
		cmocka_unit_test(test_teeth),	     cmocka_unit_test(test_steps),
		cmocka_unit_test(test_night),	     cmocka_unit_test(test_shrinking),
		cmocka_unit_test(test_clock_jumps),  cmocka_unit_test(test_uneven),
		cmocka_unit_test(test_hostile),	     cmocka_unit_test(test_restart),
		cmocka_unit_test(test_seconds_to),
	};

	return cmocka_run_group_tests_name("growth", tests, NULL, NULL);
}
