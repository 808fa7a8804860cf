/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hostile names in every format, and JSON field by field. */
#include "unit/report_scene.h"

/* ---- hostile text ---- */

static void check_utf8(const char *text)
{
	for (const char *at = text; *at; at++) {
		size_t more = (*at & 0x80) == 0x00   ? 0
			      : (*at & 0xe0) == 0xc0 ? 1
			      : (*at & 0xf0) == 0xe0 ? 2
			      : (*at & 0xf8) == 0xf0 ? 3
						     : 99;

		assert_int_not_equal(more, 99);
		while (more--)
			assert_int_equal(*++at & 0xc0, 0x80);
	}
}

/* No renderer lets a control character through, and all of them write UTF-8. */
static void check_clean(const struct scene *scene)
{
	static const char *const formats[] = {"table", "folded", "json", "tree"};

	for (int group = GROUP_STACK; group <= GROUP_TYPE; group++) {
		struct profile *profile = profile_of(scene, group, NULL);

		for (int i = 0; i < 4; i++) {
			char *text = render(profile, formats[i]);

			for (char *at = text; *at; at++)
				if ((unsigned char)*at < 0x20 && *at != '\n')
					fail_msg("control character in %s", formats[i]);
			check_utf8(text);
			if (i == 2) {
				struct json_object *report = json_tokener_parse(text);

				assert_non_null(report);
				json_object_put(report);
			}
			free(text);
		}
		profile__free(profile);
	}
}

static void test_random_names(void **state)
{
	unsigned int seed = 42;
	char name[24];

	(void)state;
	for (int round = 0; round < 300; round++) {
		struct scene scene = {.snap = new_snapshot()};
		struct snap_python *python;
		uint32_t module, frames[2];
		size_t len = rand_r(&seed) % sizeof(name);

		/* Half of the bytes look like the beginning or the middle of a UTF-8 character. */
		for (size_t i = 0; i < len; i++) {
			name[i] = rand_r(&seed) | (rand_r(&seed) & 0x80);
			name[i] = name[i] ? name[i] : 1;
		}
		name[len] = '\0';
		snapshot__add_proc(scene.snap, 1, 1, name, name, name, name);
		snapshot__add_coverage(scene.snap, 0, name, name, COVERAGE_PARTIAL, name);
		module = snapshot__add_module(scene.snap, name, 1, 2, NULL, 0, -1);
		frames[0] = add_frame(&scene, module, 0x10, round % 2 ? name : NULL, name, 3);
		frames[1] = snapshot__add_frame(scene.snap, FRAME_PYTHON,
						snapshot__add_code(scene.snap, name, name, 1), 2);
		scene.symbols[frames[1]] = (struct symbol){.function = name, .file = name};
		add_row(&scene, 0, LAYER_PYTHON, UNWIND_COMPLETE, frames + 1, 1, 100, 1);
		snapshot__add_type_share(scene.snap, snapshot__add_type(scene.snap, name), 1, 60);
		add_row(&scene, 0, LAYER_MALLOC, UNWIND_COMPLETE, frames, 2, 100, 1);
		python = &scene.snap->procs.items[0].python;
		python->version = strdup(name);
		python->frames = python->objects = COVERAGE_PARTIAL;
		python->frames_reason = strdup(name);
		python->objects_reason = strdup("");
		check_clean(&scene);
		scene__free(&scene);
	}
}

