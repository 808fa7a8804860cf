// SPDX-License-Identifier: GPL-2.0-or-later
/* Python frames, types of objects and what is followed of an interpreter, in every format. */
#include "unit/report_scene.h"

/* ---- the scene: a web application with a C extension, and two other Pythons ---- */

static uint32_t add_python_frame(struct scene *scene, const char *file, const char *function,
				 uint32_t first_line, uint32_t line)
{
	uint32_t code = snapshot__add_code(scene->snap, file, function, first_line);
	uint32_t frame = snapshot__add_frame(scene->snap, FRAME_PYTHON, code, line);
	const struct snap_code *item = &scene->snap->codes.items[code];

	assert_true(frame < MAX_SYMBOLS);
	/* As the symbolizer names it. */
	scene->symbols[frame] = (struct symbol){
		.function = item->function,
		.file = item->file,
		.line = line,
	};
	return frame;
}

static uint32_t add_native(struct scene *scene, uint32_t module, const char *function)
{
	return add_frame(scene, module, 0x1000 + 16 * scene->snap->frames.cnt, function, NULL, 0);
}

static void add_share(struct scene *scene, const char *type, int64_t bytes, int64_t count)
{
	uint32_t idx = snapshot__add_type(scene->snap, type);

	assert_int_equal(snapshot__add_type_share(scene->snap, idx, count, bytes), 0);
}

static void set_python(struct snap_proc *proc, const char *version)
{
	proc->python = (struct snap_python){
		.version = strdup(version),
		.frames = COVERAGE_PROBED,
		.objects = COVERAGE_PROBED,
		.frames_reason = strdup(""),
		.objects_reason = strdup(""),
		.alloc_sites = 171,
		.free_sites = 49,
		.has_frees = true,
		.was_scanned = true,
		.live_cnt = 171000,
		.live_bytes = 12345678,
		.seen_cnt = 150000,
		.seen_bytes = 11000000,
		.old_cnt = 21000,
		.old_bytes = 1345678,
		.pool_free_bytes = 524288,
		.arena_bytes = 16777216,
	};
}

static void set_reason(char **reason, const char *text)
{
	free(*reason);
	*reason = strdup(text);
}

static void add_python_procs(struct snapshot *snap)
{
	struct snap_python *python;

	snapshot__add_proc(snap, 812, 77 * SEC, "app", "/usr/bin/python3.11", "/app.service", "");
	snapshot__add_proc(snap, 813, 78 * SEC, "worker", "/opt/python3.12", "/app.service", "");
	snapshot__add_proc(snap, 814, 79 * SEC, "free", "/opt/python3.13t", "", "");
	snapshot__add_proc(snap, 901, 79 * SEC, "sh", "/usr/bin/dash", "", "");
	for (uint32_t i = 0; i < 4; i++)
		snapshot__add_coverage(snap, i, "glibc", "/lib/libc.so.6", COVERAGE_PROBED, "");
	set_python(&snap->procs.items[0], "3.11.2");
	set_python(&snap->procs.items[1], "3.12.1");
	set_python(&snap->procs.items[2], "3.13.0");
	python = &snap->procs.items[1].python;
	python->objects = COVERAGE_PARTIAL;
	set_reason(&python->objects_reason, "1 of 3 places could not be probed");
	python->alloc_sites = 4;
	python->free_sites = 0;
	python->has_frees = false;
	python->missed_cnt = 1;
	python->missed_bytes = 48;
	python->torn_cnt = 1;
	python->merge_violations = 2;
	python = &snap->procs.items[2].python;
	python->frames = python->objects = COVERAGE_SKIPPED;
	set_reason(&python->frames_reason, "free-threaded builds are not supported");
	set_reason(&python->objects_reason, "free-threaded builds are not supported");
	python->alloc_sites = python->free_sites = 0;
	python->was_scanned = false;
}

