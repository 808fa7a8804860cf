/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The JSON report, schema 1. Every value is made by json-c; only the frame around the two long
 * lists is written by hand, one process and one stack a line: a tree of the whole report would hold
 * an object for each of thirty frames of ten thousand stacks. The text of a frame is made once and
 * shared by all stacks.
 */
#include "report/report.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <math.h>
#include <string.h>
#include <sys/wait.h>

#include "report/render.h"

#define JSON_FLAGS (JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)

/* An object being filled. The first failure sticks, so that callers need not look after each field.
 */
struct fields {
	struct json_object *object;
	int err;
};

static void fields__new(struct fields *fields)
{
	fields->object = json_object_new_object();
	fields->err = fields->object ? 0 : -ENOMEM;
}

/* Adds an owned value. `name` must live as long as the object: all names here are literals. */
static void add_value(struct fields *fields, const char *name, struct json_object *value)
{
	if (!value)
		fields->err = -ENOMEM;
	if (!fields->err && !json_object_object_add_ex(fields->object, name, value,
						       JSON_C_OBJECT_ADD_KEY_IS_NEW |
							       JSON_C_OBJECT_ADD_CONSTANT_KEY))
		return;
	fields->err = -ENOMEM;
	json_object_put(value);
}

static void add_null(struct fields *fields, const char *name)
{
	if (!fields->err && json_object_object_add(fields->object, name, NULL))
		fields->err = -ENOMEM;
}

static void add_int(struct fields *fields, const char *name, int64_t value)
{
	add_value(fields, name, json_object_new_int64(value));
}

static void add_uint(struct fields *fields, const char *name, uint64_t value)
{
	add_value(fields, name, json_object_new_uint64(value));
}

static void add_bool(struct fields *fields, const char *name, bool value)
{
	add_value(fields, name, json_object_new_boolean(value));
}

/* Three digits, the same in every locale. */
static void add_float(struct fields *fields, const char *name, double value)
{
	char text[48];
	int64_t thousandths;

	if (!isfinite(value) || fabs(value) > 1e15)
		value = 0;
	thousandths = value * 1000 + (value < 0 ? -0.5 : 0.5);
	snprintf(text, sizeof(text), "%s%" PRId64 ".%03" PRId64, thousandths < 0 ? "-" : "",
		 imaxabs(thousandths) / 1000, imaxabs(thousandths) % 1000);
	add_value(fields, name, json_object_new_double_s(value, text));
}

static struct json_object *new_text(const char *raw)
{
	char *text = text_utf8(raw ? raw : "");
	struct json_object *value = text ? json_object_new_string(text) : NULL;

	free(text);
	return value;
}

static void add_text(struct fields *fields, const char *name, const char *raw)
{
	add_value(fields, name, new_text(raw));
}

/* Text or null. */
static void add_known_text(struct fields *fields, const char *name, const char *raw)
{
	if (raw)
		add_text(fields, name, raw);
	else
		add_null(fields, name);
}

static void add_cost(struct fields *fields, const struct cost *cost)
{
	add_int(fields, "live_bytes", cost->live_bytes);
	add_int(fields, "live_count", cost->live_count);
	add_int(fields, "alloc_bytes", cost->alloc_bytes);
	add_int(fields, "alloc_count", cost->alloc_count);
	add_int(fields, "free_bytes", cost->free_bytes);
	add_int(fields, "free_count", cost->free_count);
	add_int(fields, "inherited_bytes", cost->inherited_bytes);
	add_int(fields, "inherited_count", cost->inherited_count);
}

/* Adds `inner` to `outer` and takes it over, finished or not. */
static void add_fields(struct fields *outer, const char *name, struct fields *inner)
{
	if (inner->err)
		outer->err = inner->err;
	add_value(outer, name, inner->object);
}

static void add_totals(struct fields *fields, const char *name, const struct cost *cost)
{
	struct fields totals;

	fields__new(&totals);
	add_cost(&totals, cost);
	add_fields(fields, name, &totals);
}

/* Appends an owned value to an array. Returns 0 or -ENOMEM. */
static int append_value(struct json_object *array, struct json_object *value)
{
	if (value && !json_object_array_add(array, value))
		return 0;
	json_object_put(value);
	return -ENOMEM;
}

/* Appends finished fields and takes them over. */
static int append_fields(struct json_object *array, struct fields *fields)
{
	if (!fields->err)
		return append_value(array, fields->object);
	json_object_put(fields->object);
	return fields->err;
}