static void test_hostile_names(void **state)
{
	static const char comm[] = "\033]0;owned\007\033[2J";
	static const char path[] = "/tmp/a;b\nc\xff\xc0\xaf\xed\xa0\x80/\xe2\x80\xae"
				   "evil\xc2\x9b.so;x";
	static const char name[] = "f;g\r\n\"quoted\\\" \xc3\xa4 \xf4\x90\x80\x80 \xe2\x82";
	struct profile *profile;
	struct scene scene = {.snap = new_snapshot()};
	uint32_t frames[2], module;

	(void)state;
	free(scene.snap->hostname);
	scene.snap->hostname = strdup("\033[31mhost");
	for (int32_t i = 0; i < 2; i++)
		snapshot__add_proc(scene.snap, 66 + i, 1, comm, path, path, "\xfe");
	snapshot__add_coverage(scene.snap, 0, comm, path, COVERAGE_SKIPPED, "\033c\n");
	snapshot__add_note(scene.snap, "note: %s", comm);
	module = snapshot__add_module(scene.snap, path, 1, 2, NULL, 0, -1);
	frames[0] = add_frame(&scene, module, 0x10, name, "\033[8m.c", 3);
	frames[1] = add_frame(&scene, module, 0x20, NULL, NULL, 0);
	add_row(&scene, 0, LAYER_MALLOC, UNWIND_COMPLETE, frames, 2, 100, 1);
	check_clean(&scene);
	profile = profile_of(&scene, GROUP_STACK, NULL);
	check_golden(profile, "table", "table-hostile.txt");
	check_golden(profile, "json", "report-hostile.json");
	check_golden(profile, "folded", "folded-hostile.txt");
	check_golden(profile, "tree", "tree-hostile.txt");
	profile__free(profile);
	scene__free(&scene);
}

/* ---- JSON, field by field ---- */

static struct json_object *get(struct json_object *object, const char *name, enum json_type type)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, name, &value))
		fail_msg("%s is absent", name);
	if (json_object_get_type(value) != type)
		fail_msg("%s is a %s", name, json_type_to_name(json_object_get_type(value)));
	return value;
}

static int64_t get_int(struct json_object *object, const char *name)
{
	return json_object_get_int64(get(object, name, json_type_int));
}

static const char *get_text(struct json_object *object, const char *name)
{
	return json_object_get_string(get(object, name, json_type_string));
}

static void check_cost(struct json_object *object, const struct cost *cost)
{
	assert_int_equal(get_int(object, "live_bytes"), cost->live_bytes);
	assert_int_equal(get_int(object, "live_count"), cost->live_count);
	assert_int_equal(get_int(object, "alloc_bytes"), cost->alloc_bytes);
	assert_int_equal(get_int(object, "alloc_count"), cost->alloc_count);
	assert_int_equal(get_int(object, "free_bytes"), cost->free_bytes);
	assert_int_equal(get_int(object, "free_count"), cost->free_count);
	assert_int_equal(get_int(object, "inherited_bytes"), cost->inherited_bytes);
	assert_int_equal(get_int(object, "inherited_count"), cost->inherited_count);
	assert_int_equal(cost->alloc_bytes + cost->inherited_bytes,
			 cost->live_bytes + cost->free_bytes);
}

static void check_json_head(struct json_object *report, const struct profile *profile)
{
	struct json_object *part = get(report, "leaksweep", json_type_object);

	assert_string_equal(get_text(part, "version"), LEAKSWEEP_VERSION);
	assert_int_equal(get_int(part, "schema"), 1);
	assert_string_equal(get_text(report, "mode"), "trace");
	assert_string_equal(get_text(report, "started_at"), "2026-01-02T03:04:05.678Z");
	assert_int_equal(get_int(report, "duration_ns"), 60 * SEC);
	assert_int_equal(get_int(report, "interval"), 0);
	assert_false(json_object_get_boolean(get(report, "estimated", json_type_boolean)));
	assert_int_equal(get_int(report, "sample_bytes"), 0);
	part = get(report, "host", json_type_object);
	assert_string_equal(get_text(part, "hostname"), "db7");
	assert_string_equal(get_text(part, "kernel"), "6.18.0");
	assert_string_equal(get_text(part, "arch"), "x86_64");
	assert_int_equal(get_int(part, "cpus"), 2);
	check_cost(get(report, "totals", json_type_object), &profile->total);
	part = get(report, "overhead", json_type_object);
	assert_int_equal(get_int(part, "probe_hits"), 1250000);
	assert_true(json_object_get_double(get(part, "ns_per_hit", json_type_double)) == 812.3);
	assert_true(json_object_get_double(get(part, "cpu_percent", json_type_double)) == 1.692);
	part = get(report, "checked", json_type_object);
	assert_int_equal(get_int(part, "blocks"), 1747);
	assert_int_equal(get_int(part, "unaccounted_bytes"), 0);
	part = get(report, "ended", json_type_object);
	assert_int_equal(get_int(part, "processes"), 2);
	assert_int_equal(get_int(part, "live_bytes"), 4711);
	assert_int_equal(get_int(part, "live_count"), 3);
	part = get(report, "loss", json_type_object);
	assert_int_equal(json_object_object_length(part), STAT_MAX);
	assert_int_equal(get_int(part, "map_full"), 17);
	assert_int_equal(get_int(part, "hits_alloc"), 625000);
	part = get(report, "notes", json_type_array);
	assert_string_equal(json_object_get_string(json_object_array_get_idx(part, 0)), "a note");
}

