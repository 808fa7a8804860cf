/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/suspect_touches.h"

#include <errno.h>

#define MEAN_BYTES (64ULL << 10) /* a sample in so many */
#define SAMPLE_NS 5000.0	 /* of one, with its stack */
#define MOST_PER_SEC 200.0	 /* samples; 1 ms */
#define LESS 8			 /* times, when there are more */
#define LOOKUP_NS (10 * NS_PER_MS)
#define MAX_TOUCHES 16				       /* rows of a process that are told */
#define MOST_SAMPLES ((1U << 16) / (2 * MAX_SUSPECTS)) /* held by one: half of touch_pages */

static void watch(struct suspects *suspects, struct suspect *suspect, uint64_t mean_bytes)
{
	suspect->touched_from = suspect->suspicion.anon_bytes;
	suspect->touch_mean = mean_bytes;
	suspect->touch_samples = 0;
	suspect->touch_billed_ns = clock_ns(CLOCK_MONOTONIC);
	suspects->touch_err = suspects->touches
				      ? attacher__watch_touches(suspects->session->attacher,
								suspect->space, mean_bytes)
				      : -ENOMEM;
	suspect->is_touch_watched = !suspects->touch_err;
}

void suspect_touches__watch(struct suspects *suspects, struct suspect *suspect)
{
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

void suspect_touches__bill(struct suspects *suspects, struct suspect *suspect)
{
	uint64_t now_ns = clock_ns(CLOCK_MONOTONIC), ns = now_ns - suspect->touch_billed_ns, taken;
	double cnt;

	if (!suspect->is_touch_watched || !ns)
		return;
	taken = touches__sample_cnt(suspects->touches, suspect->space);
	cnt = taken > suspect->touch_samples ? (double)(taken - suspect->touch_samples) : 0;
	budget__spend(&suspects->budget, cnt * SAMPLE_NS);
	suspect->touch_samples = taken;
	suspect->touch_billed_ns = now_ns;
	/* It may touch anew what it gives back: that is no growth, and costs all the same. */
	if (cnt * NS_PER_SEC / (double)ns > MOST_PER_SEC &&
	    suspect->touch_mean < MAX_TOUCH_MEAN / LESS) {
		suspect->touch_mean *= LESS;
		attacher__watch_touches(suspects->session->attacher, suspect->space,
					suspect->touch_mean);
	}
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
