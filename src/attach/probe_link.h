/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One BPF link on places of one file: uprobe_multi by the raw system call, or single perf events.
 */
#ifndef LEAKSWEEP_ATTACH_PROBE_LINK_H
#define LEAKSWEEP_ATTACH_PROBE_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* include/uapi/linux/bpf.h, newer than the headers of the oldest supported distribution */
#define ATTACH_TRACE_UPROBE_MULTI 48
#define ATTACH_TRACE_UPROBE_SESSION 57

enum link_mode {
	LINK_AUTO = 0,
	LINK_PERF = 1,	  /* a perf event a site */
	LINK_MULTI = 2,	  /* one link for all entries, one for all returns */
	LINK_SESSION = 3, /* one link for both */
};

struct probe_set {
	const uint64_t *offsets; /* in the file */
	const uint64_t *cookies;
	size_t cnt;
};

/*
 * Attaches program `prog_fd` to every place of the set in the file behind `file_fd`, in process
 * `pid` or, with 0, in every process that maps the file. All or nothing. Returns the link's
 * descriptor or a negative errno.
 */
int probe_link__multi(int prog_fd, int file_fd, const struct probe_set *set, pid_t pid,
		      bool is_return, int attach_type);

/*
 * The same for one place by a perf event (kernels before 6.6). Returns the link's descriptor, which
 * keeps the event alive, or a negative errno.
 */
int probe_link__perf(int prog_fd, int file_fd, uint64_t offset, uint64_t cookie, pid_t pid,
		     bool is_return);

/* Returns a static name: "session", "multi", "perf". */
const char *link_mode__name(enum link_mode mode);

#endif
