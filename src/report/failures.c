/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "report/failures.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "report/render.h"
#include "report/table.h"
#include "util/array.h"
#include "util/units.h"

#define INDENT 6
#define MAX_SHOWN 10
#define CAUSE_NS 100000000ULL /* a MemoryError follows what was refused within this */
#define CAUSE_STEPS 64	      /* so many that follow are looked at */

/* One entry of the list. */
struct entry {
	const struct snap_failure *failure;
	uint64_t bytes; /* of what led to it, when it does not tell itself; 0 = not known */
	bool is_cause;	/* of another entry, which says it all */
};

struct entries {
	ARRAY(struct entry) items;
};

const char *failure_name(enum failure_kind kind)
{
	static const char *const names[] = {
		[FAILURE_ALLOC] = "alloc",
		[FAILURE_MAPPING] = "mapping",
		[FAILURE_MEMORY_ERROR] = "memory_error",
		[FAILURE_OOM_KILL] = "oom_kill",
	};

	return (unsigned int)kind < sizeof(names) / sizeof(names[0]) && names[kind] ? names[kind]
										    : "unknown";
}

static const char *title_of(enum failure_kind kind)
{
	switch (kind) {
	case FAILURE_ALLOC:
		return "allocation refused";
	case FAILURE_MAPPING:
		return "mapping refused";
	case FAILURE_MEMORY_ERROR:
		return "MemoryError";
	case FAILURE_OOM_KILL:
		return "chosen by the kernel's OOM killer";
	}
	return "memory refused";
}

/* Finds the MemoryError that a refusal led to: the next one of the process, as often as it. */
static void find_effect(struct entry *entry, struct entry *end)
{
	const struct snap_failure *cause = entry->failure;

	if (cause->kind != FAILURE_ALLOC && cause->kind != FAILURE_MAPPING)
		return;
	for (struct entry *next = entry + 1; next < end && next - entry <= CAUSE_STEPS; next++) {
		const struct snap_failure *effect = next->failure;

		if (effect->time_ns - cause->time_ns > CAUSE_NS)
			return;
		if (effect->proc != cause->proc || effect->kind != FAILURE_MEMORY_ERROR)
			continue;
		if (effect->cnt != cause->cnt)
			return;
		/* The last one is what the program asked for. */
		next->bytes = effect->bytes ? effect->bytes : cause->bytes;
		entry->is_cause = true;
		return;
	}
}

static int compare_times(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->failure->time_ns != y->failure->time_ns)
		return x->failure->time_ns < y->failure->time_ns ? -1 : 1;
	return (x->failure > y->failure) - (x->failure < y->failure);
}

/* What ended a process first, then what Python could not do, then the rest; each in its order. */
static int compare_weights(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	bool x_is_call = x->failure->kind < FAILURE_MEMORY_ERROR;
	bool y_is_call = y->failure->kind < FAILURE_MEMORY_ERROR;

	if (x->is_cause != y->is_cause)
		return x->is_cause ? 1 : -1;
	if (x->failure->kind != y->failure->kind && !(x_is_call && y_is_call))
		return x->failure->kind > y->failure->kind ? -1 : 1;
	return compare_times(a, b);
}

/* Returns 0 or -ENOMEM; *ret_cnt entries are to be shown, `entries` is to be freed in both cases.
 */
static int read_entries(struct entries *entries, const struct snapshot *snap, size_t *ret_cnt)
{
	size_t cnt = 0;

	for (size_t i = 0; i < snap->failures.cnt; i++) {
		const struct snap_failure *failure = &snap->failures.items[i];
		const struct entry entry = {failure, failure->bytes, false};

		if (failure->proc < snap->procs.cnt && array_push(&entries->items, entry))
			return -ENOMEM;
	}
	*ret_cnt = 0;
	if (!entries->items.cnt)
		return 0;
	qsort(entries->items.items, entries->items.cnt, sizeof(struct entry), compare_times);
	for (size_t i = 0; i < entries->items.cnt; i++) {
		find_effect(&entries->items.items[i], entries->items.items + entries->items.cnt);
		cnt += !entries->items.items[i].is_cause;
	}
	qsort(entries->items.items, entries->items.cnt, sizeof(struct entry), compare_weights);
	*ret_cnt = cnt;
	return 0;
}

static void put_what(struct screen *screen, const struct snap_failure *failure, uint64_t bytes)
{
	char buf[UNITS_MAX], time[RFC3339_MAX];

	if (bytes)
		fprintf(screen->line, ", %s asked for",
			format_size(bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes, buf));
	if (failure->cnt > 1)
		fprintf(screen->line, ", %s times",
			format_count(failure->cnt > INT64_MAX ? INT64_MAX : (int64_t)failure->cnt,
				     buf));
	fprintf(screen->line, ", %s%s", failure->cnt > 1 ? "first at " : "",
		format_rfc3339(failure->time_ns, false, time));
}

static int put_entry(struct screen *screen, const struct profile *profile, size_t rank,
		     const struct entry *entry)
{
	const struct snap_failure *failure = entry->failure;
	const struct snap_proc *proc = &profile->snap->procs.items[failure->proc];
	const struct snap_row row = {
		.proc = failure->proc,
		.stack = failure->stack,
		.unwind = failure->stack ? UNWIND_COMPLETE : UNWIND_LOST,
	};

	fprintf(screen->line, "%4zu  ", rank);
	screen__paint(screen, PAINT_BAD);
	fputs(title_of(failure->kind), screen->line);
	screen__paint(screen, PAINT_NONE);
	fputs(failure->kind == FAILURE_OOM_KILL ? ": " : " in ", screen->line);
	process_put(screen->line, proc);
	put_what(screen, failure, entry->bytes);
	screen__end(screen);
	if (*failure->limit) {
		fprintf(screen->line, "%*s", INDENT, "");
		text_put(screen->line, failure->limit);
		screen__end(screen);
	} else if (failure->kind != FAILURE_OOM_KILL) {
		fprintf(screen->line, "%*swhich limit refused it is not known", INDENT, "");
		screen__end(screen);
	}
	return failure->kind == FAILURE_OOM_KILL ? 0 : table_calls(screen, profile, &row);
}

int table_failures(struct screen *screen, const struct profile *profile)
{
	struct entries entries = {0};
	size_t cnt;
	int err;

	err = read_entries(&entries, profile->snap, &cnt);
	if (err || !cnt)
		goto cleanup;
	fputc('\n', screen->out);
	screen__paint(screen, PAINT_STRONG);
	fputs("memory refused:", screen->line);
	screen__paint(screen, PAINT_NONE);
	screen__end(screen);
	for (size_t i = 0; i < cnt && i < MAX_SHOWN && !err; i++)
		err = put_entry(screen, profile, i + 1, &entries.items.items[i]);
	if (!err && cnt > MAX_SHOWN) {
		fprintf(screen->line, "%*s... and %zu more, listed by --format json", INDENT, "",
			cnt - MAX_SHOWN);
		screen__end(screen);
	}
cleanup:
	array_free(&entries.items);
	return err;
}
