/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a sweep tells of the code of processes that grow: each verdict, and nothing that a process
 * chose gets through to a terminal. */
#include "unit/sweep_code_scene.h"

#include "model/kept_code.h"

/* ---- leaks ---- */

/* One by contents that were kept, in a process with little else. */
static void add_leak(struct code_scene *scene)
{
	struct sweep_code *code = add_process(scene, "shop", 10.2);
	struct cohort_verdict *verdict = add_growing(code, scene->store, 9.9);

	verdict->others_again = 0.34;
	verdict->contents = (struct imprint_sums){.read = 20, .kept = 20, .elders = 18};
	set_ledger(code, LEDGER_HEAP_USED, 700);
	set_ledger(code, LEDGER_HEAP_HOLES, 30);
	set_ledger(code, LEDGER_HEAP_TOP, 50);
	set_ledger(code, LEDGER_THREAD_STACKS, 31);
	set_ledger(code, LEDGER_MAIN_STACK, 1);
	set_cause(code, LEDGER_CAUSE_LIVE, 12);
}

/* More than are shown, one of them without a stack, beside all that does not grow. */
static void add_leaks(struct code_scene *scene)
{
	struct sweep_code *code = add_process(scene, "worker", 80);
	struct cohort_verdict *verdict;

	verdict = add_growing(code, scene->rename, 20);
	verdict->contents = (struct imprint_sums){.is_alike = true};
	verdict->again = 2;
	verdict->others_again = 0.871;
	verdict = add_growing(code, scene->deep, 10);
	verdict->layer = LAYER_MMAP;
	verdict->born = 1;
	verdict->followed = 0;
	verdict->confidence = 0.9812;
	add_growing(code, 0, 5)->again = 1;
	add_growing(code, scene->handle, 2);
	add_sites(code, COHORT_BOUNDED, COHORT_CERTAIN, 2);
	add_sites(code, COHORT_STARTUP, COHORT_CERTAIN, 1);
	add_sites(code, COHORT_CHURN, COHORT_CERTAIN, 12);
	add_sites(code, COHORT_UNKNOWN, COHORT_TOO_FEW, 3);
	add_sites(code, COHORT_UNKNOWN, COHORT_PROCESS, 1);
	code->untold_bytes = 12 << 20;
	set_ledger(code, LEDGER_MAPPED, 512);
	set_ledger(code, LEDGER_OTHER_HEAP, 40);
	code->ledger.allocator = "jemalloc";
	code->ledger.swapped_bytes = 40 << 20;
}

/* Python objects, all the time, and something that nobody sees. */
static void add_python_leak(struct code_scene *scene)
{
	struct sweep_code *code = add_process(scene, "gunicorn", 6);
	struct cohort_verdict *verdict = add_growing(code, scene->python, 6.6);

	verdict->layer = LAYER_PYTHON;
	verdict->contents = (struct imprint_sums){.read = 9, .kept = 8, .elders = 9, .late = 1};
	code->look = SWEEP_LOOK_EXACT;
	code->traced_ns = 170 * SEC;
	code->lost_percent = 0.01;
	set_text(&code->obstacle, "PyObject_Calloc: its first instruction is a branch target");
	set_ledger(code, LEDGER_OBJECTS, 90);
	set_ledger(code, LEDGER_OBJECTS_FREE, 10);
}

static void check_both_widths(const struct code_scene *scene, const char *wide, const char *narrow)
{
	const struct sweep_report_opts opts = {.screen.columns = 70};

	for (size_t i = 0; i < scene->sweep->rows.cnt; i++) {
		struct sweep_row *row = &scene->sweep->rows.items[i];

		if (row->code->ledger.is_known)
			row->anon_bytes =
				row->code->ledger.anon_bytes + row->code->ledger.swapped_bytes;
	}
	sweep__sort(scene->sweep);
	check_text(render_sweep(scene->sweep, "table", 0, false), wide);
	check_text(render_sweep_with(scene->sweep, "table", &opts), narrow);
}

static void test_leaks(void **state)
{
	struct code_scene scene;

	(void)state;
	code_scene__init(&scene);
	add_leak(&scene);
	add_leaks(&scene);
	add_python_leak(&scene);
	check_both_widths(&scene, "sweep-code-leaks.txt", "sweep-code-leaks-narrow.txt");
	check_text(render_sweep(scene.sweep, "json", 0, false), "sweep-code-leaks.json");
	sweep__free(scene.sweep);
}

