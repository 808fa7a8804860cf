/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From what is known of suspects to what a sweep tells of their code. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/suspect_touches.h"
#include "engine/suspect_windows.h"
#include "engine/suspects_state.h"
#include "util/cpu_time.h"
#include "util/procfs.h"

#define MAX_SITES 64		 /* of a process; those that grow go first */
#define LEAST_CAUSE (1ULL << 20) /* bytes; less has no cause */
/* Parts of a minute's budget that are left for debug information which is still to be read. */
#define LEAST_NAMES (1.0 / 8)
#define MOST_NAMES (1.0 / 4)
#define UNPAID_NAMES_NS (100 * NS_PER_MS) /* of a report: without a budget that is not much */
#define LAST_NAMES_NS (10 * NS_PER_SEC)	  /* of the last one: nothing else comes of what is kept */

static enum sweep_look look_of(const struct suspects *suspects, const struct suspect *suspect)
{
	if (suspect->obstacle)
		return SWEEP_LOOK_REFUSED;
	if (!suspects->opts->budget)
		return SWEEP_LOOK_OFF;
	if (suspect->is_exact || suspect->is_held)
		return SWEEP_LOOK_EXACT;
	return suspect->window_cnt ? SWEEP_LOOK_WINDOWS : SWEEP_LOOK_WAITS;
}

static int add_sites(const struct suspects *suspects, const struct suspect *suspect,
		     struct sweep *sweep, struct sweep_code *code, uint64_t now_ns)
{
	struct collector *collector = suspects->session->collector;
	struct cohort_verdicts verdicts;
	int err;

	err = cohort__judge(suspect->cohort, now_ns, suspect->suspicion.growth_high, &verdicts);
	if (err)
		return err;
	for (size_t i = 0; i < verdicts.items.cnt && i < MAX_SITES && !err; i++) {
		struct sweep_site site = {.verdict = verdicts.items.items[i]};

		err = collector__add_stack(collector, sweep->snap, suspect->space,
					   site.verdict.stack, &site.stack);
		if (!err)
			err = array_push(&code->sites, site);
	}
	cohort_verdicts__free(&verdicts);
	return err == -ENOENT ? 0 : err; /* the process has just ended */
}

static int add_ledger(struct suspects *suspects, struct suspect *suspect, struct sweep *sweep,
		      struct sweep_code *code)
{
	int err = 0;

	suspects__read_ledger(suspects, suspect, &code->ledger);
	/* Of one that has ended nothing is left to be told. */
	if (!code->ledger.is_known && proc_anon_bytes(suspect->suspicion.pid))
		err = snapshot__add_note(sweep->snap,
					 "what the memory of process %d is in use for is not told: "
					 "it could not be gone over in the time there is",
					 (int)suspect->suspicion.pid);
	if (code->ledger.is_known && suspect->first_ledger.is_known)
		code->cause = ledger__judge(&suspect->first_ledger, &code->ledger, LEAST_CAUSE);
	code->cause_ns = code->watched_ns;
	return err;
}

int suspects__tell_code(struct suspects *suspects, struct suspect *suspect, struct sweep *sweep,
			uint64_t now_ns)
{
	struct sweep_code *code = calloc(1, sizeof(*code));
	int err;

	if (!code)
		return -ENOMEM;
	code->look = look_of(suspects, suspect);
	code->obstacle = strdup(suspect->obstacle ? suspect->obstacle : "");
	/* Those that are told later in a pass became suspects after its beginning. */
	if (now_ns > suspect->first.time_ns)
		code->watched_ns = now_ns - suspect->first.time_ns;
	code->traced_ns = suspect->traced_ns;
	code->window_cnt = suspect->window_cnt;
	code->untold_bytes = cohort__untold_bytes(suspect->cohort);
	err = code->obstacle ? 0 : -ENOMEM;
	if (code->watched_ns)
		code->lost_percent = 100 * suspect->cost_ns / (double)code->watched_ns;
	if (!err)
		err = add_sites(suspects, suspect, sweep, code, now_ns);
	if (!err)
		err = suspect_touches__tell(suspects, suspect, sweep, code);
	if (!err)
		err = add_ledger(suspects, suspect, sweep, code);
	if (err ||
	    !sweep__set_code(sweep, suspect->suspicion.pid, suspect->suspicion.start_ns, code))
		sweep_code__free(code);
	return err;
}

