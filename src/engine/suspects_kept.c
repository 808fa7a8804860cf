/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What was known of suspects' code stays for a while: to be told when the kernel has killed one,
 * and of a service until its next process has verdicts of its own. It is taken at each report, and
 * when a process ends: its stacks and the files they are in are known until its space is purged.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/suspects_state.h"

#define MAX_MEMOS 32

static void drop_memo(struct suspects *suspects, size_t at)
{
	struct suspect_memo *memo = &suspects->memos.items[at];

	kept_code__put(memo->code);
	suspects->memos.cnt--;
	memmove(memo, memo + 1, (suspects->memos.cnt - at) * sizeof(*memo));
}

void suspects__forget_kept(struct suspects *suspects)
{
	while (suspects->memos.cnt)
		drop_memo(suspects, suspects->memos.cnt - 1);
	array_free(&suspects->memos);
}

static struct suspect_memo *find_own(const struct suspects *suspects, pid_t pid, uint64_t start_ns)
{
	for (size_t i = suspects->memos.cnt; i-- > 0;) {
		struct suspect_memo *memo = &suspects->memos.items[i];

		if (memo->suspicion.pid == pid && memo->suspicion.start_ns == start_ns)
			return memo;
	}
	return NULL;
}

/* Finds what is worth telling of the processes of a service before this one. */
static struct suspect_memo *find_before(const struct suspects *suspects,
					const struct sweep_row *row)
{
	for (size_t i = suspects->memos.cnt; i-- > 0;) {
		struct suspect_memo *memo = &suspects->memos.items[i];
		const struct suspicion *who = &memo->suspicion;

		if (who->first_pid == row->first_pid &&
		    who->first_start_ns == row->first_start_ns &&
		    (who->pid != row->pid || who->start_ns != row->start_ns) &&
		    sweep_code__growing(memo->code->code))
			return memo;
	}
	return NULL;
}

/* Of a process that has ended neither the ledger nor where it touched memory can be read. */
static bool says_more(const struct suspect_memo *before, const struct sweep_code *code)
{
	return before && !sweep_code__stacks(code) && sweep_code__stacks(before->code->code);
}

static uint64_t since_told(const struct suspect_memo *memo, uint64_t now_ns)
{
	return now_ns > memo->told_ns ? now_ns - memo->told_ns : 0;
}

static void keep_ledger(const struct suspect_memo *before, struct sweep_code *code, uint64_t now_ns)
{
	const struct sweep_code *from;

	if (!before || code->ledger.is_known)
		return;
	from = before->code->code;
	code->ledger = from->ledger;
	code->ledger_ago_ns = from->ledger_ago_ns + since_told(before, now_ns);
	code->cause = from->cause;
	code->cause_ns = from->cause_ns;
}

static int keep(struct suspects *suspects, const struct suspect *suspect, const struct sweep *sweep,
		const struct sweep_row *row, uint64_t now_ns)
{
	struct suspect_memo memo = {
		.suspicion = suspect->suspicion,
		.told_ns = now_ns,
		.was_killed = suspects__was_killed(suspects, row->pid, row->start_ns),
	};
	struct suspect_memo *before = find_own(suspects, row->pid, row->start_ns);

	if (says_more(before, row->code)) {
		before->was_killed = memo.was_killed;
		return 0;
	}
	keep_ledger(before, row->code, now_ns);
	memo.code = kept_code__new(sweep, row);
	if (!memo.code)
		return -ENOMEM;
	memo.code->growth_per_hour = suspect->suspicion.growth_per_hour;
	if (before)
		drop_memo(suspects, (size_t)(before - suspects->memos.items));
	else if (suspects->memos.cnt == MAX_MEMOS)
		drop_memo(suspects, 0);
	if (!array_push(&suspects->memos, memo))
		return 0;
	kept_code__put(memo.code);
	return -ENOMEM;
}

int suspects__keep(struct suspects *suspects, struct suspect *suspect, uint64_t now_ns)
{
	const struct sweep_row row = {
		.pid = suspect->suspicion.pid,
		.start_ns = suspect->suspicion.start_ns,
	};
	struct sweep *sweep;
	int err;

	if (!suspect->window_cnt && !suspect->is_exact && !suspect->is_touch_watched)
		return 0; /* nothing is known of it */
	sweep = sweep__new();
	err = sweep ? sweep__add(sweep, &row) : -ENOMEM;
	if (!err)
		err = suspects__begin_stacks(suspects, sweep);
	if (!err)
		err = suspects__tell_code(suspects, suspect, sweep, now_ns);
	if (!err && sweep_code__stacks(sweep->rows.items[0].code))
		err = suspects__name_frames(suspects, sweep);
	if (!err)
		err = keep(suspects, suspect, sweep, &sweep->rows.items[0], now_ns);
	sweep__free(sweep);
	/* Otherwise what the last report told is still there. */
	return err == -ENOMEM ? err : 0;
}

/* ---- telling ---- */

static void set_kept(struct sweep_row *row, const struct suspect_memo *memo, uint64_t now_ns)
{
	if (!memo)
		return;
	row->kept = kept_code__ref(memo->code);
	row->kept_ns = since_told(memo, now_ns);
}

int suspects__keep_told(struct suspects *suspects, struct sweep *sweep, uint64_t now_ns)
{
	int err = 0;

	for (size_t i = 0; i < sweep->rows.cnt && !err; i++) {
		struct sweep_row *row = &sweep->rows.items[i];
		const struct suspect *suspect =
			row->pid ? suspects__find_process(suspects, row->pid, row->start_ns) : NULL;

		if (row->code && suspect)
			err = keep(suspects, suspect, sweep, row, now_ns);
		if (!err && row->pid && !sweep_code__growing(row->code))
			set_kept(row, find_before(suspects, row), now_ns);
	}
	return err;
}

int suspects__tell_row(struct suspects *suspects, struct sweep_row *row, uint64_t now_ns)
{
	struct suspect *suspect = suspects__find_process(suspects, row->pid, row->start_ns);
	const struct suspect_memo *memo;
	int err = suspect ? suspects__keep(suspects, suspect, now_ns) : 0;

	if (err)
		err = suspects__give_up(suspects, err, now_ns);
	if (err)
		return err;
	memo = find_own(suspects, row->pid, row->start_ns);
	if (!memo || !sweep_code__stacks(memo->code->code)) {
		const struct suspect_memo *before = find_before(suspects, row);

		memo = before ? before : memo;
	}
	set_kept(row, memo, now_ns);
	return 0;
}

/* ---- kills ---- */

bool suspects__saw_kill(struct suspects *suspects, uint64_t now_ns)
{
	return suspects->session && failures__wants_report(suspects->session->failures, now_ns);
}

bool suspects__was_killed(const struct suspects *suspects, pid_t pid, uint64_t start_ns)
{
	const struct suspect_memo *memo = find_own(suspects, pid, start_ns);

	return (memo && memo->was_killed) ||
	       (suspects->session &&
		failures__was_killed(suspects->session->failures, pid, start_ns));
}
