/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Owns everything that is in the kernel on our behalf: the loaded programs, their maps and every
 * link. All of it hangs on file descriptors of this process, so nothing survives it, however it
 * ends.
 */
#ifndef LEAKSWEEP_ATTACH_ATTACHER_H
#define LEAKSWEEP_ATTACH_ATTACHER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "attach/features.h"
#include "attach/plan.h"
#include "attach/probe_link.h"
#include "attach/unwind_memory.h"
#include "discover/elf_allocs.h"
#include "include/python.h"

struct attacher_opts {
	uint64_t min_size, max_size; /* bytes; max_size 0 = no limit */
	uint64_t sample_bytes;	     /* 0 = every allocation */
	bool trace_all;		     /* every process of the host but this one */
	bool watch_execs;	     /* tell of the exec of processes that are not traced */
	bool watch_cgroups;	     /* ... and when they are moved to another control group */
	bool watch_touches;	     /* attacher__watch_touches will be called */
	/* Probes are made for windows of time: neither system calls, signals, moments of
	 * interpreters nor children are looked at. */
	bool in_windows;
	bool object_frees; /* frees of Python objects are probed, see attacher__attach_role */
	uint32_t max_blocks, max_stacks, max_procs; /* table sizes */
	bool share_tables;   /* no control group may fill them (include/maps.h) */
	uint32_t ring_bytes; /* power of two, pages */
	enum link_mode mode; /* LINK_AUTO unless forced */
};

/* Descriptors of the maps, owned by the attacher. */
struct map_fds {
	int live_blocks, stack_frames, stack_costs, procs, spaces, events, raw_stacks, stats;
	int python_procs, python_stacks, python_codes, failures;
	int touch_watches, touch_sums, touch_pages, touch_moves;
	struct tables *tables; /* memory that the kernel side changes too */
};

/* What became of one file's probes. */
struct attach_outcome {
	enum link_mode mode;
	size_t site_cnt;    /* places where a probe sits */
	size_t stepped_cnt; /* of these, how many cost a second trap */
	size_t refused_cnt; /* places that the kernel refused */
	int refused_err;    /* why, negative errno of the last one */
};

struct attacher;

/*
 * Loads the programs and attaches everything but allocator functions; nothing is recorded yet.
 * Returns 0, -EPERM (not allowed to load), -ENOTSUP (no way to probe in this kernel), or another
 * negative errno.
 */
int attacher__open(const struct attacher_opts *opts, const struct features *features,
		   struct attacher **ret);

/* Detaches and frees everything. NULL is harmless. */
void attacher__free(struct attacher *attacher);

/*
 * Puts the probes of the file behind `fd` in place, in process `pid` or (0) in all that map it.
 * Returns 0 also when the kernel refused single places (see *ret_outcome), or a negative errno when
 * nothing could be probed.
 */
int attacher__attach(struct attacher *attacher, int fd, const struct elf_allocs *allocs, pid_t pid,
		     struct attach_outcome *ret_outcome);

/*
 * The same for places whose role is one of Python's: ROLE_OBJECT, ROLE_NO_MEMORY, ROLE_FINALIZE.
 * For ROLE_OBJECT those of frees must be among them if and only if attacher_opts.object_frees was
 * set.
 */
int attacher__attach_role(struct attacher *attacher, int fd, enum probe_role role,
			  const struct probe_set *set, pid_t pid,
			  struct attach_outcome *ret_outcome);

/*
 * Tells the kernel side how to walk the Python frames of a space; again to replace it. Children
 * inherit it by fork; it goes with the space. Returns 0 or a negative errno.
 */
int attacher__set_python(struct attacher *attacher, uint32_t space,
			 const struct python_proc *python);

/* The space's Python frames are not walked any more. */
void attacher__forget_python(struct attacher *attacher, uint32_t space);

/* Takes away the probes that were made for this process alone: breakpoints at once, the rest on
 * threads. */
void attacher__forget_proc(struct attacher *attacher, pid_t pid);

/* A window begins: calls that were under way when the last one ended are forgotten. */
void attacher__begin_window(struct attacher *attacher);

/* Waits until all that was taken away is gone: some 0.1 s. */
void attacher__await_gone(struct attacher *attacher);

/*
 * Begins to trace a process. *ret_space is its space; when it already has one (forked from a traced
 * process), that one. Returns 0 or a negative errno (-E2BIG: --max-procs; -ESRCH: it has ended).
 */
int attacher__add_proc(struct attacher *attacher, pid_t pid, uint32_t *ret_space);

/* Ends that: the space is as one that has ended, though its process goes on. */
void attacher__forget_space(struct attacher *attacher, pid_t pid, uint32_t space);

/*
 * Begins to sample where a traced process's anonymous memory is first touched (include/touch.h,
 * collect/touches.h), one sample every `mean_bytes` on average, 0 = every page; again to change
 * that. Recording has to be on: else code that is mapped anew is not noticed, and stacks are walked
 * by what was there before. Programs are attached while some space is watched. Returns 0, -E2BIG
 * (too many are), -EINVAL (opts.watch_touches was not set, or more than MAX_TOUCH_MEAN) or another
 * negative errno.
 */
int attacher__watch_touches(struct attacher *attacher, uint32_t space, uint64_t mean_bytes);

/* Ends that. What was counted is gone, what was sampled stays (touches__forget). */
void attacher__unwatch_touches(struct attacher *attacher, uint32_t space);

/* Starts recording; freezes it: calls in flight are finished, nothing new is looked at. */
void attacher__start(struct attacher *attacher);
void attacher__freeze(struct attacher *attacher);

/*
 * Begins to take all probes away, after a freeze. The maps stay readable. Breakpoints go at once,
 * the kernel's grace periods are waited for on threads, which attacher__free joins.
 */
void attacher__detach(struct attacher *attacher);

/* Whether system calls that change mappings are followed; if not, *ret_err tells why. */
bool attacher__has_mmap_layer(const struct attacher *attacher, int *ret_err);

/* The memory of unwind tables, owned by the attacher. */
struct unwind_memory *attacher__unwind_memory(struct attacher *attacher);

/* What the ids of stacks are seeded with (bpf/stack_hash.bpf.h). */
uint64_t attacher__hash_seed(const struct attacher *attacher);

const struct map_fds *attacher__maps(const struct attacher *attacher);
enum link_mode attacher__mode(const struct attacher *attacher, const char **ret_why);

/* Tells how often the programs of allocator functions ran while the kernel's statistics were on
 * (calibrate__enable_stats), ever, and for how long altogether. */
void attacher__program_runs(const struct attacher *attacher, uint64_t *ret_cnt, uint64_t *ret_ns);

/* Returns the average of that in nanoseconds, 0 = unknown. */
double attacher__program_ns(const struct attacher *attacher);

/* Sums the misses that the kernel itself counted for our programs since they were loaded: runs that
 * nested in others, or came while another task was preempted in the same program
 * (bpf/preempt.bpf.h). 0 when it does not tell, as before Linux 6.7. */
uint64_t attacher__missed_runs(const struct attacher *attacher);

/* Returns the bytes of kernel memory in all maps but those of unwind tables
 * (attach/table_memory.h). */
uint64_t attacher__map_bytes(const struct attacher *attacher);

#endif
