/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "report/sweep_code.h"

#include <inttypes.h>
#include <math.h>

#include "model/kept_code.h"
#include "report/render.h"
#include "report/sweep_memory.h"
#include "report/table.h"
#include "util/units.h"

#define MAX_TOUCHES_SHOWN 2
#define MAX_SITES_SHOWN 3
#define MAX_CALLS_SHOWN 5
#define MUCH_MORE 1.5 /* times the growth: by chance nobody keeps so much */
#define CALL_INDENT (SCREEN_INDENT + 2)

double sweep_confidence(const struct cohort_verdict *verdict)
{
	return fmin(floor(verdict->confidence * 1000), 999) / 1000;
}

/* ---- sites, counted ---- */

struct tally {
	size_t sites[COHORT_STATE_CNT], doubts[COHORT_DOUBT_CNT];
	double rate, rate_low;		   /* of those that grow */
	const struct sweep_site *doubtful; /* the unknown one that keeps most, NULL = none */
};

/* What of the bytes that were seen stayed for longer than a window. */
static double kept_bytes(const struct sweep_site *site)
{
	return site->verdict.bytes * site->verdict.outlived;
}

static struct tally count_sites(const struct sweep_code *code)
{
	struct tally tally = {0};

	for (size_t i = 0; i < code->sites.cnt; i++) {
		const struct sweep_site *site = &code->sites.items[i];

		tally.sites[site->verdict.state]++;
		tally.rate += site->verdict.rate;
		tally.rate_low += site->verdict.rate_low;
		if (site->verdict.state != COHORT_UNKNOWN)
			continue;
		tally.doubts[site->verdict.doubt]++;
		if (!tally.doubtful || kept_bytes(site) > kept_bytes(tally.doubtful))
			tally.doubtful = site;
	}
	return tally;
}

static const struct {
	const char *sentence, *brief;
} doubts[COHORT_DOUBT_CNT] = {
	[COHORT_CERTAIN] = {"not known yet: no stack is known to grow", "no reason given"},
	[COHORT_TOO_FEW] = {"too early: too few blocks were seen to tell which stack keeps memory",
			    "too few blocks seen"},
	[COHORT_TOO_YOUNG] = {"not known yet: nothing was freed so far of the stack that keeps"
			      " most, but it may be a cache that is still filling",
			      "may be a cache that is still filling"},
	[COHORT_MIXED] = {"not known yet: of the stack that keeps most some blocks are freed, and"
			  " some stay",
			  "some blocks freed and some not"},
	[COHORT_RESIZED] = {"not known yet: blocks of the stack that keeps most are freed, but the"
			    " ones that follow are ever larger",
			    "freed, but ever larger"},
	[COHORT_PROCESS] = {"not known yet: of the stack that keeps most more seems to stay than"
			    " the process grows by",
			    "more than the process grows by"},
	[COHORT_MINOR] = {"not known yet: the stacks that are known to keep memory keep far less"
			  " than the process grows by",
			  "far less than the process grows by"},
};

static void put_doubts(struct screen *screen, const struct tally *tally)
{
	const char *separator = " (";

	for (enum cohort_doubt doubt = 0; doubt < COHORT_DOUBT_CNT; doubt++) {
		if (!tally->doubts[doubt])
			continue;
		fprintf(screen->line, "%s%s", separator, doubts[doubt].brief);
		if (tally->doubts[doubt] < tally->sites[COHORT_UNKNOWN])
			fprintf(screen->line, ": %zu", tally->doubts[doubt]);
		separator = ", ";
	}
	fputs(")", screen->line);
}

/* "5 other stacks: 2 bounded (a cache or pool that turned over), 3 not known yet (...)" */
static void put_tally(struct screen *screen, const struct tally *tally, size_t shown)
{
	static const struct {
		enum cohort_state state;
		const char *text;
	} order[] = {
		{COHORT_GROWING, "growing"},
		{COHORT_BOUNDED, "bounded (a cache or pool that turned over)"},
		{COHORT_STARTUP, "start-up (kept, and nothing more since)"},
		{COHORT_CHURN, "churn (freed at once)"},
		{COHORT_UNKNOWN, "not known yet"},
	};
	const char *separator = ": ";
	size_t left[COHORT_STATE_CNT], cnt = 0;

	for (size_t i = 0; i < COHORT_STATE_CNT; i++)
		cnt += left[i] = tally->sites[i] - (i == COHORT_GROWING ? shown : 0);
	if (!cnt)
		return;
	screen__label(screen, "");
	fprintf(screen->line, "%zu %sstack%s", cnt, shown ? "other " : "", cnt == 1 ? "" : "s");
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		if (!left[order[i].state])
			continue;
		fputs(separator, screen->line);
		if (left[order[i].state] < cnt)
			fprintf(screen->line, "%zu ", left[order[i].state]);
		fputs(order[i].text, screen->line);
		separator = ", ";
	}
	if (left[COHORT_UNKNOWN])
		put_doubts(screen, tally);
	screen__end(screen);
}

