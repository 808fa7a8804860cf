/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "attach/attacher.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "attach/table_memory.h"
#include "attach/touch_probes.h"
#include "attach/tracepoint.h"
#include "include/maps.h"
#include "include/touch.h"
#include "leaksweep.skel.h"
#include "util/array.h"
#include "util/clock.h"
#include "util/parallel.h"
#include "util/procfs.h"

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

static const struct {
	const char *enter, *exit;
} memory_syscalls[] = {
	{"sys_enter_mmap", "sys_exit_mmap"},
	{"sys_enter_munmap", "sys_exit_munmap"},
	{"sys_enter_mremap", "sys_exit_mremap"},
	{"sys_enter_brk", "sys_exit_brk"},
	{"sys_enter_mprotect", "sys_exit_mprotect"},
	{"sys_enter_pkey_mprotect", "sys_exit_pkey_mprotect"},
};

static struct bpf_program *program_of(const struct attacher *attacher, enum probe_role role)
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

static int quiet_print(enum libbpf_print_level level, const char *format, va_list args)
{
	if (level == LIBBPF_WARN && getenv("LEAKSWEEP_LIBBPF_LOG"))
		return vfprintf(stderr, format, args);
	return 0;
}

static int configure(struct attacher *attacher, const struct attacher_opts *opts)
{
	struct leaksweep_bpf *skel = attacher->skel;
	uint64_t seed = 0;
	int err;

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		seed = (uintptr_t)skel ^ getpid();
	skel->rodata->min_size = opts->min_size;
	skel->rodata->max_size = opts->max_size ? opts->max_size : UINT64_MAX;
	skel->rodata->sample_bytes = opts->sample_bytes;
	skel->rodata->hash_seed = seed;
	skel->rodata->trace_all = opts->trace_all;
	skel->rodata->watch_execs = opts->watch_execs;
	skel->rodata->object_frees = opts->object_frees;
	skel->rodata->in_windows = opts->in_windows;
	skel->rodata->own_tgid = getpid();
	skel->bss->target_epoch = 1;
	tables__share(&skel->bss->tables, opts);

	err = bpf_map__set_max_entries(skel->maps.live_blocks, opts->max_blocks);
	err = err ? err : bpf_map__set_max_entries(skel->maps.stack_frames, opts->max_stacks);
	err = err ? err : bpf_map__set_max_entries(skel->maps.python_stacks, opts->max_stacks);
	err = err ? err
		  : bpf_map__set_max_entries(skel->maps.stack_costs,
					     opts->max_stacks * COSTS_A_STACK);
	err = err ? err : bpf_map__set_max_entries(skel->maps.procs, opts->max_procs);
	err = err ? err
		  : bpf_map__set_max_entries(skel->maps.spaces, opts->max_procs * SPACES_A_PROC);
	err = err ? err : bpf_map__set_max_entries(skel->maps.events, opts->ring_bytes);
	return err;
}

/* Only what will be attached is loaded: an older kernel never sees a program that it could refuse.
 */
static void select_programs(struct attacher *attacher, const struct attacher_opts *opts)
{
	struct leaksweep_bpf *skel = attacher->skel;
	bool session = attacher->mode == LINK_SESSION,
	     multi = session || attacher->mode == LINK_MULTI;
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, skel->obj) bpf_program__set_autoload(prog, true);
	bpf_program__set_autoload(skel->progs.alloc_session, session);
	bpf_program__set_autoload(skel->progs.alloc_enter, !session);
	bpf_program__set_autoload(skel->progs.alloc_exit, !session);
	if (session)
		bpf_program__set_expected_attach_type(skel->progs.alloc_session,
						      ATTACH_TRACE_UPROBE_SESSION);
	bpf_program__set_autoload(skel->progs.cgroup_attach, opts->watch_cgroups);
	bpf_program__set_autoload(skel->progs.memory_enter, !opts->in_windows);
	bpf_program__set_autoload(skel->progs.memory_exit, !opts->in_windows);
	bpf_program__set_autoload(skel->progs.python_no_memory, !opts->in_windows);
	bpf_program__set_autoload(skel->progs.python_finalize, !opts->in_windows);
	bpf_program__set_autoload(skel->progs.signal_deliver, !opts->in_windows);
	bpf_program__set_autoload(skel->progs.signal_return, !opts->in_windows);
	bpf_program__set_autoload(skel->progs.oom_victim, tracepoint_id("oom", "mark_victim") >= 0);
	if (!multi)
		return;
	for (enum probe_role role = 1; role < ROLE_MAX; role++)
		if (role != ROLE_SESSION)
			bpf_program__set_expected_attach_type(program_of(attacher, role),
							      ATTACH_TRACE_UPROBE_MULTI);
}