static void check_json_processes(struct json_object *report, const struct profile *profile)
{
	struct json_object *list = get(report, "processes", json_type_array), *item, *part;

	assert_int_equal(json_object_array_length(list), 3);
	for (size_t i = 0; i < 3; i++) {
		const struct snap_proc *proc = &profile->snap->procs.items[i];

		item = json_object_array_get_idx(list, i);
		assert_int_equal(get_int(item, "pid"), proc->pid);
		assert_int_equal(get_int(item, "start_ns"), proc->start_ns);
		assert_string_equal(get_text(item, "comm"), proc->comm);
		assert_string_equal(get_text(item, "exe"), proc->exe);
		assert_string_equal(get_text(item, "cgroup"), proc->cgroup);
		assert_string_equal(get_text(item, "container"), proc->container);
		assert_int_equal(get_int(item, "rss_bytes"), proc->rss_bytes);
		check_cost(get(item, "totals", json_type_object), &profile->proc_totals[i]);
		part = get(item, "coverage", json_type_object);
		get_text(get(part, "python", json_type_object), "status");
		part = get(part, "allocators", json_type_array);
		assert_int_equal(json_object_array_length(part), proc->coverage.cnt);
		part = json_object_array_get_idx(part, 0);
		assert_string_equal(get_text(part, "name"), "glibc");
		assert_string_equal(get_text(part, "status"), "probed");
		assert_string_equal(get_text(part, "reason"), "");
	}
	assert_string_equal(get_text(json_object_array_get_idx(list, 0), "state"), "running");
	get(json_object_array_get_idx(list, 0), "exit_code", json_type_null);
	assert_string_equal(get_text(item, "state"), "exited");
	assert_int_equal(get_int(item, "exit_code"), 3);
	get(item, "exit_signal", json_type_null);
	item = json_object_array_get_idx(list, 1);
	assert_true(json_object_get_boolean(get(item, "inherited", json_type_boolean)));
	assert_false(json_object_get_boolean(get(item, "late", json_type_boolean)));
}

