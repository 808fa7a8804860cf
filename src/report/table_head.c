/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The upper half of the text report: what was traced, the ledger, what is covered, what it cost,
 * what is missing. Lists are cut where they would push the stacks off the screen; what is cut is
 * counted, and in the JSON report.
 */
#include "report/table.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/wait.h>

#include "report/render.h"
#include "util/units.h"

#define MAX_PROCESSES_NAMED 6
#define MAX_UNPROBED_NAMED 10
#define MAX_PROBED_NAMED 4

/* ---- losses ---- */

enum stat_class { WORK, LOSS };

static const struct {
	enum stat_class class;
	const char *meaning, *cure;
} stats[] = {
#define STAT(symbol, name, class, meaning, cure) [STAT_##symbol] = {class, meaning, cure},
	STATS(STAT)
#undef STAT
};

uint64_t loss_count(const struct snapshot *snap, enum stat_id stat)
{
	if (stats[stat].class != LOSS)
		return 0;
	if (stat == STAT_UNKNOWN_FREES && (snap->estimated || snap->sample_bytes))
		return 0;
	return snap->stats[stat];
}

const char *loss_cure(const struct snapshot *snap, enum stat_id stat)
{
	/* More memory is no help when no table had to go for want of it. */
	if (stat == STAT_STACKS_NO_TABLE && !snap->unwind.evicted)
		return "";
	return stats[stat].cure;
}

const char *loss_meaning(enum stat_id stat)
{
	return stats[stat].meaning;
}

/* Returns whether `stat` counts the bytes of the counter before it. */
static bool is_bytes_of_previous(enum stat_id stat)
{
	size_t len;

	if (!stat)
		return false;
	len = strlen(stat_name(stat - 1));
	return !strncmp(stat_name(stat), stat_name(stat - 1), len) &&
	       !strcmp(stat_name(stat) + len, "_bytes");
}

static void put_loss(struct screen *screen, const struct snapshot *snap, enum stat_id stat,
		     bool late)
{
	uint64_t count = loss_count(snap, stat);
	const char *cure = loss_cure(snap, stat);
	char buf[UNITS_MAX];

	if (stat == STAT_UNKNOWN_FREES && late) {
		fprintf(screen->line,
			"%" PRIu64 " frees of blocks that were older than the trace: normal, as it "
			"began in mid-life",
			count);
		return;
	}
	screen__paint(screen, PAINT_BAD);
	fprintf(screen->line, "%" PRIu64 " %s", count, loss_meaning(stat));
	if (stat + 1 < STAT_MAX && is_bytes_of_previous(stat + 1))
		fprintf(screen->line, " (%s)", format_size(snap->stats[stat + 1], buf));
	screen__paint(screen, PAINT_NONE);
	if (!strncmp(cure, "--max", 5) || !strncmp(cure, "--ring", 6))
		fprintf(screen->line, "; raise %s", cure);
	else if (*cure)
		fprintf(screen->line, "; use %s", cure);
}

static void put_losses(struct screen *screen, const struct snapshot *snap,
		       const struct situation *situation)
{
	const char *label = "lost";

	for (enum stat_id stat = 0; stat < STAT_MAX; stat++) {
		if (!loss_count(snap, stat) ||
		    (is_bytes_of_previous(stat) && loss_count(snap, stat - 1)))
			continue;
		screen__label(screen, label);
		put_loss(screen, snap, stat, situation->late);
		screen__end(screen);
		label = "";
	}
	if (*label) {
		screen__label(screen, label);
		fputs("nothing", screen->line);
		screen__end(screen);
	}
}

/* ---- the ledger ---- */

void table_title(struct screen *screen, const struct snapshot *snap)
{
	char duration[UNITS_MAX], started_at[RFC3339_MAX];

	screen__paint(screen, PAINT_STRONG);
	fprintf(screen->line, "leaksweep %s", snap->mode ? snap->mode : "");
	screen__paint(screen, PAINT_NONE);
	if (snap->interval)
		fprintf(screen->line, ": interval %" PRIu64, snap->interval);
	else
		fputs(": final", screen->line);
	fprintf(screen->line, ", %s since %s on ", format_duration(snap->duration_ns, duration),
		format_rfc3339(snap->started_at_ns, false, started_at));
	text_put(screen->line, snap->hostname);
	fputs(" (Linux ", screen->line);
	text_put(screen->line, snap->kernel);
	fputc(' ', screen->line);
	text_put(screen->line, snap->arch);
	fprintf(screen->line, ", %" PRIu32 " CPU%s)", snap->cpus, snap->cpus == 1 ? "" : "s");
	screen__end(screen);
}

