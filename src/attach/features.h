/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What this kernel can do, found out by trying, never by version. */
#ifndef LEAKSWEEP_ATTACH_FEATURES_H
#define LEAKSWEEP_ATTACH_FEATURES_H

#include <stdbool.h>

enum feature {
	FEAT_BPF,	     /* programs can be loaded at all */
	FEAT_BTF,	     /* the kernel describes its own types */
	FEAT_PERF_LINK,	     /* uprobes as perf events, with cookies: 5.15 */
	FEAT_UPROBE_MULTI,   /* many sites with one link: 6.6 */
	FEAT_UPROBE_SESSION, /* one probe for entry and return: 6.13 */
	FEAT_TRACEFS,	     /* system call tracepoints have their numbers there */
	FEAT_MAX
};

struct features {
	int err[FEAT_MAX]; /* 0 = works, else the negative errno of the attempt */
};

/* Tries everything on this process itself; leaves nothing behind. Takes some 200 ms, most of it to
 * detach again. */
void features__probe(struct features *ret);

/*
 * Tries only as far as needed to choose the best way to probe: a kernel with session probes has the
 * older kinds too, which are then not tried.
 */
void features__probe_best(struct features *ret);

static inline bool features__has(const struct features *features, enum feature feature)
{
	return !features->err[feature];
}

/* Returns a short name and what the feature is for, static strings. */
const char *feature__name(enum feature feature);
const char *feature__purpose(enum feature feature);

/* Returns the number of a tracepoint ("syscalls", "sys_enter_mmap") or a negative errno. Needs no
 * mounted tracefs. */
int tracepoint_id(const char *group, const char *name);

#endif
