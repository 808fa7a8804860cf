/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/sweep.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attach/tool_memory.h"
#include "engine/report_file.h"
#include "engine/targets.h"
#include "util/clock.h"
#include "util/cpu_time.h"
#include "util/message.h"
#include "util/signals.h"

#define MAX_PROCS 65536
#define FIRST_NS (29 * NS_PER_SEC) /* the first report, for it to be there within 30 s */
#define DENSE_NS (30 * NS_PER_SEC) /* until then a pass a second */
#define DENSE_PASS_NS NS_PER_SEC
#define PASS_NS (5 * NS_PER_SEC)
#define KILL_PASS_NS (200 * NS_PER_MS) /* until who was killed is gone */
#define KILL_REST_NS (5 * NS_PER_SEC)  /* after which the next ones are worth such haste */
#define MAX_OOMS 8		       /* that one report tells, the last ones */

struct sweeper {
	const struct sweep_opts *opts;
	struct watch watch;
	struct suspects *suspects;
	sigset_t signals;
	uint64_t started_ns, started_real_ns, started_cpu_ns; /* the first two by their clocks */
	uint64_t next_pass_ns, next_report_ns, end_ns;	      /* UINT64_MAX = never */
	uint64_t next_work_ns;				      /* of suspects */
	uint64_t interval;				      /* reports so far */
	uint64_t chance;
	double fastest_lower;
	bool is_too_early;
	bool has_warned;		/* of the report that failed last */
	ARRAY(struct sweep_oom *) ooms; /* owned: what is to be told of kills */
	bool has_new_oom;		/* nobody was told of the last one ... */
	uint64_t kills_told_ns;		/* ... and when somebody was told of others; 0 = never */
};

/* ---- reports ---- */

static void fill_times(struct sweeper *sweeper, struct sweep *sweep, bool is_final)
{
	struct snapshot *snap = sweep->snap;
	uint64_t spent_ns = cpu_time_ns() - sweeper->started_cpu_ns;

	snap->started_at_ns = sweeper->started_real_ns;
	snap->duration_ns = clock_ns(CLOCK_MONOTONIC) - sweeper->started_ns;
	if (!sweep->is_event)
		snap->interval = is_final ? 0 : ++sweeper->interval;
	if (snap->duration_ns)
		snap->overhead.tool_cpu_percent = 100.0 * spent_ns / snap->duration_ns;
	snap->overhead.tool_bytes = tool_memory__used();
}

/* ---- kills ---- */

static void forget_ooms(struct sweeper *sweeper)
{
	for (size_t i = 0; i < sweeper->ooms.cnt; i++)
		sweep_oom__free(sweeper->ooms.items[i]);
	array_free(&sweeper->ooms);
}

static int add_oom(struct sweeper *sweeper, struct sweep_oom *oom)
{
	if (sweeper->ooms.cnt == MAX_OOMS) {
		sweep_oom__free(sweeper->ooms.items[0]);
		memmove(sweeper->ooms.items, sweeper->ooms.items + 1,
			--sweeper->ooms.cnt * sizeof(oom));
	}
	if (!array_push(&sweeper->ooms, oom))
		return 0;
	sweep_oom__free(oom);
	return -ENOMEM;
}

static int tell_ooms(const struct sweeper *sweeper, struct sweep *sweep)
{
	int err = 0;

	for (size_t i = 0; i < sweeper->ooms.cnt && !err; i++) {
		sweep_oom__suppress(sweeper->ooms.items[i], sweeper->opts->suppressions);
		err = array_push(&sweep->ooms, sweeper->ooms.items[i]);
	}
	return err;
}

/* ---- writing ---- */

static int write_report(const struct sweep_opts *opts, const struct sweep *sweep, bool brief)
{
	struct sweep_report_opts render = opts->render;
	struct report_file *file;
	int err;

	render.brief = brief;
	err = report_file__open(opts->path, opts->fd, &file);
	if (err)
		return err;
	if (opts->rereads)
		report_file__hold_hangup(file);
	err = opts->report(sweep, &render, report_file__stream(file));
	return report_file__finish(file, err);
}

