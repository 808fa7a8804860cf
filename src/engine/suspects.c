/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is suspected, and with what: the list, the session that it shares, its budget. */
#include "engine/suspects.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "engine/ledger_read.h"
#include "engine/open_files.h"
#include "engine/suspect_touches.h"
#include "engine/suspect_windows.h"
#include "engine/suspects_state.h"
#include "util/cpu_time.h"

#define FORGET_NS (10 * 60 * NS_PER_SEC) /* after which who does not grow is no suspect */
#define FADING 2			 /* times less each time that it is not told as growing */
#define LEAST_LEDGER_NS (5 * NS_PER_MS)
#define MOST_LEDGER_NS (300 * NS_PER_MS)
#define SPARE 1.05 /* of a minute's budget: it may be overrun by a tenth */
#define IDLE_NS NS_PER_SEC
#define MOST_DROPPED 32 /* whose names are kept */
#define ROOM_NS (2 * NS_PER_SEC)
#define RETRY_NS (10 * 60 * NS_PER_SEC)
#define REOPEN_NS (10 * 60 * NS_PER_SEC)

/* The tables are for the blocks of windows, which are short, and for those remembered. */
#define MAX_BLOCKS (1U << 17)
#define MAX_STACKS (1U << 14)
#define MAX_PROCS (1U << 12) /* children are followed, though not looked at */
#define RING_BYTES (1U << 20)
#define UNWIND_BYTES (64ULL << 20)
#define COHORT_BLOCKS (1U << 13) /* of all suspects half of the table */
#define COHORT_SITES (1U << 10)

#define PROGRAM_NS 1000.0 /* what a program behind a probe takes, until it was measured */
/* Traps, where they cannot be measured. */
#define TRAP_NS 1500.0
#define STEP_NS 4000.0
#define ATTACH_NS 5e6 /* until it was measured */

struct suspects *suspects__new(const struct suspects_opts *opts)
{
	struct suspects *suspects = calloc(1, sizeof(*suspects));

	if (!suspects)
		return NULL;
	suspects->opts = opts;
	suspects->capture = (struct capture_opts){
		.per_process = true,
		.in_windows = true,
		.attach = {.in_windows = true,
			   .watch_touches = true,
			   .object_frees = true,
			   .max_blocks = MAX_BLOCKS,
			   .max_stacks = MAX_STACKS,
			   .max_procs = MAX_PROCS,
			   .ring_bytes = RING_BYTES,
			   .share_tables = true},
		.unwind = {.cache_dir = opts->cache_dir,
			   .cache_bytes = opts->cache_bytes,
			   .memory_bytes = UNWIND_BYTES},
		.python = {.cache_dir = opts->cache_dir,
			   .frees = true,
			   .per_process = true,
			   .in_windows = true},
	};
	suspects->symbolizer = symbolizer__new();
	if (!suspects->symbolizer) {
		free(suspects);
		return NULL;
	}
	return suspects;
}

static void free_suspect(struct suspect *suspect)
{
	cohort__free(suspect->cohort);
	window_blocks__free(&suspect->blocks);
	free(suspect->obstacle);
	free(suspect);
}

/* A symbolizer keeps the tables of each file that it has ever read. */
static void forget_names(struct suspects *suspects)
{
	struct symbolizer *next = symbolizer__new();

	if (!next)
		return; /* then later */
	symbolizer__free(suspects->symbolizer);
	suspects->symbolizer = next;
	suspects->dropped_cnt = 0;
}

/* What is measured of all is lost with it. */
static void close_session(struct suspects *suspects)
{
	while (suspects->list.cnt)
		suspects__drop(suspects, suspects->list.items[0]);
	touches__free(suspects->touches);
	suspects->touches = NULL;
	session__free(suspects->session);
	suspects->session = NULL;
	suspects->exact_rate = 0;
	forget_names(suspects);
}

void suspects__free(struct suspects *suspects)
{
	if (!suspects)
		return;
	suspects->is_over = true;
	if (suspects->session)
		close_session(suspects);
	array_free(&suspects->list);
	suspects__forget_kept(suspects);
	symbolizer__free(suspects->symbolizer);
	free(suspects->refusal);
	free(suspects);
}

