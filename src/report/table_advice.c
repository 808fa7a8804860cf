/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the text report concludes: why there is nothing to list, and what to try next. "No leak" is
 * only ever said of memory that was seen: a report that saw nothing says so, and why.
 */
#include "report/table.h"

#include <inttypes.h>
#include <string.h>

#include "report/render.h"
#include "util/units.h"

#define SHORT_RUN_NS 30000000000ULL

/* ---- nothing to list ---- */

/* Returns whether any block was followed at all. */
static bool saw_blocks(const struct profile *profile)
{
	return profile->total.alloc_count > 0 || profile->total.inherited_count > 0 ||
	       profile->total.alloc_bytes > 0 || profile->total.inherited_bytes > 0;
}

static uint64_t allocation_hits(const struct snapshot *snap)
{
	return snap->stats[STAT_HITS_ALLOC] + snap->stats[STAT_HITS_RETURN];
}

/* Blocks that were allocated and could not be followed. */
static uint64_t blocks_not_followed(const struct snapshot *snap)
{
	return snap->stats[STAT_MAP_FULL] + snap->stats[STAT_COSTS_FULL] +
	       snap->stats[STAT_THREADS_LOST] + snap->stats[STAT_PENDING_FULL] +
	       snap->stats[STAT_OUT_UNREADABLE] + snap->stats[STAT_SPACES_FULL];
}

static void put_nothing_seen(struct screen *screen, const struct profile *profile,
			     const struct situation *situation)
{
	const struct snapshot *snap = profile->snap;
	char buf[UNITS_MAX];

	screen__label(screen, "result");
	screen__paint(screen, PAINT_BAD);
	fputs("nothing was seen: ", screen->line);
	screen__paint(screen, PAINT_NONE);
	if (!snap->procs.cnt)
		fputs("no process was traced", screen->line);
	else if (!situation->probed && !situation->partial && !snap->overhead.probe_hits)
		fputs("no allocator of the traced processes is probed (see coverage)",
		      screen->line);
	else if (blocks_not_followed(snap))
		fputs("blocks were allocated, but none could be followed (see lost)", screen->line);
	else if (snap->stats[STAT_FAILED_ALLOCS] &&
		 snap->stats[STAT_FAILED_ALLOCS] >= snap->stats[STAT_HITS_RETURN])
		fprintf(screen->line, "all %s allocations failed for lack of memory",
			format_count(snap->stats[STAT_FAILED_ALLOCS], buf));
	else if (allocation_hits(snap) && snap->sample_bytes)
		fprintf(screen->line,
			"blocks were allocated, but the sampling (one in %s) chose none of them",
			format_size(snap->sample_bytes, buf));
	else if (allocation_hits(snap))
		fputs("allocators were called, but no block came out of it that the filters let "
		      "through",
		      screen->line);
	else if (snap->stats[STAT_HITS_FREE])
		fputs("the traced processes only freed older blocks and allocated none",
		      screen->line);
	else
		fprintf(screen->line, "the traced processes allocated nothing in %s",
			format_duration(snap->duration_ns, buf));
	fputs(". This says nothing about leaks.", screen->line);
	screen__end(screen);
}

static void put_nothing_live(struct screen *screen, const struct profile *profile)
{
	int64_t seen = profile->total.alloc_count + profile->total.inherited_count;
	int64_t freed = profile->total.free_count;
	char buf[UNITS_MAX];

	screen__label(screen, "result");
	screen__paint(screen, PAINT_STRONG);
	fputs("nothing is outstanding: ", screen->line);
	screen__paint(screen, PAINT_NONE);
	screen__count(screen, seen, profile->total.inherited_count ? "block" : "allocation");
	if (freed >= seen)
		fputs(" seen, all freed", screen->line);
	else
		fprintf(screen->line, " seen, those not freed are younger than --min-age %s",
			format_duration(profile->snap->min_age_ns, buf));
	if (blocks_not_followed(profile->snap))
		fputs("; this does not cover the blocks that were not followed (see lost)",
		      screen->line);
	screen__end(screen);
}

void table_no_rows(struct screen *screen, const struct profile *profile,
		   const struct situation *situation)
{
	fputc('\n', screen->out);
	if (saw_blocks(profile))
		put_nothing_live(screen, profile);
	else
		put_nothing_seen(screen, profile, situation);
}

/* ---- resident memory that no block has ---- */

static void put_keeper(struct screen *screen, uint64_t bytes, bool at_least, const char *keeper)
{
	char buf[UNITS_MAX];

	fprintf(screen->line, "%s%s by %s", at_least ? "at least " : "", format_size(bytes, buf),
		keeper);
}

/* What gives it back: malloc(3) says how in mallopt(3) and malloc_trim(3). */
static void put_remedy(struct screen *screen, const struct retained *retained,
		       const struct snap_resident *resident)
{
	if (retained->pymalloc_bytes > retained->heaps_bytes) {
		fputs("an arena goes back only when the last object in it is freed. What helps: "
		      "make the objects that stay before the many that do not, or do such work in "
		      "a process of its own",
		      screen->line);
		return;
	}
	fputs("a heap shrinks only from its end. What helps: malloc_trim(0) after such work, which "
	      "gives back whole free pages",
	      screen->line);
	if (resident->thread_heaps > 1)
		fprintf(screen->line,
			", MALLOC_ARENA_MAX=2 for fewer heaps (%" PRIu32 " are of threads)",
			resident->thread_heaps);
	fputs(", or to allocate what stays before what does not", screen->line);
}