/* The disk may be full for a while: the next report may be written again. Says so once. */
static void warn(struct sweeper *sweeper, int err)
{
	if (!sweeper->has_warned)
		fprintf(stderr, "leaksweep: cannot write %s: %s; the sweep goes on\n",
			sweeper->opts->path, strerror(-err));
	sweeper->has_warned = true;
}

/* Whoever reads the report may take his time, debug information takes its own. */
static int read_sweep(struct sweeper *sweeper, struct sweep **ret)
{
	struct sweep *sweep = NULL;
	int err;

	err = suspects__pause(sweeper->suspects, true, clock_ns(CLOCK_MONOTONIC));
	if (!err)
		err = sweep__of_watch(&sweeper->watch, &sweep);
	if (err)
		return err;
	err = suspects__report(sweeper->suspects, sweep, clock_ns(CLOCK_MONOTONIC));
	if (!err)
		err = tell_ooms(sweeper, sweep);
	if (err) {
		sweep__free(sweep);
		return err;
	}
	sweep__suppress(sweep, sweeper->opts->suppressions);
	*ret = sweep;
	return 0;
}

static int report(struct sweeper *sweeper, bool is_final, bool is_asked)
{
	struct sweep *sweep = NULL;
	int err;

	if (is_final)
		suspects__end(sweeper->suspects);
	err = read_sweep(sweeper, &sweep);
	if (err)
		return err;
	fill_times(sweeper, sweep, is_final);
	sweeper->fastest_lower = sweep__fastest_lower(sweep);
	sweeper->is_too_early = sweep__is_too_early(sweep);
	err = write_report(sweeper->opts, sweep, !is_final && !is_asked && sweeper->interval > 1);
	sweep__free(sweep);
	if (!err) {
		sweeper->has_warned = false;
		sweeper->has_new_oom = false;
		forget_ooms(sweeper);
	} else if (!is_final && sweeper->opts->path) {
		warn(sweeper, err);
		err = 0;
	}
	return err;
}

/* Kills are told at once. A file then waits for the next report, which would take it away. */
static int report_kills(struct sweeper *sweeper)
{
	struct sweep *sweep = NULL;
	int err;

	if (sweeper->opts->once)
		return 0;
	err = read_sweep(sweeper, &sweep);
	if (err)
		return err;
	sweep->is_event = true;
	fill_times(sweeper, sweep, false);
	err = write_report(sweeper->opts, sweep, false);
	sweep__free(sweep);
	sweeper->has_new_oom = false;
	if (!err && !sweeper->opts->path)
		forget_ooms(sweeper);
	else if (err && sweeper->opts->path) {
		warn(sweeper, err);
		err = 0;
	}
	return err;
}

/* ---- time ---- */

/* A regular beat could be that of what is watched: its troughs would never be met. */
static uint64_t jittered(struct sweeper *sweeper, uint64_t ns)
{
	sweeper->chance = sweeper->chance * 6364136223846793005ULL + 1442695040888963407ULL;
	return ns * 7 / 10 + (sweeper->chance >> 33) % (ns * 6 / 10);
}

/* Tells of those that were killed and have gone by now; looks again soon for others. Where one
 * after the other is killed, some passes' are told at once. */
static int pass_kills(struct sweeper *sweeper, uint64_t now_ns)
{
	bool has_rested =
		!sweeper->kills_told_ns || now_ns - sweeper->kills_told_ns >= KILL_REST_NS;
	const struct watch_kill *kill;
	int err = 0;

	while (!err && (kill = watch_kills__ready(&sweeper->watch))) {
		struct sweep_oom *oom = NULL;

		err = sweep__oom_of_watch(&sweeper->watch, kill, sweeper->suspects, now_ns, &oom);
		watch_kills__drop(&sweeper->watch, kill);
		if (!err)
			err = add_oom(sweeper, oom);
		sweeper->has_new_oom = true;
	}
	if (err || !has_rested)
		return err;
	if (watch_kills__waits(&sweeper->watch))
		sweeper->next_pass_ns = now_ns + KILL_PASS_NS;
	if (!sweeper->has_new_oom)
		return 0;
	sweeper->kills_told_ns = now_ns;
	return report_kills(sweeper);
}

