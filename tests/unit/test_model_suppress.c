/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is not told: patterns, which stacks and processes they take out, and names made to be slow.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/kept_code.h"
#include "model/suppress.h"
#include "util/clock.h"

#define SCENE_FRAMES 64
#define MIB (1024.0 * 1024)

struct scene {
	struct sweep *sweep;
	struct suppressions list;
};

static void scene__init(struct scene *scene)
{
	*scene = (struct scene){.sweep = sweep__new()};
	assert_non_null(scene->sweep);
	scene->sweep->symbols = calloc(SCENE_FRAMES, sizeof(struct symbol));
	assert_non_null(scene->sweep->symbols);
}

static void scene__free(struct scene *scene)
{
	suppressions__free(&scene->list);
	sweep__free(scene->sweep);
}

static void suppress(struct scene *scene, const char *pattern)
{
	assert_int_equal(suppressions__add(&scene->list, pattern), 0);
}

/* Returns a new frame of a function in a source file; frames of one module are told by `offset`. */
static uint32_t add_frame(struct scene *scene, const char *module, const char *function,
			  const char *file)
{
	struct snapshot *snap = scene->sweep->snap;
	uint32_t at = snapshot__add_module(snap, module, 0, 0, NULL, 0, -1);
	uint32_t frame = snapshot__add_frame(snap, FRAME_NATIVE, at, 0x1000 + snap->frames.cnt);

	assert_true(frame < SCENE_FRAMES);
	scene->sweep->symbols[frame] = (struct symbol){.function = function, .file = file};
	return frame;
}

static void add_row(struct scene *scene, const struct sweep_row *row)
{
	assert_int_equal(sweep__add(scene->sweep, row), 0);
}

/* A process that grows by 100 MiB an hour, 90 at least. */
static struct sweep_code *add_process(struct scene *scene, pid_t pid)
{
	struct sweep_code *code = calloc(1, sizeof(*code));
	const struct sweep_row row = {
		.pid = pid,
		.comm = "shop",
		.cgroup = "/system.slice/shop.service",
		.title = "shop.service",
		.is_service = true,
		.growth = {.state = GROWTH_GROWING, .bytes_per_hour = 100 * MIB, .lower = 90 * MIB},
	};

	assert_non_null(code);
	add_row(scene, &row);
	assert_true(sweep__set_code(scene->sweep, pid, 0, code));
	return code;
}

static void add_site(struct scene *scene, struct sweep_code *code, enum cohort_state state,
		     const uint32_t *frames, size_t cnt)
{
	const struct sweep_site site = {
		.stack = cnt ? snapshot__add_stack(scene->sweep->snap, frames, cnt) : 0,
		.verdict = {.state = state, .rate = 10 * MIB, .rate_high = 12 * MIB},
	};

	assert_int_equal(array_push(&code->sites, site), 0);
}

/* ---- patterns ---- */

/* Whether a pattern takes out a stack of one function. What matches the module's name, which is
 * empty, matches all. */
static bool takes(const char *pattern, const char *function)
{
	struct scene scene;
	struct sweep_code *code;
	uint32_t frame;
	bool taken;

	scene__init(&scene);
	code = add_process(&scene, 1);
	frame = add_frame(&scene, "", function, NULL);
	add_site(&scene, code, COHORT_GROWING, &frame, 1);
	suppress(&scene, pattern);
	sweep__suppress(scene.sweep, &scene.list);
	taken = !code->sites.cnt;
	assert_int_equal(code->suppressed_cnt, taken);
	scene__free(&scene);
	return taken;
}