/* What a process grows by is told as the stacks' only as far as it is. */
static void check_share(double mib_per_hour, const char *words)
{
	const struct sweep_report_opts opts = {.screen.columns = 400};
	struct code_scene scene;
	char *text;

	code_scene__init(&scene);
	add_growing(add_process(&scene, "shop", 10), scene.store, mib_per_hour);
	text = render_sweep_with(scene.sweep, "table", &opts);
	if (!strstr(text, words))
		fail_msg("%.1f of 10 MiB: no '%s' in\n%s", mib_per_hour, words, text);
	free(text);
	sweep__free(scene.sweep);
}

static void test_share(void **state)
{
	(void)state;
	check_share(2, ", about 20 % of what the process grows by\n");
	check_share(8.9, ", about 89 % of what the process grows");
	check_share(9.1, ", about all that the process grows by\n");
	check_share(14, ", about all that the process grows by\n");
	check_share(16, ", more than the process grows by: some of");
	check_share(60, ", more than the process grows by: some of");
}

/* What could not be read again is told with its age, once, and grew in its own time. */
static void test_old_ledger(void **state)
{
	const struct sweep_report_opts opts = {.screen.columns = 400};
	struct code_scene scene;
	struct sweep_code *code;
	char *text;

	(void)state;
	code_scene__init(&scene);
	code = add_process(&scene, "shop", 10);
	set_ledger(code, LEDGER_HEAP_TOP, 50);
	set_cause(code, LEDGER_CAUSE_LIVE, 12);
	code->ledger_ago_ns = 42 * SEC;
	code->cause_ns = 20 * SEC;
	text = render_sweep_with(scene.sweep, "table", &opts);
	assert_non_null(strstr(text, "anonymous (42.0 s ago): "));
	assert_non_null(strstr(text, "in use grew by 12.0 MiB in 20.0 s\n"));
	free(text);
	set_cause(code, LEDGER_CAUSE_RETAINED, 12);
	code->cause_ns = 20 * SEC;
	text = render_sweep_with(scene.sweep, "table", &opts);
	assert_non_null(strstr(text, "heaps grew by 12.0 MiB in 20.0 s (42.0 s ago); malloc_trim"));
	free(text);
	sweep__free(scene.sweep);
}

/* ---- growth that is no leak, or not known to be one ---- */

/* Each process is of one verdict by its stacks. */
static void add_without_cause(struct code_scene *scene)
{
	static const struct {
		const char *comm;
		enum cohort_state state;
		enum cohort_doubt doubt;
	} cases[] = {
		{"cache", COHORT_BOUNDED, COHORT_CERTAIN},
		{"loader", COHORT_STARTUP, COHORT_CERTAIN},
		{"churn", COHORT_CHURN, COHORT_CERTAIN},
		{"young", COHORT_UNKNOWN, COHORT_TOO_YOUNG},
		{"mixed", COHORT_UNKNOWN, COHORT_MIXED},
		{"resized", COHORT_UNKNOWN, COHORT_RESIZED},
		{"doubted", COHORT_UNKNOWN, COHORT_PROCESS},
		{"minor", COHORT_UNKNOWN, COHORT_MINOR},
	};
	struct sweep_code *code;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		code = add_process(scene, cases[i].comm, 60 - i);
		add_site(code, scene->store, cases[i].state, cases[i].doubt);
		if (cases[i].state == COHORT_BOUNDED)
			add_sites(code, COHORT_STARTUP, COHORT_CERTAIN, 2);
		if (cases[i].state == COHORT_UNKNOWN)
			add_site(code, scene->handle, COHORT_UNKNOWN, COHORT_TOO_FEW)->outlived =
				0.1;
	}
	set_ledger(code, LEDGER_HEAP_UNREAD, 800);
	set_cause(code, LEDGER_CAUSE_UNEXPLAINED, 70);
}

/* Each process is of one kind of memory that grew, and of no stack. */
static void add_causes(struct code_scene *scene)
{
	static const struct {
		const char *comm;
		enum ledger_cause cause;
		enum ledger_part part;
	} cases[] = {
		{"retained", LEDGER_CAUSE_RETAINED, LEDGER_HEAP_PAGES},
		{"pymalloc", LEDGER_CAUSE_RETAINED, LEDGER_OBJECTS_FREE},
		{"fragmented", LEDGER_CAUSE_FRAGMENTED, LEDGER_HEAP_HOLES},
		{"huge", LEDGER_CAUSE_HUGE_PAGES, LEDGER_HUGE_ZEROS},
		{"threads", LEDGER_CAUSE_STACKS, LEDGER_THREAD_STACKS},
		{"files", LEDGER_CAUSE_FILES, LEDGER_FILES},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sweep_code *code = add_process(scene, cases[i].comm, 40 - i);

		add_sites(code, COHORT_CHURN, COHORT_CERTAIN, 4);
		add_sites(code, COHORT_UNKNOWN, COHORT_TOO_FEW, 1);
		set_ledger(code, LEDGER_HEAP_USED, 30);
		set_ledger(code, cases[i].part, 200);
		set_cause(code, cases[i].cause, 180);
	}
}

