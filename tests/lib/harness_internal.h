/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LEAKSWEEP_TESTS_HARNESS_INTERNAL_H
#define LEAKSWEEP_TESTS_HARNESS_INTERNAL_H

/* Frees every JSON value that the test has read. */
void report__release_all(void);

#endif
