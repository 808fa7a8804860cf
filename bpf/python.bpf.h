/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Python frames beside the native ones. */
#ifndef LEAKSWEEP_PYTHON_BPF_H
#define LEAKSWEEP_PYTHON_BPF_H

#include "maps.bpf.h"

/*
 * Takes the Python frames of the current thread. Returns the id under which they are kept in
 * python_stacks, 0: it has none, or they are lost (counted).
 */
__u64 python_capture(struct thread *thread);

#endif
