/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sampling of bpf/sample.bpf.h: its arithmetic against libm, and whether the sums it leads to are unbiased. */
#include <linux/types.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "bpf/sample.bpf.h"

#define MAX_SIZE (1ULL << 47)
#define MAX_MEAN (1ULL << 40)

/* splitmix64 (public domain, Vigna): the same numbers on every host. */
static uint64_t random_u64(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

/* A number of at most `bits` bits, every magnitude as likely as any other. */
static uint64_t random_magnitude(uint64_t *state, unsigned int bits)
{
	unsigned int width = random_u64(state) % bits + 1;

	return random_u64(state) >> (64 - width);
}

static void check_pair(uint64_t size, uint64_t mean)
{
	uint64_t p = sample_probability(size, mean), weight, product;
	double want = -expm1(-(double)(size ? size : 1) / mean) * SAMPLE_ONE;
	double error = fabs(p - want);

	if (p < 1 || p > SAMPLE_ONE)
		fail_msg("size %llu mean %llu: p = %llu", (unsigned long long)size, (unsigned long long)mean,
			 (unsigned long long)p);
	if (error > want / 1000 && error > 1)
		fail_msg("size %llu mean %llu: p = %llu, not %f", (unsigned long long)size, (unsigned long long)mean,
			 (unsigned long long)p, want);
	weight = sample_weight(p);
	/* weight * p = 1 in 2^-48, rounded down by less than one weight step */
	if (__builtin_mul_overflow(weight, p, &product) || product > 1ULL << 48 || (1ULL << 48) - product >= p)
		fail_msg("p = %llu: weight %llu", (unsigned long long)p, (unsigned long long)weight);
	if (__builtin_mul_overflow(size, weight, &product))
		fail_msg("size %llu mean %llu: size * weight overflows", (unsigned long long)size,
			 (unsigned long long)mean);
}

static void test_all_magnitudes(void **state)
{
	uint64_t seed = 1;

	(void)state;
	for (unsigned int m = 0; m <= 40; m++) {
		for (unsigned int s = 0; s <= 47; s++) {
			for (int off = -1; off <= 1; off++) {
				uint64_t mean = (1ULL << m) + (m > 1 && m < 40 ? off : 0);

				check_pair((1ULL << s) + off * (s < 47), mean);
				check_pair(((1ULL << s) * 3 / 4) + off * (s > 2), mean);
			}
		}
		check_pair(0, 1ULL << m);
	}
	for (unsigned int i = 0; i < 1000000; i++)
		check_pair(random_magnitude(&seed, 47), random_magnitude(&seed, 40) | 1);
	for (unsigned int i = 0; i < 1000000; i++) {
		/* near each other, where p is neither 0 nor 1 */
		uint64_t mean = random_magnitude(&seed, 40) | 1;
		uint64_t size = mean / 1024 * (random_u64(&seed) % 24000) + random_u64(&seed) % 1024;

		check_pair(size, mean);
	}
}

static void test_certainty(void **state)
{
	(void)state;
	assert_int_equal(sample_probability(0, 0), SAMPLE_ONE);
	assert_int_equal(sample_probability(1, 0), SAMPLE_ONE);
	assert_int_equal(sample_probability(UINT64_MAX, 0), SAMPLE_ONE);
	/* calloc's product that does not fit is this size: the allocator refuses it, the arithmetic must not mind */
	for (unsigned int m = 0; m <= 40; m++)
		assert_int_equal(sample_probability(UINT64_MAX, 1ULL << m), SAMPLE_ONE);
	assert_int_equal(sample_weight(SAMPLE_ONE), 1 << WEIGHT_SHIFT);
	assert_int_equal(sample_weight(1), 1ULL << 48);
	/* malloc(0) is an allocation as well, and counts as one byte */
	assert_int_equal(sample_probability(0, 4096), sample_probability(1, 4096));
}

/* With a mean of 2^32 the size is x itself, in steps of 2^-32: the finest there are. */
static void test_monotone_in_size(void **state)
{
	static const uint64_t means[] = {1, 2, 3, 1000, 65536, 524288, 195225787, 200000000, (1ULL << 32) - 1,
					 1ULL << 33, 12345678901ULL, MAX_MEAN};
	uint64_t last = 0, p, step;

	(void)state;
	for (uint64_t size = 0; size < 1ULL << 25; size++) {
		p = sample_probability(size, SAMPLE_ONE);
		if (p < last)
			fail_msg("size %llu: %llu after %llu", (unsigned long long)size, (unsigned long long)p,
				 (unsigned long long)last);
		last = p;
	}
	for (uint64_t size = 1ULL << 25; size < 23ULL << 32; size += 9973) {
		p = sample_probability(size, SAMPLE_ONE);
		assert_true(p >= last);
		last = p;
	}
	assert_int_equal(last, SAMPLE_ONE);
	for (size_t i = 0; i < sizeof(means) / sizeof(means[0]); i++) {
		last = 0;
		step = means[i] / 50000 + 1;
		for (uint64_t size = 0; size < means[i] * 23; size += step) {
			p = sample_probability(size, means[i]);
			assert_true(p >= last);
			last = p;
		}
		assert_int_equal(last, SAMPLE_ONE);
	}
}

static void test_monotone_in_mean(void **state)
{
	static const uint64_t sizes[] = {0, 1, 24, 4096, 1 << 20, (1ULL << 32) - 1, 1ULL << 32, 1ULL << 40, MAX_SIZE};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t last = SAMPLE_ONE;

		for (uint64_t mean = 1; mean <= MAX_MEAN; mean += mean / 4096 + 1) {
			uint64_t p = sample_probability(sizes[i], mean);

			assert_true(p <= last);
			last = p;
		}
	}
}

