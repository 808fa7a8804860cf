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

static __always_inline __u8 *code_mark(__u64 addr)
{
	return &code_marks[(addr >> 4 ^ addr >> 20) & (CODE_MARKS - 1)];
}

/* To be called for every block that is handed out, whether anybody wants it or not: there was no
 * code object any more. */
static __always_inline void note_new_block(__u64 addr)
{
	__u8 *mark = code_mark(addr);

	if (!*mark)
		return;
	*mark = 0;
	__sync_fetch_and_add(&code_generation, 1);
}

#endif
