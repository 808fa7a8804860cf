/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Services whose process starts anew again and again, with a leak and without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "chance_fixture.h"

#include "model/life.h"

#define SEC 1000000000ULL
#define MINUTE 60.0
#define HOUR 3600.0
#define KIB 1024.0
#define MIB (1024 * KIB)
#define NOISE ((uint64_t)(256 * KIB))
#define SETTLE_S 10.0 /* of which nothing is seen in each life */

struct service {
	double life_s;	     /* half to one and a half times as long */
	double load, load_s; /* each process takes `load` bytes in so long, evenly */
	double rate;	     /* of a leak, bytes per hour */
	double noise;	     /* of each sample */
};

struct told {
	unsigned int looks;
	unsigned int growing;	/* by the service's and the process's growth */
	unsigned int added;	/* by the service's alone */
	unsigned int within;	/* of the growing ones, with the truth in their bounds */
	unsigned int too_quick; /* with a lower bound of twice the truth */
};

static uint64_t size_at(const struct service *service, double t_s)
{
	double loaded = t_s < service->load_s ? t_s / service->load_s : 1;

	return (uint64_t)(20 * MIB + loaded * service->load + service->rate * t_s / HOUR +
			  service->noise * fabs(normal())) /
	       4096 * 4096;
}

static void look(const struct service *service, const struct life *life, const struct growth *all,
		 struct told *told)
{
	struct growth_verdict verdict;

	growth__judge(all, NOISE, &verdict);
	told->added += verdict.state == GROWTH_GROWING;
	life__judge(life, all, NOISE, &verdict);
	told->looks++;
	if (verdict.state != GROWTH_GROWING)
		return;
	told->growing++;
	told->within += verdict.lower <= service->rate && verdict.upper >= service->rate;
	told->too_quick += verdict.lower > 2 * service->rate;
}

/* Looks at a service now and then from `from_s` on, when it is known what it does. */
static struct told watch_service(const struct service *service, double from_s, double until_s)
{
	struct life lives[2], *life = NULL;
	struct growth all = {0};
	struct told told = {0};
	double t_s = 0, end_s;

	for (int nr = 0; t_s < until_s; nr++) {
		double born_s = t_s;

		end_s = t_s + service->life_s * (0.5 + uniform());
		if (nr) {
			life__begin(&lives[nr % 2], life, &all, NOISE);
			life = &lives[nr % 2];
			growth__restart(&all);
			t_s += SETTLE_S;
		}
		for (; t_s < end_s; t_s += 5 * (0.7 + 0.6 * uniform())) {
			uint64_t bytes = size_at(service, t_s - born_s);

			growth__add(&all, (uint64_t)(t_s * SEC), bytes);
			if (life)
				growth__add(&life->own, (uint64_t)(t_s * SEC), bytes);
			if (t_s > from_s)
				look(service, life, &all, &told);
		}
	}
	return told;
}

static struct told watch_many(struct service service, double from_s, double until_s)
{
	struct told sum = {0};

	for (int i = 0; i < 20; i++) {
		struct told told = watch_service(&service, from_s, until_s);

		sum.looks += told.looks;
		sum.growing += told.growing;
		sum.added += told.added;
		sum.within += told.within;
		sum.too_quick += told.too_quick;
	}
	print_message("lives of %.0f s, load %.0f MiB in %.0f s, leak %.1f MiB/h: of %u looks %u "
		      "growing, %u by sums alone, within bounds %u, too quick %u\n",
		      service.life_s, service.load / MIB, service.load_s, service.rate / MIB,
		      sum.looks, sum.growing, sum.added, sum.within, sum.too_quick);
	return sum;
}