/* Writes an object and frees it; without its last brace when more fields are to follow. */
static int put_fields(struct fields *fields, bool close, FILE *out)
{
	const char *text = NULL;
	size_t len = 0;
	int err = fields->err;

	if (!err)
		text = json_object_to_json_string_length(fields->object, JSON_FLAGS, &len);
	if (text && len >= 2)
		fwrite(text, 1, len - !close, out);
	else if (!err)
		err = -ENOMEM;
	json_object_put(fields->object);
	return err;
}

/* ---- the head ---- */

static void add_program(struct fields *head)
{
	struct fields program;

	fields__new(&program);
	add_text(&program, "version", LEAKSWEEP_VERSION);
	add_int(&program, "schema", 1);
	add_fields(head, "leaksweep", &program);
}

static void add_host(struct fields *head, const struct snapshot *snap)
{
	struct fields host;

	fields__new(&host);
	add_text(&host, "hostname", snap->hostname);
	add_text(&host, "kernel", snap->kernel);
	add_text(&host, "arch", snap->arch);
	add_uint(&host, "cpus", snap->cpus);
	add_fields(head, "host", &host);
}

static void add_loss(struct fields *head, const struct snapshot *snap)
{
	struct fields loss;

	fields__new(&loss);
	for (enum stat_id stat = 0; stat < STAT_MAX; stat++)
		add_uint(&loss, stat_name(stat), snap->stats[stat]);
	add_fields(head, "loss", &loss);
}

static void add_overhead(struct fields *head, const struct snapshot *snap)
{
	const struct snap_overhead *overhead = &snap->overhead;
	struct fields fields;

	fields__new(&fields);
	add_uint(&fields, "probe_hits", overhead->probe_hits);
	add_uint(&fields, "foreign_hits", overhead->foreign_hits);
	add_float(&fields, "ns_per_hit", overhead->ns_per_hit);
	add_float(&fields, "cpu_percent", overhead->cpu_percent);
	add_float(&fields, "tool_cpu_percent", overhead->tool_cpu_percent);
	add_fields(head, "overhead", &fields);
	fields__new(&fields);
	add_known_text(&fields, "mode", snap->probe_mode);
	add_known_text(&fields, "why", snap->probe_why);
	add_fields(head, "probes", &fields);
}

static void add_checks(struct fields *head, const struct snapshot *snap)
{
	struct fields checked, ended, young;

	fields__new(&checked);
	add_uint(&checked, "blocks", snap->blocks_checked);
	add_int(&checked, "unaccounted_bytes", snap->unaccounted_bytes);
	add_int(&checked, "unaccounted_count", snap->unaccounted_count);
	add_fields(head, "checked", &checked);
	fields__new(&ended);
	add_uint(&ended, "processes", snap->ended_procs);
	add_uint(&ended, "live_bytes", snap->ended_bytes);
	add_uint(&ended, "live_count", snap->ended_count);
	add_fields(head, "ended", &ended);
	add_uint(head, "reserved_bytes", snap->reserved_bytes);
	fields__new(&young);
	add_uint(&young, "min_age_ns", snap->min_age_ns);
	add_int(&young, "live_bytes", snap->young_bytes);
	add_int(&young, "live_count", snap->young_count);
	add_fields(head, "young", &young);
}

static void add_notes(struct fields *head, const struct snapshot *snap)
{
	struct json_object *notes = json_object_new_array();

	for (size_t i = 0; i < snap->notes.cnt && notes && !head->err; i++)
		head->err = append_value(notes, new_text(snap->notes.items[i]));
	add_value(head, "notes", notes);
}

/* Writes everything before the lists, without a closing brace. */
static int put_head(const struct profile *profile, FILE *out)
{
	const struct snapshot *snap = profile->snap;
	char started_at[RFC3339_MAX];
	struct fields head;

	fields__new(&head);
	add_program(&head);
	add_text(&head, "mode", snap->mode);
	add_text(&head, "started_at", format_rfc3339(snap->started_at_ns, true, started_at));
	add_uint(&head, "duration_ns", snap->duration_ns);
	add_uint(&head, "interval", snap->interval);
	add_bool(&head, "estimated", snap->estimated);
	add_uint(&head, "sample_bytes", snap->sample_bytes);
	add_host(&head, snap);
	add_totals(&head, "totals", &profile->total);
	if (profile->has_previous)
		add_int(&head, "delta_live_bytes", profile->delta_bytes);
	add_loss(&head, snap);
	add_overhead(&head, snap);
	add_checks(&head, snap);
	add_notes(&head, snap);
	return put_fields(&head, false, out);
}

/* ---- processes ---- */

