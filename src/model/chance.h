/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How likely it is: the few distributions that verdicts need. Pure. */
#ifndef LEAKSWEEP_MODEL_CHANCE_H
#define LEAKSWEEP_MODEL_CHANCE_H

#include <stdint.h>

/* The chance of at least `hits` in `tries` when each has the chance `share`. */
double binomial_at_least(uint32_t hits, uint32_t tries, double share);

/* Clopper-Pearson: the least share of which `hits` in `tries` has at least the chance `chance`. */
double binomial_low(uint32_t hits, uint32_t tries, double chance);

/* The chance of at most `hits` when `mean` are expected. */
double poisson_at_most(double hits, double mean);

/* The mean of which at most `hits` has the chance `chance`. */
double poisson_high(double hits, double chance);

/* Student's t of 97.5 % (within 1 %, from 3 degrees of freedom on). */
double student_t(double freedom);

#endif