/* Nothing of it can be told to be in use, or to be free. */
static void add_doubtful_causes(struct code_scene *scene)
{
	struct sweep_code *code = add_process(scene, "jemalloc", 30);

	set_ledger(code, LEDGER_MAPPED, 200);
	set_cause(code, LEDGER_CAUSE_MAPPED, 180);
	code->ledger.allocator = "jemalloc";
	code = add_process(scene, "python", 29);
	set_ledger(code, LEDGER_MAPPED, 200);
	set_cause(code, LEDGER_CAUSE_UNEXPLAINED, 180);
	code->ledger.has_unread_pools = true;
}

static void add_touches(struct sweep_code *code, const struct code_scene *scene)
{
	const struct sweep_touch touches[] = {
		{scene->store, TOUCH_USER, 30 << 20, 1 << 20, 480},
		{scene->handle, TOUCH_KERNEL, 8 << 20, 512 << 10, 128},
		{0, TOUCH_POPULATE, 2 << 20, 0, 1},
	};

	code->grown_bytes = 40 << 20;
	for (size_t i = 0; i < sizeof(touches) / sizeof(touches[0]); i++)
		assert_int_equal(array_push(&code->touches, touches[i]), 0);
}

static void add_looks(struct code_scene *scene)
{
	struct sweep_code *code = add_process(scene, "waits", 20);

	code->look = SWEEP_LOOK_WAITS;
	add_touches(code, scene);
	code->watched_ns = code->traced_ns = code->window_cnt = 0;
	code = add_process(scene, "early", 19);
	code->window_cnt = 1;
	add_sites(code, COHORT_UNKNOWN, COHORT_TOO_FEW, 3);
	add_process(scene, "silent", 18);
	code = add_process(scene, "refused", 17);
	code->look = SWEEP_LOOK_REFUSED;
	code->watched_ns = code->traced_ns = code->window_cnt = 0;
	set_text(&code->obstacle, "/opt/bin/refused: stripped: the allocator cannot be found");
	code = add_process(scene, "refused-now", 16);
	code->look = SWEEP_LOOK_REFUSED;
	add_growing(code, scene->store, 15);
	set_text(&code->obstacle, "a window cost five times its plan");
	code = add_process(scene, "all-the-time", 15);
	code->look = SWEEP_LOOK_EXACT;
	code->window_cnt = 0;
	code = add_process(scene, "off", 1);
	code->look = SWEEP_LOOK_OFF;
	code->window_cnt = 0;
	add_touches(code, scene);
}

static void test_no_leaks(void **state)
{
	struct code_scene scene;

	(void)state;
	code_scene__init(&scene);
	add_without_cause(&scene);
	check_both_widths(&scene, "sweep-code-known.txt", "sweep-code-known-narrow.txt");
	sweep__free(scene.sweep);
	code_scene__init(&scene);
	add_causes(&scene);
	add_doubtful_causes(&scene);
	check_both_widths(&scene, "sweep-code-causes.txt", "sweep-code-causes-narrow.txt");
	check_text(render_sweep(scene.sweep, "json", 2, false), "sweep-code-causes.json");
	sweep__free(scene.sweep);
	code_scene__init(&scene);
	add_looks(&scene);
	check_both_widths(&scene, "sweep-code-looks.txt", "sweep-code-looks-narrow.txt");
	sweep__free(scene.sweep);
}

/* One leak of two is known already; of another process all are, and a third is left out whole. */
static void test_suppressed(void **state)
{
	struct code_scene scene;
	struct sweep_code *code;

	(void)state;
	code_scene__init(&scene);
	add_leak(&scene);
	code = scene.sweep->rows.items[0].code;
	code->suppressed_cnt = 1;
	code->suppressed_rate = 2 * MIB;
	code = add_process(&scene, "known", 30);
	add_site(code, scene.handle, COHORT_CHURN, COHORT_CERTAIN);
	code->suppressed_cnt = 2;
	code->suppressed_rate = 28 * MIB;
	scene.sweep->suppressed_stacks = 3;
	scene.sweep->suppressed_rows = 1;
	check_both_widths(&scene, "sweep-code-suppressed.txt", "sweep-code-suppressed-narrow.txt");
	sweep__free(scene.sweep);
}

