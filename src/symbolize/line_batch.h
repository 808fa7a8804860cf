/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asks for the lines of many addresses of several files at once: one sandboxed child per file, as
 * many at a time as there are CPUs. A child that crashes or takes too long costs what it has not
 * said yet. All of them have one amount of CPU time: who has begun is sure of his part of it.
 * Nothing that a child says is trusted: it may be in the hands of the file that it reads.
 */
#ifndef LEAKSWEEP_SYMBOLIZE_LINE_BATCH_H
#define LEAKSWEEP_SYMBOLIZE_LINE_BATCH_H

#include <stddef.h>
#include <stdint.h>

#include "symbolize/dwarf_lines.h"
#include "util/clock.h"

#define LINE_CPU_NS (8 * NS_PER_SEC) /* for one file */

struct line_job {
	struct lines_input input; /* descriptors and addresses are borrowed */
	uint64_t least_cpu_ns;	  /* with less it is not worth to be begun; LINE_CPU_NS at most */
	uint64_t cpu_ns;	  /* told: what it was given; 0 = it was not begun */
	/*
	 * How it went: 0, -EAGAIN (was not begun, for want of time), -ETIME (took too long), -EPIPE
	 * (crashed or failed), -EBADMSG (talked nonsense) or another negative errno. What was
	 * answered before counts all the same.
	 */
	int err;
	char *answer; /* owned */
	size_t answer_size;
};

/* One checked part of an answer. */
struct line_chunk {
	const struct lines_record *records; /* `index` is below input.cnt */
	const struct lines_call *calls;
	const char *text;
	uint32_t record_cnt;
};

/*
 * Runs the jobs and waits for them, for `cpu_ns` of CPU time of all of them together. Returns 0 or
 * -ENOMEM; each job says how it went. Free the answers with line_batch__free in any case.
 */
int line_batch__run(struct line_job *jobs, size_t cnt, uint64_t cpu_ns);

/*
 * Finds the next chunk; *pos is 0 to begin. Returns 1 (there is one), 0 (end) or -EBADMSG (the rest
 * is nonsense). It is valid as long as the answer.
 */
int line_job__next(const struct line_job *job, size_t *pos, struct line_chunk *ret_chunk);

/* Frees the answers, not the array. */
void line_batch__free(struct line_job *jobs, size_t cnt);

#endif