static void check_json_stacks(struct json_object *report, const struct profile *profile)
{
	struct json_object *list = get(report, "stacks", json_type_array), *item, *frames, *frame;

	assert_int_equal(json_object_array_length(list), profile->rows.cnt);
	for (size_t i = 0; i < profile->rows.cnt; i++) {
		const struct profile_row *row = &profile->rows.items[i];

		item = json_object_array_get_idx(list, i);
		assert_int_equal(get_int(item, "pid"),
				 profile->snap->procs.items[row->row->proc].pid);
		check_cost(item, &row->cost);
		assert_int_equal(get_int(item, "oldest_ns"), row->oldest_ns);
		assert_int_equal(get_int(item, "newest_ns"), row->newest_ns);
		assert_string_equal(get_text(item, "verdict"), "unknown");
		get_text(item, "unwind");
		get_text(item, "cgroup");
		assert_false(json_object_object_get_ex(item, "delta_live_bytes", NULL));
	}
	item = json_object_array_get_idx(list, 0);
	assert_string_equal(get_text(item, "layer"), "malloc");
	frames = get(item, "frames", json_type_array);
	assert_int_equal(json_object_array_length(frames), 4);
	frame = json_object_array_get_idx(frames, 0);
	assert_string_equal(get_text(frame, "kind"), "native");
	assert_string_equal(get_text(frame, "function"), "leak_request");
	assert_string_equal(get_text(frame, "file"), "src/server.c");
	assert_int_equal(get_int(frame, "line"), 42);
	assert_string_equal(get_text(frame, "module"), "/usr/sbin/server");
	assert_string_equal(get_text(frame, "build_id"), "deadbeef");
	assert_int_equal(get_int(frame, "offset"), 0x1124);
	assert_false(json_object_get_boolean(get(frame, "inlined", json_type_boolean)));
	assert_false(json_object_object_get_ex(frame, "reason", NULL));
	frame = json_object_array_get_idx(frames, 3);
	get(frame, "function", json_type_null);
	get(frame, "build_id", json_type_null);
	assert_string_equal(get_text(frame, "reason"), symbol_reason__text(SYMBOL_STRIPPED));
	assert_string_equal(get_text(json_object_array_get_idx(list, 2), "layer"), "mmap");
	assert_string_equal(get_text(json_object_array_get_idx(list, 2), "unwind"), "broken");
	assert_string_equal(get_text(json_object_array_get_idx(list, 4), "unwind"), "lost");
}

/* A scene's report as text, and what a reader of JSON makes of it. */
struct json_report {
	struct profile *profile;
	char *text;
	struct json_object *root;
};

static struct json_report json_report__new(const struct scene *scene)
{
	struct json_report report = {.profile = profile_of(scene, GROUP_STACK, NULL)};

	report.text = render(report.profile, "json");
	report.root = json_tokener_parse(report.text);
	assert_non_null(report.root);
	return report;
}

static void json_report__free(struct json_report *report)
{
	json_object_put(report->root);
	free(report->text);
	profile__free(report->profile);
}

static void test_json_fields(void **state)
{
	struct json_report report;
	struct scene scene;

	(void)state;
	scene__init(&scene);
	scene__add_rows(&scene);
	scene.snap->stats[STAT_MAP_FULL] = 17;
	snapshot__add_note(scene.snap, "a note");
	report = json_report__new(&scene);
	check_json_head(report.root, report.profile);
	check_json_processes(report.root, report.profile);
	check_json_stacks(report.root, report.profile);
	json_report__free(&report);
	scene__free(&scene);
}

/* Numbers at the ends of their range, and floats that JSON has no word for. */
static void test_json_extremes(void **state)
{
	struct json_report report;
	struct scene scene;

	(void)state;
	scene__init(&scene);
	scene__add_rows(&scene);
	scene.snap->overhead.ns_per_hit = 0.0 / 0.0;
	scene.snap->overhead.cpu_percent = 1e300;
	scene.snap->duration_ns = UINT64_MAX;
	scene.snap->started_at_ns = UINT64_MAX;
	scene.snap->rows.items[0].layer = 200;
	scene.snap->rows.items[0].unwind = 200;
	report = json_report__new(&scene);
	assert_true(json_object_get_uint64(get(report.root, "duration_ns", json_type_int)) ==
		    UINT64_MAX);
	assert_non_null(strstr(report.text, "\"layer\":\"unknown\""));
	free(render(report.profile, "table"));
	json_report__free(&report);
	scene__free(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_names),
		cmocka_unit_test(test_hostile_names),
		cmocka_unit_test(test_json_fields),
		cmocka_unit_test(test_json_extremes),
	};

	return cmocka_run_group_tests_name("report hostile", tests, NULL, NULL);
}