static void test_globs(void **state)
{
	static const struct {
		const char *glob, *text;
		bool matches;
	} cases[] = {
		{"leak", "leak", true},
		{"leak", "leaks", false},
		{"leak", "a_leak", false},
		{"leak*", "leaks", true},
		{"leak*", "leak", true},
		{"*leak", "a_leak", true},
		{"*leak", "leak_a", false},
		{"*leak*", "a_leak_b", true},
		{"l?ak", "leak", true},
		{"l?ak", "lak", false},
		{"leak?", "leak", false},
		{"?", "", false},
		{"*", "anything", true},
		{"***", "anything", true},
		{"a*b*c", "a__b__b__c", true},
		{"a*b*c", "a__b__b__cd", false},
		{"*ab", "aab", true},
		{"*aab*", "aaaab", true},
		{"a*a", "a", false},
		{"*?*?*", "ab", true},
		{"*?*?*", "a", false},
		{"std::map<*>::*", "std::map<int, int>::insert(int)", true},
		{"operator new(unsigned long)", "operator new(unsigned long)", true},
		{"[ab]", "a", false},
		{"[ab]", "[ab]", true},
		{"comm::leak", "comm::leak", true},
		{"service::Store::*", "service::Store::add()", true},
		{"\xff?", "\xff\xfe", true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (takes(cases[i].glob, cases[i].text) != cases[i].matches)
			fail_msg("'%s' and '%s' %smatch", cases[i].glob, cases[i].text,
				 cases[i].matches ? "do not " : "");
}

static void test_bad_patterns(void **state)
{
	char longest[MAX_SUPPRESSION_LEN + 2];
	struct suppressions list = {0};

	(void)state;
	assert_int_equal(suppressions__add(&list, ""), -EINVAL);
	assert_int_equal(suppressions__add(&list, "comm:"), -EINVAL);
	assert_int_equal(suppressions__add(&list, "cgroup:"), -EINVAL);
	assert_int_equal(suppressions__add(&list, "service:"), -EINVAL);
	memset(longest, 'a', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(suppressions__add(&list, longest), -E2BIG);
	for (int i = 0; i < MAX_SUPPRESSIONS; i++)
		assert_int_equal(suppressions__add(&list, longest + 1), 0);
	assert_int_equal(suppressions__add(&list, "one more"), -ENOSPC);
	assert_int_equal(list.items.cnt, MAX_SUPPRESSIONS);
	suppressions__free(&list);
	assert_int_equal(list.items.cnt, 0);
	suppressions__free(&list);
}

/* ---- stacks ---- */

/* A function, a file and a module, each by its whole name or the last part of its path, wherever in
 * the stack it is; inlined calls are calls. */
static void test_stacks(void **state)
{
	static const struct symbol_inline inlined = {.function = "Store::grow()",
						     .file = "/src/inlined.h"};
	static const char *const patterns[] = {"leaf",	   "caller",	     "/src/shop/store.c",
					       "store.c",  "/lib/libzip.so", "libzip.so",
					       "Store::*", "inlined.h"};
	static const char *const others[] = {"shop/store.c", "lib",	    "/lib",
					     "leaf()",	     "sleaf",	    "comm:leaf",
					     "cgroup:leaf",  "service:leaf"};

	(void)state;
	for (size_t i = 0; i < 8 + 8; i++) {
		const char *pattern = i < 8 ? patterns[i] : others[i - 8];
		struct scene scene;
		struct sweep_code *code;
		uint32_t frames[3];

		scene__init(&scene);
		code = add_process(&scene, 1);
		frames[0] = add_frame(&scene, "/lib/libzip.so", "leaf", NULL);
		frames[1] = add_frame(&scene, "/bin/shop", "caller", "/src/shop/store.c");
		scene.sweep->symbols[frames[1]].inlines = &inlined;
		scene.sweep->symbols[frames[1]].inline_cnt = 1;
		frames[2] = add_frame(&scene, "/bin/shop", NULL, NULL);
		add_site(&scene, code, COHORT_GROWING, frames, 3);
		add_site(&scene, code, COHORT_GROWING, &frames[2], 1);
		add_site(&scene, code, COHORT_GROWING, NULL, 0);
		add_site(&scene, code, COHORT_CHURN, frames, 3);
		suppress(&scene, pattern);
		sweep__suppress(scene.sweep, &scene.list);
		if (code->sites.cnt != (i < 8 ? 3 : 4))
			fail_msg("'%s': %zu stacks are left", pattern, code->sites.cnt);
		assert_int_equal(scene.sweep->suppressed_stacks, i < 8);
		assert_int_equal(scene.sweep->rows.cnt, 1);
		scene__free(&scene);
	}
}

/* What they keep, at most, does not count for the host's fastest. */
static void test_sums(void **state)
{
	struct scene scene;
	struct sweep_code *code;
	uint32_t known, other;

	(void)state;
	scene__init(&scene);
	code = add_process(&scene, 1);
	known = add_frame(&scene, "/bin/shop", "known", NULL);
	other = add_frame(&scene, "/bin/shop", "other", NULL);
	add_site(&scene, code, COHORT_GROWING, &known, 1);
	add_site(&scene, code, COHORT_GROWING, &other, 1);
	add_site(&scene, code, COHORT_GROWING, (uint32_t[]){known, other}, 2);
	assert_true(sweep__fastest_lower(scene.sweep) == 90 * MIB);
	suppress(&scene, "known");
	sweep__suppress(scene.sweep, &scene.list);
	assert_int_equal(code->suppressed_cnt, 2);
	assert_true(code->suppressed_rate == 20 * MIB);
	assert_true(code->suppressed_high == 24 * MIB);
	assert_true(sweep__fastest_lower(scene.sweep) == 66 * MIB);
	assert_int_equal(code->sites.cnt, 1);
	code->suppressed_high = 200 * MIB;
	assert_true(sweep__fastest_lower(scene.sweep) == 0);
	scene__free(&scene);
}

/* Where new memory is first touched is not told either. */
static void test_touches(void **state)
{
	struct scene scene;
	struct sweep_code *code;
	uint32_t frames[2];

	(void)state;
	scene__init(&scene);
	code = add_process(&scene, 1);
	frames[0] = add_frame(&scene, "/bin/shop", "known", NULL);
	frames[1] = add_frame(&scene, "/bin/shop", "other", NULL);
	for (size_t i = 0; i < 2; i++) {
		const struct sweep_touch touch = {
			.stack = snapshot__add_stack(scene.sweep->snap, &frames[i], 1),
			.bytes = i + 1,
		};

		assert_int_equal(array_push(&code->touches, touch), 0);
	}
	suppress(&scene, "known");
	sweep__suppress(scene.sweep, &scene.list);
	assert_int_equal(code->touches.cnt, 1);
	assert_int_equal(code->touches.items[0].bytes, 2);
	assert_int_equal(code->suppressed_cnt, 0);
	assert_int_equal(scene.sweep->suppressed_stacks, 1);
	scene__free(&scene);
}

/* One that allocates and touches is one stack. */
static void test_counted_once(void **state)
{
	struct scene scene;
	struct sweep_code *code;
	uint32_t known, other;
	struct sweep_touch touch = {0};

	(void)state;
	scene__init(&scene);
	code = add_process(&scene, 1);
	known = add_frame(&scene, "/bin/shop", "known", NULL);
	other = add_frame(&scene, "/bin/shop", "other", NULL);
	add_site(&scene, code, COHORT_GROWING, &known, 1);
	add_site(&scene, code, COHORT_GROWING, &other, 1);
	add_site(&scene, code, COHORT_CHURN, (uint32_t[]){known, known}, 2);
	touch.stack = code->sites.items[0].stack;
	assert_int_equal(array_push(&code->touches, touch), 0);
	touch.stack = code->sites.items[2].stack;
	assert_int_equal(array_push(&code->touches, touch), 0);
	touch.stack = code->sites.items[1].stack;
	assert_int_equal(array_push(&code->touches, touch), 0);
	suppress(&scene, "known");
	sweep__suppress(scene.sweep, &scene.list);
	assert_int_equal(scene.sweep->suppressed_stacks, 2);
	assert_int_equal(code->suppressed_cnt, 1);
	assert_int_equal(code->sites.cnt, 2);
	assert_int_equal(code->sites.items[0].stack, touch.stack);
	assert_int_equal(code->touches.cnt, 1);
	scene__free(&scene);
}

/* ---- what was kept ---- */

/* Returns what is known of a process, whose stacks are of each of the functions by itself. */
static struct kept_code *keep(pid_t pid, const char *const *functions, size_t cnt)
{
	struct kept_code *kept;
	struct scene scene;
	struct sweep_code *code;

	scene__init(&scene);
	code = add_process(&scene, pid);
	code->obstacle = strdup("");
	for (size_t i = 0; i < cnt; i++) {
		uint32_t frame = add_frame(&scene, "/bin/shop", functions[i], NULL);

		add_site(&scene, code, COHORT_GROWING, &frame, 1);
	}
	kept = kept_code__new(scene.sweep, &scene.sweep->rows.items[0]);
	assert_non_null(kept);
	scene__free(&scene);
	return kept;
}

static size_t sites_of(const struct sweep_row *row)
{
	return row->kept ? row->kept->code->sites.cnt : 0;
}

/* Of a process before its restart nothing is told when all is known; what others have of it stays.
 */
static void test_kept(void **state)
{
	static const char *const functions[] = {"known", "other"};
	struct kept_code *both = keep(7, functions, 2), *known = keep(7, functions, 1);
	struct scene scene;
	struct sweep_row *rows;

	(void)state;
	scene__init(&scene);
	for (pid_t pid = 7; pid <= 9; pid++)
		add_process(&scene, pid);
	rows = scene.sweep->rows.items;
	rows[0].kept = kept_code__ref(known);
	rows[1].kept = kept_code__ref(both);
	rows[2].kept = kept_code__ref(known);
	sweep__suppress(scene.sweep, &scene.list);
	assert_ptr_equal(rows[1].kept, both);
	suppress(&scene, "known");
	sweep__suppress(scene.sweep, &scene.list);
	sweep__suppress(scene.sweep, &scene.list);
	assert_int_equal(sites_of(&rows[0]), 0);
	assert_non_null(rows[0].kept);
	assert_int_equal(rows[0].kept->code->suppressed_cnt, 1);
	assert_int_equal(sites_of(&rows[1]), 1);
	assert_int_equal(rows[1].kept->pid, 7);
	assert_null(rows[2].kept);
	assert_int_equal(scene.sweep->suppressed_stacks, 0);
	assert_int_equal(both->code->sites.cnt, 2);
	assert_int_equal(known->code->sites.cnt, 1);
	kept_code__put(both);
	kept_code__put(known);
	scene__free(&scene);
}

/* A kill's table: processes by their names, and the stacks of the others. */
static void test_oom(void **state)
{
	static const char *const functions[] = {"known", "other"};
	struct sweep_oom *oom = sweep_oom__new("/a", "a", "/a");
	struct sweep_row row = {.cgroup = "/a/b", .anon_bytes = 1};
	struct scene scene;

	(void)state;
	scene__init(&scene);
	assert_non_null(oom);
	for (row.pid = 7; row.pid <= 9; row.pid++) {
		row.comm = row.pid == 8 ? "hidden" : "shop";
		assert_int_equal(sweep_oom__add(oom, &row, OOM_THERE), 0);
		oom->list.items[row.pid - 7].row.kept = keep(row.pid, functions, 2);
	}
	suppress(&scene, "known");
	suppress(&scene, "comm:hidden");
	for (int i = 0; i < 2; i++) {
		sweep_oom__suppress(oom, &scene.list);
		assert_int_equal(oom->list.cnt, 2);
		assert_int_equal(oom->list.items[0].row.pid, 7);
		assert_int_equal(oom->list.items[1].row.pid, 9);
		assert_int_equal(sites_of(&oom->list.items[0].row), 1);
		assert_int_equal(sites_of(&oom->list.items[1].row), 1);
		assert_int_equal(oom->process_cnt, 3);
		assert_int_equal(oom->anon_bytes, 3);
	}
	sweep_oom__free(oom);
	scene__free(&scene);
}

/* Without symbols there are modules still. */
static void test_no_symbols(void **state)
{
	struct scene scene;
	struct sweep_code *code;
	uint32_t frame;

	(void)state;
	scene__init(&scene);
	code = add_process(&scene, 1);
	frame = add_frame(&scene, "/lib/libzip.so", NULL, NULL);
	free(scene.sweep->symbols);
	scene.sweep->symbols = NULL;
	add_site(&scene, code, COHORT_GROWING, &frame, 1);
	suppress(&scene, "leaf");
	sweep__suppress(scene.sweep, &scene.list);
	assert_int_equal(code->sites.cnt, 1);
	suppress(&scene, "libzip.so");
	sweep__suppress(scene.sweep, &scene.list);
	assert_int_equal(code->sites.cnt, 0);
	scene__free(&scene);
}

/* ---- processes ---- */

static void test_processes(void **state)
{
	static const struct {
		const char *pattern;
		size_t left;
	} cases[] = {
		{"comm:shop", 2},
		{"comm:s*", 2},
		{"comm:*", 1},
		{"comm:shop.service", 3},
		{"cgroup:/system.slice", 1},
		{"cgroup:/system.slice/", 1},
		{"cgroup:/system.slice/shop.service", 2},
		{"cgroup:/system.slice/sh?p.*", 2},
		{"cgroup:/system", 3},
		{"cgroup:/system.slice/shop", 3},
		{"cgroup:*.slice", 0},
		{"cgroup:/", 3},
		{"service:shop.service", 2},
		{"service:mail*", 3},
		{"service:shop", 3},
		{"shop", 3},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct scene scene;

		scene__init(&scene);
		add_process(&scene, 1);
		add_row(&scene, &(struct sweep_row){.pid = 2,
						    .comm = "mailer",
						    .cgroup = "/system.slice/a/mail",
						    .title = "mail"});
		add_row(&scene, &(struct sweep_row){.cgroup = "/user.slice/me"});
		suppress(&scene, cases[i].pattern);
		sweep__suppress(scene.sweep, &scene.list);
		if (scene.sweep->rows.cnt != cases[i].left)
			fail_msg("'%s': %zu rows are left", cases[i].pattern,
				 scene.sweep->rows.cnt);
		assert_int_equal(scene.sweep->suppressed_rows, 3 - cases[i].left);
		scene__free(&scene);
	}
}

/* Order and contents of what is left stay. */
static void test_order(void **state)
{
	struct scene scene;
	char comm[8];

	(void)state;
	scene__init(&scene);
	for (int pid = 1; pid <= 100; pid++) {
		snprintf(comm, sizeof(comm), pid % 3 ? "kept%d" : "gone%d", pid);
		add_row(&scene, &(struct sweep_row){.pid = pid, .comm = comm});
	}
	suppress(&scene, "comm:gone*");
	sweep__suppress(scene.sweep, &scene.list);
	assert_int_equal(scene.sweep->rows.cnt, 67);
	assert_int_equal(scene.sweep->suppressed_rows, 33);
	for (size_t i = 0; i < 67; i++) {
		snprintf(comm, sizeof(comm), "kept%zu", 3 * (i / 2) + i % 2 + 1);
		assert_string_equal(scene.sweep->rows.items[i].comm, comm);
	}
	scene__free(&scene);
}

/* ---- hostile names ---- */

static double seconds(void)
{
	return (double)clock_ns(CLOCK_PROCESS_CPUTIME_ID) / NS_PER_SEC;
}

/* Names and patterns of one letter make each place of the name a beginning. What cannot be compared
 * in time is told, and another process does not pay for it. */
static void test_bounded(void **state)
{
	size_t len = 1 << 20;
	char *name = malloc(len + 1), pattern[MAX_SUPPRESSION_LEN + 1];
	struct sweep_code *slow, *other;
	uint32_t frames[2];
	struct scene scene;
	double begun;

	(void)state;
	assert_non_null(name);
	memset(name, 'a', len);
	name[len] = '\0';
	memset(pattern, 'a', sizeof(pattern) - 1);
	pattern[0] = '*';
	pattern[sizeof(pattern) - 2] = 'b';
	pattern[sizeof(pattern) - 1] = '\0';
	scene__init(&scene);
	slow = add_process(&scene, 1);
	other = add_process(&scene, 2);
	frames[0] = add_frame(&scene, "/bin/shop", name, name);
	frames[1] = add_frame(&scene, "/bin/shop", "known", NULL);
	for (size_t i = 0; i < 64; i++)
		add_site(&scene, slow, COHORT_GROWING, frames, 2);
	add_site(&scene, other, COHORT_GROWING, &frames[1], 1);
	for (int i = 0; i < MAX_SUPPRESSIONS - 1; i++)
		suppress(&scene, pattern);
	suppress(&scene, "known");
	begun = seconds();
	sweep__suppress(scene.sweep, &scene.list);
	if (seconds() - begun > 5)
		fail_msg("it took %.1f s", seconds() - begun);
	assert_int_equal(slow->sites.cnt, 64);
	assert_int_equal(other->sites.cnt, 0);
	scene__free(&scene);
	free(name);
}

/* Against the definition, which tries every length of each star. */
static bool is_match(const char *glob, const char *text)
{
	if (!*glob)
		return !*text;
	if (*glob == '*')
		return is_match(glob + 1, text) || (*text && is_match(glob, text + 1));
	return *text && (*glob == '?' || *glob == *text) && is_match(glob + 1, text + 1);
}

static void test_random(void **state)
{
	uint64_t chance = 20261122;
	size_t matching = 0;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		char glob[9] = "", text[9] = "";

		for (int j = 0; j < 8; j++) {
			chance = chance * 6364136223846793005ULL + 1442695040888963407ULL;
			glob[j] = "ab?*"[chance >> 62];
			text[j] = "ab"[chance >> 61 & 1];
		}
		glob[1 + (chance >> 40) % 8] = '\0';
		text[(chance >> 50) % 9 % 8] = '\0';
		matching += is_match(glob, text);
		if (takes(glob, text) != is_match(glob, text))
			fail_msg("'%s' and '%s'", glob, text);
	}
	assert_true(matching > 1000 && matching < 19000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_globs),	     cmocka_unit_test(test_bad_patterns),
		cmocka_unit_test(test_stacks),	     cmocka_unit_test(test_sums),
		cmocka_unit_test(test_no_symbols),   cmocka_unit_test(test_touches),
		cmocka_unit_test(test_processes),    cmocka_unit_test(test_order),
		cmocka_unit_test(test_bounded),	     cmocka_unit_test(test_random),
		cmocka_unit_test(test_counted_once), cmocka_unit_test(test_kept),
		cmocka_unit_test(test_oom),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
