/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "model/chance.h"

#include <math.h>

#define BISECTIONS 40

double binomial_at_least(uint32_t hits, uint32_t tries, double share)
{
	double sum = 0;

	if (!hits || share >= 1)
		return hits <= tries;
	if (share <= 0)
		return 0;
	for (uint32_t i = hits; i <= tries; i++)
		sum += exp(lgamma(tries + 1.0) - lgamma(i + 1.0) - lgamma(tries - i + 1.0) +
			   i * log(share) + (tries - i) * log1p(-share));
	return sum < 1 ? sum : 1;
}

double binomial_low(uint32_t hits, uint32_t tries, double chance)
{
	double low = 0, high = 1;

	for (int i = 0; i < BISECTIONS; i++) {
		double mid = (low + high) / 2;

		if (binomial_at_least(hits, tries, mid) < chance)
			low = mid;
		else
			high = mid;
	}
	return low;
}

double poisson_at_most(double hits, double mean)
{
	double sum = 0;

	for (double i = 0; i <= hits; i++)
		sum += exp(i * log(mean) - mean - lgamma(i + 1));
	return sum < 1 ? sum : 1;
}

double poisson_high(double hits, double chance)
{
	double low = 0, high = 4 * hits + 40;

	for (int i = 0; i < BISECTIONS; i++) {
		double mid = (low + high) / 2;

		if (poisson_at_most(hits, mid) > chance)
			low = mid;
		else
			high = mid;
	}
	return high;
}

double student_t(double freedom)
{
	return 1.96 + 2.4 / freedom + 3 / (freedom * freedom);
}
