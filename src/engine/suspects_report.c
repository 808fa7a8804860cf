/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From what is known of suspects to what a sweep tells of their code. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/suspect_touches.h"
#include "engine/suspects_state.h"
#include "util/cpu_time.h"

#define MAX_SITES 64		 /* of a process; those that grow go first */
#define LEAST_CAUSE (1ULL << 20) /* bytes; less has no cause */

static enum sweep_look look_of(const struct suspects *suspects, const struct suspect *suspect)
{
	if (suspect->obstacle)
		return SWEEP_LOOK_REFUSED;
	if (!suspects->opts->budget)
		return SWEEP_LOOK_OFF;
	if (suspect->is_exact)
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

static void add_ledger(struct suspects *suspects, struct suspect *suspect, struct sweep_code *code)
{
	suspects__read_ledger(suspects, suspect, &code->ledger);
	if (code->ledger.is_known && suspect->first_ledger.is_known)
		code->cause = ledger__judge(&suspect->first_ledger, &code->ledger, LEAST_CAUSE);
	code->cause_ns = code->watched_ns;
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
		add_ledger(suspects, suspect, code);
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

/* Reading debug information takes long, once: it is nothing that goes on. */
int suspects__name_frames(struct suspects *suspects, struct sweep *sweep)
{
	uint64_t own_ns = cpu_time_ns();
	int err = symbolizer__resolve(suspects->symbolizer, sweep->snap, &sweep->symbols);

	budget__spend_own(&suspects->budget, (double)(cpu_time_ns() - own_ns));
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