/* ---- what programs read ---- */

static struct json_object *get(struct json_object *object, const char *name)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, name, &value))
		fail_msg("no %s in %s", name, json_object_to_json_string(object));
	return value;
}

static struct json_object *code_of(struct json_object *root, size_t row)
{
	return get(json_object_array_get_idx(get(root, "growing"), row), "code");
}

static int64_t sum_of(struct json_object *parts)
{
	int64_t sum = 0;

	json_object_object_foreach(parts, name, value)
	{
		assert_string_not_equal(name, "?");
		sum += json_object_get_int64(value);
	}
	return sum;
}

/* All sites, not only those of the table; parts that add up; null for what is not known. */
static void test_json(void **state)
{
	struct json_object *root, *code, *sites, *site;
	struct code_scene scene;
	char *text;

	(void)state;
	code_scene__init(&scene);
	add_leaks(&scene);
	add_looks(&scene);
	text = render_sweep(scene.sweep, "json", 0, false);
	root = json_tokener_parse(text);
	assert_non_null(root);
	code = code_of(root, 0);
	assert_string_equal(json_object_get_string(get(code, "look")), "windows");
	assert_int_equal(sum_of(get(get(code, "ledger"), "parts")),
			 json_object_get_int64(get(get(code, "ledger"), "anon_bytes")));
	assert_null(get(code, "cause"));
	sites = get(code, "sites");
	assert_int_equal(json_object_array_length(sites), 23);
	site = json_object_array_get_idx(sites, 1);
	assert_string_equal(json_object_get_string(get(site, "verdict")), "growing");
	assert_string_equal(json_object_get_string(get(site, "layer")), "mmap");
	assert_true(json_object_get_double(get(get(site, "rate"), "lower")) == 8 * MIB);
	assert_null(get(site, "doubt"));
	assert_int_equal(json_object_array_length(get(site, "frames")), 12);
	site = json_object_array_get_idx(sites, 22);
	assert_string_equal(json_object_get_string(get(site, "doubt")), "process");
	assert_null(get(site, "rate"));
	assert_null(get(get(site, "evidence"), "others_again"));
	assert_int_equal(json_object_array_length(get(site, "frames")), 0);
	code = code_of(root, 4);
	assert_string_equal(json_object_get_string(get(code, "look")), "refused");
	assert_null(get(code, "ledger"));
	assert_int_equal(json_object_array_length(get(code, "sites")), 0);
	json_object_put(root);
	free(text);
	sweep__free(scene.sweep);
}

/* A verdict is as certain as it is, and never more. */
static void test_confidence(void **state)
{
	static const struct {
		double confidence;
		const char *text;
	} cases[] = {{1, "99.9 %"}, {0.99999, "99.9 %"}, {0.9989, "99.8 %"}, {0.5, "50.0 %"}};
	const struct sweep_report_opts endless = {.screen.columns = 0};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct code_scene scene;
		char *text, expected[40];

		code_scene__init(&scene);
		add_growing(add_process(&scene, "shop", 1), scene.store, 1)->confidence =
			cases[i].confidence;
		text = render_sweep_with(scene.sweep, "table", &endless);
		snprintf(expected, sizeof(expected), "confidence %s", cases[i].text);
		if (!strstr(text, expected))
			fail_msg("no %s in: %s", expected, text);
		free(text);
		sweep__free(scene.sweep);
	}
}

/* ---- what a process chose ---- */

#define EVIL "\033[2J\xff\"\\\n\xe2\x80\xaeklim\r"

static void check_harmless(char *text)
{
	for (const char *at = text; *at; at++)
		if ((unsigned char)*at < 0x20 && *at != '\n')
			fail_msg("a control character got through: %s", text);
	if (strstr(text, "\xe2\x80\xae") || strstr(text, "\"\\\n"))
		fail_msg("text is turned around, or a line broken: %s", text);
	free(text);
}

