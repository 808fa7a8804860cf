/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The stacks of the JSON report, and the groups they make. The text of a call is made once and
 * shared by all stacks. */
#include "report/json_fields.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "model/group.h"
#include "report/call_line.h"
#include "report/render.h"
#include "util/format.h"

void call_texts__free(struct call_texts *texts)
{
	for (size_t i = 0; texts->items && i < texts->cnt; i++)
		free(texts->items[i].text);
	free(texts->items);
	free(texts->begins);
}

int call_texts__init(struct call_texts *texts, const struct profile *profile)
{
	size_t frame_cnt = profile->snap->frames.cnt;

	*texts = (struct call_texts){0};
	texts->begins = calloc(frame_cnt + 1, sizeof(*texts->begins));
	if (!texts->begins)
		return -ENOMEM;
	for (size_t i = 0; i < frame_cnt; i++) {
		texts->begins[i] = texts->cnt;
		texts->cnt += frame_inline_cnt(profile->symbols, i) + 1;
	}
	texts->items = calloc(texts->cnt + 1, sizeof(*texts->items));
	return texts->items ? 0 : -ENOMEM;
}

static void add_build_id(struct fields *fields, const struct snapshot *snap,
			 const struct snap_frame *frame)
{
	char hex[2 * MAX_BUILD_ID + 1] = "";
	const struct snap_module *item;

	if (frame->kind == FRAME_PYTHON || frame->module == SNAP_NONE ||
	    !snap->modules.items[frame->module].build_id_len) {
		add_null(fields, "build_id");
		return;
	}
	item = &snap->modules.items[frame->module];
	for (size_t i = 0; i < item->build_id_len; i++)
		sprintf(hex + 2 * i, "%02x", item->build_id[i]);
	add_text(fields, "build_id", hex);
}

static int make_call_text(const struct profile *profile, const struct call_info *call,
			  struct call_text *ret)
{
	const struct snap_frame *item = &profile->snap->frames.items[call->frame];
	struct fields fields;
	FILE *out;
	int err;

	fields__new(&fields);
	add_text(&fields, "kind",
		 item->kind == FRAME_PYTHON   ? "python"
		 : item->kind == FRAME_KERNEL ? "kernel"
					      : "native");
	add_known_text(&fields, "function", call->function);
	add_known_text(&fields, "file", call->file);
	add_uint(&fields, "line", call->line);
	add_known_text(&fields, "module", frame_module_path(profile->snap, call->frame));
	add_build_id(&fields, profile->snap, item);
	add_uint(&fields, "offset", call->is_python ? 0 : item->offset);
	add_bool(&fields, "inlined", call->inlined);
	if (!call->function)
		add_text(&fields, "reason",
			 symbol_reason__text(frame_symbol(profile, call->frame)->reason));
	out = open_memstream(&ret->text, &ret->len);
	if (!out) {
		json_object_put(fields.object);
		return -ENOMEM;
	}
	err = put_fields(&fields, false, out);
	return fclose(out) ? -ENOMEM : err;
}

int json_put_calls(const struct profile *profile, uint32_t stack, struct call_texts *texts,
		   FILE *out)
{
	struct call call = {.node = stack}, shown = profile->folding.begins[stack];
	struct call_info info;
	bool runtime;
	int err;

	fputs(",\"frames\":[", out);
	for (; call.node; call = call__next(call, profile->snap, profile->symbols)) {
		struct call_text *text;

		call__read(call, profile->snap, profile->symbols, &info);
		text = &texts->items[texts->begins[info.frame] + call.idx];
		err = text->text ? 0 : make_call_text(profile, &info, text);
		if (err)
			return err;
		if (call.node != stack || call.idx)
			fputc(',', out);
		fwrite(text->text, 1, text->len, out);
		runtime = call.node != shown.node || call.idx != shown.idx;
		if (!runtime)
			shown = profile__next(profile, shown);
		fputs(runtime ? ",\"runtime\":true}" : ",\"runtime\":false}", out);
	}
	fputs("]}", out);
	return 0;
}

/* ---- stacks and groups ---- */

static void add_ages_and_delta(struct fields *fields, const struct profile *profile,
			       const struct profile_row *row)
{
	add_uint(fields, "oldest_ns", row->oldest_ns);
	add_uint(fields, "newest_ns", row->newest_ns);
	add_text(fields, "verdict", "unknown");
	if (!profile->has_previous)
		return;
	add_int(fields, "delta_live_bytes", row->delta_bytes);
	add_int(fields, "delta_live_count", row->delta_count);
}

/* What the live blocks of a row hold, as far as it was looked at. */
static void add_types(struct fields *fields, const struct profile *profile,
		      const struct profile_row *row)
{
	struct json_object *types;
	struct fields type;

	if (!row->type_cnt)
		return;
	types = json_object_new_array();
	for (uint32_t i = 0; i < row->type_cnt && types && !fields->err; i++) {
		const struct snap_type_share *share =
			&profile->type_shares.items[row->first_type + i];

		fields__new(&type);
		add_text(&type, "type", profile->snap->types.items[share->type]);
		add_int(&type, "count", share->cnt);
		add_int(&type, "bytes", share->bytes);
		fields->err = append_fields(types, &type);
	}
	add_value(fields, "types", types);
}

static int put_stack(const struct profile *profile, const struct profile_row *row,
		     struct call_texts *texts, FILE *out)
{
	const struct snap_proc *proc = &profile->snap->procs.items[row->row->proc];
	struct fields fields;
	int err;