void suspects__change(struct suspects *suspects, const struct suspects_opts *opts)
{
	suspects->opts = opts;
	suspects->is_changed = true;
	if (!suspects->has_budget)
		return;
	budget__set_share(&suspects->budget, opts->budget, cpu_cnt());
	suspects__expect_names(suspects); /* what is kept for them is a part of it */
}

struct suspect *suspects__find(const struct suspects *suspects, uint64_t id)
{
	for (size_t i = 0; i < suspects->list.cnt; i++)
		if (suspects->list.items[i]->space == id)
			return suspects->list.items[i];
	return NULL;
}

void suspects__drop(struct suspects *suspects, struct suspect *suspect)
{
	suspect_windows__end(suspects, suspect);
	window_plan__forget(&suspects->plan, suspect->space);
	if (!suspects->is_over) /* it may have ended: without memory it is just not told */
		suspects__keep(suspects, suspect, clock_ns(CLOCK_MONOTONIC));
	suspect_touches__end(suspects, suspect);
	session__drop(suspects->session, suspect->space);
	suspects->dropped_cnt++;
	suspects->has_dropped = true;
	for (size_t i = 0; i < suspects->list.cnt; i++)
		if (suspects->list.items[i] == suspect)
			suspects->list.items[i] = suspects->list.items[--suspects->list.cnt];
	free_suspect(suspect);
}

/* ---- the session ---- */

static void calibrate(struct suspects *suspects)
{
	struct trap_price *price = &suspects->trap_price;
	struct trap_costs traps;

	*price = (struct trap_price){.hit_ns = TRAP_NS, .step_ns = STEP_NS};
	if (!calibrate__trap(&traps)) {
		price->hit_ns = fmax(traps.call_return_ns / 2, traps.emulated_ns);
		price->step_ns = fmax(traps.stepped_ns - traps.emulated_ns, 0);
	}
	suspects->ns_per_hit = TRAP_COLD * (price->hit_ns + PROGRAM_NS);
}

int suspects__give_up(struct suspects *suspects, int err, uint64_t now_ns)
{
	close_session(suspects);
	suspects->retry_ns = now_ns + RETRY_NS;
	free(suspects->refusal);
	if (asprintf(&suspects->refusal, "it could not go on (%s), and will be tried again",
		     strerror(-err)) < 0)
		suspects->refusal = NULL;
	return suspects->refusal ? 0 : -ENOMEM;
}

static uint64_t own_cpu_ns(const struct suspects *suspects)
{
	return cpu_time_ns() - suspects->own_base_ns;
}

/* What the host does not allow it never will; for what it has no room for just now it may. */
static bool may_pass(const struct suspects *suspects, int err)
{
	return suspects->has_budget || err == -ENOMEM || err == -EMFILE || err == -ENFILE ||
	       err == -EAGAIN;
}

/* Loads everything, unless it is. Returns 0 also when that cannot be, with `refusal`. */
static int open_session(struct suspects *suspects, uint64_t now_ns)
{
	uint64_t before_ns = own_cpu_ns(suspects);
	char *message = NULL;
	int err;

	if (suspects->session || now_ns < suspects->retry_ns)
		return 0;
	free(suspects->refusal);
	suspects->refusal = NULL;
	if (!suspects->has_budget)
		suspects->own_base_ns = cpu_time_ns();
	err = session__open(&suspects->capture, &suspects->session, &message);
	if (!err)
		err = session__begin(suspects->session, &message);
	if (err) {
		session__free(suspects->session);
		suspects->session = NULL;
		suspects->refusal = message ? message : strdup(strerror(-err));
		suspects->retry_ns = may_pass(suspects, err) ? now_ns + RETRY_NS : UINT64_MAX;
		return suspects->refusal ? 0 : -ENOMEM;
	}
	session__end_stats(suspects->session);
	suspects->touches = touches__new(attacher__maps(suspects->session->attacher),
					 suspects->session->collector);
	calibrate(suspects);
	if (getrandom(suspects->key, sizeof(suspects->key), 0) != sizeof(suspects->key))
		return -errno;
	/* What was spent before it was opened anew counts still, and so does that it is. */
	if (suspects->has_budget)
		budget__resume(&suspects->budget, now_ns, before_ns);
	else
		budget__init(&suspects->budget, suspects->opts->budget, cpu_cnt(), now_ns,
			     own_cpu_ns(suspects));
	suspects->has_budget = true;
	suspects__expect_names(suspects);
	suspects->opened_ns = now_ns;
	window_plan__init(&suspects->plan, &suspects->budget, suspects->key);
	return 0;
}

