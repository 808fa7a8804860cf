/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/suspect_windows.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "collect/map_reader.h"
#include "engine/suspect_contents.h"
#include "util/cpu_time.h"

#define LEAST_POLL_NS (300 * 1000ULL)
#define MOST_POLL_NS (20 * NS_PER_MS)
#define POLLS 8	       /* of a window, at least */
#define MOST_AT_ONCE 4 /* times what was expected of the making of probes */
#define EXACT_POLL_NS (100 * NS_PER_MS)
#define EXACT_WINDOW_NS (5 * NS_PER_SEC) /* after which exact tracing is told as a window */
#define CONTENTS_NS (500 * NS_PER_MS)
#define MEASURED_POLLS 8 /* of exact tracing: between one and the next of so many */
#define LEAST_RUNS 10

/* Of a window: who used a CPU for so long would have done more without probes. */
#define IS_BUSY 0.9

/* ---- what there is ---- */

/* Returns a process's CPU time, ns; 0 = it has ended. */
static uint64_t busy_ns(pid_t pid)
{
	struct timespec time;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &time))
		return 0;
	return (uint64_t)time.tv_sec * NS_PER_SEC + (uint64_t)time.tv_nsec;
}

static uint64_t sum_hits(const uint64_t stats[static STAT_MAX])
{
	return stats[STAT_HITS_ALLOC] + stats[STAT_HITS_RETURN] + stats[STAT_HITS_FREE] +
	       stats[STAT_HITS_OBJECT] + stats[STAT_HITS_OBJECT_FREE] + stats[STAT_HITS_FOREIGN];
}

/* Returns how many hits there were since there were `from`; 0 when that cannot be read. */
static uint64_t hits_since(const struct suspects *suspects, uint64_t from)
{
	uint64_t stats[STAT_MAX], hits;

	if (map_read_counters(attacher__maps(suspects->session->attacher)->stats, stats, STAT_MAX))
		return 0;
	hits = sum_hits(stats);
	return hits > from ? hits - from : 0;
}

/* Blocks that were asked for and are in nobody's table. */
static uint64_t sum_lost(const uint64_t stats[static STAT_MAX])
{
	return stats[STAT_MAP_FULL] + stats[STAT_SHARE_FULL] + stats[STAT_COSTS_FULL] +
	       stats[STAT_PROGRAMS_SKIPPED] + stats[STAT_THREADS_LOST] + stats[STAT_PENDING_FULL];
}

int suspect_windows__moment(const struct suspects *suspects, const struct suspect *suspect,
			    struct suspect_moment *ret)
{
	uint64_t stats[STAT_MAX];
	int err = map_read_counters(attacher__maps(suspects->session->attacher)->stats, stats,
				    STAT_MAX);

	if (err)
		return err;
	*ret = (struct suspect_moment){
		.time_ns = clock_ns(CLOCK_MONOTONIC),
		.busy_ns = busy_ns(suspect->suspicion.pid),
		.hits = sum_hits(stats),
		.seen = stats[STAT_BLOCKS_ADDED],
		.lost = sum_lost(stats),
		.stepped = stats[STAT_HITS_STEPPED],
		.unstepped = sum_hits(stats) - stats[STAT_HITS_STEPPED],
	};
	return ret->busy_ns ? 0 : -ESRCH;
}

/* Adds what the kernel has measured, for the ends of what is learned from: asking for it takes too
 * long for each look at a window. */
static void read_runs(const struct suspects *suspects, struct suspect_moment *moment)
{
	attacher__program_runs(suspects->session->attacher, &moment->runs, &moment->run_ns);
}

/* What the hits between two moments have cost the process. */
static struct window_bill bill_of(const struct suspects *suspects, const struct suspect *suspect,
				  const struct suspect_moment *from,
				  const struct suspect_moment *to, uint64_t hits)
{
	double stepped = (double)(to->stepped - from->stepped);
	double all = stepped + (double)(to->unstepped - from->unstepped);
	struct window_work work = {
		.hits = hits,
		.stepped = all > 0 ? fmin(stepped / all, 1) : 0,
		.program_ns = suspect->program_ns,
		.busy_ns = to->busy_ns > from->busy_ns ? to->busy_ns - from->busy_ns : 0,
	};

	return window_bill__of(&suspects->trap_price, &work);
}

/* Learns how long programs run, if the kernel has measured it between two moments. */
static void learn_program(struct suspect *suspect, const struct suspect_moment *from,
			  const struct suspect_moment *to)
{
	uint64_t runs = to->runs - from->runs;

	if (runs >= LEAST_RUNS)
		suspect->program_ns = (double)(to->run_ns - from->run_ns) / (double)runs;
}

/* ---- what windows tell ---- */

