/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Three functions whose first instruction is known are probed in this process and called in a loop.
 * The best of a few rounds counts: whatever disturbs a round only makes it longer.
 */
#include "attach/calibrate.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/procfs.h"

#define ROUND_HITS 50
#define LEAST_ROUNDS 4 /* others may run in the middle of one */
#define MAX_ROUNDS 16
#define BUDGET_NS (4 * NS_PER_MS) /* for each of the three */

typedef void (*call_fn)(void);

#if defined(__x86_64__)
#define HAS_TARGETS 1
#define EMULATED "push %rbp\n pop %rbp\n ret\n"
#define STEPPED "mov %rax, %rax\n ret\n"
#elif defined(__aarch64__)
#define HAS_TARGETS 1
#define EMULATED "b 1f\n1: ret\n"
#define STEPPED "mov x9, x9\n ret\n"
#else
#define HAS_TARGETS 0
#endif

enum target { TARGET_EMULATED, TARGET_STEPPED, TARGET_CALL, TARGET_CNT };

#if HAS_TARGETS
#define DEFINE_TARGET(name, insns)                                                                 \
	__asm__(".pushsection .text\n .balign 16\n .type " #name ", %function\n" #name ":\n" insns \
		".size " #name ", . - " #name "\n .popsection\n");                                 \
	__attribute__((visibility("hidden"))) extern void name(void)

DEFINE_TARGET(calibrate_emulated, EMULATED);
DEFINE_TARGET(calibrate_stepped, STEPPED);
DEFINE_TARGET(calibrate_call, EMULATED);

static const call_fn targets[TARGET_CNT] = {calibrate_emulated, calibrate_stepped, calibrate_call};
#else
static const call_fn targets[TARGET_CNT];
#endif

#define MAX_LINKS (TARGET_CNT + 1) /* an entry each, and one return */

struct calibration {
	int file_fd;
	uint64_t offsets[TARGET_CNT]; /* in the file */
	int prog_fd;
	int link_fds[MAX_LINKS];
	size_t link_cnt;
};

/*
 * The cookie, which is the program's result as well: in a session, 1 says that the return is of no
 * interest. So one link does for all, and removing a link is what takes longest (40 ms on 6.18).
 */
static const uint64_t cookies[TARGET_CNT] = {
	[TARGET_EMULATED] = 1, [TARGET_STEPPED] = 1, [TARGET_CALL] = 0};

/* Finds where the targets lie in our own file, and opens it. */
static int find_targets(struct calibration *cal)
{
	struct proc_maps maps = {0};
	const struct proc_map *map = NULL;
	int err;

	err = proc_maps__read(getpid(), &maps);
	if (err)
		return err;
	for (int i = 0; i < TARGET_CNT; i++) {
		map = proc_maps__find(&maps, (uintptr_t)targets[i]);
		if (!map) {
			err = -ENOENT;
			goto cleanup;
		}
		cal->offsets[i] = (uintptr_t)targets[i] - map->start + map->off;
	}
	cal->file_fd = proc_map__open(getpid(), map);
	if (cal->file_fd < 0)
		err = cal->file_fd;
cleanup:
	proc_maps__free(&maps);
	return err;
}

static int attach_type_of(enum link_mode mode)
{
	switch (mode) {
	case LINK_SESSION:
		return ATTACH_TRACE_UPROBE_SESSION;
	case LINK_MULTI:
		return ATTACH_TRACE_UPROBE_MULTI;
	default:
		return 0;
	}
}

/* return bpf_get_attach_cookie(ctx) & 1; */
static int load_program(enum link_mode mode)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_get_attach_cookie},
		{.code = BPF_ALU64 | BPF_AND | BPF_K, .dst_reg = BPF_REG_0, .imm = 1},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts);

	opts.expected_attach_type = attach_type_of(mode);
	return bpf_prog_load(BPF_PROG_TYPE_KPROBE, "leaksweep_cost", "GPL", insns,
			     sizeof(insns) / sizeof(insns[0]), &opts);
}

static int keep_link(struct calibration *cal, int fd)
{
	if (fd < 0)
		return fd;
	cal->link_fds[cal->link_cnt++] = fd;
	return 0;
}

/* Probes targets [first, TARGET_CNT) at their entries or returns. */
static int link_targets(struct calibration *cal, enum link_mode mode, enum target first,
			bool is_return)
{
	const struct probe_set set = {
		.offsets = &cal->offsets[first],
		.cookies = &cookies[first],
		.cnt = TARGET_CNT - first,
	};
	int err = 0;

	if (mode != LINK_PERF)
		return keep_link(cal, probe_link__multi(cal->prog_fd, cal->file_fd, &set, getpid(),
							is_return, attach_type_of(mode)));
	for (size_t i = 0; i < set.cnt && !err; i++)
		err = keep_link(cal, probe_link__perf(cal->prog_fd, cal->file_fd, set.offsets[i],
						      set.cookies[i], getpid(), is_return));
	return err;
}

static void detach(struct calibration *cal)
{
	while (cal->link_cnt)
		close(cal->link_fds[--cal->link_cnt]);
	if (cal->prog_fd >= 0)
		close(cal->prog_fd);
	cal->prog_fd = -1;
}

static int attach(struct calibration *cal, enum link_mode mode)
{
	int err;

	cal->prog_fd = load_program(mode);
	if (cal->prog_fd < 0)
		return cal->prog_fd;
	err = link_targets(cal, mode, 0, false);
	return err || mode == LINK_SESSION ? err : link_targets(cal, mode, TARGET_CALL, true);
}

static double time_calls(call_fn call)
{
	uint64_t begin_ns, spent_ns, total_ns = 0, best_ns = UINT64_MAX;

	for (int round = 0; round < LEAST_ROUNDS || (round < MAX_ROUNDS && total_ns < BUDGET_NS);
	     round++) {
		begin_ns = clock_ns(CLOCK_MONOTONIC);
		for (int i = 0; i < ROUND_HITS; i++)
			call();
		spent_ns = clock_ns(CLOCK_MONOTONIC) - begin_ns;
		total_ns += spent_ns;
		if (spent_ns < best_ns)
			best_ns = spent_ns;
	}
	return (double)best_ns / ROUND_HITS;
}

int calibrate__trap(struct trap_costs *ret)
{
	struct calibration cal = {.file_fd = -1, .prog_fd = -1};
	int err;

	if (!HAS_TARGETS)
		return -ENOTSUP;
	err = find_targets(&cal);
	if (err)
		return err;
	for (enum link_mode mode = LINK_SESSION; mode >= LINK_PERF; mode--) {
		err = attach(&cal, mode);
		if (!err)
			*ret = (struct trap_costs){
				.emulated_ns = time_calls(targets[TARGET_EMULATED]),
				.stepped_ns = time_calls(targets[TARGET_STEPPED]),
				.call_return_ns = time_calls(targets[TARGET_CALL]),
				.return_mode = mode,
			};
		detach(&cal);
		if (!err)
			break;
	}
	close(cal.file_fd);
	return err;
}

int calibrate__enable_stats(void)
{
	return bpf_enable_stats(BPF_STATS_RUN_TIME);
}