/* ---- the list ---- */

struct suspect *suspects__find_process(const struct suspects *suspects, pid_t pid,
				       uint64_t start_ns)
{
	for (size_t i = 0; i < suspects->list.cnt; i++) {
		const struct suspicion *known = &suspects->list.items[i]->suspicion;

		if (known->pid == pid && known->start_ns == start_ns)
			return suspects->list.items[i];
	}
	return NULL;
}

/* Makes room for one that grows faster than some that are not told any more, or than others. */
static bool make_room(struct suspects *suspects, double growth, uint64_t now_ns)
{
	double least_worth = INFINITY;
	struct suspect *least = NULL;

	if (suspects->list.cnt < MAX_SUSPECTS)
		return true;
	for (size_t i = 0; i < suspects->list.cnt; i++) {
		struct suspect *suspect = suspects->list.items[i];
		double worth = suspect->told_ns == now_ns && !suspect->obstacle
				       ? suspect->suspicion.growth_per_hour
				       : 0;

		/* What is known of one is worth something: it takes twice as much to drop it. */
		if (2 * worth < growth && worth < least_worth) {
			least = suspect;
			least_worth = worth;
		}
	}
	if (!least)
		return false;
	suspects__drop(suspects, least);
	return true;
}

int suspects__tell_plan(struct suspects *suspects, const struct suspect *suspect)
{
	const struct suspect_facts facts = {
		.id = suspect->space,
		.growth_bytes_per_h = suspect->weight,
		.ns_per_hit = suspects->ns_per_hit,
		.attach_ns = suspect->attach_ns,
	};
	int err = suspect->obstacle ? 0 : window_plan__suspect(&suspects->plan, &facts);

	return err == -ENOSPC ? 0 : err;
}

/* Prepares a process for its first window. */
static int prepare(struct suspects *suspects, struct suspect *suspect)
{
	const struct space_info *space;
	int err;

	err = session__add(suspects->session, suspect->suspicion.pid, &suspect->space);
	if (err)
		return err;
	space = space_table__find(&suspects->session->table, suspect->space);
	if (!space || space->start_ns != suspect->suspicion.start_ns)
		return -ESRCH;
	suspect->cohort = cohort__new(suspects->key, COHORT_BLOCKS, COHORT_SITES);
	if (!suspect->cohort)
		return -ENOMEM;
	return suspect_windows__moment(suspects, suspect, &suspect->first);
}

static int add(struct suspects *suspects, const struct suspicion *suspicion, uint64_t now_ns)
{
	struct suspect *suspect = calloc(1, sizeof(*suspect));
	int err;

	if (!suspect || array_push(&suspects->list, suspect)) {
		free(suspect);
		return -ENOMEM;
	}
	suspect->suspicion = *suspicion;
	suspect->weight = suspicion->growth_per_hour;
	suspect->told_ns = now_ns;
	suspect->attach_ns = ATTACH_NS;
	err = prepare(suspects, suspect);
	if (!err) {
		suspect_touches__watch(suspects, suspect);
		suspects__read_ledger(suspects, suspect, &suspect->first_ledger);
		return suspects__tell_plan(suspects, suspect);
	}
	suspects__drop(suspects, suspect);
	return err == -ENOMEM ? err : 0; /* it has ended, or has no room */
}

/* Other options may leave some of them alone. */
static void drop_others(struct suspects *suspects, const struct suspicion *list, size_t cnt)
{
	for (size_t i = suspects->list.cnt; i-- > 0;) {
		const struct suspicion *known = &suspects->list.items[i]->suspicion;
		bool is_told = false;

		for (size_t k = 0; k < cnt && !is_told; k++)
			is_told = list[k].pid == known->pid && list[k].start_ns == known->start_ns;
		if (!is_told)
			suspects__drop(suspects, suspects->list.items[i]);
	}
	suspects->is_changed = false;
}

