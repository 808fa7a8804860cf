/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "model/chance.h"

/* Expected values are by definition where they are simple, else from published tables. */

static void test_binomial(void **state)
{
	(void)state;
	assert_float_equal(binomial_at_least(0, 0, 0.5), 1, 1e-12);
	assert_float_equal(binomial_at_least(3, 3, 0.5), 0.125, 1e-12);
	assert_float_equal(binomial_at_least(2, 3, 0.5), 0.5, 1e-12);
	assert_float_equal(binomial_at_least(4, 3, 0.5), 0, 1e-12);
	assert_float_equal(binomial_at_least(1, 3, 0), 0, 1e-12);
	assert_float_equal(binomial_at_least(3, 3, 1), 1, 1e-12);
	/* All of 16: the share whose 16th power is 0.025; 8 of 10: Clopper and Pearson. */
	assert_float_equal(binomial_low(16, 16, 0.025), 0.79409, 1e-4);
	assert_float_equal(binomial_low(8, 10, 0.025), 0.44390, 1e-4);
	assert_float_equal(binomial_low(0, 10, 0.025), 0, 1e-4);
}

static void test_poisson(void **state)
{
	(void)state;
	assert_float_equal(poisson_at_most(0, 3), 0.049787, 1e-6);
	assert_float_equal(poisson_at_most(2, 2), 0.676676, 1e-6);
	assert_float_equal(poisson_at_most(5, 0), 1, 1e-12);
	assert_float_equal(poisson_high(0, 0.025), 3.6889, 1e-4);
	assert_float_equal(poisson_high(10, 0.025), 18.3904, 1e-3);
}

static void test_student(void **state)
{
	(void)state;
	assert_float_equal(student_t(3), 3.182, 0.1);
	assert_float_equal(student_t(5), 2.571, 0.02);
	assert_float_equal(student_t(10), 2.228, 0.02);
	assert_float_equal(student_t(1000), 1.962, 0.02);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_binomial),
		cmocka_unit_test(test_poisson),
		cmocka_unit_test(test_student),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
