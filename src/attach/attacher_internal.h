/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the attacher share: attacher.c (programs and maps), attacher_probes.c (probes
 * of files), attacher_spaces.c (who is traced), attacher_stats.c. */
#ifndef LEAKSWEEP_ATTACH_ATTACHER_INTERNAL_H
#define LEAKSWEEP_ATTACH_ATTACHER_INTERNAL_H

#include "attach/attacher.h"
#include "attach/touch_probes.h"
#include "attach/tracepoint.h"
#include "include/maps.h"
#include "include/touch.h"
#include "leaksweep.skel.h"
#include "util/array.h"
#include "util/parallel.h"

struct made_probe {
	int fd;
	pid_t pid; /* 0 = in every process */
};

struct attacher {
	struct leaksweep_bpf *skel;
	struct map_fds maps;
	enum link_mode mode;
	const char *mode_why;
	ARRAY(struct made_probe) probes; /* of allocator functions */
	struct links links;		 /* of tracepoints */
	struct touch_probes touch_probes;
	int mmap_layer_err;
	struct unwind_memory *unwind;
	ARRAY(struct parallel *) closing; /* being taken away on threads */
};

/* The program that probes of this role run. */
struct bpf_program *attacher__program(const struct attacher *attacher, enum probe_role role);

#endif