static void put_part(struct screen *screen, const char *name, int64_t bytes, int64_t count,
		     const char *noun)
{
	fputs(name, screen->line);
	screen__size(screen, bytes);
	fputs(" in ", screen->line);
	screen__count(screen, count, noun);
}

static void put_gap(struct screen *screen, int64_t bytes, int64_t count)
{
	screen__label(screen, "");
	screen__paint(screen, PAINT_BAD);
	if (bytes < 0 || count < 0) {
		fprintf(screen->line,
			"%" PRId64 " bytes, %" PRId64
			" blocks MORE are live or freed than were seen: THE SUMS DO NOT ADD UP",
			-bytes, -count);
	} else {
		put_part(screen, "", bytes, count, "block");
		fputs(" MORE were seen than are live or freed: THE SUMS DO NOT ADD UP",
		      screen->line);
	}
	screen__paint(screen, PAINT_NONE);
	screen__end(screen);
}

/* Writes "10 = 7 + 3" to the last digit. */
static void put_sum(struct screen *screen, int64_t seen, int64_t live, const int64_t *young,
		    int64_t freed)
{
	fprintf(screen->line, "%s%" PRId64 " = %" PRId64, screen->estimated ? "~" : "", seen, live);
	if (young)
		fprintf(screen->line, " + %" PRId64, *young);
	fprintf(screen->line, " + %" PRId64, freed);
}

static void put_ledger(struct screen *screen, const struct profile *profile)
{
	const struct snapshot *snap = profile->snap;
	const struct cost *total = &profile->total;
	int64_t seen_bytes = total->alloc_bytes + total->inherited_bytes;
	int64_t seen_count = total->alloc_count + total->inherited_count;
	int64_t gap_bytes = seen_bytes - total->live_bytes - total->free_bytes - snap->young_bytes;
	int64_t gap_count = seen_count - total->live_count - total->free_count - snap->young_count;
	char buf[UNITS_MAX];

	screen__label(screen, "memory");
	put_part(screen, "seen ", seen_bytes, seen_count, "block");
	screen__paint(screen, PAINT_STRONG);
	put_part(screen, " = live ", total->live_bytes, total->live_count, NULL);
	screen__paint(screen, PAINT_NONE);
	if (snap->min_age_ns) {
		put_part(screen, " + too young ", snap->young_bytes, snap->young_count, NULL);
		fprintf(screen->line, " (--min-age %s)", format_duration(snap->min_age_ns, buf));
	}
	put_part(screen, " + freed ", total->free_bytes, total->free_count, NULL);
	screen__end(screen);
	screen__label(screen, "");
	put_sum(screen, seen_bytes, total->live_bytes, snap->min_age_ns ? &snap->young_bytes : NULL,
		total->free_bytes);
	fputs(" bytes, ", screen->line);
	put_sum(screen, seen_count, total->live_count, snap->min_age_ns ? &snap->young_count : NULL,
		total->free_count);
	fputs(" blocks", screen->line);
	screen__end(screen);
	if (total->inherited_bytes || total->inherited_count) {
		screen__label(screen, "");
		put_part(screen, "seen = allocated ", total->alloc_bytes, total->alloc_count,
			 "block");
		put_part(screen, " + inherited by fork ", total->inherited_bytes,
			 total->inherited_count, NULL);
		screen__end(screen);
	}
	if (gap_bytes || gap_count)
		put_gap(screen, gap_bytes, gap_count);
}