/* ---- is it unbiased? -------------------------------------------------------------------------------------- */

typedef uint64_t (*size_fn)(uint64_t *seed);

static uint64_t tiny(uint64_t *seed)
{
	(void)seed;
	return 16;
}

static uint64_t uniform(uint64_t *seed)
{
	return random_u64(seed) % 65536;
}

static uint64_t heavy_tail(uint64_t *seed)
{
	double u = (random_u64(seed) >> 11) * 0x1p-53;

	return 16 / pow(1 - u * 0.999999, 1.25); /* Pareto between 16 B and 500 MiB */
}

static uint64_t two_peaks(uint64_t *seed)
{
	return random_u64(seed) % 100 ? 24 : 1 << 20;
}

static uint64_t zero_or_page(uint64_t *seed)
{
	return random_u64(seed) & 1 ? 0 : 4096;
}

static uint64_t magnitudes(uint64_t *seed)
{
	return random_magnitude(seed, 24);
}

static const struct {
	const char *name;
	size_fn draw;
	uint64_t mean;
} workloads[] = {
	{"tiny", tiny, 4096},		{"uniform", uniform, 65536},	  {"uniform, rare", uniform, 1 << 20},
	{"heavy tail", heavy_tail, 4096}, {"two peaks", two_peaks, 65536}, {"zero or page", zero_or_page, 512},
	{"magnitudes", magnitudes, 65536}, {"magnitudes, odd mean", magnitudes, 999983},
};

#define WORKLOAD_CNT (sizeof(workloads) / sizeof(workloads[0]))

typedef uint64_t (*weight_fn)(uint64_t size, uint64_t mean, uint64_t p);

static uint64_t true_weight(uint64_t size, uint64_t mean, uint64_t p)
{
	(void)size;
	(void)mean;
	return sample_weight(p);
}

/* The tempting one: mean / size, as if no two samples ever fell into one block. */
static uint64_t linear_weight(uint64_t size, uint64_t mean, uint64_t p)
{
	(void)p;
	if (!size)
		size = 1;
	return size >= mean ? 1 << WEIGHT_SHIFT : (mean << WEIGHT_SHIFT) / size;
}