static void test_hostile(void **state)
{
	const struct sweep_report_opts narrow = {.screen.columns = 20};
	struct code_scene scene;
	struct sweep_code *code;
	struct json_object *root, *frames;
	uint32_t module, frame, python, stack;
	char *text;

	(void)state;
	code_scene__init(&scene);
	module = snapshot__add_module(scene.scene.snap, "/tmp/" EVIL, 8, 99, NULL, 0, -1);
	frame = add_frame(&scene.scene, module, 0x10, EVIL, "src/" EVIL, 3);
	python = python_frame(&scene.scene, EVIL "/a.py", EVIL, 4);
	stack = STACK(&scene, frame, python, add_frame(&scene.scene, module, 0x20, NULL, NULL, 0));
	memcpy(scene.sweep->symbols, scene.scene.symbols, sizeof(scene.scene.symbols));
	code = add_process(&scene, EVIL, 1);
	add_growing(code, stack, 1);
	set_text(&code->obstacle, EVIL);
	code = add_process(&scene, EVIL, 1);
	code->look = SWEEP_LOOK_REFUSED;
	set_text(&code->obstacle, EVIL);
	check_harmless(render_sweep(scene.sweep, "table", 0, false));
	check_harmless(render_sweep_with(scene.sweep, "table", &narrow));
	text = render_sweep(scene.sweep, "json", 0, false);
	root = json_tokener_parse(text);
	assert_non_null(root);
	frames = get(json_object_array_get_idx(get(code_of(root, 0), "sites"), 0), "frames");
	assert_non_null(strstr(
		json_object_get_string(get(json_object_array_get_idx(frames, 0), "function")),
		"\033[2J"));
	json_object_put(root);
	free(text);
	sweep__free(scene.sweep);
}

/* What helps is an exact trace of a process that is known to leak, if the table shows it. */
static void check_next(const struct code_scene *scene, size_t top, const char *pid)
{
	char *text = render_sweep(scene->sweep, "table", top, false), expected[64];

	snprintf(expected, sizeof(expected), "next      `leaksweep trace -p %s --duration", pid);
	if (!strstr(text, expected) || strstr(text, "tells no stacks"))
		fail_msg("no %s in: %s", expected, text);
	free(text);
}

static void test_next(void **state)
{
	struct code_scene scene;

	(void)state;
	code_scene__init(&scene);
	add_process(&scene, "silent", 20);
	add_leak(&scene);
	check_next(&scene, 0, "4712");
	check_next(&scene, 2, "4712");
	check_next(&scene, 1, "4711");
	sweep__free(scene.sweep);
}

/* It contradicts nothing that is shown: stacks that are there, or are not. */
static void check_hint(const struct code_scene *scene, size_t top, bool has_none, bool has_more)
{
	const struct sweep_report_opts opts = {.screen.columns = 400, .top = top};
	char *text = render_sweep_with(scene->sweep, "table", &opts);

	assert_int_equal(strstr(text, "this view tells no stacks: ") != NULL, has_none);
	assert_int_equal(strstr(text, "; --format json has all stacks") != NULL, has_more);
	free(text);
}

static void test_hints(void **state)
{
	struct code_scene scene;
	struct sweep_row *rows;

	(void)state;
	code_scene__init(&scene);
	add_process(&scene, "silent", 20);
	check_hint(&scene, 0, false, false);
	add_leak(&scene);
	check_hint(&scene, 0, false, true);
	check_hint(&scene, 1, false, false);
	rows = scene.sweep->rows.items;
	sweep_code__free(rows[0].code);
	rows[0].code = NULL;
	check_hint(&scene, 1, true, false);
	rows[0].kept = kept_code__new(scene.sweep, &rows[1]);
	check_hint(&scene, 1, false, true);
	sweep__free(scene.sweep);
}

/* A sweep that has named nothing still tells where: by module and offset. */
static void test_without_symbols(void **state)
{
	struct code_scene scene;
	char *text;

	(void)state;
	code_scene__init(&scene);
	free(scene.sweep->symbols);
	scene.sweep->symbols = NULL;
	add_leak(&scene);
	text = render_sweep(scene.sweep, "table", 0, false);
	if (!strstr(text, "shop+0x1210 ["))
		fail_msg("no place in: %s", text);
	free(text);
	free(render_sweep(scene.sweep, "json", 0, false));
	sweep__free(scene.sweep);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_leaks),	   cmocka_unit_test(test_share),
		cmocka_unit_test(test_old_ledger), cmocka_unit_test(test_no_leaks),
		cmocka_unit_test(test_json),	   cmocka_unit_test(test_confidence),
		cmocka_unit_test(test_hostile),	   cmocka_unit_test(test_without_symbols),
		cmocka_unit_test(test_next),	   cmocka_unit_test(test_hints),
		cmocka_unit_test(test_suppressed),
	};

	return cmocka_run_group_tests_name("sweep reports of code", tests, NULL, NULL);
}
