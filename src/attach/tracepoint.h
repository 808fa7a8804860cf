/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Links of programs on tracepoints. */
#ifndef LEAKSWEEP_ATTACH_TRACEPOINT_H
#define LEAKSWEEP_ATTACH_TRACEPOINT_H

#include <bpf/libbpf.h>

#include "util/array.h"

struct links {
	ARRAY(struct bpf_link *) list;
};

/*
 * Attaches to a tracepoint ("syscalls", "sys_exit_mmap") as a perf event, or to a raw one
 * ("rss_stat"), and adds the link. Needs no mounted tracefs. Returns 0, -ENOENT (this kernel has
 * none) or another negative errno.
 */
int links__add_tracepoint(struct links *links, const struct bpf_program *prog, const char *group,
			  const char *name);
int links__add_raw(struct links *links, const struct bpf_program *prog, const char *name);

/* Takes away the link behind the pointer: a job of util/parallel.h. */
void link__destroy(void *link);

#endif