static void add_coverage(struct fields *fields, const struct snap_proc *proc)
{
	struct json_object *allocators = json_object_new_array();
	struct fields coverage, python, allocator;

	fields__new(&coverage);
	for (size_t i = 0; i < proc->coverage.cnt && allocators && !coverage.err; i++) {
		const struct snap_coverage *item = &proc->coverage.items[i];

		fields__new(&allocator);
		add_text(&allocator, "name", item->name);
		add_text(&allocator, "path", item->path);
		add_text(&allocator, "status", status_name(item->status));
		add_text(&allocator, "reason", item->reason);
		coverage.err = append_fields(allocators, &allocator);
	}
	add_value(&coverage, "allocators", allocators);
	fields__new(&python);
	add_null(&python, "version");
	add_text(&python, "status", status_name(COVERAGE_SKIPPED));
	add_text(&python, "reason", "Python frames and objects are not followed by this version");
	add_fields(&coverage, "python", &python);
	add_fields(fields, "coverage", &coverage);
}

static void add_exit(struct fields *fields, const struct snap_proc *proc)
{
	bool ended = proc->state == PROC_EXITED;

	if (ended && WIFEXITED(proc->exit_code))
		add_int(fields, "exit_code", WEXITSTATUS(proc->exit_code));
	else
		add_null(fields, "exit_code");
	if (ended && WIFSIGNALED(proc->exit_code))
		add_int(fields, "exit_signal", WTERMSIG(proc->exit_code));
	else
		add_null(fields, "exit_signal");
}

static int put_process(const struct profile *profile, size_t idx, FILE *out)
{
	const struct snap_proc *proc = &profile->snap->procs.items[idx];
	struct fields fields;

	fields__new(&fields);
	add_int(&fields, "pid", proc->pid);
	add_uint(&fields, "start_ns", proc->start_ns);
	add_text(&fields, "comm", proc->comm);
	add_text(&fields, "exe", proc->exe);
	add_text(&fields, "cgroup", proc->cgroup);
	add_text(&fields, "container", proc->container);
	add_uint(&fields, "rss_bytes", proc->rss_bytes);
	add_text(&fields, "state", state_name(proc->state));
	add_exit(&fields, proc);
	add_bool(&fields, "inherited", proc->inherited);
	add_bool(&fields, "late", proc->late);
	add_coverage(&fields, proc);
	add_totals(&fields, "totals", &profile->proc_totals[idx]);
	return put_fields(&fields, true, out);
}

static int put_processes(const struct profile *profile, FILE *out)
{
	int err = 0;

	fputs(",\n\"processes\":[", out);
	for (size_t i = 0; i < profile->snap->procs.cnt && !err; i++) {
		fputs(i ? ",\n" : "\n", out);
		err = put_process(profile, i, out);
	}
	fputc(']', out);
	return err;
}

/* ---- frames ---- */

/* The JSON text of every frame that was needed so far. */
struct frame_texts {
	struct frame_text {
		char *text;
		size_t len;
	} * items;
	size_t cnt;
};

static void frame_texts__free(struct frame_texts *texts)
{
	for (size_t i = 0; texts->items && i < texts->cnt; i++)
		free(texts->items[i].text);
	free(texts->items);
}

static void add_build_id(struct fields *fields, const struct snapshot *snap, uint32_t module)
{
	char hex[2 * MAX_BUILD_ID + 1] = "";
	const struct snap_module *item;

	if (module == SNAP_NONE || !snap->modules.items[module].build_id_len) {
		add_null(fields, "build_id");
		return;
	}
	item = &snap->modules.items[module];
	for (size_t i = 0; i < item->build_id_len; i++)
		sprintf(hex + 2 * i, "%02x", item->build_id[i]);
	add_text(fields, "build_id", hex);
}

static int make_frame_text(const struct profile *profile, uint32_t frame, struct frame_text *ret)
{
	const struct snap_frame *item = &profile->snap->frames.items[frame];
	const struct symbol *symbol = frame_symbol(profile, frame);
	struct fields fields;
	FILE *out;
	int err;

	fields__new(&fields);
	add_text(&fields, "kind",
		 item->kind == FRAME_PYTHON   ? "python"
		 : item->kind == FRAME_KERNEL ? "kernel"
					      : "native");
	add_known_text(&fields, "function", symbol->function);
	add_known_text(&fields, "file", symbol->file);
	add_uint(&fields, "line", symbol->line);
	add_known_text(&fields, "module", frame_module(profile->snap, frame));
	add_build_id(&fields, profile->snap, item->module);
	add_uint(&fields, "offset", item->offset);
	add_bool(&fields, "inlined", false);
	if (!symbol->function)
		add_text(&fields, "reason", symbol_reason__text(symbol->reason));
	out = open_memstream(&ret->text, &ret->len);
	if (!out) {
		json_object_put(fields.object);
		return -ENOMEM;
	}
	err = put_fields(&fields, true, out);
	return fclose(out) ? -ENOMEM : err;
}