/* What was in its way may have gone. */
static void look_again(struct suspect *suspect, uint64_t now_ns)
{
	if (!suspect->obstacle || now_ns - suspect->refused_ns < RETRY_NS)
		return;
	free(suspect->obstacle);
	suspect->obstacle = NULL;
	suspect->attach_ns = ATTACH_NS;
}

/* Who grows no more needs less than those who do: a start-up load would keep its share of the
 * budget as long as it is remembered. */
static int fade(struct suspects *suspects, uint64_t now_ns)
{
	int err = 0;

	for (size_t i = 0; i < suspects->list.cnt && !err; i++) {
		struct suspect *suspect = suspects->list.items[i];

		if (suspect->told_ns == now_ns)
			continue;
		suspect->weight /= FADING;
		err = suspects__tell_plan(suspects, suspect);
	}
	return err;
}

static int tell(struct suspects *suspects, const struct suspicion *list, size_t cnt,
		uint64_t now_ns)
{
	int err = 0;

	if (suspects->is_changed)
		drop_others(suspects, list, cnt);
	if (!cnt)
		return 0;
	suspects->idle_ns = now_ns + FORGET_NS;
	err = open_session(suspects, now_ns);
	if (err || !suspects->session)
		return err;
	for (size_t i = 0; i < cnt && !err; i++) {
		struct suspect *suspect =
			suspects__find_process(suspects, list[i].pid, list[i].start_ns);

		if (!suspect)
			continue;
		suspect->suspicion = list[i];
		suspect->weight = list[i].growth_per_hour;
		suspect->told_ns = now_ns;
		look_again(suspect, now_ns);
		err = suspects__tell_plan(suspects, suspect);
	}
	if (!err)
		err = fade(suspects, now_ns);
	for (size_t i = 0; i < cnt && !err; i++) {
		uint64_t own_ns = cpu_time_ns();

		/* Its tables are made for it: that can wait, but for the first one. */
		if (suspects->list.cnt && suspects->budget.rate > 0 &&
		    !budget__has_room_for(&suspects->budget, 0))
			break;
		if (suspects__find_process(suspects, list[i].pid, list[i].start_ns) ||
		    !make_room(suspects, list[i].growth_per_hour, now_ns))
			continue;
		/* Tables of its files may have to be made. */
		err = suspect_windows__pause(suspects, true);
		if (!err)
			err = add(suspects, &list[i], now_ns);
		/* It is done once: what the tool does all the time is not more for it. */
		budget__spend_own(&suspects->budget, (double)(cpu_time_ns() - own_ns));
	}
	return err;
}

int suspects__tell(struct suspects *suspects, const struct suspicion *list, size_t cnt,
		   uint64_t now_ns)
{
	int err = tell(suspects, list, cnt, now_ns);

	return err ? suspects__give_up(suspects, err, now_ns) : 0;
}

/* The pools of a Python; NULL = it is none, or they are too many for the time there is. */
static struct pool_scan *read_pools(struct suspects *suspects, const struct suspect *suspect,
				    uint64_t deadline_ns)
{
	struct pool_scan *scan = NULL;
	struct pool_scan_opts opts;

	if (!pythons__pools(suspects->session->pythons, suspect->space, &opts))
		return NULL;
	opts.deadline_ns = deadline_ns;
	return pool_scan__read(suspect->suspicion.pid, &opts, &scan) ? NULL : scan;
}

void suspects__read_ledger(struct suspects *suspects, struct suspect *suspect, struct ledger *ret)
{
	/* What is owed for it windows wait for, so the minute counts, and half of what is left. */
	double room_ns = (SPARE * budget__minute_ns(&suspects->budget) -
			  budget__spent_ns(&suspects->budget)) /
			 2 / (double)suspects->list.cnt;
	uint64_t own_ns = cpu_time_ns(), now_ns = clock_ns(CLOCK_MONOTONIC),
		 limit_ns = MOST_LEDGER_NS;
	struct pool_scan *scan;

	if (room_ns < MOST_LEDGER_NS)
		limit_ns = room_ns > LEAST_LEDGER_NS ? (uint64_t)room_ns : LEAST_LEDGER_NS;
	scan = read_pools(suspects, suspect, now_ns + limit_ns / 2);
	if (ledger__read(suspect->suspicion.pid, scan, now_ns + limit_ns, ret))
		*ret = (struct ledger){0};
	pool_scan__free(scan);
	if (ret->cache_key)
		suspect->cache_key = ret->cache_key;
	budget__spend_own(&suspects->budget, (double)(cpu_time_ns() - own_ns));
}

