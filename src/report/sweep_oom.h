/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a sweep's table says when the kernel has killed for memory. Private to that table. */
#ifndef LEAKSWEEP_REPORT_SWEEP_OOM_H
#define LEAKSWEEP_REPORT_SWEEP_OOM_H

#include <stddef.h>

#include "model/sweep.h"
#include "report/screen.h"

/*
 * Writes of each kill that the sweep tells: whose it was, the limit, and of the first `top`
 * processes (0 = all) that share it what they had. Nothing if there are none. Returns 0 or -ENOMEM.
 */
int sweep_put_ooms(struct screen *screen, const struct sweep *sweep, size_t top);

#endif