static int put_frames(const struct profile *profile, uint32_t stack, struct frame_texts *texts,
		      FILE *out)
{
	const struct snapshot *snap = profile->snap;
	int err = 0;

	fputs(",\"frames\":[", out);
	for (uint32_t node = stack; node; node = snap->nodes.items[node].parent) {
		uint32_t frame = snap->nodes.items[node].frame;
		struct frame_text *text = &texts->items[frame];

		if (!text->text)
			err = make_frame_text(profile, frame, text);
		if (err)
			break;
		if (node != stack)
			fputc(',', out);
		fwrite(text->text, 1, text->len, out);
	}
	fputs("]}", out);
	return err;
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

static int put_stack(const struct profile *profile, const struct profile_row *row,
		     struct frame_texts *texts, FILE *out)
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
	err = put_fields(&fields, false, out);
	return err ? err : put_frames(profile, row->row->stack, texts, out);
}

static size_t shown_rows(const struct profile *profile)
{
	size_t top = profile->opts.top;

	return top && top < profile->rows.cnt ? top : profile->rows.cnt;
}

static int put_stacks(const struct profile *profile, FILE *out)
{
	struct frame_texts texts = {.cnt = profile->snap->frames.cnt};
	int err = 0;

	texts.items = calloc(texts.cnt + 1, sizeof(*texts.items));
	if (!texts.items)
		return -ENOMEM;
	fputs(",\n\"stacks\":[", out);
	for (size_t i = 0; i < shown_rows(profile) && !err; i++) {
		fputs(i ? ",\n" : "\n", out);
		err = put_stack(profile, &profile->rows.items[i], &texts, out);
	}
	fputc(']', out);
	frame_texts__free(&texts);
	return err;
}

static void add_function_key(struct fields *fields, const struct profile *profile, uint32_t stack)
{
	uint32_t leaf = stack_leaf(profile->snap, stack);
	const struct symbol *symbol = leaf == SNAP_NONE ? NULL : frame_symbol(profile, leaf);
	const char *module = leaf == SNAP_NONE ? NULL : frame_module(profile->snap, leaf);
	uint64_t offset = leaf == SNAP_NONE ? 0 : profile->snap->frames.items[leaf].offset;
	char *key = NULL;

	if (symbol && symbol->function) {
		add_text(fields, "key", symbol->function);
	} else if (!symbol) {
		add_text(fields, "key", "[stack lost]");
	} else if (asprintf(&key, "%s+0x%" PRIx64, module ? path_basename(module) : "", offset) <
		   0) {
		fields->err = -ENOMEM;
	} else {
		add_text(fields, "key", module ? key : key + 1);
		free(key);
	}
	add_known_text(fields, "module", module);
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

static int put_group(const struct profile *profile, const struct profile_row *row, FILE *out)
{
	const struct snap_proc *proc = &profile->snap->procs.items[row->row->proc];
	struct fields fields;

	fields__new(&fields);
	if (profile->opts.group == GROUP_FUNCTION)
		add_function_key(&fields, profile, row->row->stack);
	else if (profile->opts.group == GROUP_PROCESS)
		add_process_key(&fields, proc);
	else
		add_text(&fields, "key", proc->cgroup);
	add_uint(&fields, "stacks", row->rows);
	add_uint(&fields, "processes", row->procs);
	add_cost(&fields, &row->cost);
	add_ages_and_delta(&fields, profile, row);
	return put_fields(&fields, true, out);
}

/* A grouped profile has no stacks of its own: they are profiled again, without the previous
 * snapshot. */
static int put_groups_and_stacks(const struct profile *profile, FILE *out)
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
	opts.group = GROUP_STACK;
	stacks = profile__new(profile->snap, profile->symbols, &opts, NULL);
	if (!stacks)
		return -ENOMEM;
	err = put_stacks(stacks, out);
	profile__free(stacks);
	return err;
}

int report_json(const struct profile *profile, const struct report_opts *opts, FILE *out)
{
	int err;

	(void)opts;
	err = put_head(profile, out);
	if (!err)
		err = put_processes(profile, out);
	if (!err)
		err = profile->opts.group == GROUP_STACK ? put_stacks(profile, out)
							 : put_groups_and_stacks(profile, out);
	if (err)
		return err;
	fputs("}\n", out);
	return finish_output(out);
}
