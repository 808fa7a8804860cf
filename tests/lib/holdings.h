/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a running tool holds: memory, descriptors, BPF objects, processes. Tests compare two moments
 * of it. */
#ifndef LEAKSWEEP_TESTS_HOLDINGS_H
#define LEAKSWEEP_TESTS_HOLDINGS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MAX_BPF_OBJECTS 4096

struct holdings {
	uint64_t rss_kib;   /* VmRSS of /proc/PID/status */
	size_t files;	    /* descriptors of distinct regular files, told by (device, inode) */
	size_t files_again; /* further descriptors of those */
	size_t others;	    /* pipes, timers, BPF objects, perf events ... */
};

/* Fails the test when the process is gone. */
struct holdings holdings__read(pid_t pid);

enum bpf_kind { BPF_KIND_PROG, BPF_KIND_MAP, BPF_KIND_LINK, BPF_KIND_MAX };

/* The BPF objects that a process holds by descriptor; ids are never given out twice. */
struct bpf_objects {
	struct bpf_object_id {
		enum bpf_kind kind;
		uint32_t id;
	} items[MAX_BPF_OBJECTS];
	size_t cnt, cnt_of[BPF_KIND_MAX];
};

/* Reads /proc/PID/fdinfo. */
void bpf_objects__read(pid_t pid, struct bpf_objects *ret);

/* Waits until none of them is there any more: the kernel needs a moment. Fails the test if some
 * stay. */
void bpf_objects__await_gone(const struct bpf_objects *objects);

/*
 * Returns a child of the tool that does a job for it (compiling an unwind table, parsing debug
 * information) inside all of its limits, the last of which is that of CPU time; 0 when there is
 * none at this moment.
 */
pid_t tool_job__find(pid_t tool);

/*
 * Waits until nothing that the test has started runs the tool's program any more, be it the tool or
 * a child that it has left behind. Fails the test if something does, and ends that.
 */
void tool_processes__await_gone(void);

#endif