static void put_checks(struct screen *screen, const struct profile *profile)
{
	const struct snapshot *snap = profile->snap;
	char buf[UNITS_MAX];

	if (snap->estimated || snap->sample_bytes) {
		screen__label(screen, "");
		fprintf(screen->line,
			"estimated: ~ marks what is scaled up from a sample, one in %s",
			format_size(snap->sample_bytes, buf));
		screen__end(screen);
	}
	if (snap->unaccounted_bytes || snap->unaccounted_count) {
		screen__label(screen, "");
		screen__paint(screen, PAINT_BAD);
		fprintf(screen->line,
			"CHECKED BLOCK BY BLOCK: %" PRIu64
			" blocks DIFFER from the sums by %" PRId64 " bytes, %" PRId64
			" blocks: do not trust this report, and tell us",
			snap->blocks_checked, snap->unaccounted_bytes, snap->unaccounted_count);
		screen__paint(screen, PAINT_NONE);
		screen__end(screen);
	} else if (snap->blocks_checked && !snap->interval && !screen->estimated) {
		/* Only a final snapshot of every block is compared with the sums. */
		screen__label(screen, "");
		fprintf(screen->line, "checked block by block: %" PRIu64 " block%s, sums agree",
			snap->blocks_checked, snap->blocks_checked == 1 ? "" : "s");
		screen__end(screen);
	}
	if (snap->reserved_bytes) {
		screen__label(screen, "reserved");
		screen__size(screen, snap->reserved_bytes);
		fputs(" of address space (PROT_NONE or MAP_NORESERVE), not counted as memory",
		      screen->line);
		screen__end(screen);
	}
	if (snap->ended_procs || snap->ended_bytes || snap->ended_count) {
		screen__label(screen, "ended");
		screen__size(screen, snap->ended_bytes);
		fputs(" in ", screen->line);
		screen__count(screen, snap->ended_count, "block");
		fprintf(screen->line, " taken back by the kernel when %" PRIu64 " process%s ended",
			snap->ended_procs, snap->ended_procs == 1 ? "" : "es");
		screen__end(screen);
	}
}

static void put_cost(struct screen *screen, const struct snap_overhead *overhead)
{
	char buf[UNITS_MAX], tables[UNITS_MAX];

	screen__label(screen, "cost");
	fprintf(screen->line, "%s probe hit%s", format_count(overhead->probe_hits, buf),
		overhead->probe_hits == 1 ? "" : "s");
	if (overhead->ns_per_hit > 0)
		fprintf(screen->line, ", %.0f ns each: %.1f %% of one CPU", overhead->ns_per_hit,
			overhead->cpu_percent);
	else
		fputs(", cost per hit not measured", screen->line);
	if (overhead->foreign_hits * 10 > overhead->probe_hits) {
		fprintf(screen->line,
			"; %s of them in processes that are not traced but share the library",
			format_count(overhead->foreign_hits, buf));
		fputs(" (--scope process spares them)", screen->line);
	}
	fprintf(screen->line, "; leaksweep itself %.1f %%", overhead->tool_cpu_percent);
	if (overhead->tool_bytes)
		fprintf(screen->line, " and %s, its tables %s",
			format_size(overhead->tool_bytes, buf),
			format_size(overhead->map_bytes, tables));
	screen__end(screen);
}

static void put_unwind(struct screen *screen, const struct snap_unwind *unwind)
{
	char buf[UNITS_MAX];

	if (!unwind->tables && !unwind->failed)
		return;
	screen__label(screen, "unwind");
	fprintf(screen->line, "%" PRIu32 " table%s (%" PRIu32 " from the cache), %s",
		unwind->tables, unwind->tables == 1 ? "" : "s", unwind->from_cache,
		format_size(unwind->bytes, buf));
	fprintf(screen->line, ", loaded in %s", format_duration(unwind->load_ns, buf));
	if (unwind->evicted)
		fprintf(screen->line, "; %" PRIu32 " had to make room for others", unwind->evicted);
	if (unwind->failed)
		fprintf(screen->line, "; %" PRIu32 " file%s could not be read", unwind->failed,
			unwind->failed == 1 ? "" : "s");
	screen__end(screen);
}

/* ---- coverage ---- */

static void put_proc_state(struct screen *screen, const struct snap_proc *proc)
{
	if (proc->state == PROC_EXECED)
		fputs(" (replaced by exec)", screen->line);
	else if (proc->state != PROC_EXITED)
		return;
	else if (WIFSIGNALED(proc->exit_code))
		fprintf(screen->line, " (killed by signal %d)", WTERMSIG(proc->exit_code));
	else
		fprintf(screen->line, " (exited, status %d)", WEXITSTATUS(proc->exit_code));
}