/* ---- the verdict ---- */

static void put_leak(struct screen *screen, const struct sweep_row *row, const struct tally *tally)
{
	double growth = row->growth.bytes_per_hour;
	size_t cnt = tally->sites[COHORT_GROWING];
	char buf[UNITS_MAX];

	screen__paint(screen, PAINT_BAD);
	fputs("leak", screen->line);
	screen__paint(screen, PAINT_NONE);
	if (cnt == 1)
		fputs(": one stack allocates ", screen->line);
	else
		fprintf(screen->line, ": %zu stacks allocate ", cnt);
	fprintf(screen->line, "%s per hour ", format_bytes(tally->rate, buf));
	fprintf(screen->line, "(at least %s) that nobody frees",
		format_bytes(tally->rate_low, buf));
	if (tally->rate >= MUCH_MORE * growth)
		fputs(", more than the process grows by: some of it goes into memory it already"
		      " had",
		      screen->line);
	else if (tally->rate >= 0.9 * growth)
		fputs(", about all that the process grows by", screen->line);
	else
		fprintf(screen->line, ", about %.0f %% of what the process grows by",
			fmax(100 * tally->rate / growth, 1));
}

/* All stacks are known, and none grows. */
static void put_all_ends(struct screen *screen, const struct tally *tally)
{
	if (tally->sites[COHORT_BOUNDED])
		fputs("no leak seen: what it keeps is freed in the end (a cache or pool that turned"
		      " over); what makes it grow is not known",
		      screen->line);
	else if (tally->sites[COHORT_STARTUP])
		fputs("start-up, no leak seen: it kept what it allocated in the beginning, and"
		      " nothing more since",
		      screen->line);
	else
		fputs("no leak seen: all that it allocates is freed at once; what makes it grow"
		      " is not known",
		      screen->line);
}

/* What somebody knows already. */
static void put_suppressed(struct screen *screen, const struct sweep_code *code)
{
	char buf[UNITS_MAX];

	fprintf(screen->line, "%zu stack%s suppressed, allocating %s per hour that nobody frees",
		code->suppressed_cnt, code->suppressed_cnt == 1 ? "" : "s",
		format_bytes(code->suppressed_rate, buf));
}

/* What is the first to be said of a process. */
enum headline {
	HEADLINE_LEAK,
	HEADLINE_SUPPRESSED,
	HEADLINE_CAUSE,
	HEADLINE_REFUSED,
	HEADLINE_NO_LEAK,
};

static enum headline headline_of(const struct sweep_code *code, const struct tally *tally)
{
	if (tally->sites[COHORT_GROWING])
		return HEADLINE_LEAK;
	if (code->suppressed_cnt)
		return HEADLINE_SUPPRESSED;
	if (sweep_has_cause(code))
		return HEADLINE_CAUSE;
	return code->look == SWEEP_LOOK_REFUSED ? HEADLINE_REFUSED : HEADLINE_NO_LEAK;
}

/* No stack grows, and no part of the memory is to blame. */
static void put_no_leak(struct screen *screen, const struct sweep_code *code,
			const struct tally *tally)
{
	if (tally->doubtful) {
		fputs(doubts[tally->doubtful->verdict.doubt].sentence, screen->line);
	} else if (code->sites.cnt) {
		put_all_ends(screen, tally);
	} else if (code->window_cnt || code->look == SWEEP_LOOK_EXACT) {
		fputs("not known yet: no allocation of it was seen", screen->line);
	} else if (code->look == SWEEP_LOOK_OFF) {
		fputs("which code keeps it is not looked at: --budget 0", screen->line);
	} else {
		fputs("not looked at yet: others grow more, or its first window is still to come",
		      screen->line);
	}
}

