/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/suspect_touches.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "collect/map_reader.h"
#include "util/cpu_time.h"

#define MEAN_BYTES (64ULL << 10) /* a sample in so many */

/* CPU time: of a run of one of the programs, whoever's thread it is in (three for each fault); of a
 * page of somebody who is watched, and of a sample with its stack, beyond that. */
#define RUN_NS 80.0
#define ADD_NS 300.0
#define SAMPLE_NS 5000.0

#define MOST_PER_SEC 200.0 /* samples; 1 ms */
#define LESS 8		   /* times, when there are more */
#define LOOKUP_NS (10 * NS_PER_MS)
#define BILL_NS (500 * NS_PER_MS)
/* Of each CPU: more it may not take ... */
#define PART 0.25		       /* of the budget, ... */
#define WITHOUT_BUDGET 0.01	       /* ... or where nothing is left for windows */
#define BURST_NS (15 * NS_PER_SEC)     /* ... but what was not taken in so long */
#define PAUSE_NS (5 * 60 * NS_PER_SEC) /* when it is too dear */
#define MAX_TOUCHES 16		       /* rows of a process that are told */
#define MOST_SAMPLES ((1U << 16) / (2 * MAX_SUSPECTS)) /* held by one: half of touch_pages */

static void watch(struct suspects *suspects, struct suspect *suspect, uint64_t mean_bytes)
{
	suspect->touched_from = suspect->suspicion.anon_bytes;
	suspect->touch_mean = mean_bytes;
	suspect->touch_count = (struct touch_watch){0};
	suspects->touch_err = suspects->touches
				      ? attacher__watch_touches(suspects->session->attacher,
								suspect->space, mean_bytes)
				      : -ENOMEM;
	suspect->is_touch_watched = !suspects->touch_err;
}

void suspect_touches__watch(struct suspects *suspects, struct suspect *suspect)
{
	if (!suspects->touch_bill.resume_ns)
		watch(suspects, suspect, MEAN_BYTES);
}

/* Begins anew with fewer samples, once it has its share of those that there is room for. */
static void make_room(struct suspects *suspects, struct suspect *suspect,
		      const struct touch_report *report)
{
	uint64_t mean_bytes = suspect->touch_mean * LESS, samples = 0;

	for (size_t i = 0; i < report->rows.cnt; i++)
		samples += report->rows.items[i].samples;
	if ((samples < MOST_SAMPLES && !report->counters.unkept_bytes) ||
	    mean_bytes > MAX_TOUCH_MEAN)
		return;
	suspect_touches__end(suspects, suspect);
	watch(suspects, suspect, mean_bytes);
}

/* Returns what a suspect's own touches have cost since the last time, `ns` ago. */
static double bill_own(struct suspects *suspects, struct suspect *suspect, uint64_t ns)
{
	struct touch_watch count, last = suspect->touch_count;
	double samples, adds;

	if (touches__count(suspects->touches, suspect->space, &count))
		return 0;
	suspect->touch_count = count;
	samples = (double)(count.samples - last.samples);
	adds = (double)(count.adds - last.adds);
	/* It may touch anew what it gives back: that is no growth, and costs all the same. */
	if (samples * NS_PER_SEC / (double)ns > MOST_PER_SEC &&
	    suspect->touch_mean < MAX_TOUCH_MEAN / LESS) {
		suspect->touch_mean *= LESS;
		attacher__watch_touches(suspects->session->attacher, suspect->space,
					suspect->touch_mean);
	}
	return adds * ADD_NS + samples * SAMPLE_NS;
}

/* The same of all runs of the programs: those of the whole host's faults, while one is watched. */
static double bill_runs(struct suspects *suspects)
{
	uint64_t stats[STAT_MAX], runs, last = suspects->touch_bill.runs;

	if (map_read_counters(attacher__maps(suspects->session->attacher)->stats, stats, STAT_MAX))
		return 0;
	runs = stats[STAT_HITS_TOUCH];
	suspects->touch_bill.runs = runs;
	return runs > last ? (double)(runs - last) * RUN_NS : 0;
}

/* Returns what it all may cost each ns. It is there without a budget for windows, too. */
static double most_rate(const struct suspects *suspects)
{
	return suspects->opts->budget > 0 ? PART * suspects->budget.rate
					  : WITHOUT_BUDGET * cpu_cnt();
}

