/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a sweep looks like, and that nothing a process is called gets through to a terminal. */
#include "unit/sweep_scene.h"

#define HOURS 3600

/* Of a dozen workers, one of which there was no time for. */
static struct ledger jobs_ledger(void)
{
	struct ledger ledger = {.is_known = true, .allocator = "jemalloc"};

	ledger__put(&ledger, LEDGER_MAPPED, 150 << 20);
	ledger__put(&ledger, LEDGER_THREAD_STACKS, 21 << 20);
	ledger__put(&ledger, LEDGER_UNEXPLAINED, 19 << 20);
	ledger.swapped_bytes = 2 << 20;
	return ledger;
}

/* A container near its limit, a unit that has been started anew, a process of no service without a
 * limit in sight, a group. */
static void add_rows(struct sweep *sweep)
{
	const struct sweep_row rows[] = {
		{.pid = 77,
		 .start_ns = 5 * SEC,
		 .comm = "sleepy",
		 .cgroup = "/user.slice/session-3.scope",
		 .title = "session-3.scope",
		 .anon_bytes = 3 << 20,
		 .growth = growing(0.01),
		 .limit_bytes = 64ULL << 30,
		 .room_bytes = 20ULL << 30,
		 .seconds_to_limit = UINT64_MAX},
		{.pid = 4711,
		 .start_ns = 6 * SEC,
		 .comm = "shop",
		 .cgroup = "/system.slice/docker-c0ffee.scope",
		 .title = "web",
		 .runtime = "docker",
		 .is_service = true,
		 .anon_bytes = 500 << 20,
		 .growth = growing(600),
		 .limit_cgroup = "/system.slice/docker-c0ffee.scope",
		 .limit_bytes = 512 << 20,
		 .room_bytes = 10 << 20,
		 .seconds_to_limit = 60},
		{.pid = 4712,
		 .start_ns = 7 * SEC,
		 .comm = "worker",
		 .cgroup = "/system.slice/queue.service",
		 .title = "queue.service",
		 .is_service = true,
		 .restarts = 2,
		 .anon_bytes = 90 << 20,
		 .growth = growing(60),
		 .limit_cgroup = "/system.slice",
		 .limit_bytes = 8ULL << 30,
		 .room_bytes = 0,
		 .seconds_to_limit = 0},
		{.cgroup = "/system.slice/jobs.service",
		 .title = "jobs.service",
		 .is_service = true,
		 .anon_bytes = 190 << 20,
		 .growth = growing(30),
		 .limit_bytes = 64ULL << 30,
		 .room_bytes = 20ULL << 30,
		 .shmem_bytes = 12 << 20,
		 .limit_per_hour = 690 * MIB,
		 .seconds_to_limit = 30 * HOURS,
		 .ledger = jobs_ledger()},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(sweep__add(sweep, &rows[i]), 0);
	sweep__sort(sweep);
}

static void test_growing(void **state)
{
	struct sweep *sweep = new_sweep();

	(void)state;
	add_rows(sweep);
	check_text(render_sweep(sweep, "table", 10, true), "sweep-table.txt");
	check_text(render_sweep(sweep, "table", 1, false), "sweep-table-top.txt");
	check_text(render_sweep(sweep, "json", 0, false), "sweep.json");
	assert_true(sweep__fastest_lower(sweep) == 0.9 * 600 * MIB);
	sweep__free(sweep);
}

/* Shared memory and files that nobody removes, in a group whose processes do not grow. */
static void test_shmem(void **state)
{
	struct sweep_row row = {
		.cgroup = "/system.slice/cache.service",
		.title = "cache.service",
		.is_service = true,
		.anon_bytes = 5 << 20,
		.shmem_bytes = 300 << 20,
		.shmem_per_hour = 57 * MIB,
		.growth = growing(60),
		.limit_cgroup = "/system.slice/cache.service",
		.limit_bytes = 512 << 20,
		.room_bytes = 207 << 20,
		.limit_per_hour = 60 * MIB,
		.seconds_to_limit = 12420,
	};
	struct sweep *sweep = new_sweep();

	(void)state;
	assert_int_equal(sweep__add(sweep, &row), 0);
	row.title = row.cgroup = "/both";
	row.shmem_per_hour = 29 * MIB;
	assert_int_equal(sweep__add(sweep, &row), 0);
	check_text(render_sweep(sweep, "table", 10, true), "sweep-shmem.txt");
	check_text(render_sweep(sweep, "json", 10, true), "sweep-shmem.json");
	sweep__free(sweep);
}

static void test_nothing_grows(void **state)
{
	struct sweep *sweep = new_sweep();
	char *text;

	(void)state;
	sweep->states[GROWTH_GROWING] = 0;
	check_text(render_sweep(sweep, "table", 10, false), "sweep-table-flat.txt");
	text = render_sweep(sweep, "table", 10, true);
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	check_text(text, "sweep-line.txt");
	sweep->snap->interval = 0;
	sweep->left_out = 7;
	memset(sweep->states, 0, sizeof(sweep->states));
	check_text(render_sweep(sweep, "table", 10, false), "sweep-table-none.txt");
	check_text(render_sweep(sweep, "json", 1, false), "sweep-none.json");
	assert_true(sweep__fastest_lower(sweep) == 0);
	assert_false(sweep__is_too_early(sweep));
	sweep__free(sweep);
}

/* Why no code is looked at, for people and for programs. */
static void test_notes(void **state)
{
	static const char note[] = "no code is looked at: no BPF here";
	struct sweep *sweep = new_sweep();

	(void)state;
	assert_int_equal(snapshot__add_note(sweep->snap, "%s", note), 0);
	for (int json = 0; json < 2; json++) {
		char *text = render_sweep(sweep, json ? "json" : "table", 10, false);

		if (!strstr(text, note))
			fail_msg("no note: %s", text);
		free(text);
	}
	sweep__free(sweep);
}

/* All that grow are suppressed: nothing is told to grow, and they are counted. */
static void test_suppressed(void **state)
{
	struct sweep *sweep = new_sweep();
	char *text;

	(void)state;
	sweep->suppressed_rows = 3;
	for (int brief = 0; brief < 2; brief++) {
		text = render_sweep(sweep, "table", 10, brief);
		if (!strstr(text, "1 shrinking, 12 too early to tell; 3 that grow are suppressed"))
			fail_msg("3 are suppressed: %s", text);
		free(text);
	}
	text = render_sweep(sweep, "json", 10, false);
	if (!strstr(text, "\"suppressed\":{\"rows\":3,\"stacks\":0},\"growing_total\":0"))
		fail_msg("3 are suppressed: %s", text);
	free(text);
	memset(sweep->states, 0, sizeof(sweep->states));
	sweep->states[GROWTH_GROWING] = sweep->suppressed_rows = 1;
	assert_false(sweep__is_too_early(sweep));
	text = render_sweep(sweep, "table", 10, true);
	if (!strstr(text, "nothing grows: no others; 1 that grows is suppressed; "))
		fail_msg("1 is suppressed: %s", text);
	free(text);
	sweep__free(sweep);
}

/* What nobody has looked at for long enough is not said to be fine. */
static void test_too_early(void **state)
{
	struct sweep *sweep = new_sweep();
	char *text;

	(void)state;
	assert_false(sweep__is_too_early(sweep));
	memset(sweep->states, 0, sizeof(sweep->states));
	sweep->states[GROWTH_TOO_EARLY] = 22;
	assert_true(sweep__is_too_early(sweep));
	for (int brief = 0; brief < 2; brief++) {
		text = render_sweep(sweep, "table", 10, brief);
		if (!strstr(text, "not known yet: 22 too early to tell") || strstr(text, "nothing"))
			fail_msg("22 are too early to tell: %s", text);
		free(text);
	}
	sweep__free(sweep);
}

/* The command to paste has nothing in it that a shell takes for more than a word. */
static void check_next(const char *cgroup, const char *told)
{
	const struct sweep_row row = {.cgroup = (char *)cgroup, .growth = growing(1)};
	struct sweep *sweep = new_sweep();
	char *text, expected[80];

	assert_int_equal(sweep__add(sweep, &row), 0);
	text = render_sweep(sweep, "table", 10, false);
	snprintf(expected, sizeof(expected), "`leaksweep trace --cgroup %s --duration", told);
	if (!strstr(text, expected))
		fail_msg("no %s in: %s", expected, text);
	free(text);
	sweep__free(sweep);
}

static void test_next(void **state)
{
	(void)state;
	check_next("/a.slice/b_1@c:2-d.service", "/a.slice/b_1@c:2-d.service");
	check_next("/a;reboot", "PATH");
	check_next("/a$(reboot)", "PATH");
	check_next("/a b", "PATH");
}

/* Every document is one object, and --top cuts rows, not counts. */
static void test_json(void **state)
{
	struct sweep *sweep = new_sweep();
	struct json_object *root, *rows;
	char *text;

	(void)state;
	add_rows(sweep);
	text = render_sweep(sweep, "json", 2, false);
	root = json_tokener_parse(text);
	assert_non_null(root);
	assert_true(json_object_object_get_ex(root, "growing", &rows));
	assert_int_equal(json_object_array_length(rows), 2);
	assert_true(json_object_object_get_ex(root, "growing_total", &rows));
	assert_int_equal(json_object_get_int(rows), 4);
	json_object_put(root);
	free(text);
	sweep__free(sweep);
}

static void test_hostile_names(void **state)
{
	const struct sweep_row row = {
		.pid = 1,
		.comm = "\033[2J\xff\"\n",
		.cgroup = "/\033]0;x\a",
		.title = "\xe2\x80\xae"
			 "evil\n",
		.runtime = "docker",
		.growth = growing(1),
		.limit_cgroup = "/\033[1m\r",
		.seconds_to_limit = 5,
	};
	struct sweep *sweep = new_sweep();
	struct json_object *root;
	char *text;

	(void)state;
	assert_int_equal(sweep__add(sweep, &row), 0);
	assert_int_equal(
		sweep__add(sweep, &(struct sweep_row){.cgroup = "/\r", .growth = growing(2)}), 0);
	text = render_sweep(sweep, "table", 10, false);
	for (const char *at = text; *at; at++)
		if ((unsigned char)*at < 0x20 && *at != '\n')
			fail_msg("a control character got through: %s", text);
	assert_null(strstr(text, "\xe2\x80\xae"));
	assert_null(strstr(text, "evil\n"));
	free(text);
	text = render_sweep(sweep, "json", 10, false);
	root = json_tokener_parse(text);
	assert_non_null(root);
	json_object_put(root);
	free(text);
	sweep__free(sweep);
}

static void test_formats(void **state)
{
	(void)state;
	assert_non_null(sweep_report__by_name("table"));
	assert_null(sweep_report__by_name("tree"));
	assert_null(sweep_report__by_name(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_growing), cmocka_unit_test(test_nothing_grows),
		cmocka_unit_test(test_json),	cmocka_unit_test(test_hostile_names),
		cmocka_unit_test(test_formats), cmocka_unit_test(test_suppressed),
		cmocka_unit_test(test_notes),	cmocka_unit_test(test_too_early),
		cmocka_unit_test(test_next),	cmocka_unit_test(test_shmem),
	};

	return cmocka_run_group_tests_name("sweep reports", tests, NULL, NULL);
}
