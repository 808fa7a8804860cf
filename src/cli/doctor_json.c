/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The same facts for programs. Schema 1; fields are only added:
 *
 * {"leaksweep":{"version":..,"schema":1},"can_trace":B,"summary":..,
 *  "checks":[{"group":..,"name":..,"status":"ok|limited|missing|unknown","found":..,
 *             "effect":..|null}],
 *  "probes":{"mode":"session|multi|perf"|null,"why":..|null,"error":..|null,
 *            "emulated_ns":F|null,"stepped_ns":F|null,"call_return_ns":F|null},
 *  "trial":null|{"pairs":N,"allocs_seen":N,"frees_seen":N,"pair_ns":F,"bare_pair_ns":F},
 *  "allocators":[{"name":..,"path":..,"deleted":B,"processes":N,"mode":..|null,
 *                 "emulated":N,"stepped":N,"pair_traps_ns":F|null,
 *                 "functions":[{"symbol":..,"entry_offset":N,"probe_offset":N,
 *                               "instruction":..,"cost":..,"why":..}],
 *                 "left_out":[..]}],
 *  "processes":{"seen":N,"not_followed":[{"pid":N,"comm":..,"exe":..|null,"reason":..,
 *                                         "error":..|null}]}}
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "cli/doctor.h"
#include "report/render.h"

/* The first failure sticks: callers need not look after each value. */
struct writer {
	int err;
};

/* Adds an owned value to an object or, without a name, to an array. NULL value: no memory. */
static struct json_object *put(struct writer *writer, struct json_object *parent, const char *name,
			       struct json_object *value)
{
	int failed = 1;

	if (value && parent && !writer->err)
		failed = name ? json_object_object_add(parent, name, value)
			      : json_object_array_add(parent, value);
	if (!failed)
		return value;
	json_object_put(value);
	writer->err = -ENOMEM;
	return NULL;
}

static void put_null(struct writer *writer, struct json_object *parent, const char *name)
{
	if (!writer->err && json_object_object_add(parent, name, NULL))
		writer->err = -ENOMEM;
}

/* `text` NULL is null. */
static void put_text(struct writer *writer, struct json_object *parent, const char *name,
		     const char *text)
{
	char *clean;

	if (!text) {
		put_null(writer, parent, name);
		return;
	}
	clean = text_utf8(text);
	put(writer, parent, name, clean ? json_object_new_string(clean) : NULL);
	free(clean);
}

static void put_number(struct writer *writer, struct json_object *parent, const char *name,
		       uint64_t value)
{
	put(writer, parent, name, json_object_new_uint64(value));
}

static void put_bool(struct writer *writer, struct json_object *parent, const char *name,
		     bool value)
{
	put(writer, parent, name, json_object_new_boolean(value));
}

/* Nanoseconds with one digit behind the point; null when they are not known. */
static void put_ns(struct writer *writer, struct json_object *parent, const char *name, bool known,
		   double ns)
{
	char text[64];

	if (!known) {
		put_null(writer, parent, name);
		return;
	}
	snprintf(text, sizeof(text), "%.1f", ns);
	put(writer, parent, name, json_object_new_double_s(ns, text));
}

static void put_checks(struct writer *writer, struct json_object *root,
		       const struct host_check *check)
{
	struct json_object *list = put(writer, root, "checks", json_object_new_array());

	for (size_t i = 0; i < check->facts.cnt; i++) {
		const struct host_fact *fact = &check->facts.items[i];
		struct json_object *item = put(writer, list, NULL, json_object_new_object());

		put_text(writer, item, "group", fact->group);
		put_text(writer, item, "name", fact->name);
		put_text(writer, item, "status", fact_state__name(fact->state));
		put_text(writer, item, "found", fact->found);
		put_text(writer, item, "effect", fact->effect);
	}
}

static void put_probes(struct writer *writer, struct json_object *root,
		       const struct host_check *check)
{
	struct json_object *probes, *trial;
	bool known = !check->cost_err;

	probes = put(writer, root, "probes", json_object_new_object());
	put_text(writer, probes, "mode", check->mode < 0 ? NULL : link_mode__name(check->mode));
	put_text(writer, probes, "why", check->mode < 0 ? NULL : check->mode_why);
	put_text(writer, probes, "error", known ? NULL : strerror(-check->cost_err));
	put_ns(writer, probes, "emulated_ns", known, check->costs.emulated_ns);
	put_ns(writer, probes, "stepped_ns", known, check->costs.stepped_ns);
	put_ns(writer, probes, "call_return_ns", known, check->costs.call_return_ns);
	if (!check->trial.pair_cnt) {
		put_null(writer, root, "trial");
		return;
	}
	trial = put(writer, root, "trial", json_object_new_object());
	put_number(writer, trial, "pairs", check->trial.pair_cnt);
	put_number(writer, trial, "allocs_seen", check->trial.alloc_cnt);
	put_number(writer, trial, "frees_seen", check->trial.free_cnt);
	put_ns(writer, trial, "pair_ns", true, check->trial.probed_ns);
	put_ns(writer, trial, "bare_pair_ns", true, check->trial.bare_ns);
}