static int read_window(struct suspects *suspects, struct suspect *suspect,
		       const struct suspect_moment *to, const struct window_bill *bill)
{
	uint64_t len = to->time_ns - suspect->begun.time_ns;
	uint64_t busy = bill->busy_ns < len ? bill->busy_ns : len;
	const struct cohort_window window = {
		.begin_ns = suspect->begun.time_ns,
		.end_ns = to->time_ns,
		/* Who waits for work most of the time does it all the same. */
		.lost_low_ns = (double)busy > IS_BUSY * (double)len
				       ? (uint64_t)(bill->lost_least * (double)busy)
				       : 0,
		.lost_high_ns = (uint64_t)(bill->lost_most * (double)busy),
		.hits = to->seen - suspect->begun.seen,
		.lost_hits = to->lost - suspect->begun.lost,
	};
	struct session *session = suspects->session;
	int err;

	err = session__process_events(session);
	if (!err)
		err = window_blocks__read(&suspect->blocks, attacher__maps(session->attacher),
					  session->collector, suspect->space, &window,
					  suspect->is_exact, suspect->cohort);
	suspect->traced_ns += len;
	suspect->window_cnt++;
	suspect->cost_ns += window_plan__cost_ns(&suspects->plan, suspect->space, bill->hits);
	suspect->begun = *to;
	return err;
}

/* ---- probes ---- */

static void take_away(struct suspects *suspects, struct suspect *suspect)
{
	session__disarm(suspects->session, suspect->space);
	attacher__await_gone(suspects->session->attacher);
	suspect->is_exact = false;
}

/* Spends hits of while probes were made or taken away: they are in nobody's window. */
static void bill_between(struct suspects *suspects, const struct suspect *suspect, uint64_t hits)
{
	budget__spend(&suspects->budget,
		      window_plan__cost_ns(&suspects->plan, suspect->space, hits));
	suspects->window_hits += hits;
}

void suspect_windows__end(struct suspects *suspects, struct suspect *suspect)
{
	struct window_bill bill = {0};

	if (suspects->open == suspect) {
		take_away(suspects, suspect);
		suspects->open = NULL;
		session__end_stats(suspects->session);
		bill.hits = hits_since(suspects, suspect->begun.hits);
		suspects->window_hits += bill.hits;
		window_plan__closed(&suspects->plan, &bill, suspect->made_ns);
	} else if (suspect->is_exact) {
		take_away(suspects, suspect);
	}
}

/* The process has no allocator that can be probed. */
static void refuse(struct suspects *suspects, struct suspect *suspect, char *obstacle)
{
	suspect_windows__end(suspects, suspect);
	window_plan__forget(&suspects->plan, suspect->space);
	suspect->obstacle = obstacle;
	suspect->refused_ns = clock_ns(CLOCK_MONOTONIC);
}

/* Returns why no block of the process would be seen, NULL = some would. */
static char *obstacle_of(const struct suspects *suspects, const struct suspect *suspect)
{
	const struct space_info *space =
		space_table__find(&suspects->session->table, suspect->space);

	if (!space || pythons__version(suspects->session->pythons, suspect->space))
		return NULL;
	return prober__obstacle(space);
}

static int begin(struct suspects *suspects, const struct window_order *order)
{
	struct suspect *suspect = suspects__find(suspects, order->id);
	uint64_t own_ns = cpu_time_ns(), before = hits_since(suspects, 0);
	char *obstacle;
	int err;

	suspect->begun = (struct suspect_moment){.hits = before};
	suspect->made_ns = suspect->attach_ns;
	if (!order->is_exact)
		suspects->open = suspect;
	if (!order->is_exact && window_bill__measures(suspect->window_cnt))
		session__begin_stats(suspects->session);
	suspect->is_exact = order->is_exact;
	err = session__arm(suspects->session, suspect->space);
	obstacle = err ? NULL : obstacle_of(suspects, suspect);
	if (!err && !obstacle)
		err = suspect_windows__moment(suspects, suspect, &suspect->begun);
	if (err || obstacle) {
		if (err && err != -ESRCH &&
		    asprintf(&obstacle, "its probes could not be made (%s)", strerror(-err)) < 0)
			return -ENOMEM;
		if (obstacle)
			refuse(suspects, suspect, obstacle);
		else
			suspects__drop(suspects, suspect);
		return err == -ENOMEM ? err : 0;
	}
	read_runs(suspects, &suspect->begun);
	bill_between(suspects, suspect, suspect->begun.hits - before);
	suspect->billed = suspect->begun;
	suspect->billed.hits -= suspects->window_hits;
	suspects->poll_ns = order->length_ns / POLLS;
	if (suspects->poll_ns < LEAST_POLL_NS)
		suspects->poll_ns = LEAST_POLL_NS;
	if (suspects->poll_ns > MOST_POLL_NS)
		suspects->poll_ns = MOST_POLL_NS;
	suspect->made_ns = (double)(cpu_time_ns() - own_ns);
	suspects__pass(suspects);
	if (!order->is_exact)
		window_plan__opened(&suspects->plan);
	return 0;
}