	fields__new(&fields);
	add_int(&fields, "pid", proc->pid);
	add_uint(&fields, "start_ns", proc->start_ns);
	add_text(&fields, "cgroup", proc->cgroup);
	add_text(&fields, "layer", layer_name(row->row->layer));
	add_cost(&fields, &row->cost);
	add_ages_and_delta(&fields, profile, row);
	add_text(&fields, "unwind", unwind_name(row->row->unwind));
	add_bool(&fields, "chained", row->row->chained);
	add_types(&fields, profile, row);
	err = put_fields(&fields, false, out);
	return err ? err : json_put_calls(profile, row->row->stack, texts, out);
}

static size_t shown_rows(const struct profile *profile)
{
	size_t top = profile->opts.top;

	return top && top < profile->rows.cnt ? top : profile->rows.cnt;
}

int json_put_stacks(const struct profile *profile, FILE *out)
{
	struct call_texts texts;
	int err;

	err = call_texts__init(&texts, profile);
	fputs(",\n\"stacks\":[", out);
	for (size_t i = 0; !err && i < shown_rows(profile); i++) {
		fputs(i ? ",\n" : "\n", out);
		err = put_stack(profile, &profile->rows.items[i], &texts, out);
	}
	fputc(']', out);
	call_texts__free(&texts);
	return err;
}

/* The key of a group of calls, and what it is made of. */
static void add_call_key(struct fields *fields, const struct profile *profile, uint32_t stack)
{
	struct call begin = profile__begin(profile, stack);
	const char *module = NULL;
	struct call_info call;
	char *key = NULL;

	if (begin.node) {
		call__read(begin, profile->snap, profile->symbols, &call);
		call__reduce(&call, profile->opts.group);
		module = frame_module_path(profile->snap, call.frame);
		if (!call.file || profile->opts.group == GROUP_FUNCTION)
			key = call_key(profile, &call);
		else
			key = call.line ? format_text("%s:%" PRIu32, call.file, call.line)
					: strdup(call.file);
		if (!key)
			fields->err = -ENOMEM;
		else
			add_text(fields, "key", key);
		free(key);
	} else {
		add_text(fields, "key", "[stack lost]");
	}
	if (profile->opts.group != GROUP_FUNCTION || (begin.node && call.is_python)) {
		add_known_text(fields, "function", begin.node ? call.function : NULL);
		add_known_text(fields, "file", begin.node ? call.file : NULL);
		add_uint(fields, "line", begin.node ? call.line : 0);
	}
	add_known_text(fields, "module", module);
}

/* The rest of a layer's memory has no type. */
static void add_type_key(struct fields *fields, const struct snapshot *snap,
			 const struct profile_row *row)
{
	char *key;

	if (row->type != SNAP_NONE) {
		add_text(fields, "key", snap->types.items[row->type]);
		add_text(fields, "type", snap->types.items[row->type]);
		return;
	}
	key = format_text("(other) %s", layer_name(row->row->layer));
	if (key)
		add_text(fields, "key", key);
	else
		fields->err = -ENOMEM;
	free(key);
	add_null(fields, "type");
	add_text(fields, "layer", layer_name(row->row->layer));
}

static void add_process_key(struct fields *fields, const struct snap_proc *proc)
{
	char *key;

	if (asprintf(&key, "%" PRId32 " %s", proc->pid, proc->comm) < 0) {
		fields->err = -ENOMEM;
		return;
	}
	add_text(fields, "key", key);
	free(key);
	add_int(fields, "pid", proc->pid);
	add_uint(fields, "start_ns", proc->start_ns);
	add_text(fields, "comm", proc->comm);
	add_text(fields, "exe", proc->exe);
}

static void add_cgroup_key(struct fields *fields, const struct profile *profile, uint32_t proc)
{
	enum profile_group group = profile->opts.group;

	add_text(fields, "key", group__name(profile->snap, proc, group).text);
	if (group != GROUP_CGROUP)
		add_text(fields, "title", group__title(profile->snap, proc, group));
}

static int put_group(const struct profile *profile, const struct profile_row *row, FILE *out)
{
	const struct snap_proc *proc = &profile->snap->procs.items[row->row->proc];
	struct fields fields;

	fields__new(&fields);
	if (profile->opts.group == GROUP_PROCESS)
		add_process_key(&fields, proc);
	else if (group__is_cgroups(profile->opts.group))
		add_cgroup_key(&fields, profile, row->row->proc);
	else if (profile->opts.group == GROUP_TYPE)
		add_type_key(&fields, profile->snap, row);
	else
		add_call_key(&fields, profile, row->row->stack);
	add_uint(&fields, "stacks", row->rows);
	add_uint(&fields, "processes", row->procs);
	if (row->type == SNAP_NONE) {
		add_cost(&fields, &row->cost);
	} else {
		/* What was freed has no type any more. */
		add_int(&fields, "live_bytes", row->cost.live_bytes);
		add_int(&fields, "live_count", row->cost.live_count);
	}
	add_ages_and_delta(&fields, profile, row);
	return put_fields(&fields, true, out);
}

int json_put_groups_and_stacks(const struct profile *profile, FILE *out)
{
	struct profile_opts opts = profile->opts;
	struct profile *stacks;
	int err = 0;

	fputs(",\n\"groups\":[", out);
	for (size_t i = 0; i < shown_rows(profile) && !err; i++) {
		fputs(i ? ",\n" : "\n", out);
		err = put_group(profile, &profile->rows.items[i], out);
	}
	fputc(']', out);
	if (err)
		return err;
	if (profile->stacks)
		return json_put_stacks(profile->stacks, out);
	opts.group = GROUP_STACK;
	stacks = profile__new(profile->snap, profile->symbols, &opts, NULL);
	if (!stacks)
		return -ENOMEM;
	err = json_put_stacks(stacks, out);
	profile__free(stacks);
	return err;
}
