/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory that was asked for and refused. */
#ifndef LEAKSWEEP_FAILURE_BPF_H
#define LEAKSWEEP_FAILURE_BPF_H

#include "maps.bpf.h"
#include "thread.bpf.h"

/* Notes that memory was refused; the first time for a stack an event tells of it. */
static __noinline int failure_add(__u32 space, __u32 cause, __u64 stack_id, __u64 bytes)
{
	struct failure_key key = {.stack_id = stack_id, .space = space, .cause = cause};
	struct failure *failure = bpf_map_lookup_elem(&failures, &key);
	struct failure new = {.bytes = bytes, .cnt = 1};
	struct event *event;

	new.first_ns = new.last_ns = bpf_ktime_get_ns();
	if (failure) {
		failure->last_ns = new.last_ns;
		__sync_fetch_and_add(&failure->cnt, 1);
		return 0;
	}
	if (bpf_map_update_elem(&failures, &key, &new, BPF_NOEXIST)) {
		count(STAT_FAILURES_LOST, 1);
		return 0;
	}
	event = event_reserve(EV_FAILURE, space);
	if (!event)
		return 0;
	event->stack_id = stack_id;
	event->failed.bytes = bytes;
	event->failed.cause = cause;
	event->failed.tgid = bpf_get_current_pid_tgid() >> 32;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

#endif
