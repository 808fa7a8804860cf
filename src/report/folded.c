/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One line a stack, root first, for flame graph tools: "comm (pid);main;handle;parse 4096", in live
 * bytes. */
#include "report/report.h"

#include <inttypes.h>

#include "report/render.h"

/* Reused from line to line. */
struct frame_list {
	ARRAY(uint32_t) frames; /* leaf first */
};

static void put_process(const struct snapshot *snap, uint32_t proc, FILE *out)
{
	text_put_folded(out, snap->procs.items[proc].comm);
	fprintf(out, " (%" PRId32 ")", snap->procs.items[proc].pid);
}

static void put_frame(const struct profile *profile, uint32_t frame, FILE *out)
{
	const char *function = frame_symbol(profile, frame)->function;
	const char *module = frame_module(profile->snap, frame);
	uint64_t offset = profile->snap->frames.items[frame].offset;

	if (function) {
		text_put_folded(out, function);
	} else if (module) {
		text_put_folded(out, path_basename(module));
		fprintf(out, "+0x%" PRIx64, offset);
	} else {
		fprintf(out, "0x%" PRIx64, offset);
	}
}

static int put_stack(const struct profile *profile, const struct snap_row *row,
		     struct frame_list *list, FILE *out)
{
	const struct snapshot *snap = profile->snap;

	put_process(snap, row->proc, out);
	if (row->layer != LAYER_MALLOC)
		fprintf(out, ";[%s]", layer_name(row->layer));
	if (!row->stack)
		fputs(";[stack lost]", out);
	list->frames.cnt = 0;
	for (uint32_t node = row->stack; node; node = snap->nodes.items[node].parent)
		if (array_push(&list->frames, snap->nodes.items[node].frame))
			return -ENOMEM;
	for (size_t i = list->frames.cnt; i-- > 0;) {
		fputc(';', out);
		put_frame(profile, list->frames.items[i], out);
	}
	return 0;
}

/* Writes what the line is about, without the value. */
static int put_key(const struct profile *profile, const struct snap_row *row,
		   struct frame_list *list, FILE *out)
{
	uint32_t leaf = stack_leaf(profile->snap, row->stack);
	const char *cgroup;

	switch (profile->opts.group) {
	case GROUP_FUNCTION:
		if (leaf == SNAP_NONE)
			fputs("[stack lost]", out);
		else
			put_frame(profile, leaf, out);
		return 0;
	case GROUP_PROCESS:
		put_process(profile->snap, row->proc, out);
		return 0;
	case GROUP_CGROUP:
		cgroup = profile->snap->procs.items[row->proc].cgroup;
		text_put_folded(out, *cgroup ? cgroup : "[no cgroup]");
		return 0;
	case GROUP_STACK:
		break;
	}
	return put_stack(profile, row, list, out);
}

int report_folded(const struct profile *profile, const struct report_opts *opts, FILE *out)
{
	struct frame_list list = {0};
	uint32_t shown = 0;
	int err = 0;

	(void)opts;
	for (size_t i = 0; i < profile->rows.cnt && !err; i++) {
		const struct profile_row *row = &profile->rows.items[i];

		/* The format has no negative values. */
		if (!row_is_live(row) || row->cost.live_bytes < 0)
			continue;
		if (profile->opts.top && shown++ == profile->opts.top)
			break;
		err = put_key(profile, row->row, &list, out);
		fprintf(out, " %" PRId64 "\n", row->cost.live_bytes);
	}
	array_free(&list.frames);
	return err ? err : finish_output(out);
}
