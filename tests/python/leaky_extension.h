/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A library that takes memory and never gives it back; for ctypes, and for leaky_module. */
#ifndef LEAKSWEEP_TESTS_LEAKY_EXTENSION_H
#define LEAKSWEEP_TESTS_LEAKY_EXTENSION_H

#include <stddef.h>

/* Keeps a block of `size` bytes. */
void leaky_keep(size_t size);

/* Takes and returns a block of `size` bytes. */
void leaky_take(size_t size);

/* Calls back with `size`. */
void leaky_call(void (*call)(size_t size), size_t size);

/* Sorts the numbers by calling back for each comparison. */
void leaky_sort(int *numbers, size_t cnt, int (*compare)(const int *a, const int *b));

#endif