static uint64_t weight_off_by_2_percent(uint64_t size, uint64_t mean, uint64_t p)
{
	(void)size;
	(void)mean;
	return sample_weight(p) * 51 / 50;
}

/* Differences between estimate and truth, in standard errors. */
struct deviation {
	double bytes, count;
};

static double in_errors(double estimate, double truth, double variance)
{
	if (variance > 0)
		return (estimate - truth) / sqrt(variance);
	return estimate == truth ? 0 : INFINITY;
}

/* Does what bpf/alloc.bpf.c and bpf/block.bpf.h do, `cnt` times. */
static struct deviation simulate(size_fn draw, uint64_t mean, weight_fn weight_of, uint64_t seed, unsigned int cnt)
{
	double truth = 0, bytes_variance = 0, count_variance = 0;
	uint64_t bytes = 0, count_q16 = 0;
	struct deviation ret;

	for (unsigned int i = 0; i < cnt; i++) {
		uint64_t size = draw(&seed), p = sample_probability(size, mean), weight;
		double spread = (double)SAMPLE_ONE / p - 1;

		truth += size;
		bytes_variance += (double)size * size * spread;
		count_variance += spread;
		if (p < SAMPLE_ONE && (uint32_t)random_u64(&seed) >= p)
			continue;
		weight = weight_of(size, mean, p);
		bytes += size * weight >> WEIGHT_SHIFT;
		count_q16 += weight;
	}
	ret.bytes = in_errors(bytes, truth, bytes_variance);
	ret.count = in_errors((double)count_q16 / (1 << WEIGHT_SHIFT), cnt, count_variance);
	return ret;
}

#define MAX_ERRORS 4

static void test_sums_are_unbiased(void **state)
{
	(void)state;
	for (size_t i = 0; i < WORKLOAD_CNT; i++) {
		for (uint64_t seed = 1; seed <= 3; seed++) {
			struct deviation got =
				simulate(workloads[i].draw, workloads[i].mean, true_weight, seed, 400000);

			if (fabs(got.bytes) > MAX_ERRORS || fabs(got.count) > MAX_ERRORS)
				fail_msg("%s: %+.1f standard errors in bytes, %+.1f in counts", workloads[i].name,
					 got.bytes, got.count);
		}
	}
}

/* The errors of many runs must scatter around zero as well: a bias too small for one run adds up. */
static void test_no_small_bias(void **state)
{
	const unsigned int runs = 400;
	double bytes = 0, count = 0;

	(void)state;
	for (unsigned int seed = 1; seed <= runs; seed++) {
		struct deviation got = simulate(workloads[seed % WORKLOAD_CNT].draw,
						workloads[seed % WORKLOAD_CNT].mean, true_weight, seed, 10000);

		bytes += got.bytes;
		count += got.count;
	}
	assert_true(fabs(bytes / sqrt(runs)) < MAX_ERRORS);
	assert_true(fabs(count / sqrt(runs)) < MAX_ERRORS);
}

/* These simulations can tell. */
static void test_bias_is_found(void **state)
{
	struct deviation got;

	(void)state;
	got = simulate(uniform, 65536, linear_weight, 1, 400000);
	assert_true(fabs(got.bytes) > MAX_ERRORS);
	assert_true(fabs(got.count) > MAX_ERRORS);
	got = simulate(uniform, 65536, weight_off_by_2_percent, 1, 400000);
	assert_true(got.bytes > MAX_ERRORS);
	got = simulate(zero_or_page, 512, weight_off_by_2_percent, 1, 400000);
	assert_true(got.bytes > MAX_ERRORS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_magnitudes),	  cmocka_unit_test(test_certainty),
		cmocka_unit_test(test_monotone_in_size),  cmocka_unit_test(test_monotone_in_mean),
		cmocka_unit_test(test_sums_are_unbiased), cmocka_unit_test(test_no_small_bias),
		cmocka_unit_test(test_bias_is_found),
	};

	return cmocka_run_group_tests_name("bpf sample", tests, NULL, NULL);
}
