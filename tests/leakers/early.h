/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LEAKSWEEP_TESTS_EARLY_H
#define LEAKSWEEP_TESTS_EARLY_H

/* Picked by a function that allocates, when the first call is bound. */
void early_pick(void);

#endif
