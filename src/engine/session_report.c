/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From a session's state at one moment to a published snapshot. */
#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attach/tool_memory.h"
#include "engine/open_files.h"
#include "engine/session.h"
#include "util/clock.h"
#include "util/cpu_time.h"
#include "util/procfs.h"

#define WEIGH_NS (50 * NS_PER_MS)

uint64_t session__cpu_ns(const struct session *session)
{
	return cpu_time_ns() - session->launch.cpu_ns;
}

/*
 * Traps by their measured price plus the programs' measured run time. Calibrated in tight loops: a
 * real program with cold caches pays up to twice that.
 */
static void fill_overhead(struct session *session, struct snapshot *snap)
{
	struct snap_overhead *overhead = &snap->overhead;
	const uint64_t *stats = snap->stats;
	uint64_t calls, objects;
	double cost_ns;

	overhead->probe_hits = stats[STAT_HITS_ALLOC] + stats[STAT_HITS_RETURN] +
			       stats[STAT_HITS_FREE] + stats[STAT_HITS_SYSCALL] +
			       stats[STAT_HITS_OBJECT] + stats[STAT_HITS_OBJECT_FREE] +
			       stats[STAT_HITS_FOREIGN];
	overhead->foreign_hits = stats[STAT_HITS_FOREIGN];
	overhead->tool_cpu_percent = 100.0 * (session__cpu_ns(session) - session->started_cpu_ns) /
				     (clock_ns(CLOCK_MONOTONIC) - session->started_ns);
	overhead->tool_bytes = tool_memory__used();
	overhead->tool_bound_bytes = tool_memory__bound(&session->opts->attach);
	overhead->map_bytes = attacher__map_bytes(session->attacher);
	if (!session->calibrated && calibrate__trap(&session->traps))
		session->traps = (struct trap_costs){0};
	session->calibrated = true;
	objects = stats[STAT_HITS_OBJECT] + stats[STAT_HITS_OBJECT_FREE];
	calls = stats[STAT_HITS_ALLOC] + stats[STAT_HITS_RETURN] + stats[STAT_HITS_FREE] + objects;
	cost_ns = session->traps.emulated_ns * (stats[STAT_HITS_ALLOC] + stats[STAT_HITS_FREE] +
						objects + overhead->foreign_hits) +
		  (session->traps.call_return_ns - session->traps.emulated_ns) *
			  stats[STAT_HITS_RETURN] +
		  attacher__program_ns(session->attacher) * calls;
	if (!snap->duration_ns || !overhead->probe_hits || !session->traps.emulated_ns)
		return;
	overhead->ns_per_hit = cost_ns / overhead->probe_hits;
	overhead->cpu_percent = 100.0 * cost_ns / snap->duration_ns;
}

static int add_notes(const struct session *session, struct snapshot *snap)
{
	uint64_t missed = snap->stats[STAT_PROGRAMS_SKIPPED];
	int err = 0, why;

	if (!attacher__has_mmap_layer(session->attacher, &why))
		err = snapshot__add_note(snap,
					 "memory that programs map themselves (mmap, brk) was not "
					 "followed: system call "
					 "tracepoints are not available (%s)",
					 strerror(-why));
	if (!err && session->procs_full)
		err = snapshot__add_note(snap,
					 "not all wanted processes were followed: there was no "
					 "room for so many at once; use a larger --max-procs, or "
					 "allow leaksweep's control group more memory");
	if (!err && collector__is_full(session->collector))
		err = snapshot__add_note(snap,
					 "some stacks are lost: they were too deep to keep them "
					 "all; use a larger --max-stacks or --memory");
	if (!err && session->table.frees_left_out)
		err = snapshot__add_note(snap,
					 "%llu frees of inherited memory had no room: forked "
					 "processes may hold less than is told; use a larger "
					 "--max-blocks or --memory",
					 (unsigned long long)session->table.frees_left_out);
	if (!err && pythons__cut_cnt(session->pythons))
		err = snapshot__add_note(snap,
					 "whose the parts of some Python objects are is not told: "
					 "there was no room for it; use a larger --memory");
	if (!err && session->memory_full)
		err = snapshot__add_note(snap,
					 "it was ended early: leaksweep's own memory came near its "
					 "bound; use a larger --memory, or trace fewer processes");
	if (!err && session->late_files)
		err = snapshot__add_note(snap,
					 "%zu allocator file%s began to be used before probes were "
					 "in place there; the "
					 "first milliseconds are missing",
					 session->late_files, session->late_files == 1 ? "" : "s");
	if (!err && snap->unwind.cache_err)
		err = snapshot__add_note(snap,
					 "unwind tables are not kept between runs: the cache "
					 "cannot be used (%s); see --cache-dir",
					 strerror(-snap->unwind.cache_err));
	if (!err && session->finalized)
		err = snapshot__add_note(
			snap,
			"%zu Python interpreter%s ended: shown is what was live when "
			"that began, frees after it do not count",
			session->finalized, session->finalized == 1 ? "" : "s");
	if (!err && missed)
		err = snapshot__add_note(snap,
					 "the kernel skipped %llu probe runs that nested in others",
					 (unsigned long long)missed);
	if (!err && session->launch.exited && WIFSIGNALED(session->launch.wait_status))
		err = snapshot__add_note(snap, "the command was killed by signal %d (%s)",
					 WTERMSIG(session->launch.wait_status),
					 strsignal(WTERMSIG(session->launch.wait_status)));
	else if (!err && session->launch.exited)
		err = snapshot__add_note(snap, "the command exited with status %d",
					 WEXITSTATUS(session->launch.wait_status));
	return err;
}