static void put_state_count(struct screen *screen, size_t cnt, const char *what,
			    const char **separator)
{
	if (!cnt)
		return;
	fprintf(screen->line, "%s%zu %s", *separator, cnt, what);
	*separator = ", ";
}

static void put_processes(struct screen *screen, const struct snapshot *snap,
			  const struct situation *situation)
{
	const char *separator = " (";

	screen__label(screen, "coverage");
	fprintf(screen->line, "%zu process%s", snap->procs.cnt, snap->procs.cnt == 1 ? "" : "es");
	if (snap->procs.cnt > MAX_PROCESSES_NAMED) {
		put_state_count(screen, situation->running, "running", &separator);
		put_state_count(screen, situation->exited, "exited", &separator);
		put_state_count(screen, situation->execed, "replaced by exec", &separator);
		fputc(')', screen->line);
	}
	for (size_t i = 0; i < snap->procs.cnt && i < MAX_PROCESSES_NAMED; i++) {
		fputs(i ? ", " : ": ", screen->line);
		process_put(screen->line, &snap->procs.items[i]);
		put_proc_state(screen, &snap->procs.items[i]);
	}
	if (snap->procs.cnt > MAX_PROCESSES_NAMED)
		fputs(", ...", screen->line);
	screen__end(screen);
	if (situation->late) {
		screen__label(screen, "");
		fprintf(screen->line, "%zu ran before being probed: what %s held then is not seen",
			situation->late, situation->late == 1 ? "it" : "they");
		screen__end(screen);
	}
}

/* One allocator of one process, to be grouped. */
struct covered {
	const struct snap_coverage *coverage;
	const struct snap_proc *proc; /* the first of the group */
	size_t procs;
	uint64_t rss_bytes; /* of all of them */
};

static int compare_coverage(const struct snap_coverage *a, const struct snap_coverage *b)
{
	int order = (a->status > b->status) - (a->status < b->status);

	if (!order)
		order = strcmp(a->name, b->name);
	if (!order)
		order = strcmp(a->path, b->path);
	return order ? order : strcmp(a->reason, b->reason);
}

static int compare_covered(const void *a, const void *b)
{
	const struct covered *covered_a = a, *covered_b = b;
	int order = compare_coverage(covered_a->coverage, covered_b->coverage);

	if (order)
		return order;
	return (covered_a->proc > covered_b->proc) - (covered_a->proc < covered_b->proc);
}

/* What is not probed first, by the memory that it holds, then what most processes use. */
static int compare_groups(const void *a, const void *b)
{
	const struct covered *covered_a = a, *covered_b = b;

	if (covered_a->coverage->status != covered_b->coverage->status)
		return (covered_a->coverage->status < covered_b->coverage->status) ? 1 : -1;
	if (covered_a->coverage->status != COVERAGE_PROBED &&
	    covered_a->rss_bytes != covered_b->rss_bytes)
		return covered_a->rss_bytes < covered_b->rss_bytes ? 1 : -1;
	if (covered_a->procs != covered_b->procs)
		return covered_a->procs < covered_b->procs ? 1 : -1;
	return compare_coverage(covered_a->coverage, covered_b->coverage);
}

/* Lists the allocators of all processes, equal ones together. Returns 0 or -ENOMEM. */
static int group_coverage(const struct snapshot *snap, struct covered **ret_groups, size_t *ret_cnt)
{
	ARRAY(struct covered) list = {0};
	size_t cnt = 0;

	for (size_t i = 0; i < snap->procs.cnt; i++) {
		const struct snap_proc *proc = &snap->procs.items[i];

		for (size_t j = 0; j < proc->coverage.cnt; j++) {
			const struct covered covered = {&proc->coverage.items[j], proc, 1,
							proc->rss_bytes};

			if (array_push(&list, covered)) {
				array_free(&list);
				return -ENOMEM;
			}
		}
	}
	if (list.cnt)
		qsort(list.items, list.cnt, sizeof(*list.items), compare_covered);
	for (size_t i = 0; i < list.cnt; i++) {
		struct covered *last = cnt ? &list.items[cnt - 1] : NULL;

		if (!last || compare_coverage(last->coverage, list.items[i].coverage)) {
			list.items[cnt++] = list.items[i];
			continue;
		}
		last->procs++;
		last->rss_bytes += list.items[i].rss_bytes;
	}
	if (cnt)
		qsort(list.items, cnt, sizeof(*list.items), compare_groups);
	*ret_groups = list.items;
	*ret_cnt = cnt;
	return 0;
}

