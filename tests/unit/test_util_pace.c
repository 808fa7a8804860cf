/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "util/clock.h"
#include "util/pace.h"

#define PARTS 50
#define STEP_NS (NS_PER_MS / 10)

static void test_first_time_at_once(void **state)
{
	const struct pace pace = {0};

	(void)state;
	assert_true(pace__is_due(&pace, 0));
}

/* Who waits as long as he is told finds it due, and not long before. */
static void test_wait(void **state)
{
	struct pace pace = {0};

	(void)state;
	assert_int_equal(pace__wait_ms(&pace, 5), 0);
	pace__note(&pace, 0, NS_PER_MS, PARTS);
	assert_int_equal(pace__wait_ms(&pace, NS_PER_MS), PARTS);
	assert_true(pace__is_due(&pace, (1 + PARTS) * NS_PER_MS));
	assert_false(pace__is_due(&pace, (PARTS - 1) * NS_PER_MS));
	assert_int_equal(pace__wait_ms(&pace, PARTS * NS_PER_MS - 1), 1);
	assert_int_equal(pace__wait_ms(&pace, PARTS * NS_PER_MS), 0);
	pace__note(&pace, 0, 1ULL << 60, 2);
	assert_int_equal(pace__wait_ms(&pace, 0), INT_MAX);
}

/* Wanted all the time for 100 s, it takes one part of the time, and is done all the same. */
static void assert_share(uint64_t cost_ns)
{
	uint64_t now_ns = 7 * NS_PER_SEC, end_ns = now_ns + 100 * NS_PER_SEC, spent_ns = 0,
		 times = 0;
	struct pace pace = {0};

	while (now_ns < end_ns) {
		if (pace__is_due(&pace, now_ns)) {
			pace__note(&pace, now_ns, now_ns + cost_ns, PARTS);
			now_ns += cost_ns;
			spent_ns += cost_ns;
			times++;
		}
		now_ns += STEP_NS;
	}
	print_message("%llu ns each: %llu times\n", (unsigned long long)cost_ns,
		      (unsigned long long)times);
	/* The last one may have begun just before the end. */
	assert_in_range(spent_ns, 0, 100 * NS_PER_SEC / PARTS + cost_ns);
	assert_true(times > 0);
	if (cost_ns * PARTS > 10 * STEP_NS)
		assert_in_range(spent_ns, 90 * NS_PER_SEC / PARTS, UINT64_MAX);
}

static void test_share_of_the_time(void **state)
{
	(void)state;
	assert_share(1000);
	assert_share(100 * 1000);
	assert_share(10 * NS_PER_MS);
	assert_share(NS_PER_SEC);
	assert_share(5 * NS_PER_SEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_time_at_once),
		cmocka_unit_test(test_wait),
		cmocka_unit_test(test_share_of_the_time),
	};

	return cmocka_run_group_tests_name("util pace", tests, NULL, NULL);
}
