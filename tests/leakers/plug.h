/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LEAKSWEEP_TESTS_PLUG_H
#define LEAKSWEEP_TESTS_PLUG_H

#include <stddef.h>

/* Allocates that many bytes, in PLUG_take below PLUG_middle below this. */
void *plug_run(size_t bytes);

#endif