static void put_covered(struct screen *screen, const struct covered *covered)
{
	const struct snap_coverage *coverage = covered->coverage;
	char buf[UNITS_MAX];

	screen__label(screen, "");
	if (coverage->status != COVERAGE_PROBED)
		screen__paint(screen, PAINT_BAD);
	fprintf(screen->line, "%s ", status_name(coverage->status));
	text_put(screen->line, coverage->name);
	screen__paint(screen, PAINT_NONE);
	fputs(" in ", screen->line);
	if (covered->procs == 1)
		process_put(screen->line, covered->proc);
	else
		fprintf(screen->line, "%zu processes", covered->procs);
	if (coverage->status != COVERAGE_PROBED && covered->rss_bytes)
		fprintf(screen->line, ", %s resident", format_size(covered->rss_bytes, buf));
	if (*coverage->path) {
		fputs(": ", screen->line);
		text_put(screen->line, coverage->path);
	}
	if (*coverage->reason) {
		fputs(": ", screen->line);
		text_put(screen->line, coverage->reason);
	}
	screen__end(screen);
}

/* Names running processes in which no allocator was found. */
static void put_bare_processes(struct screen *screen, const struct snapshot *snap, size_t bare)
{
	size_t named = 0;

	if (!bare)
		return;
	screen__label(screen, "");
	screen__paint(screen, PAINT_BAD);
	fputs("no allocator found in", screen->line);
	screen__paint(screen, PAINT_NONE);
	for (size_t i = 0; i < snap->procs.cnt && named < MAX_PROCESSES_NAMED; i++) {
		const struct snap_proc *proc = &snap->procs.items[i];

		if (proc->coverage.cnt || proc->state != PROC_RUNNING)
			continue;
		fputs(named++ ? ", " : " ", screen->line);
		process_put(screen->line, proc);
	}
	if (bare > named)
		fprintf(screen->line, " and %zu more", bare - named);
	screen__end(screen);
}

static int put_coverage(struct screen *screen, const struct snapshot *snap,
			const struct situation *situation)
{
	size_t cnt, probed = 0, unprobed = 0, hidden = 0;
	struct covered *groups;
	int err;

	put_processes(screen, snap, situation);
	err = group_coverage(snap, &groups, &cnt);
	if (err)
		return err;
	for (size_t i = 0; i < cnt; i++) {
		bool is_probed = groups[i].coverage->status == COVERAGE_PROBED;

		if (is_probed ? probed++ >= MAX_PROBED_NAMED : unprobed++ >= MAX_UNPROBED_NAMED)
			hidden++;
		else
			put_covered(screen, &groups[i]);
	}
	if (hidden) {
		screen__label(screen, "");
		fprintf(screen->line, "... and %zu more, listed by --format json", hidden);
		screen__end(screen);
	}
	put_bare_processes(screen, snap, situation->bare);
	table_pythons(screen, snap);
	free(groups);
	return 0;
}

void table_notes(struct screen *screen, const struct snapshot *snap)
{
	for (size_t i = 0; i < snap->notes.cnt; i++) {
		screen__label(screen, i ? "" : "note");
		text_put(screen->line, snap->notes.items[i]);
		screen__end(screen);
	}
}

int table_head(struct screen *screen, const struct profile *profile,
	       const struct situation *situation)
{
	const struct snapshot *snap = profile->snap;
	int err;

	table_title(screen, snap);
	put_ledger(screen, profile);
	put_checks(screen, profile);
	err = table_residents(screen, profile);
	if (!err)
		err = put_coverage(screen, snap, situation);
	if (err)
		return err;
	put_cost(screen, &snap->overhead);
	put_unwind(screen, &snap->unwind);
	put_losses(screen, snap, situation);
	table_notes(screen, snap);
	return 0;
}