static void put_retained(struct screen *screen, const struct snap_proc *proc,
			 const struct retained *retained, bool name_it)
{
	bool malloc_first = retained->heaps_bytes >= retained->pymalloc_bytes;
	char buf[UNITS_MAX];

	screen__label(screen, "kept");
	fputs("resident memory is kept by the allocator, not leaked: ", screen->line);
	if (malloc_first)
		put_keeper(screen, retained->heaps_bytes, retained->at_least, "malloc's heaps");
	if (retained->pymalloc_bytes) {
		fputs(malloc_first ? " and " : "", screen->line);
		put_keeper(screen, retained->pymalloc_bytes, false, "pymalloc's arenas");
	}
	if (!malloc_first && retained->heaps_bytes) {
		fputs(" and ", screen->line);
		put_keeper(screen, retained->heaps_bytes, retained->at_least, "malloc's heaps");
	}
	fprintf(screen->line, ", of %s", format_size((int64_t)proc->resident.total_bytes, buf));
	if (name_it) {
		fputs(" in ", screen->line);
		process_put(screen->line, proc);
	}
	fputs(": ", screen->line);
	put_remedy(screen, retained, &proc->resident);
	screen__end(screen);
}

/* The process that has the most of it is told. */
void table_retained(struct screen *screen, const struct profile *profile)
{
	const struct snapshot *snap = profile->snap;
	const struct snap_proc *worst = NULL;
	struct retained retained, most = {0};
	uint64_t bytes, most_bytes = 0;

	for (size_t i = 0; i < snap->procs.cnt && profile->residents_before; i++) {
		const struct snap_proc *proc = &snap->procs.items[i];

		if (!resident__is_retained(&proc->resident, profile->proc_totals[i].live_bytes,
					   &profile->residents_before[i], &retained))
			continue;
		bytes = retained.pymalloc_bytes + retained.heaps_bytes;
		if (bytes <= most_bytes)
			continue;
		worst = proc;
		most = retained;
		most_bytes = bytes;
	}
	if (worst)
		put_retained(screen, worst, &most, snap->procs.cnt > 1);
}

/* ---- what to try next ---- */

/* Names the options that cure the losses of this run, each once. Returns whether there are any. */
static bool put_cures(struct screen *screen, const struct snapshot *snap)
{
	const char *separator = "blocks or their stacks were lost: run again with a larger ";
	bool any = false;

	for (enum stat_id stat = 0; stat < STAT_MAX; stat++) {
		bool named = strncmp(loss_cure(snap, stat), "--", 2) || !loss_count(snap, stat);

		for (enum stat_id earlier = 0; earlier < stat && !named; earlier++)
			named = loss_count(snap, earlier) &&
				!strcmp(loss_cure(snap, earlier), loss_cure(snap, stat));
		if (named)
			continue;
		fprintf(screen->line, "%s%s", separator, loss_cure(snap, stat));
		separator = ", ";
		any = true;
	}
	return any;
}

static const char *advice_when_empty(const struct profile *profile,
				     const struct situation *situation)
{
	const struct snapshot *snap = profile->snap;

	if (saw_blocks(profile))
		return "a leak that needs time or load to show: trace for longer (--duration) "
		       "while the"
		       " service works";
	if (!snap->procs.cnt)
		return "check the pid, name or cgroup that was asked for";
	if (!situation->probed && !situation->partial)
		return "`leaksweep doctor` says what can be probed here; name an allocator of your "
		       "own"
		       " with --alloc-fn and --free-fn";
	if (allocation_hits(snap) && snap->sample_bytes)
		return "sample more often (a smaller --sample-bytes, 0 = every allocation) or for "
		       "longer"
		       " (--duration)";
	return "trace for longer (--duration) while the service works";
}

static void put_growth_advice(struct screen *screen, const struct profile *profile,
			      const struct situation *situation)
{
	if (!situation->growing_rows) {
		fputs("nothing grew since the last interval: what is live may simply be in use; "
		      "compare"
		      " over a longer --interval",
		      screen->line);
		return;
	}
	fprintf(screen->line, "%zu of %zu rows grew since the last interval; ",
		situation->growing_rows, situation->live_rows);
	if (profile->opts.sort != SORT_GROWTH)
		fputs("--sort growth puts them first; ", screen->line);
	fputs("what grows in every interval is the leak", screen->line);
}

static void put_usual_advice(struct screen *screen, const struct snapshot *snap,
			     const struct situation *situation)
{
	if (!situation->running) {
		fputs("the traced processes have ended without freeing this; what grows with their "
		      "work"
		      " matters most: --interval 10s shows it",
		      screen->line);
		return;
	}
	fputs("live is not yet leaked: --interval 10s shows what keeps growing", screen->line);
	if (snap->duration_ns < SHORT_RUN_NS)
		fputs(", --duration 5m sees more", screen->line);
	if (!snap->min_age_ns)
		fputs(", --min-age 30s hides what is still young", screen->line);
}

void table_next(struct screen *screen, const struct profile *profile,
		const struct situation *situation)
{
	const struct snapshot *snap = profile->snap;
	int64_t live = profile->total.live_bytes;

	table_retained(screen, profile);
	screen__label(screen, "next");
	if (put_cures(screen, snap))
		;
	else if (!situation->live_rows)
		fputs(advice_when_empty(profile, situation), screen->line);
	else if (live > 0 && situation->unnamed_bytes > live / 2)
		fputs("most of it was allocated by functions without a name: install the debug "
		      "symbols "
		      "of the modules above",
		      screen->line);
	else if (profile->has_previous)
		put_growth_advice(screen, profile, situation);
	else
		put_usual_advice(screen, snap, situation);
	screen__end(screen);
}