static void pause_all(struct suspects *suspects, uint64_t now_ns, double rate)
{
	for (size_t i = 0; i < suspects->list.cnt; i++)
		suspect_touches__end(suspects, suspects->list.items[i]);
	suspects->touch_bill.owed_ns = 0;
	suspects->touch_bill.paused_rate = rate;
	suspects->touch_bill.resume_ns = now_ns + PAUSE_NS;
}

static void resume_all(struct suspects *suspects)
{
	suspects->touch_bill.resume_ns = 0;
	for (size_t i = 0; i < suspects->list.cnt; i++)
		suspect_touches__watch(suspects, suspects->list.items[i]);
}

void suspect_touches__bill(struct suspects *suspects, uint64_t now_ns)
{
	struct touch_bill *bill = &suspects->touch_bill;
	uint64_t ns = now_ns - bill->billed_ns;
	double cost_ns, most = most_rate(suspects);

	if (ns < BILL_NS)
		return;
	if (bill->resume_ns && now_ns >= bill->resume_ns)
		resume_all(suspects);
	cost_ns = bill_runs(suspects);
	for (size_t i = 0; i < suspects->list.cnt; i++)
		if (suspects->list.items[i]->is_touch_watched)
			cost_ns += bill_own(suspects, suspects->list.items[i], ns);
	bill->billed_ns = now_ns;
	budget__spend(&suspects->budget, cost_ns);
	bill->owed_ns = fmax(bill->owed_ns + cost_ns - most * (double)ns, 0);
	if (bill->owed_ns > most * BURST_NS)
		pause_all(suspects, now_ns, cost_ns / (double)ns);
}

void suspect_touches__end(struct suspects *suspects, struct suspect *suspect)
{
	if (!suspect->is_touch_watched)
		return;
	attacher__unwatch_touches(suspects->session->attacher, suspect->space);
	touches__forget(suspects->touches, suspect->space);
	suspect->is_touch_watched = false;
}

static int add_row(struct suspects *suspects, const struct suspect *suspect,
		   const struct touch_row *row, struct sweep *sweep, struct sweep_code *code)
{
	struct sweep_touch touch = {
		.kind = row->kind,
		.bytes = row->bytes,
		.error_bytes = row->error_bytes,
		.samples = row->samples,
	};
	int err = 0;

	if (row->stack_id != STACK_LOST)
		err = collector__add_stack(suspects->session->collector, sweep->snap,
					   suspect->space, row->stack_id, &touch.stack);
	return err ? err : array_push(&code->touches, touch);
}

int suspect_touches__tell(struct suspects *suspects, struct suspect *suspect, struct sweep *sweep,
			  struct sweep_code *code)
{
	struct touch_read_opts opts = {.limit_ns = LOOKUP_NS};
	struct touch_report report = {0};
	int err;

	if (!suspect->is_touch_watched || suspect->suspicion.anon_bytes <= suspect->touched_from)
		return 0;
	code->grown_bytes = suspect->suspicion.anon_bytes - suspect->touched_from;
	opts.growth_bytes = (int64_t)code->grown_bytes;
	err = touches__read(suspects->touches, suspect->space, suspect->suspicion.pid, &opts,
			    &report);
	for (size_t i = 0; i < report.rows.cnt && i < MAX_TOUCHES && !err; i++)
		err = add_row(suspects, suspect, &report.rows.items[i], sweep, code);
	if (!err)
		make_room(suspects, suspect, &report);
	touch_report__free(&report);
	return err == -ENOMEM ? err : 0; /* it has ended meanwhile */
}

int suspect_touches__note(const struct suspects *suspects, struct snapshot *snap)
{
	if (suspects->touch_bill.resume_ns)
		return snapshot__add_note(snap,
					  "where new memory is first touched is not watched for "
					  "now: the host's page faults made it take %.1f %% of a "
					  "CPU",
					  100 * suspects->touch_bill.paused_rate);
	if (suspects->touch_err)
		return snapshot__add_note(snap, "where new memory is first touched is not seen: %s",
					  strerror(-suspects->touch_err));
	return 0;
}
