/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The probes of allocator functions, and how they go again. */
#include "attach/attacher_internal.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct bpf_program *attacher__program(const struct attacher *attacher, enum probe_role role)
{
	struct leaksweep_bpf *skel = attacher->skel;
	struct bpf_program *progs[ROLE_MAX] = {
		[ROLE_FREE] = skel->progs.free_enter,
		[ROLE_RETURN] = skel->progs.alloc_exit,
		[ROLE_ENTER] = skel->progs.alloc_enter,
		[ROLE_SESSION] = skel->progs.alloc_session,
		[ROLE_OBJECT] = skel->progs.python_site,
		[ROLE_NO_MEMORY] = skel->progs.python_no_memory,
		[ROLE_FINALIZE] = skel->progs.python_finalize,
	};

	return progs[role];
}

static int keep_probe(struct attacher *attacher, int fd, pid_t pid)
{
	struct made_probe link = {.fd = fd, .pid = pid};

	if (fd < 0)
		return fd;
	if (array_push(&attacher->probes, link)) {
		close(fd);
		return -ENOMEM;
	}
	return 0;
}

/* Attaches sites [from, from + cnt) of a step. */
static int attach_sites(struct attacher *attacher, const struct plan_step *step, size_t from,
			size_t cnt, int fd, pid_t pid)
{
	struct probe_set set = {
		.offsets = step->offsets.items + from,
		.cookies = step->cookies.items + from,
		.cnt = cnt,
	};
	int prog_fd = bpf_program__fd(attacher__program(attacher, step->role)), type;

	if (step->mode == LINK_PERF)
		return keep_probe(attacher,
				  probe_link__perf(prog_fd, fd, set.offsets[0], set.cookies[0], pid,
						   step->role == ROLE_RETURN),
				  pid);
	type = step->mode == LINK_SESSION ? ATTACH_TRACE_UPROBE_SESSION : ATTACH_TRACE_UPROBE_MULTI;
	return keep_probe(
		attacher,
		probe_link__multi(prog_fd, fd, &set, pid, step->role == ROLE_RETURN, type), pid);
}

/* One link for all; if the kernel refuses one place it refuses all, then each is tried alone. */
static void attach_step(struct attacher *attacher, const struct plan_step *step, int fd, pid_t pid,
			struct attach_outcome *outcome)
{
	size_t cnt = step->offsets.cnt;
	bool counts = step->role != ROLE_RETURN; /* entry and return are one site */
	int err;

	if (step->mode != LINK_PERF && !attach_sites(attacher, step, 0, cnt, fd, pid)) {
		outcome->site_cnt += counts ? cnt : 0;
		return;
	}
	for (size_t i = 0; i < cnt; i++) {
		err = attach_sites(attacher, step, i, 1, fd, pid);
		if (!err) {
			outcome->site_cnt += counts;
			continue;
		}
		outcome->refused_cnt++;
		outcome->refused_err = err;
	}
}

int attacher__attach(struct attacher *attacher, int fd, const struct elf_allocs *allocs, pid_t pid,
		     struct attach_outcome *ret_outcome)
{
	struct attach_outcome outcome = {.mode = attacher->mode};
	struct attach_plan plan;
	int err;

	err = attach_plan__make(allocs, attacher->mode, &plan);
	if (err)
		return err;
	for (size_t i = 0; i < plan.step_cnt; i++)
		attach_step(attacher, &plan.steps[i], fd, pid, &outcome);
	outcome.stepped_cnt = plan.stepped_cnt;
	attach_plan__free(&plan);
	*ret_outcome = outcome;
	return outcome.site_cnt ? 0 : outcome.refused_err ? outcome.refused_err : -ENOENT;
}

int attacher__attach_role(struct attacher *attacher, int fd, enum probe_role role,
			  const struct probe_set *set, pid_t pid,
			  struct attach_outcome *ret_outcome)
{
	struct attach_outcome outcome = {.mode = attacher->mode};
	struct plan_step step = {
		.role = role,
		.mode = attacher->mode == LINK_PERF ? LINK_PERF : LINK_MULTI,
		.offsets = {.items = (uint64_t *)set->offsets, .cnt = set->cnt},
		.cookies = {.items = (uint64_t *)set->cookies, .cnt = set->cnt},
	};

	attach_step(attacher, &step, fd, pid, &outcome);
	*ret_outcome = outcome;
	return outcome.site_cnt ? 0 : outcome.refused_err ? outcome.refused_err : -ENOENT;
}

static void close_fd(void *item)
{
	close((int)(intptr_t)item);
}

/* Closing waits for the kernel's grace periods; that is done on threads which attacher__free joins.
 */
static void close_later(struct attacher *attacher, void (*job)(void *item), void *const *items,
			size_t cnt)
{
	struct parallel *parallel;

	if (!cnt)
		return;
	parallel = parallel__start(job, items, cnt);
	if (parallel && array_push(&attacher->closing, parallel))
		parallel__join(parallel);
}

/* Takes away the probes in process `pid`, or all of them with -1. */
static void detach_probes(struct attacher *attacher, pid_t pid)
{
	ARRAY(void *) fds = {0};
	size_t kept = 0;

	for (size_t i = 0; i < attacher->probes.cnt; i++) {
		struct made_probe link = attacher->probes.items[i];

		if (pid != -1 && link.pid != pid)
			attacher->probes.items[kept++] = link;
		else if (array_push(&fds, (void *)(intptr_t)link.fd))
			close(link.fd);
	}
	attacher->probes.cnt = kept;
	close_later(attacher, close_fd, fds.items, fds.cnt);
	array_free(&fds);
}

void attacher__forget_proc(struct attacher *attacher, pid_t pid)
{
	detach_probes(attacher, pid);
}

void attacher__begin_window(struct attacher *attacher)
{
	__sync_fetch_and_add(&attacher->skel->bss->target_epoch, 1);
}

void attacher__await_gone(struct attacher *attacher)
{
	for (size_t i = 0; i < attacher->closing.cnt; i++)
		parallel__join(attacher->closing.items[i]);
	attacher->closing.cnt = 0;
}

void attacher__detach(struct attacher *attacher)
{
	detach_probes(attacher, -1);
	close_later(attacher, link__destroy, (void **)attacher->links.list.items,
		    attacher->links.list.cnt);
	touch_probes__detach(&attacher->touch_probes);
	array_free(&attacher->probes);
	array_free(&attacher->links.list);
}