static void put_headline(struct screen *screen, const struct sweep_row *row,
			 const struct tally *tally, enum headline headline)
{
	screen__label(screen, "");
	if (headline == HEADLINE_LEAK) {
		put_leak(screen, row, tally);
	} else if (headline == HEADLINE_SUPPRESSED) {
		fputs("no other leak told: ", screen->line);
		put_suppressed(screen, row->code);
	} else if (headline == HEADLINE_CAUSE) {
		sweep_put_cause(screen, row->code);
	} else if (headline == HEADLINE_REFUSED) {
		fputs("not looked into: ", screen->line);
		text_put(screen->line,
			 *row->code->obstacle ? row->code->obstacle : "no reason given");
	} else {
		put_no_leak(screen, row->code, tally);
	}
	screen__end(screen);
}

/* ---- a stack that grows ---- */

static void put_followed(struct screen *screen, const struct cohort_verdict *verdict)
{
	char buf[UNITS_MAX], age[UNITS_MAX];

	if (verdict->followed < 1)
		return;
	fprintf(screen->line, "; of %s older than %s", format_count(verdict->followed, buf),
		format_duration(verdict->watched_ns / 2, age));
	if (verdict->again < 0.5)
		fputs(" none is known to be freed", screen->line);
	else if (verdict->again < 1.5)
		fputs(" 1 is known to be freed", screen->line);
	else
		fprintf(screen->line, " %s are known to be freed",
			format_count(verdict->again, buf));
	if (verdict->others_again >= 0)
		fprintf(screen->line, " (of other stacks' blocks of that size: %.0f %%)",
			100 * verdict->others_again);
}

/* "evidence: 812 blocks (3.2 MiB) seen in 3m00s; of 121 older than 1m30s none is known to be freed;
 * 20 of 20 read still contain what they did; confidence 99.9 %" */
static void put_evidence(struct screen *screen, const struct cohort_verdict *verdict)
{
	const struct imprint_sums *contents = &verdict->contents;
	char buf[UNITS_MAX];

	screen__label(screen, "");
	fprintf(screen->line, "evidence: %s block%s", format_count(verdict->born, buf),
		verdict->born < 1.5 ? "" : "s");
	fprintf(screen->line, " (%s) seen", format_bytes(verdict->bytes, buf));
	fprintf(screen->line, " in %s", format_duration(verdict->watched_ns, buf));
	put_followed(screen, verdict);
	if (contents->is_alike)
		fputs("; their contents are too much alike to tell", screen->line);
	else if (contents->read)
		fprintf(screen->line,
			"; %" PRIu32 " of %" PRIu32 " read still contain what they did",
			contents->kept, contents->read);
	fprintf(screen->line, "; confidence %.1f %%", 100 * sweep_confidence(verdict));
	screen__end(screen);
}

static int put_site(struct screen *screen, const struct profile *profile,
		    const struct sweep_site *site)
{
	const struct cohort_verdict *verdict = &site->verdict;
	char buf[UNITS_MAX];
	int err;

	screen__label(screen, "");
	screen__paint(screen, PAINT_STRONG);
	fprintf(screen->line, "%s", format_bytes(verdict->rate, buf));
	screen__paint(screen, PAINT_NONE);
	fprintf(screen->line, "%s per hour",
		verdict->layer == LAYER_PYTHON ? " of Python objects"
		: verdict->layer == LAYER_MMAP ? " of mappings"
					       : "");
	fprintf(screen->line, " (%s to ", format_bytes(verdict->rate_low, buf));
	fprintf(screen->line, "%s), ", format_bytes(verdict->rate_high, buf));
	fputs(site->stack ? "allocated at" : "but the stack is lost", screen->line);
	screen__end(screen);
	err = table_stack(screen, profile, site->stack, CALL_INDENT, MAX_CALLS_SHOWN);
	put_evidence(screen, verdict);
	return err;
}

/* ---- how it was looked at ---- */

static void put_looked(struct screen *screen, const struct sweep_code *code)
{
	bool is_exact = code->look == SWEEP_LOOK_EXACT;
	char buf[UNITS_MAX];

	if (!code->window_cnt && !is_exact)
		return;
	screen__label(screen, "");
	if (is_exact)
		fputs("looked at all the time by now", screen->line);
	else
		fprintf(screen->line, "looked at in %" PRIu64 " window%s", code->window_cnt,
			code->window_cnt == 1 ? "" : "s");
	fprintf(screen->line, ", %s", format_duration(code->traced_ns, buf));
	fprintf(screen->line, " of %s", format_duration(code->watched_ns, buf));
	fprintf(screen->line, ", which took %s%.1f %% of one CPU",
		code->lost_percent < 0.05 ? "less than " : "", fmax(code->lost_percent, 0.1));
	if (code->untold_bytes)
		fprintf(screen->line, "; %s were allocated by stacks that there was no room for",
			format_bytes(code->untold_bytes, buf));
	screen__end(screen);
}