/* Hits of exact tracing while a window of another is open. */
static uint64_t hits_of_others(const struct suspects *suspects, const struct suspect_moment *from,
			       const struct suspect_moment *to)
{
	double hits = suspects->exact_rate * (double)(to->time_ns - from->time_ns);

	return hits < (double)(to->hits - from->hits) ? (uint64_t)hits : to->hits - from->hits;
}

/*
 * What its next window's probes will cost. Once much, as tables of a new library were made for it,
 * is not always so; always much is more than the budget can bear.
 */
static int expect(struct suspects *suspects, struct suspect *suspect)
{
	char *obstacle = NULL;

	suspect->attach_ns = fmin(suspect->made_ns, MOST_AT_ONCE * suspect->attach_ns);
	if (suspects->budget.rate <= 0 || window_plan__can_pay(&suspects->plan, suspect->attach_ns))
		return suspects__tell_plan(suspects, suspect);
	if (asprintf(&obstacle,
		     "making its probes takes %.0f ms each time, more than --budget allows",
		     suspect->attach_ns / NS_PER_MS) < 0)
		return -ENOMEM;
	refuse(suspects, suspect, obstacle);
	return 0;
}

/* What was measured up to now is of somebody's window, not of exact tracing. */
static void end_measurement(struct suspects *suspects, const struct suspect_moment *now)
{
	session__end_stats(suspects->session);
	for (size_t i = 0; i < suspects->list.cnt; i++) {
		suspects->list.items[i]->billed.runs = now->runs;
		suspects->list.items[i]->billed.run_ns = now->run_ns;
	}
}

static int end_window(struct suspects *suspects, struct suspect_moment *to)
{
	struct suspect *suspect = suspects->open;
	uint64_t own_ns = cpu_time_ns();
	struct window_bill bill;
	int err;

	read_runs(suspects, to);
	learn_program(suspect, &suspect->begun, to);
	bill = bill_of(suspects, suspect, &suspect->begun, to,
		       to->hits - suspect->begun.hits -
			       hits_of_others(suspects, &suspect->begun, to));
	suspects->window_hits += bill.hits;
	end_measurement(suspects, to);
	take_away(suspects, suspect);
	bill_between(suspects, suspect, hits_since(suspects, to->hits));
	suspects->open = NULL;
	suspect->made_ns += (double)(cpu_time_ns() - own_ns);
	suspects__pass(suspects);
	window_plan__closed(&suspects->plan, &bill, suspect->made_ns);
	err = expect(suspects, suspect);
	return err ? err : read_window(suspects, suspect, to, &bill);
}

static int watch_window(struct suspects *suspects)
{
	struct suspect *suspect = suspects->open;
	struct suspect_moment now;
	uint64_t hits;
	int err;

	err = suspect_windows__moment(suspects, suspect, &now);
	if (err == -ESRCH) {
		suspects__drop(suspects, suspect);
		return 0;
	}
	if (err)
		return err;
	hits = now.hits - suspect->begun.hits - hits_of_others(suspects, &suspect->begun, &now);
	if (window_plan__watch(&suspects->plan, hits) == WINDOW_GOES_ON)
		return 0;
	return end_window(suspects, &now);
}

/* ---- all the time ---- */

/* What part of all exact suspects' hits is this one's, by the allocations of their stacks; those
 * that were held just now have had theirs. */
static double share_of(const struct suspects *suspects, const struct suspect *suspect)
{
	uint64_t calls = 0;
	size_t cnt = 0;

	for (size_t i = 0; i < suspects->list.cnt; i++) {
		const struct suspect *other = suspects->list.items[i];

		if (!other->is_exact && !other->is_held)
			continue;
		calls += other->blocks.calls;
		cnt++;
	}
	return calls ? (double)suspect->blocks.calls / (double)calls : 1.0 / (double)cnt;
}