/* Each process loads the same, and that is all. */
static void test_loads(void **state)
{
	static const struct service services[] = {
		{.life_s = 5 * MINUTE, .load = 200 * MIB, .load_s = 60, .noise = 100 * KIB},
		{.life_s = 3 * MINUTE, .load = 50 * MIB, .load_s = 30, .noise = MIB},
		{.life_s = 20 * MINUTE, .load = 2000 * MIB, .load_s = 300},
		{.life_s = 2 * MINUTE, .load = 400 * MIB, .load_s = 40, .noise = 20 * KIB},
	};
	unsigned int added = 0;

	(void)state;
	seed = 1;
	for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
		struct told told = watch_many(services[i], 2 * services[i].life_s, 4 * HOUR);

		assert_true(told.growing * 200 <= told.looks);
		added += told.added;
	}
	assert_true(added > 1000); /* what sums alone would tell */
}

/* A leak goes on over restarts, and its bounds hold. */
static void test_leaks(void **state)
{
	static const struct {
		struct service service;
		double from_s, until_s;
	} leaks[] = {
		{{.life_s = 10 * MINUTE, .rate = 60 * MIB, .noise = 20 * KIB}, HOUR, 3 * HOUR},
		{{.life_s = 5 * MINUTE, .rate = 600 * MIB, .noise = MIB}, HOUR, 3 * HOUR},
		{{.life_s = 30 * MINUTE, .rate = 6 * MIB, .noise = 100 * KIB}, 3 * HOUR, 8 * HOUR},
		{{.life_s = 3 * HOUR, .rate = MIB, .noise = 20 * KIB}, 5 * HOUR, 24 * HOUR},
	};

	(void)state;
	seed = 2;
	for (size_t i = 0; i < sizeof(leaks) / sizeof(leaks[0]); i++) {
		struct told told = watch_many(leaks[i].service, leaks[i].from_s, leaks[i].until_s);

		assert_true(told.growing * 100 >= told.looks * 90);
		assert_true(told.within * 100 >= told.growing * 90);
	}
}

/* A leak in a service that loads, too: what it loads must not be told as leaked. */
static void test_leak_and_load(void **state)
{
	struct told told;

	(void)state;
	seed = 3;
	told = watch_many((struct service){.life_s = 20 * MINUTE,
					   .load = 200 * MIB,
					   .load_s = 40,
					   .rate = 600 * MIB,
					   .noise = 100 * KIB},
			  HOUR, 4 * HOUR);
	assert_true(told.growing * 100 >= told.looks * 70);
	assert_true(told.too_quick * 100 <= told.growing * 5);
}

/* The word of the process before stands until the next one can tell, and no longer. */
static void test_handover(void **state)
{
	struct growth all = {0};
	struct growth_verdict verdict;
	struct life first, second;
	uint64_t at_ns = 0;

	(void)state;
	for (int i = 0; i < 100; i++, at_ns += 5 * SEC)
		growth__add(&all, at_ns, (uint64_t)(20 + i) * (1 << 20));
	life__begin(&first, NULL, &all, NOISE);
	growth__restart(&all);
	assert_true(first.has_grown);
	life__judge(&first, &all, NOISE, &verdict);
	assert_int_equal(verdict.state, GROWTH_GROWING);
	for (int i = 0; i < 20; i++, at_ns += 5 * SEC) {
		growth__add(&all, at_ns, 30 << 20);
		growth__add(&first.own, at_ns, 30 << 20);
	}
	life__judge(&first, &all, NOISE, &verdict);
	assert_int_not_equal(verdict.state, GROWTH_GROWING);
	life__begin(&second, &first, &all, NOISE);
	assert_false(second.has_grown);
	assert_int_equal(second.had_bytes, 30 << 20);
	/* One that ends before anything is known of it changes nothing. */
	first = second;
	life__begin(&second, &first, &all, NOISE);
	assert_false(second.has_grown);
	assert_int_equal(second.had_bytes, 30 << 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_loads),
		cmocka_unit_test(test_leaks),
		cmocka_unit_test(test_leak_and_load),
		cmocka_unit_test(test_handover),
	};

	return cmocka_run_group_tests_name("lives", tests, NULL, NULL);
}