/* ---- first touches ---- */

static int put_touch(struct screen *screen, const struct profile *profile,
		     const struct sweep_touch *touch)
{
	static const char *const kinds[TOUCH_KINDS] = {[TOUCH_USER] = "",
						       [TOUCH_KERNEL] = " by the kernel for it",
						       [TOUCH_POPULATE] =
							       " by populating a mapping"};
	char buf[UNITS_MAX];

	screen__label(screen, "");
	fprintf(screen->line, "%s", format_bytes(touch->bytes, buf));
	fprintf(screen->line, " (give or take %s)%s%s", format_bytes(touch->error_bytes, buf),
		kinds[touch->kind], touch->stack ? ", at" : ", but the stack is lost");
	screen__end(screen);
	return table_stack(screen, profile, touch->stack, CALL_INDENT, MAX_CALLS_SHOWN);
}

/* Where nobody is known to keep it. */
static int put_touches(struct screen *screen, const struct profile *profile,
		       const struct sweep_code *code)
{
	char buf[UNITS_MAX];
	int err = 0;

	if (!code->touches.cnt)
		return 0;
	screen__label(screen, "");
	fprintf(screen->line,
		"of the %s that it grew by, first touched (who does that need not be who keeps "
		"it):",
		format_bytes(code->grown_bytes, buf));
	screen__end(screen);
	for (size_t i = 0; i < code->touches.cnt && i < MAX_TOUCHES_SHOWN && !err; i++)
		err = put_touch(screen, profile, &code->touches.items[i]);
	return err;
}

static void put_obstacle(struct screen *screen, const struct sweep_code *code)
{
	if (!*code->obstacle)
		return;
	screen__label(screen, "");
	if (code->look == SWEEP_LOOK_REFUSED)
		fprintf(screen->line, "not looked into%s: ", code->traced_ns ? " any more" : "");
	else
		fputs("not seen: ", screen->line);
	text_put(screen->line, code->obstacle);
	screen__end(screen);
}

/* "3m00s ago, of the process before its restart:" */
static void put_when(struct screen *screen, const struct sweep_row *row)
{
	char buf[UNITS_MAX];

	screen__label(screen, "");
	screen__paint(screen, PAINT_STRONG);
	if (row->kept->pid != row->pid || row->kept->start_ns != row->start_ns)
		fprintf(screen->line, "before its restart, %s ago",
			format_duration(row->kept_ns, buf));
	else
		fprintf(screen->line, "its code, as known %s ago",
			format_duration(row->kept_ns, buf));
	screen__paint(screen, PAINT_NONE);
	fputc(':', screen->line);
	screen__end(screen);
}

int sweep_put_kept(struct screen *screen, const struct sweep_row *row)
{
	const struct profile_opts opts = {.group = GROUP_STACK};
	const struct kept_code *kept = row->kept;
	struct sweep_code code = *kept->code;
	struct sweep_row then = *row;
	struct profile *profile;
	int err;

	profile = profile__new(kept->snap, kept->symbols, &opts, NULL);
	if (!profile)
		return -ENOMEM;
	put_when(screen, row);
	if (code.ledger_ago_ns)
		code.ledger_ago_ns += row->kept_ns;
	then.code = &code;
	then.growth.bytes_per_hour = kept->growth_per_hour;
	err = sweep_put_code(screen, profile, &then);
	profile__free(profile);
	return err;
}

int sweep_put_code(struct screen *screen, const struct profile *profile,
		   const struct sweep_row *row)
{
	const struct sweep_code *code = row->code;
	struct tally tally = count_sites(code);
	size_t growing = tally.sites[COHORT_GROWING];
	size_t shown = growing < MAX_SITES_SHOWN ? growing : MAX_SITES_SHOWN;
	enum headline headline = headline_of(code, &tally);
	int err = 0;

	put_headline(screen, row, &tally, headline);
	for (size_t i = 0; i < shown && !err; i++)
		err = put_site(screen, profile, &code->sites.items[i]);
	put_tally(screen, &tally, shown);
	if (code->suppressed_cnt && headline != HEADLINE_SUPPRESSED) {
		screen__label(screen, "");
		put_suppressed(screen, code);
		screen__end(screen);
	}
	if (!shown && !err)
		err = put_touches(screen, profile, code);
	sweep_put_ledger(screen, code, headline == HEADLINE_CAUSE);
	put_looked(screen, code);
	if (headline != HEADLINE_REFUSED)
		put_obstacle(screen, code);
	return err;
}