/* `stays`: somebody will look again soon; else its probes go, for now. */
static int bill_exact(struct suspects *suspects, struct suspect *suspect, bool stays)
{
	struct suspect_moment now;
	struct window_bill bill;
	uint64_t hits;
	bool goes_on;
	int err;

	err = suspect_windows__moment(suspects, suspect, &now);
	if (err)
		return err;
	read_runs(suspects, &now);
	now.hits -= suspects->window_hits;
	hits = (uint64_t)((double)(now.hits - suspect->billed.hits) * share_of(suspects, suspect));
	suspects->exact_rate = (double)(now.hits - suspect->billed.hits) /
			       (double)(now.time_ns - suspect->billed.time_ns + 1);
	learn_program(suspect, &suspect->billed, &now);
	bill = bill_of(suspects, suspect, &suspect->billed, &now, hits);
	suspect->billed = now;
	suspect->exact_hits += hits;
	goes_on = window_plan__traced(&suspects->plan, suspect->space, &bill);
	if (goes_on && stays && now.time_ns - suspect->begun.time_ns < EXACT_WINDOW_NS)
		return 0;
	if (!goes_on || !stays)
		take_away(suspects, suspect);
	suspect->is_held = goes_on && !stays;
	bill = bill_of(suspects, suspect, &suspect->begun, &now, suspect->exact_hits);
	suspect->exact_hits = 0;
	return read_window(suspects, suspect, &now, &bill);
}

static int bill_all_exact(struct suspects *suspects)
{
	bool any = false;
	int err = 0;

	for (size_t i = suspects->list.cnt; i-- > 0 && !err;) {
		struct suspect *suspect = suspects->list.items[i];

		if (!suspect->is_exact)
			continue;
		any = true;
		err = bill_exact(suspects, suspect, true);
		if (err == -ESRCH) {
			suspects__drop(suspects, suspect);
			err = 0;
		}
	}
	session__end_stats(suspects->session);
	if (!any)
		suspects->exact_rate = 0;
	else if (suspects->exact_polls++ % MEASURED_POLLS == 0)
		session__begin_stats(suspects->session);
	return err;
}

static int hold_exact(struct suspects *suspects)
{
	int err = 0;

	for (size_t i = 0; i < suspects->list.cnt && !err; i++) {
		struct suspect *suspect = suspects->list.items[i];

		if (!suspect->is_exact)
			continue;
		session__end_stats(suspects->session); /* it may be long */
		err = bill_exact(suspects, suspect, false);
		if (err == -ESRCH) {
			suspect_windows__end(suspects, suspect);
			err = 0;
		}
	}
	return err;
}

static int resume_exact(struct suspects *suspects, uint64_t now_ns)
{
	int err = 0;

	for (size_t i = suspects->list.cnt; i-- > 0 && !err;) {
		struct suspect *suspect = suspects->list.items[i];
		const struct window_order order = {.id = suspect->space, .is_exact = true};

		/* To make its probes anew is not free either. */
		if (!suspect->is_held || budget__room_ns(&suspects->budget) < suspect->attach_ns)
			continue;
		suspect->is_held = false;
		/* What it is hit is told by a while, not by the moment since then. */
		suspects->exact_due_ns = now_ns + EXACT_POLL_NS;
		err = begin(suspects, &order);
	}
	return err;
}

/* It may be that one is being dropped: the list stays as it is. */
int suspect_windows__pause(struct suspects *suspects, bool is_long)
{
	struct suspect_moment now;
	int err = 0;

	if (suspects->open) {
		err = suspect_windows__moment(suspects, suspects->open, &now);
		if (!err)
			err = end_window(suspects, &now);
		else
			suspect_windows__end(suspects, suspects->open);
	}
	if (is_long && (!err || err == -ESRCH))
		err = hold_exact(suspects);
	return err == -ESRCH ? 0 : err;
}

/* ---- time ---- */

static void due_at(uint64_t *due_ns, uint64_t time_ns)
{
	if (time_ns < *due_ns)
		*due_ns = time_ns;
}

int suspect_windows__watch(struct suspects *suspects, uint64_t now_ns, uint64_t *ret_due_ns)
{
	int err = suspects->open ? watch_window(suspects) : 0;

	if (suspects->open)
		due_at(ret_due_ns, now_ns + suspects->poll_ns);
	return err;
}

int suspect_windows__work(struct suspects *suspects, uint64_t now_ns, uint64_t *ret_due_ns)
{
	struct window_order order;
	uint64_t wait_ns;
	int err = 0;

	err = resume_exact(suspects, now_ns);
	if (!err && now_ns >= suspects->exact_due_ns) {
		suspects->exact_due_ns = now_ns + EXACT_POLL_NS;
		err = bill_all_exact(suspects);
	}
	if (!err && now_ns >= suspects->contents_due_ns) {
		suspects->contents_due_ns = now_ns + CONTENTS_NS;
		err = suspect_contents__read(suspects, now_ns);
	}
	if (err)
		return err;
	if (window_plan__next(&suspects->plan, &order, &wait_ns)) {
		err = begin(suspects, &order);
		wait_ns = suspects->open ? suspects->poll_ns : 0;
	}
	due_at(ret_due_ns, now_ns + wait_ns);
	due_at(ret_due_ns, suspects->contents_due_ns);
	if (suspects->exact_rate > 0)
		due_at(ret_due_ns, suspects->exact_due_ns);
	return err;
}