static int attach_memory_syscalls(struct attacher *attacher)
{
	struct leaksweep_bpf *skel = attacher->skel;
	int err = 0;

	for (size_t i = 0; i < sizeof(memory_syscalls) / sizeof(memory_syscalls[0]) && !err; i++) {
		err = links__add_tracepoint(&attacher->links, skel->progs.memory_exit, "syscalls",
					    memory_syscalls[i].exit);
		if (i && err == -ENOENT) { /* pkey_mprotect needs CONFIG_ARCH_HAS_PKEYS */
			err = 0;
			continue;
		}
		if (!err)
			err = links__add_tracepoint(&attacher->links, skel->progs.memory_enter,
						    "syscalls", memory_syscalls[i].enter);
	}
	return err;
}

static int attach_process_life(struct attacher *attacher)
{
	struct leaksweep_bpf *skel = attacher->skel;
	const struct {
		struct bpf_program *prog;
		const char *name;
	} points[] = {
		{skel->progs.process_exit, "sched_process_exit"},
		{skel->progs.process_exec, "sched_process_exec"},
		{skel->progs.process_fork, "sched_process_fork"},
		{skel->progs.signal_deliver, "signal_deliver"},
		{skel->progs.cgroup_attach, "cgroup_attach_task"},
	};
	int err;

	for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		if (!bpf_program__autoload(points[i].prog))
			continue;
		err = links__add_raw(&attacher->links, points[i].prog, points[i].name);
		if (err)
			return err;
	}
	return 0;
}

static void fill_map_fds(struct attacher *attacher)
{
	struct leaksweep_bpf *skel = attacher->skel;

	attacher->maps = (struct map_fds){
		.tables = &skel->bss->tables,
		.live_blocks = bpf_map__fd(skel->maps.live_blocks),
		.stack_frames = bpf_map__fd(skel->maps.stack_frames),
		.stack_costs = bpf_map__fd(skel->maps.stack_costs),
		.procs = bpf_map__fd(skel->maps.procs),
		.spaces = bpf_map__fd(skel->maps.spaces),
		.events = bpf_map__fd(skel->maps.events),
		.raw_stacks = bpf_map__fd(skel->maps.raw_stacks),
		.stats = bpf_map__fd(skel->maps.stats),
		.python_procs = bpf_map__fd(skel->maps.python_procs),
		.python_stacks = bpf_map__fd(skel->maps.python_stacks),
		.python_codes = bpf_map__fd(skel->maps.python_codes),
		.failures = bpf_map__fd(skel->maps.failures),
		.touch_watches = bpf_map__fd(skel->maps.touch_watches),
		.touch_sums = bpf_map__fd(skel->maps.touch_sums),
		.touch_pages = bpf_map__fd(skel->maps.touch_pages),
		.touch_moves = bpf_map__fd(skel->maps.touch_moves),
	};
}

static int open_unwind_memory(struct attacher *attacher)
{
	struct leaksweep_bpf *skel = attacher->skel;
	struct unwind_maps maps = {
		.modules = bpf_map__fd(skel->maps.unwind_modules),
		.cells = bpf_map__fd(skel->maps.unwind_cells),
		.files = bpf_map__fd(skel->maps.code_files),
		.identify_prog = bpf_program__fd(skel->progs.identify_code),
		.identified = (volatile struct code_file *)skel->bss->identified,
	};

	return unwind_memory__open(&maps, &attacher->unwind);
}

int attacher__open(const struct attacher_opts *opts, const struct features *features,
		   struct attacher **ret)
{
	struct attacher *attacher;
	int err;

