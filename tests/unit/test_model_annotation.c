/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "model/annotation.h"

static void test_matches(void **state)
{
	static const struct {
		const char *path, *wanted;
		bool matches;
	} cases[] = {
		{"/srv/app/cache.py", "/srv/app/cache.py", true},
		{"/srv/app/cache.py", "app/cache.py", true},
		{"/srv/app/cache.py", "cache.py", true},
		{"/srv/app/cache.py", "/cache.py", true},
		{"/srv/app/cache.py", "./cache.py", true},
		{"/srv/app/cache.py", ".//cache.py", true},
		{"/srv/app/mycache.py", "cache.py", false},
		{"/srv/app/cache.py", "ache.py", false},
		{"/srv/app/cache.py", "cache", false},
		{"/srv/app/cache.py", "", false},
		{"/srv/app/cache.py", "./", false},
		{"/srv/app/cache.py", "/other/srv/app/cache.py", false},
		{"", "cache.py", false},
		{"", "", false},
		{"app.py", "app.py", true},
		{"./app.py", "app.py", true},
		{"app.py", "/srv/app/app.py", true},
		{"pp.py", "/srv/app/app.py", false},
		{"<string>", "<string>", true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (source_path__matches(cases[i].path, cases[i].wanted) != cases[i].matches)
			fail_msg("'%s' '%s'", cases[i].path, cases[i].wanted);
}

/* A stack that goes through a file by an inlined call, by recursion, and by its caller. */
static void test_sums(void **state)
{
	static const struct symbol_inline inlines[] = {
		{"leaf", "x.h", 7}, {"grow", "/b/pool.c", 12}, {"grow", "/b/pool.c", 12}};
	struct symbol symbols[2] = {
		{.function = "fill",
		 .file = "/b/pool.c",
		 .line = 40,
		 .inlines = inlines,
		 .inline_cnt = 3},
		{.function = "main", .file = "/b/main.c", .line = 3},
	};
	struct snapshot *snap = snapshot__new("trace");
	const struct profile_opts opts = {.group = GROUP_PROCESS};
	struct snap_row row = {.cost = {.live_bytes = 10, .live_count = 1, .alloc_bytes = 30}};
	uint32_t frames[3];
	struct annotation annotation;
	struct profile *profile;

	(void)state;
	snapshot__add_proc(snap, 1, 1, "", "", "", "");
	snapshot__add_module(snap, "/b/app", 1, 1, NULL, 0, -1);
	frames[0] = frames[1] = snapshot__add_frame(snap, FRAME_NATIVE, 0, 16);
	frames[2] = snapshot__add_frame(snap, FRAME_NATIVE, 0, 32);
	row.stack = snapshot__add_stack(snap, frames, 3);
	snapshot__add_row(snap, &row);
	row.layer = LAYER_MMAP;
	snapshot__add_row(snap, &row);
	profile = profile__new(snap, symbols, &opts, NULL);
	assert_int_equal(annotation__read(&annotation, profile, "pool.c"), 0);
	assert_int_equal(annotation.files.cnt, 1);
	assert_string_equal(annotation.files.items[0].path, "/b/pool.c");
	assert_int_equal(annotation.files.items[0].source, SNAP_NONE);
	assert_int_equal(annotation.files.items[0].self.live_bytes, 0);
	assert_int_equal(annotation.files.items[0].through.live_bytes, 20);
	assert_int_equal(annotation.lines.cnt, 2);
	assert_int_equal(annotation.lines.items[0].line, 12);
	assert_int_equal(annotation.lines.items[0].through.live_bytes, 20);
	assert_int_equal(annotation.lines.items[0].through.alloc_bytes, 60);
	assert_int_equal(annotation.lines.items[1].line, 40);
	assert_int_equal(annotation.lines.items[1].through.live_count, 2);
	annotation__free(&annotation);
	/* The first call is in another file. */
	assert_int_equal(annotation__read(&annotation, profile, "x.h"), 0);
	assert_int_equal(annotation.lines.items[0].self.live_bytes, 20);
	assert_int_equal(annotation.lines.items[0].delta_bytes, 20);
	annotation__free(&annotation);
	assert_int_equal(annotation__read(&annotation, profile, "y.h"), 0);
	assert_int_equal(annotation.files.cnt, 0);
	annotation__free(&annotation);
	profile__free(profile);
	/* Nothing has a name. */
	profile = profile__new(snap, NULL, &opts, NULL);
	assert_int_equal(annotation__read(&annotation, profile, "x.h"), 0);
	assert_int_equal(annotation.files.cnt, 0);
	annotation__free(&annotation);
	profile__free(profile);
	snapshot__free(snap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matches),
		cmocka_unit_test(test_sums),
	};

	return cmocka_run_group_tests_name("model annotation", tests, NULL, NULL);
}
