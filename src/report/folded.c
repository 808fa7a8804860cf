/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One line a stack, root first, for flame graph tools: "comm (pid);main;handle;parse 4096", in live
 * bytes. Control groups go before their processes. */
#include "report/report.h"

#include <errno.h>
#include <inttypes.h>

#include "model/annotation.h"
#include "model/group.h"
#include "report/call_line.h"
#include "report/render.h"

/* Reused from line to line. */
struct call_list {
	ARRAY(struct call) calls; /* leaf first */
};

static void put_process(const struct snapshot *snap, uint32_t proc, FILE *out)
{
	text_put_folded(out, snap->procs.items[proc].comm);
	fprintf(out, " (%" PRId32 ")", snap->procs.items[proc].pid);
}

static void put_call(const struct profile *profile, struct call call, FILE *out)
{
	struct call_info info;

	call__read(call, profile->snap, profile->symbols, &info);
	call_put_folded(out, profile, &info);
}

static int put_stack(const struct profile *profile, const struct snap_row *row,
		     struct call_list *list, FILE *out)
{
	const struct snapshot *snap = profile->snap;
	struct call call = profile__begin(profile, row->stack);

	put_process(snap, row->proc, out);
	if (row->layer != LAYER_MALLOC && row->layer != LAYER_PYTHON)
		fprintf(out, ";[%s]", layer_name(row->layer));
	if (!row->stack)
		fputs(";[stack lost]", out);
	list->calls.cnt = 0;
	for (; call.node; call = profile__next(profile, call))
		if (array_push(&list->calls, call))
			return -ENOMEM;
	for (size_t i = list->calls.cnt; i-- > 0;) {
		fputc(';', out);
		put_call(profile, list->calls.items[i], out);
	}
	return 0;
}

/* Writes the call that a group goes by. */
static void put_group_call(const struct profile *profile, uint32_t stack, FILE *out)
{
	struct call begin = profile__begin(profile, stack);
	struct call_info info;

	if (!begin.node) {
		fputs("[stack lost]", out);
		return;
	}
	call__read(begin, profile->snap, profile->symbols, &info);
	call__reduce(&info, profile->opts.group);
	if (profile->opts.group == GROUP_FUNCTION || !info.file) {
		call_put_folded(out, profile, &info);
		return;
	}
	text_put_folded(out, info.file);
	if (info.line)
		fprintf(out, ":%" PRIu32, info.line);
}

/* Writes what the line is about, without the value. */
static int put_key(const struct profile *profile, const struct profile_row *item,
		   struct call_list *list, FILE *out)
{
	const struct snap_row *row = item->row;

	switch (profile->opts.group) {
	case GROUP_FUNCTION:
	case GROUP_LINE:
	case GROUP_FILE:
		put_group_call(profile, row->stack, out);
		return 0;
	case GROUP_PROCESS:
		put_process(profile->snap, row->proc, out);
		return 0;
	case GROUP_TYPE:
		if (item->type == SNAP_NONE)
			fprintf(out, "(other) %s", layer_name(row->layer));
		else
			text_put_folded(out, profile->snap->types.items[item->type]);
		return 0;
	case GROUP_STACK:
	case GROUP_CGROUP:
	case GROUP_CONTAINER:
	case GROUP_SERVICE:
		break;
	}
	return put_stack(profile, row, list, out);
}

int report_folded(const struct profile *profile, const struct report_opts *opts, FILE *out)
{
	bool by_cgroup = group__is_cgroups(profile->opts.group);
	struct profile *owned = NULL;
	const struct profile *rows = by_cgroup ? profile__by_stack(profile, &owned) : profile;
	struct call_list list = {0};
	uint32_t shown = 0;
	int err = rows ? 0 : -ENOMEM;

	(void)opts;
	for (size_t i = 0; !err && i < rows->rows.cnt; i++) {
		const struct profile_row *row = &rows->rows.items[i];

		/* The format has no negative values. */
		if (!profile_row__is_live(row) || row->cost.live_bytes < 0)
			continue;
		if (profile->opts.top && shown++ == profile->opts.top)
			break;
		if (by_cgroup) {
			text_put_folded(
				out, group__title(rows->snap, row->row->proc, profile->opts.group));
			fputc(';', out);
		}
		err = put_key(rows, row, &list, out);
		fprintf(out, " %" PRId64 "\n", row->cost.live_bytes);
	}
	array_free(&list.calls);
	profile__free(owned);
	return err ? err : finish_output(out);
}