static void python_scene__init(struct scene *scene)
{
	struct snapshot *snap = new_snapshot();
	uint32_t exe, libc, ext, module, run, main, handle, store, store2, lambda, call, evil, lost;
	uint32_t eval, append, malloc, alloc_array, start_main, import, found;

	*scene = (struct scene){.snap = snap};
	add_python_procs(snap);
	exe = snapshot__add_module(snap, "/usr/bin/python3.11", 8, 10, NULL, 0, -1);
	snap->modules.items[exe].is_interpreter = true;
	libc = snapshot__add_module(snap, "/lib/libc.so.6", 8, 11, NULL, 0, -1);
	ext = snapshot__add_module(snap, "/srv/venv/lib/_fast.cpython-311-x86_64-linux-gnu.so", 8,
				   12, NULL, 0, -1);
	module = add_python_frame(scene, "/srv/app/main.py", "<module>", 1, 12);
	run = add_python_frame(scene, "/srv/app/server.py", "Server.run", 60, 71);
	handle = add_python_frame(scene, "/srv/app/server.py", "Server.handle", 80, 88);
	store = add_python_frame(scene, "/srv/app/cache.py", "Cache.store", 40, 42);
	store2 = add_python_frame(scene, "/srv/app/cache.py", "Cache.store", 40, 45);
	lambda = add_python_frame(scene, "/srv/app/cache.py", "<lambda>", 42, 42);
	evil = add_python_frame(scene, "/srv/\033[2J;é\u202e.py", "f\n;\xff", 1, 3);
	import = add_python_frame(scene, "<frozen importlib._bootstrap>", "_find_and_load", 1, 9);
	lost = snapshot__add_frame(snap, FRAME_PYTHON, SNAP_NONE, 0);
	scene->symbols[lost] = (struct symbol){.reason = SYMBOL_LOST};
	eval = add_native(scene, exe, NULL);
	append = add_native(scene, exe, "PyList_Append");
	call = add_native(scene, exe, "PyObject_Vectorcall");
	main = add_native(scene, exe, "Py_BytesMain");
	malloc = add_native(scene, libc, "__libc_malloc");
	start_main = add_native(scene, libc, "__libc_start_main");
	alloc_array = add_frame(scene, ext, 0x1234, "alloc_array", "src/fast.c", 77);
	found = add_native(scene, ext, "walk_tree");

	ADD_ROW(scene, 0, LAYER_PYTHON, UNWIND_COMPLETE, 6291456, 65536, append, eval, store,
		handle, run, eval, module, main, start_main);
	add_share(scene, "dict", 3900703, 30000);
	add_share(scene, "app.cache.Session", 1887437, 30000);
	add_share(scene, "str", 400000, 5000);
	ADD_ROW(scene, 0, LAYER_PYTHON, UNWIND_COMPLETE, 1048576, 9000, store2, handle, run, eval,
		module, main, start_main);
	add_share(scene, "dict", 1048576, 9000);
	ADD_ROW(scene, 0, LAYER_MALLOC, UNWIND_COMPLETE, 2097152, 2, malloc, alloc_array, call,
		store, handle, run, eval, module, main, start_main);
	ADD_ROW(scene, 1, LAYER_PYTHON, UNWIND_COMPLETE, 262144, 400, lambda, call, found, call,
		store, handle, run, eval, module, main, start_main);
	add_share(scene, "\033[31mevil\n", 131072, 200);
	add_share(scene, "list", 100000, 100);
	add_share(scene, "tuple", 20000, 50);
	add_share(scene, "a.module.with.a.very.long.name.and.a.Class.within.a.Class", 5000, 10);
	add_share(scene, "set", 4000, 10);
	add_share(scene, "int", 28, 1);
	ADD_ROW(scene, 1, LAYER_MALLOC, UNWIND_COMPLETE, 65536, 1, malloc, eval, module, eval,
		import, eval, import, eval, evil, eval, lost, main, start_main);
	ADD_ROW(scene, 2, LAYER_MALLOC, UNWIND_COMPLETE, 32768, 1, malloc, eval, call, main,
		start_main);
	ADD_ROW(scene, 1, LAYER_MALLOC, UNWIND_TRUNCATED, 4096, 16, malloc, lost, handle);
	ADD_ROW(scene, 1, LAYER_PYTHON, UNWIND_COMPLETE, 2048, 32, store, store, store, store, call,
		store, handle, run, eval, module, main, start_main);
}

/* ---- every format ---- */