static int pass(struct sweeper *sweeper)
{
	uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
	bool is_dense = now_ns - sweeper->started_ns < DENSE_NS;
	struct suspicion suspicions[MAX_SUSPECTS];
	size_t cnt;
	int err;

	sweeper->next_pass_ns = now_ns + jittered(sweeper, is_dense ? DENSE_PASS_NS : PASS_NS);
	err = suspects__pause(sweeper->suspects, false, now_ns);
	if (!err)
		err = watch__pass(&sweeper->watch, now_ns);
	if (err)
		return err;
	cnt = sweep__suspicions(&sweeper->watch, sweeper->opts->suppressions, suspicions,
				MAX_SUSPECTS);
	err = suspects__tell(sweeper->suspects, suspicions, cnt, now_ns);
	return err ? err : pass_kills(sweeper, now_ns);
}

static uint64_t earliest(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t add_time(uint64_t at_ns, uint64_t ns)
{
	return ns < UINT64_MAX - at_ns ? at_ns + ns : UINT64_MAX;
}

/* The first report is early if the interval is long; all others come at whole intervals. */
static void plan_report(struct sweeper *sweeper, uint64_t now_ns)
{
	uint64_t interval_ns = sweeper->opts->interval_ns, whole;
	uint64_t early_ns = earliest(interval_ns / 2, NS_PER_SEC);

	if (sweeper->opts->once) {
		sweeper->next_report_ns = UINT64_MAX;
	} else if (!sweeper->next_report_ns && interval_ns > FIRST_NS) {
		sweeper->next_report_ns = sweeper->started_ns + FIRST_NS;
	} else {
		/* The first one at 29 s stands for that at 30 s. */
		whole = (now_ns - sweeper->started_ns + early_ns) / interval_ns + 1;
		sweeper->next_report_ns =
			whole < UINT64_MAX / interval_ns
				? add_time(sweeper->started_ns, whole * interval_ns)
				: UINT64_MAX;
	}
}

static void plan_end(struct sweeper *sweeper)
{
	uint64_t duration_ns = sweeper->opts->duration_ns;

	sweeper->end_ns = duration_ns ? add_time(sweeper->started_ns, duration_ns) : UINT64_MAX;
}

static void start(struct sweeper *sweeper)
{
	sweeper->started_ns = sweeper->next_pass_ns = clock_ns(CLOCK_MONOTONIC);
	sweeper->next_work_ns = UINT64_MAX;
	sweeper->started_real_ns = clock_ns(CLOCK_REALTIME);
	sweeper->started_cpu_ns = cpu_time_ns();
	sweeper->chance = sweeper->started_real_ns;
	plan_end(sweeper);
	plan_report(sweeper, sweeper->started_ns);
}

/* ---- the loop ---- */

static void block_signals(struct sweeper *sweeper)
{
	end_signals(&sweeper->signals);
	sigaddset(&sweeper->signals, SIGUSR1);
	sigprocmask(SIG_BLOCK, &sweeper->signals, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* Waits until something is due. Returns the signal that came instead, 0 = none. */
static int await(const struct sweeper *sweeper)
{
	uint64_t due_ns = earliest(earliest(sweeper->next_pass_ns, sweeper->next_work_ns),
				   earliest(sweeper->next_report_ns, sweeper->end_ns)),
		 now_ns = clock_ns(CLOCK_MONOTONIC),
		 left_ns = due_ns > now_ns ? due_ns - now_ns : 0;
	const struct timespec left = {
		.tv_sec = (time_t)(left_ns / NS_PER_SEC),
		.tv_nsec = (long)(left_ns % NS_PER_SEC),
	};
	int signal_nr = sigtimedwait(&sweeper->signals, NULL, &left);

	return signal_nr > 0 ? signal_nr : 0;
}

/* Returns 1 when other options are asked for, else the last report is written. */
static int run_loop(struct sweeper *sweeper)
{
	uint64_t now_ns;
	int err = 0, signal_nr;

	while (!err) {
		signal_nr = await(sweeper);
		now_ns = clock_ns(CLOCK_MONOTONIC);
		if (signal_nr == SIGHUP && sweeper->opts->rereads)
			return 1;
		if ((signal_nr && signal_nr != SIGUSR1) || now_ns >= sweeper->end_ns)
			break;
		err = suspects__work(sweeper->suspects, now_ns, &sweeper->next_work_ns);
		if (!err && (now_ns >= sweeper->next_pass_ns ||
			     suspects__saw_kill(sweeper->suspects, now_ns)))
			err = pass(sweeper);
		if (!err && signal_nr == SIGUSR1)
			err = report(sweeper, false, true);
		if (!err && now_ns >= sweeper->next_report_ns) {
			err = report(sweeper, false, false);
			plan_report(sweeper, now_ns);
		}
	}
	return err ? err : report(sweeper, true, false);
}

int sweeper__run(struct sweeper *sweeper, struct sweep_result *ret)
{
	int err = run_loop(sweeper);

	ret->fastest_lower = sweeper->fastest_lower;
	ret->is_too_early = sweeper->is_too_early;
	return err < 0 ? fail(&ret->message, err, "the sweep cannot go on: %s", strerror(-err))
		       : err;
}

/* ---- beginning and end ---- */

static int check(const struct sweep_opts *opts, char **ret_message)
{
	int err;

	if (geteuid())
		return fail(ret_message, -EPERM,
			    "a sweep looks into every process of the host: run leaksweep as root");
	err = targets__check_cgroups(opts->cgroups.items, opts->cgroups.cnt, ret_message);
	return err ? err : report_file__check_option(opts->path, ret_message);
}

int sweeper__new(const struct sweep_opts *opts, struct sweeper **ret, char **ret_message)
{
	const struct watch_opts watch = {
		.cgroups = opts->cgroups.items,
		.cgroup_cnt = opts->cgroups.cnt,
		.max_open = watch__raise_files(),
		.max_procs = MAX_PROCS,
	};
	struct sweeper *sweeper;
	int err;

	err = check(opts, ret_message);
	if (err)
		return err;
	sweeper = calloc(1, sizeof(*sweeper));
	if (!sweeper)
		return -ENOMEM;
	sweeper->opts = opts;
	block_signals(sweeper);
	start(sweeper);
	err = watch__init(&sweeper->watch, &watch);
	sweeper->suspects = suspects__new(&opts->suspects);
	if (err || !sweeper->suspects) {
		sweeper__free(sweeper);
		return -ENOMEM;
	}
	*ret = sweeper;
	return 0;
}

int sweeper__change(struct sweeper *sweeper, const struct sweep_opts *opts, char **ret_message)
{
	uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
	int err;

	err = check(opts, ret_message);
	if (err)
		return err;
	sweeper->opts = opts;
	sweeper->has_warned = false;
	sweeper->watch.opts.cgroups = opts->cgroups.items;
	sweeper->watch.opts.cgroup_cnt = opts->cgroups.cnt;
	suspects__change(sweeper->suspects, &opts->suspects);
	plan_end(sweeper);
	if (!sweeper->interval)
		sweeper->next_report_ns = 0;
	plan_report(sweeper, now_ns);
	return 0;
}

void sweeper__free(struct sweeper *sweeper)
{
	if (!sweeper)
		return;
	forget_ooms(sweeper);
	watch__destroy(&sweeper->watch);
	suspects__free(sweeper->suspects);
	free(sweeper);
}
