/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where stacks begin: a frame-pointer chain that breaks off behind main or a thread's start is
 * whole all the same. */
#ifndef LEAKSWEEP_MODEL_ROOTS_H
#define LEAKSWEEP_MODEL_ROOTS_H

#include "model/snapshot.h"
#include "model/symbol.h"

/*
 * Changes UNWIND_BROKEN to UNWIND_COMPLETE in rows whose last frames have the names of a program's
 * or a thread's first functions (glibc, musl). `symbols` has one entry per frame of the snapshot.
 */
void roots__mark_complete(struct snapshot *snap, const struct symbol *symbols);

#endif