	libbpf_set_print(quiet_print);
	attacher = calloc(1, sizeof(*attacher));
	if (!attacher)
		return -ENOMEM;
	err = link_mode__choose(features, opts->mode, &attacher->mode_why);
	if (err < 0)
		goto cleanup;
	attacher->mode = err;
	attacher->skel = leaksweep_bpf__open();
	if (!attacher->skel) {
		err = -errno;
		goto cleanup;
	}
	err = configure(attacher, opts);
	if (err)
		goto cleanup;
	select_programs(attacher, opts);
	err = touch_probes__select(attacher->skel, opts->watch_touches);
	if (!err)
		err = leaksweep_bpf__load(attacher->skel);
	if (err)
		goto cleanup;
	fill_map_fds(attacher);
	err = open_unwind_memory(attacher);
	if (err)
		goto cleanup;
	err = attach_process_life(attacher);
	if (err)
		goto cleanup;
	attacher->mmap_layer_err =
		opts->in_windows ? -EOPNOTSUPP : attach_memory_syscalls(attacher);
	if (!attacher->mmap_layer_err)
		attacher->mmap_layer_err =
			links__add_tracepoint(&attacher->links, attacher->skel->progs.signal_return,
					      "syscalls", "sys_enter_rt_sigreturn");
	if (bpf_program__autoload(attacher->skel->progs.oom_victim)) /* else its victims just end */
		links__add_tracepoint(&attacher->links, attacher->skel->progs.oom_victim, "oom",
				      "mark_victim");
	attacher->skel->bss->mappings_watched = !attacher->mmap_layer_err;
	*ret = attacher;
	return 0;
cleanup:
	attacher__free(attacher);
	return err;
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

void attacher__free(struct attacher *attacher)
{
	if (!attacher)
		return;
	if (attacher->skel && attacher->skel->bss)
		attacher__freeze(attacher);
	attacher__detach(attacher);
	attacher__await_gone(attacher);
	array_free(&attacher->closing);
	touch_probes__free(&attacher->touch_probes);
	unwind_memory__free(attacher->unwind);
	leaksweep_bpf__destroy(attacher->skel);
	free(attacher);
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
	int prog_fd = bpf_program__fd(program_of(attacher, step->role)), type;

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

void attacher__start(struct attacher *attacher)
{
	__atomic_store_n(&attacher->skel->bss->recording, 1, __ATOMIC_SEQ_CST);
}

void attacher__freeze(struct attacher *attacher)
{
	__atomic_store_n(&attacher->skel->bss->recording, 0, __ATOMIC_SEQ_CST);
}

bool attacher__has_mmap_layer(const struct attacher *attacher, int *ret_err)
{
	*ret_err = attacher->mmap_layer_err;
	return !attacher->mmap_layer_err;
}

struct unwind_memory *attacher__unwind_memory(struct attacher *attacher)
{
	return attacher->unwind;
}

uint64_t attacher__hash_seed(const struct attacher *attacher)
{
	return attacher->skel->rodata->hash_seed;
}

const struct map_fds *attacher__maps(const struct attacher *attacher)
{
	return &attacher->maps;
}

enum link_mode attacher__mode(const struct attacher *attacher, const char **ret_why)
{
	if (ret_why)
		*ret_why = attacher->mode_why;
	return attacher->mode;
}

double attacher__program_ns(const struct attacher *attacher)
{
	const struct bpf_program *progs[] = {
		attacher->skel->progs.alloc_session, attacher->skel->progs.alloc_enter,
		attacher->skel->progs.alloc_exit,    attacher->skel->progs.free_enter,
		attacher->skel->progs.python_site,
	};
	uint64_t time_ns = 0, runs = 0;

	for (size_t i = 0; i < sizeof(progs) / sizeof(progs[0]); i++) {
		struct bpf_prog_info info = {0};
		uint32_t len = sizeof(info);

		if (bpf_program__fd(progs[i]) < 0 ||
		    bpf_obj_get_info_by_fd(bpf_program__fd(progs[i]), &info, &len))
			continue;
		time_ns += info.run_time_ns;
		runs += info.run_cnt;
	}
	return runs ? (double)time_ns / runs : 0;
}

uint64_t attacher__missed_runs(const struct attacher *attacher)
{
	struct bpf_program *prog;
	uint64_t missed = 0;

	bpf_object__for_each_program(prog, attacher->skel->obj)
	{
		struct bpf_prog_info info = {0};
		uint32_t len = sizeof(info);

		/* Interrupts get memory too, in the middle of this one: never what it looks for. */
		if (prog != attacher->skel->progs.touch_folio && bpf_program__fd(prog) >= 0 &&
		    !bpf_obj_get_info_by_fd(bpf_program__fd(prog), &info, &len))
			missed += info.recursion_misses;
	}
	return missed;
}

uint64_t attacher__map_bytes(const struct attacher *attacher)
{
	struct bpf_map *map;
	uint64_t bytes = 0;

	bpf_object__for_each_map(map, attacher->skel->obj) bytes +=
		table_memory__of_map(bpf_map__fd(map));
	return bytes;
}
