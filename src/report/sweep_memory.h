/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the memory of a process is made of, in a sweep's table, and what of it grew. Private to that
 * table. */
#ifndef LEAKSWEEP_REPORT_SWEEP_MEMORY_H
#define LEAKSWEEP_REPORT_SWEEP_MEMORY_H

#include <stdbool.h>

#include "model/sweep.h"
#include "report/screen.h"

/* Returns whether what grew is a verdict by itself: memory that no code keeps. */
bool sweep_has_cause(const struct sweep_code *code);

/* Writes that verdict on the current line. */
void sweep_put_cause(struct screen *screen, const struct sweep_code *code);

/* Writes a line with the largest parts, which add up, and with what grew unless that is told;
 * nothing if the memory was not looked into. */
void sweep_put_ledger(struct screen *screen, const struct sweep_code *code, bool is_cause_told);

/* Writes a line with a control group's shared memory and files of tmpfs, and what these grow by;
 * nothing where they are less than a hundredth. */
void sweep_put_shmem(struct screen *screen, const struct sweep_row *row);

/* As sweep_put_ledger for a control group: what its processes have. */
void sweep_put_group_ledger(struct screen *screen, const struct ledger *ledger);

#endif