static struct profile *profile_with(const struct scene *scene, enum profile_group group,
				    bool all_frames, const struct profile *previous)
{
	const struct profile_opts opts = {.group = group, .all_frames = all_frames};
	struct profile *profile = profile__new(scene->snap, scene->symbols, &opts, previous);

	assert_non_null(profile);
	return profile;
}

static void test_formats(void **state)
{
	struct profile *profile;
	struct scene scene;

	(void)state;
	python_scene__init(&scene);
	profile = profile_with(&scene, GROUP_STACK, false, NULL);
	check_golden(profile, "table", "python-table.txt");
	check_golden(profile, "tree", "python-tree.txt");
	check_golden(profile, "folded", "python-folded.txt");
	check_golden(profile, "json", "python-report.json");
	profile__free(profile);
	profile = profile_with(&scene, GROUP_STACK, true, NULL);
	check_golden(profile, "table", "python-table-all-frames.txt");
	profile__free(profile);
	scene__free(&scene);
}

static void test_groups(void **state)
{
	static const struct {
		enum profile_group group;
		const char *name;
	} groups[] = {{GROUP_FUNCTION, "function"},
		      {GROUP_LINE, "line"},
		      {GROUP_FILE, "file"},
		      {GROUP_TYPE, "type"}};
	struct scene scene;
	char golden[64];

	(void)state;
	python_scene__init(&scene);
	for (size_t i = 0; i < sizeof(groups) / sizeof(*groups); i++) {
		struct profile *profile = profile_with(&scene, groups[i].group, false, NULL);

		snprintf(golden, sizeof(golden), "python-table-%s.txt", groups[i].name);
		check_golden(profile, "table", golden);
		snprintf(golden, sizeof(golden), "python-folded-%s.txt", groups[i].name);
		check_golden(profile, "folded", golden);
		snprintf(golden, sizeof(golden), "python-tree-%s.txt", groups[i].name);
		check_golden(profile, "tree", golden);
		snprintf(golden, sizeof(golden), "python-report-%s.json", groups[i].name);
		check_golden(profile, "json", golden);
		profile__free(profile);
	}
	scene__free(&scene);
}

/* What grows goes by its type, too. */
static void test_interval(void **state)
{
	struct profile *before, *after;
	struct scene old, new;

	(void)state;
	python_scene__init(&old);
	python_scene__init(&new);
	new.snap->interval = 2;
	new.snap->rows.items[0].cost.live_bytes += 1000000;
	new.snap->rows.items[0].cost.alloc_bytes += 1000000;
	new.snap->type_shares.items[0].bytes += 900000;
	before = profile_with(&old, GROUP_TYPE, false, NULL);
	after = profile_with(&new, GROUP_TYPE, false, before);
	check_golden(after, "table", "python-table-interval-type.txt");
	profile__free(after);
	after = profile_with(&new, GROUP_LINE, false, before);
	check_golden(after, "table", "python-table-interval-line.txt");
	profile__free(after);
	profile__free(before);
	scene__free(&new);
	scene__free(&old);
}

/* Columns of a line, every character counted as one. */
static size_t text_columns(const char *line)
{
	size_t columns = 0;

	for (; *line; line++)
		columns += (*line & 0xc0) != 0x80;
	return columns;
}

static void test_widths(void **state)
{
	struct profile *profile;
	struct scene scene;

	(void)state;
	python_scene__init(&scene);
	for (int group = GROUP_STACK; group <= GROUP_TYPE; group++) {
		profile = profile_with(&scene, group, false, NULL);
		for (unsigned int columns = 100; columns <= 200; columns += 50) {
			const struct report_opts opts = {.columns = columns};
			char *text = render_with(profile, "table", &opts), *rest = text, *line;

			while ((line = strsep(&rest, "\n")))
				if (text_columns(line) > columns)
					fail_msg("wider than %u: %s", columns, line);
			free(text);
		}
		profile__free(profile);
	}
	scene__free(&scene);
}

/* ---- what is said of interpreters ---- */

static void check_said(struct scene *scene, const char *expected)
{
	struct profile *profile = profile_with(scene, GROUP_STACK, false, NULL);
	const struct report_opts unlimited = {0};
	char *text = render_with(profile, "table", &unlimited);

	if (!strstr(text, expected))
		fail_msg("'%s' is not in:\n%s", expected, text);
	free(text);
	profile__free(profile);
}