static void put_functions(struct writer *writer, struct json_object *allocator,
			  const struct elf_allocs *allocs)
{
	struct json_object *functions, *left_out, *lost;

	functions = put(writer, allocator, "functions", json_object_new_array());
	for (size_t i = 0; i < allocs->sites.cnt; i++) {
		const struct alloc_site *site = &allocs->sites.items[i];
		struct json_object *item = put(writer, functions, NULL, json_object_new_object());

		put_text(writer, item, "symbol", site->symbol);
		put_number(writer, item, "entry_offset", site->entry_off);
		put_number(writer, item, "probe_offset", site->probe_off);
		put_text(writer, item, "instruction", site->insn);
		put_text(writer, item, "cost",
			 site->cost == PROBE_EMULATED ? "emulated" : "stepped");
		put_text(writer, item, "why", site->why);
	}
	left_out = put(writer, allocator, "left_out", json_object_new_array());
	lost = put(writer, allocator, "lost", json_object_new_array());
	for (size_t i = 0; i < allocs->skipped.cnt; i++) {
		const struct alloc_skip *skip = &allocs->skipped.items[i];

		put_text(writer, left_out, NULL, skip->why);
		if (skip->is_loss)
			put_text(writer, lost, NULL, skip->why);
	}
}

static void put_allocators(struct writer *writer, struct json_object *root,
			   const struct diagnosis *diagnosis)
{
	struct json_object *list = put(writer, root, "allocators", json_object_new_array());
	const struct host_check *check = diagnosis->check;
	bool known;
	double ns;

	for (size_t i = 0; i < diagnosis->allocs->allocator_cnt; i++) {
		const struct host_file *file = &diagnosis->allocs->files.items[i];
		struct json_object *item = put(writer, list, NULL, json_object_new_object());

		put_text(writer, item, "name", file->allocs.allocator);
		put_text(writer, item, "path", file->path);
		put_bool(writer, item, "deleted", file->deleted);
		put_number(writer, item, "processes", file->proc_cnt);
		put_text(writer, item, "mode",
			 check->mode < 0 ? NULL : link_mode__name(check->mode));
		put_number(writer, item, "emulated", file->emulated_cnt);
		put_number(writer, item, "stepped", file->stepped_cnt);
		known = !check->cost_err && predict_pair_ns(&file->allocs, &check->costs, &ns);
		put_ns(writer, item, "pair_traps_ns", known, known ? ns : 0);
		put_functions(writer, item, &file->allocs);
	}
}

static void put_processes(struct writer *writer, struct json_object *root,
			  const struct host_allocs *allocs)
{
	struct json_object *processes, *list;

	processes = put(writer, root, "processes", json_object_new_object());
	put_number(writer, processes, "seen", allocs->proc_cnt);
	list = put(writer, processes, "not_followed", json_object_new_array());
	for (size_t i = 0; i < allocs->unfollowed.cnt; i++) {
		const struct host_unfollowed *process = &allocs->unfollowed.items[i];
		struct json_object *item = put(writer, list, NULL, json_object_new_object());

		put_number(writer, item, "pid", process->pid);
		put_text(writer, item, "comm", process->comm);
		put_text(writer, item, "exe", process->exe);
		put_number(writer, item, "rss_bytes", process->rss_bytes);
		put_text(writer, item, "reason", process->reason);
		put_text(writer, item, "error", process->err ? strerror(-process->err) : NULL);
	}
}

int doctor_json(const struct diagnosis *diagnosis, FILE *out)
{
	struct json_object *root = json_object_new_object(), *tool;
	struct writer writer = {.err = root ? 0 : -ENOMEM};
	const char *text = NULL;
	int err;

	tool = put(&writer, root, "leaksweep", json_object_new_object());
	put_text(&writer, tool, "version", LEAKSWEEP_VERSION);
	put_number(&writer, tool, "schema", 1);
	put_bool(&writer, root, "can_trace", diagnosis->check->can_trace);
	put_text(&writer, root, "summary", diagnosis->summary);
	put_checks(&writer, root, diagnosis->check);
	put_probes(&writer, root, diagnosis->check);
	put_allocators(&writer, root, diagnosis);
	put_processes(&writer, root, diagnosis->allocs);
	if (!writer.err)
		text = json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY |
								    JSON_C_TO_STRING_SPACED |
								    JSON_C_TO_STRING_NOSLASHESCAPE);
	err = text ? 0 : -ENOMEM;
	if (!err && (fputs(text, out) < 0 || fputc('\n', out) < 0))
		err = errno ? -errno : -EIO;
	json_object_put(root);
	return err ? err : finish_output(out);
}
