/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Poisson sampling by bytes. With one sample every `mean` bytes on average, an allocation of `size`
 * bytes holds at least one with probability p = 1 - exp(-size / mean), independent of all others. A
 * sampled allocation then stands for 1/p of its kind. Decision and weight use the same fixed-point
 * p, so that sums are unbiased whatever the rounding of p itself. Pure: tested on the host.
 */
#ifndef LEAKSWEEP_SAMPLE_BPF_H
#define LEAKSWEEP_SAMPLE_BPF_H

#define SAMPLE_ONE (1ULL << 32) /* certainty */
#define WEIGHT_SHIFT 16		/* weights and scaled counts are in 1/65536 */

/*
 * Returns p in 1/2^32, 1 ... 2^32, off by less than 1/1000 of it or one step. `mean` 0 = every
 * allocation. For sizes below 2^48 and means up to 2^40 nothing overflows, nor does size * weight.
 */
static inline __u64 sample_probability(__u64 size, __u64 mean)
{
	__u64 x, y, whole, f, f2, f3, f4, f5, pow2;

	if (!mean || size / mean >= 22)
		return SAMPLE_ONE;
	if (!size)
		size = 1;
	if (mean < SAMPLE_ONE && size < SAMPLE_ONE)
		x = (size << 32) / mean;
	else
		x = (size << 16) / (mean >> 16);
	/* 1 - exp(-x) = x - x^2/2 + ...: below 2^-8 the long series would lose it to rounding */
	if (x < 1 << 24) {
		x -= x * x >> 33;
		return x ? x : 1;
	}
	/* y = x * log2(e): 1.4426950408889634 * 2^28 */
	y = (x >> 8) * 387270501ULL >> 20;
	whole = y >> 32;
	if (whole >= 31)
		return SAMPLE_ONE;
	/* 2^-y = 2^-f >> whole, 2^-f by its series: |error| < 2e-5 */
	f = y & 0xffffffff;
	f2 = f * f >> 32;
	f3 = f2 * f >> 32;
	f4 = f3 * f >> 32;
	f5 = f4 * f >> 32;
	/* (-ln 2)^k / k! in 1/2^32 */
	pow2 = SAMPLE_ONE - (f * 2977044472ULL >> 32) + (f2 * 1031764991ULL >> 32) -
	       (f3 * 238388332ULL >> 32) + (f4 * 41309550ULL >> 32) - (f5 * 5726720ULL >> 32) +
	       ((f5 * f >> 32) * 661577ULL >> 32);
	return SAMPLE_ONE - (pow2 >> whole);
}

/* Returns how many allocations one sampled with probability `p` stands for, in 1/65536. */
static inline __u64 sample_weight(__u64 p)
{
	return (SAMPLE_ONE << WEIGHT_SHIFT) / p;
}

#endif