/* ---- time ---- */

/* Those whose process has ended, or became another program, or grows no more. */
static void drop_ended(struct suspects *suspects, uint64_t now_ns)
{
	for (size_t i = suspects->list.cnt; i-- > 0;) {
		struct suspect *suspect = suspects->list.items[i];
		const struct space_info *space =
			space_table__find(&suspects->session->table, suspect->space);

		if (!space || space->state != PROC_RUNNING || now_ns - suspect->told_ns > FORGET_NS)
			suspects__drop(suspects, suspect);
	}
}

/* Nobody prints them here: their place in a sweep is its reports. */
static void drop_lines(struct suspects *suspects, uint64_t now_ns)
{
	char *line;

	while ((line = failures__next_line(suspects->session->failures, now_ns)))
		free(line);
}

/*
 * Whether the tables of stacks or of files are nearly full, as nothing is ever taken out of them:
 * one begins anew then.
 */
static bool is_worn_out(const struct suspects *suspects)
{
	const struct session *session = suspects->session;
	const struct tables *tables = attacher__maps(session->attacher)->tables;

	for (enum table table = TABLE_STACKS; table < TABLE_CNT; table++)
		if (tables->used[table] > tables->capacity[table] / 4 * 3)
			return true;
	return collector__is_full(session->collector) ||
	       session->table.modules.modules.cnt > MAX_UNWIND_MODULES / 4 * 3;
}

static int keep_house(struct suspects *suspects, uint64_t now_ns)
{
	int err = 0;

	suspects->room_due_ns = now_ns + ROOM_NS;
	if (!suspects->open &&
	    ((!suspects->list.cnt && now_ns > suspects->idle_ns) ||
	     (now_ns - suspects->opened_ns > REOPEN_NS && is_worn_out(suspects)))) {
		close_session(suspects);
		return 0;
	}
	if (suspects->dropped_cnt > MOST_DROPPED)
		forget_names(suspects);
	/* Deleted files and file systems of those that have ended are free again. */
	if (suspects->has_dropped)
		err = open_files__close_unmapped(suspects->session);
	suspects->has_dropped = false;
	return err ? err : session__make_room(suspects->session);
}

static int work(struct suspects *suspects, uint64_t now_ns, uint64_t *ret_due_ns)
{
	int err;

	/* What events ask for may take long, and a window costs its process all that while. */
	suspects__pass(suspects);
	err = suspect_windows__watch(suspects, now_ns, ret_due_ns);
	if (err || suspects->open)
		return err;
	err = session__process_events(suspects->session);
	if (err)
		return err;
	drop_lines(suspects, now_ns);
	drop_ended(suspects, now_ns);
	suspect_touches__bill(suspects, now_ns);
	suspects__pass(suspects);
	err = session__poll_pythons(suspects->session);
	if (!err)
		err = suspect_windows__work(suspects, now_ns, ret_due_ns);
	return !err && now_ns >= suspects->room_due_ns ? keep_house(suspects, now_ns) : err;
}

void suspects__pass(struct suspects *suspects)
{
	budget__pass(&suspects->budget, clock_ns(CLOCK_MONOTONIC), own_cpu_ns(suspects));
}

int suspects__work(struct suspects *suspects, uint64_t now_ns, uint64_t *ret_due_ns)
{
	int err;

	*ret_due_ns = UINT64_MAX;
	if (!suspects->session)
		return 0;
	err = work(suspects, now_ns, ret_due_ns);
	if (*ret_due_ns > now_ns + IDLE_NS)
		*ret_due_ns = now_ns + IDLE_NS;
	return err ? suspects__give_up(suspects, err, now_ns) : 0;
}

void suspects__end(struct suspects *suspects)
{
	suspects->is_ending = true;
}

int suspects__pause(struct suspects *suspects, bool is_long, uint64_t now_ns)
{
	int err = suspects->session ? suspect_windows__pause(suspects, is_long) : 0;

	return err ? suspects__give_up(suspects, err, now_ns) : 0;
}