static void tell_budget(const struct suspects *suspects, struct sweep *sweep)
{
	double minute_ns = budget__minute_ns(&suspects->budget);

	sweep->budget_percent = 100 * suspects->opts->budget;
	if (minute_ns > 0)
		sweep->spent_percent =
			sweep->budget_percent * budget__spent_ns(&suspects->budget) / minute_ns;
}

/* Returns what reading debug information may take now. */
static uint64_t names_ns(const struct suspects *suspects)
{
	double room_ns = budget__minute_ns(&suspects->budget) - budget__spent_ns(&suspects->budget);

	if (suspects->is_ending)
		return LAST_NAMES_NS;
	if (!suspects->opts->budget)
		return UNPAID_NAMES_NS;
	return room_ns > 0 ? (uint64_t)room_ns : 0;
}

void suspects__expect_names(struct suspects *suspects)
{
	suspects->budget.kept_ns = LEAST_NAMES * budget__minute_ns(&suspects->budget);
}

/* Windows leave some room for what is still to be read, as far as that may be enough. */
static void keep_room(struct suspects *suspects, const struct late_lines *late)
{
	double minute_ns = budget__minute_ns(&suspects->budget);
	bool is_hopeless = (double)late->least_cpu_ns > MOST_NAMES * minute_ns;

	suspects->budget.kept_ns = 0;
	if (late->file_cnt && !is_hopeless)
		suspects->budget.kept_ns =
			fmax((double)late->least_cpu_ns, LEAST_NAMES * minute_ns);
}

/* Reading debug information takes long, once: it is nothing that goes on. */
int suspects__name_frames(struct suspects *suspects, struct sweep *sweep)
{
	struct late_lines late = {0};
	uint64_t own_ns;
	int err = suspect_windows__pause(suspects, true);

	if (err)
		return err;
	own_ns = cpu_time_ns();
	err = symbolizer__resolve_within(suspects->symbolizer, sweep->snap, names_ns(suspects),
					 &sweep->symbols, &late);
	budget__spend_own(&suspects->budget, (double)(cpu_time_ns() - own_ns));
	keep_room(suspects, &late);
	if (!err && late.file_cnt)
		err = snapshot__add_note(sweep->snap,
					 "source lines of %zu %s are not all read yet: that takes "
					 "more time than there is just now",
					 late.file_cnt, late.file_cnt == 1 ? "file" : "files");
	return err;
}

int suspects__begin_stacks(struct suspects *suspects, struct sweep *sweep)
{
	struct collect_opts collect = {.now_ns = clock_ns(CLOCK_MONOTONIC)};
	int err;

	err = pythons__views(suspects->session->pythons, &collect.pythons, &collect.python_cnt);
	return err ? err
		   : collector__fill_processes(suspects->session->collector, &collect, sweep->snap);
}

static int tell_all(struct suspects *suspects, struct sweep *sweep, uint64_t now_ns)
{
	int err;

	tell_budget(suspects, sweep);
	if (!suspects->list.cnt)
		return 0;
	err = suspects__begin_stacks(suspects, sweep);
	if (!err)
		err = suspect_touches__note(suspects, sweep->snap);
	for (size_t i = 0; i < suspects->list.cnt && !err; i++)
		err = suspects__tell_code(suspects, suspects->list.items[i], sweep, now_ns);
	return err ? err : suspects__name_frames(suspects, sweep);
}

int suspects__report(struct suspects *suspects, struct sweep *sweep, uint64_t now_ns)
{
	int err = 0;

	if (suspects->refusal)
		err = snapshot__add_note(sweep->snap, "no code is looked at: %s",
					 suspects->refusal);
	else if (suspects->session)
		err = tell_all(suspects, sweep, now_ns);
	if (err)
		err = suspects__give_up(suspects, err, now_ns);
	return err ? err : suspects__keep_told(suspects, sweep, now_ns);
}