static void check_json(struct scene *scene, const char *expected)
{
	struct profile *profile = profile_with(scene, GROUP_STACK, false, NULL);
	char *text = render(profile, "json");

	if (!strstr(text, expected))
		fail_msg("'%s' is not in:\n%s", expected, text);
	free(text);
	profile__free(profile);
}

static void test_coverage(void **state)
{
	struct scene scene = {.snap = new_snapshot()};
	struct snap_python *python;

	(void)state;
	snapshot__add_proc(scene.snap, 5, 6, "app", "/usr/bin/python3.11", "", "");
	snapshot__add_coverage(scene.snap, 0, "glibc", "/lib/libc.so.6", COVERAGE_PROBED, "");
	set_python(&scene.snap->procs.items[0], "3.11.2");
	python = &scene.snap->procs.items[0].python;
	check_said(&scene,
		   "          python 3.11.2: inlined, 171+49 sites, coverage 100.0 %\n"
		   "          objects: live 11.8 MiB in 171 k blocks, of that 1.3 MiB older "
		   "than the trace; kept free by pymalloc 512.0 KiB (arenas 16.0 MiB)\n");
	check_json(&scene, "\"coverage_percent\":100.000");
	/* All is said of all, and of nothing less. */
	python->missed_cnt = 1;
	check_said(&scene, "coverage 99.9 %\n");
	check_json(&scene, "\"coverage_percent\":99.999");
	python->seen_cnt = 0;
	check_said(&scene, "coverage 0.0 %\n");
	python->missed_cnt = 0;
	check_said(&scene, "coverage 100.0 %\n");
	/* Nobody has looked, as when a command has ended. */
	python->was_scanned = false;
	check_said(&scene, "python 3.11.2: inlined, 171+49 sites\n");
	check_json(&scene, "\"was_scanned\":false,\"coverage_percent\":null");
	python->objects = COVERAGE_SKIPPED;
	set_reason(&python->objects_reason, "--no-python-objects");
	python->alloc_sites = python->free_sites = 0;
	check_said(&scene, "python 3.11.2: objects not followed: --no-python-objects\n");
	check_json(&scene, "\"status\":\"partial\",\"reason\":\"--no-python-objects\",");
	/* Blocks that nobody wanted to see are not missed. */
	python->was_scanned = true;
	python->missed_cnt = 99;
	check_said(&scene, "python 3.11.2: objects not followed");
	python->frames = COVERAGE_SKIPPED;
	set_reason(&python->frames_reason, "its frames are not where 3.11 has them");
	check_json(&scene, "\"status\":\"skipped\",\"reason\":\"its frames are not where 3.11 has "
			   "them; --no-python-objects\"");
	check_said(&scene, "python 3.11.2: frames not followed: its frames are not where 3.11 has "
			   "them; objects not followed: --no-python-objects\n");
	/* Owners may leave reasons and the version empty. */
	set_reason(&python->version, "");
	free(python->frames_reason);
	free(python->objects_reason);
	python->frames_reason = python->objects_reason = NULL;
	check_said(&scene, "python: frames and objects not followed\n");
	scene__free(&scene);
}

static void test_many_pythons(void **state)
{
	struct scene scene = {.snap = new_snapshot()};
	char comm[16];

	(void)state;
	for (uint32_t i = 0; i < 20; i++) {
		snprintf(comm, sizeof(comm), "worker%u", i);
		snapshot__add_proc(scene.snap, 100 + i, 6, comm, "/usr/bin/python3.11", "", "");
		if (i % 2)
			set_python(&scene.snap->procs.items[i], "3.11.2");
	}
	check_said(&scene, "coverage 100.0 %, in 101 worker1\n");
	check_said(&scene, "          ... and 4 more with Python, listed by --format json\n");
	scene__free(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_formats),	 cmocka_unit_test(test_groups),
		cmocka_unit_test(test_interval), cmocka_unit_test(test_widths),
		cmocka_unit_test(test_coverage), cmocka_unit_test(test_many_pythons),
	};

	return cmocka_run_group_tests_name("report python", tests, NULL, NULL);
}
