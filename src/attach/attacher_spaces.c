/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which processes are traced, walked as Pythons, and watched for first touches. */
#include "attach/attacher_internal.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>

#include "util/clock.h"
#include "util/procfs.h"

int attacher__set_python(struct attacher *attacher, uint32_t space,
			 const struct python_proc *python)
{
	int err = bpf_map_update_elem(attacher->maps.python_procs, &space, python, BPF_ANY);

	if (!err)
		__atomic_store_n(&attacher->skel->bss->python_cnt, 1, __ATOMIC_SEQ_CST);
	return err;
}

void attacher__forget_python(struct attacher *attacher, uint32_t space)
{
	bpf_map_delete_elem(attacher->maps.python_procs, &space);
}

int attacher__add_proc(struct attacher *attacher, pid_t pid, uint32_t *ret_space)
{
	struct leaksweep_bpf__bss *bss = attacher->skel->bss;
	uint32_t tgid = pid, id = __sync_fetch_and_add(&bss->next_space, 1) + 1;
	struct space space = {.tgid = tgid, .born_ns = clock_ns(CLOCK_MONOTONIC)};
	struct proc proc = {.space = id}, other;
	struct proc_info info;
	int err;

	err = bpf_map_update_elem(attacher->maps.spaces, &id, &space, BPF_ANY);
	if (err)
		return err;
	err = bpf_map_update_elem(attacher->maps.procs, &tgid, &proc, BPF_NOEXIST);
	if (err == -EEXIST && !bpf_map_lookup_elem(attacher->maps.procs, &tgid, &other)) {
		bpf_map_delete_elem(attacher->maps.spaces, &id);
		*ret_space = other.space;
		return 0;
	}
	if (err) {
		bpf_map_delete_elem(attacher->maps.spaces, &id);
		return err;
	}
	/* Nobody would ever tell of an end that came before the entry. */
	err = proc_info__read(pid, &info);
	if ((err == -ESRCH || (!err && info.zombie)) &&
	    !bpf_map_delete_elem(attacher->maps.procs, &tgid)) {
		bpf_map_delete_elem(attacher->maps.spaces, &id);
		return -ESRCH;
	}
	__sync_fetch_and_add(&bss->target_epoch, 1);
	*ret_space = id;
	return 0;
}

void attacher__forget_space(struct attacher *attacher, pid_t pid, uint32_t id)
{
	uint32_t tgid = pid;
	struct space space;
	struct proc proc;

	if (!bpf_map_lookup_elem(attacher->maps.procs, &tgid, &proc) && proc.space == id)
		bpf_map_delete_elem(attacher->maps.procs, &tgid);
	/* Threads know their space until the next epoch. */
	__sync_fetch_and_add(&attacher->skel->bss->target_epoch, 1);
	attacher__forget_python(attacher, id);
	if (bpf_map_lookup_elem(attacher->maps.spaces, &id, &space))
		return;
	space.flags |= SPACE_ENDED | SPACE_RELEASED;
	bpf_map_update_elem(attacher->maps.spaces, &id, &space, BPF_EXIST);
}

int attacher__watch_touches(struct attacher *attacher, uint32_t space, uint64_t mean_bytes)
{
	struct touch_watch watch = {.mean_bytes = mean_bytes};
	int err;

	if (!bpf_program__autoload(attacher->skel->progs.touch_added) ||
	    mean_bytes > MAX_TOUCH_MEAN)
		return -EINVAL;
	err = bpf_map_update_elem(attacher->maps.touch_watches, &space, &watch, BPF_NOEXIST);
	if (err == -EEXIST)
		return touch_probes__adjust(attacher->skel, space, mean_bytes);
	if (err)
		return err;
	err = touch_probes__attach(&attacher->touch_probes, attacher->skel);
	if (err)
		attacher__unwatch_touches(attacher, space);
	return err;
}

void attacher__unwatch_touches(struct attacher *attacher, uint32_t space)
{
	uint32_t next;

	bpf_map_delete_elem(attacher->maps.touch_watches, &space);
	if (bpf_map_get_next_key(attacher->maps.touch_watches, NULL, &next))
		touch_probes__detach(&attacher->touch_probes);
}
