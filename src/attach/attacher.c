/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "attach/attacher_internal.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "attach/table_memory.h"

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
			bpf_program__set_expected_attach_type(attacher__program(attacher, role),
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