static struct collect_opts collect_opts(const struct session *session, bool is_final)
{
	const struct attacher_opts *attach = &session->opts->attach;

	return (struct collect_opts){
		.now_ns = clock_ns(CLOCK_MONOTONIC),
		.min_age_ns = session->opts->min_age_ns,
		.sample_bytes = session->opts->attach.sample_bytes,
		.is_filtered = attach->sample_bytes || attach->min_size || attach->max_size,
		.is_final = is_final,
		.keep_ended = session->opts->command != NULL,
	};
}

int session__make_room(struct session *session)
{
	struct collect_opts collect;
	int err = session__make_good(session, false);

	if (err)
		return err;
	collect = collect_opts(session, false);
	err = collector__make_room(session->collector, &collect, session->opts->attach.max_blocks,
				   session->opts->attach.max_procs);
	pythons__drop_purged(session->pythons);
	return err ? err : open_files__trim(session);
}

bool session__is_full(struct session *session)
{
	uint64_t now_ns = clock_ns(CLOCK_MONOTONIC),
		 enough = tool_memory__bound(&session->opts->attach) / 2;

	if (now_ns - session->weighed_ns < WEIGH_NS)
		return false;
	session->weighed_ns = now_ns;
	if (tool_memory__used() <= enough)
		return false;
	tool_memory__release();
	session->memory_full = tool_memory__used() > enough;
	return session->memory_full;
}

static int look(struct session *session)
{
	int err = session__process_events(session);

	session->looked_ns = clock_ns(CLOCK_MONOTONIC);
	if (!err)
		err = pythons__look(session->pythons, &session->views, &session->view_cnt);
	return err ? err
		   : residents__look(session->residents, &session->table, session->views,
				     session->view_cnt);
}

int session__look(struct session *session)
{
	int err = session__make_good(session, true);

	return err ? err : look(session);
}

int session__report(struct session *session, bool is_final, int64_t *ret_live_bytes)
{
	struct collect_opts collect;
	struct snapshot *snap;
	int err;

	err = is_final ? session__process_events(session) : look(session);
	if (err)
		return err;
	for (size_t i = 0; i < session->table.spaces.cnt; i++)
		if (session->table.spaces.items[i]->state == PROC_RUNNING)
			space_info__refresh(&session->table, session->table.spaces.items[i]);
	err = deferred__finish(session->deferred, is_final);
	if (err)
		return err;
	snap = snapshot__new("trace");
	if (!snap)
		return -ENOMEM;
	collect = collect_opts(session, is_final);
	collect.looked_ns = session->looked_ns;
	collect.pythons = session->views;
	collect.python_cnt = session->view_cnt;
	collect.residents = residents__views(session->residents, &collect.resident_cnt);
	collect.failure_limits =
		failures__limits(session->failures, &session->table, &collect.failure_limit_cnt);
	snap->probe_mode = link_mode__name(attacher__mode(session->attacher, &snap->probe_why));
	snap->started_at_ns = session->started_real_ns;
	snap->duration_ns = collect.now_ns - session->started_ns;
	unwinder__tell(session->unwinder, snap);
	snap->interval = is_final ? 0 : ++session->interval;
	err = collector__fill(session->collector, &collect, snap);
	snap->stats[STAT_PROGRAMS_SKIPPED] = attacher__missed_runs(session->attacher);
	if (!err)
		err = groups__add(session->groups, snap, attacher__maps(session->attacher)->tables,
				  collect.now_ns);
	if (!err)
		err = collector__read_failures(session->collector, snap);
	if (!err)
		err = failures__tell(session->failures, snap);
	if (!err)
		residents__tell(session->residents, &session->table,
				&(struct residents_known){
					.command = session->launch.pid,
					.is_filtered = session->opts->attach.min_size ||
						       session->opts->attach.max_size,
				},
				snap);
	deferred__tell(session->deferred, snap);
	if (!err)
		err = add_notes(session, snap);
	if (err) {
		snapshot__free(snap);
		return err;
	}
	fill_overhead(session, snap);
	/* It may be as large as all the rest; the snapshot has its own words. */
	pythons__end_look(session->pythons);
	session->view_cnt = 0;
	return publisher__publish(session->publisher, snap, ret_live_bytes);
}
