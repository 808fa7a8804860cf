/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stacks that differ in nothing but an interpreter's machine code are one row. */
#include "unit/profile_fixture.h"

/*
 * Frames are letters: n, l = the interpreter, x, y = an extension, c = the C library, m = main,
 * s = _start, p, q = Python, i = import's Python.
 */
static const char letters[] = "nlxycmspqi";

struct letter_scene {
	struct snapshot *snap;
	struct symbol symbols[16];
	uint32_t frames[128];
};

static void letter_scene__init(struct letter_scene *scene, bool other_way_round)
{
	static const char *const paths[] = {"/usr/bin/python3.11", "/opt/x.so", "/lib/libc.so.6",
					    "/opt/app"};
	static const uint8_t modules[] = {0, 0, 1, 1, 2, 3, 3};
	static const char *const functions[] = {"n",	"l",	  "x", "y", "c",
						"main", "_start", "p", "q", "i"};
	struct snapshot *snap = snapshot__new("trace");
	uint32_t indexes[4];

	*scene = (struct letter_scene){.snap = snap};
	snapshot__add_proc(snap, 1, 1, "app", "", "", "");
	for (int i = 0; i < 4; i++) {
		int at = other_way_round ? 3 - i : i;

		indexes[at] = snapshot__add_module(snap, paths[at], 1, 1 + at, NULL, 0, -1);
		snap->modules.items[indexes[at]].is_interpreter = !at;
	}
	for (int i = 0; i < 10; i++) {
		int at = other_way_round ? 9 - i : i;
		const char *file = at == 9 ? "<frozen importlib._bootstrap>" : "app.py";
		uint32_t frame =
			at < 7 ? snapshot__add_frame(snap, FRAME_NATIVE, indexes[modules[at]],
						     16 * at + 16)
			       : snapshot__add_frame(
					 snap, FRAME_PYTHON,
					 snapshot__add_code(snap, file, functions[at], 1), at);

		scene->symbols[frame].function = functions[at];
		scene->frames[(unsigned char)letters[at]] = frame;
	}
}

static void add_letters(struct letter_scene *scene, const char *stack, int64_t bytes)
{
	struct snap_row row = {.layer = LAYER_PYTHON, .cost = {.live_bytes = bytes}};
	uint32_t frames[64];
	size_t cnt = strlen(stack);

	for (size_t i = 0; i < cnt; i++)
		frames[i] = scene->frames[(unsigned char)stack[i]];
	row.stack = snapshot__add_stack(scene->snap, frames, cnt);
	row.cost.live_count = 1;
	assert_int_equal(snapshot__add_row(scene->snap, &row), 0);
}

/* Writes what a stack is told from others by, as fold.h says it. */
static void write_key(const char *stack, char *key)
{
	const char *last = NULL;
	bool is_shown = false;

	for (const char *at = stack; *at; at++)
		if (strchr("pqi", *at))
			last = at;
	for (const char *at = stack; *at; at++) {
		bool is_python = strchr("pqi", *at), is_below = last && at > last;

		if (last && strchr("nl", *at) && !(is_below && is_shown))
			continue;
		/* The library's own: not at the leaf, nor where the program starts. */
		if (last && *at == 'c' && !is_shown)
			continue;
		if (is_below && strchr("cms", *at) && !is_shown)
			continue;
		*key++ = *at;
		/* Behind the last Python frame it counts anew. */
		is_shown = !(is_python && at == last);
		if (is_below)
			is_shown = true;
	}
	*key = '\0';
}

static void check_one_row(const char *a, const char *b, bool expected)
{
	struct profile_opts opts = {0};
	struct letter_scene scene;
	struct profile *profile;
	char key_a[64], key_b[64];

	letter_scene__init(&scene, false);
	add_letters(&scene, a, 10);
	add_letters(&scene, b, 20);
	profile = profile__new(scene.snap, scene.symbols, &opts, NULL);
	write_key(a, key_a);
	write_key(b, key_b);
	if (profile->rows.cnt != (expected ? 1 : 2) || !strcmp(key_a, key_b) != expected)
		fail_msg("%s and %s: %zu rows, %s and %s", a, b, profile->rows.cnt, key_a, key_b);
	profile__free(profile);
	opts.all_frames = true;
	profile = profile__new(scene.snap, scene.symbols, &opts, NULL);
	assert_int_equal(profile->rows.cnt, strcmp(a, b) ? 2 : 1);
	profile__free(profile);
	snapshot__free(scene.snap);
}

static void test_stacks_that_are_one(void **state)
{
	(void)state;
	check_one_row("npnqncs", "lpllqmcs", true);
	check_one_row("cnpnqn", "pq", true);
	check_one_row("cxnpq", "cxpq", true);
	check_one_row("nxnpq", "xpnq", true);
	check_one_row("cxnpq", "cynpq", false);
	check_one_row("cxnpq", "cnpq", false);
	check_one_row("pq", "qp", false);
	check_one_row("pq", "ppq", false);
	check_one_row("pinq", "pniq", true);
	check_one_row("piq", "piiq", false); /* shown alike, but Python's own */
	check_one_row("pqnxms", "pqxms", true);
	check_one_row("pqxnms", "pqxms", false);
	check_one_row("pqms", "pqcs", true);
	/* Without Python every frame counts. */
	check_one_row("nms", "lms", false);
	check_one_row("cnms", "nms", false);
	check_one_row("xms", "xms", true);
}

/* Random stacks, against keys that are made in another way; and with a previous profile, which has
 * all indexes the other way round. */
static void test_random_stacks(void **state)
{
	unsigned int seed = 7;

	(void)state;
	for (int round = 0; round < 300; round++) {
		char stacks[24][24], keys[24][24];
		struct letter_scene old, new;
		struct profile *before, *after;
		size_t distinct = 0;

		letter_scene__init(&old, true);
		letter_scene__init(&new, false);
		for (int i = 0; i < 24; i++) {
			size_t len = 1 + rand_r(&seed) % 8;
			bool is_new = true;

			for (size_t j = 0; j < len; j++)
				stacks[i][j] = letters[rand_r(&seed) % 10];
			stacks[i][len] = '\0';
			write_key(stacks[i], keys[i]);
			for (int j = 0; j < i && is_new; j++)
				is_new = strcmp(keys[i], keys[j]) ||
					 !strpbrk(stacks[i], "pqi") != !strpbrk(stacks[j], "pqi");
			distinct += is_new;
			add_letters(&old, stacks[i], 100);
			add_letters(&new, stacks[i], 101);
		}
		before = profile_of(old.snap, old.symbols, GROUP_STACK, NULL);
		after = profile_of(new.snap, new.symbols, GROUP_STACK, before);
		assert_int_equal(before->rows.cnt, distinct);
		assert_int_equal(after->rows.cnt, distinct);
		for (size_t i = 0; i < after->rows.cnt; i++)
			assert_int_equal(after->rows.items[i].delta_bytes,
					 after->rows.items[i].rows);
		free_both(before, after, old.snap, new.snap);
	}
}

/* The types of stacks that are one stand together. */
static void test_shares_are_summed(void **state)
{
	static const struct {
		const char *stack, *type;
		int64_t bytes;
	} rows[] = {{"npq", "dict", 300}, {"lpq", "dict", 100}, {"pq", "str", 350},
		    {"pq", "list", 50},	  {"qp", "list", 10},	{"npq", NULL, 7}};
	const struct snap_type_share *shares;
	struct letter_scene scene;
	struct profile *profile;

	(void)state;
	letter_scene__init(&scene, false);
	for (size_t i = 0; i < 6; i++) {
		add_letters(&scene, rows[i].stack, rows[i].bytes);
		if (rows[i].type)
			snapshot__add_type_share(scene.snap,
						 snapshot__add_type(scene.snap, rows[i].type), 1,
						 rows[i].bytes);
	}
	profile = profile_of(scene.snap, scene.symbols, GROUP_STACK, NULL);
	assert_int_equal(profile->rows.cnt, 2);
	assert_int_equal(profile->rows.items[0].cost.live_bytes, 807);
	assert_int_equal(profile->rows.items[0].type_cnt, 3);
	shares = &profile->type_shares.items[profile->rows.items[0].first_type];
	assert_string_equal(scene.snap->types.items[shares[0].type], "dict");
	assert_int_equal(shares[0].bytes, 400);
	assert_int_equal(shares[0].cnt, 2);
	assert_int_equal(shares[1].bytes, 350);
	assert_int_equal(shares[2].bytes, 50);
	assert_int_equal(profile->rows.items[1].type_cnt, 1);
	assert_int_equal(profile->type_shares.items[profile->rows.items[1].first_type].bytes, 10);
	profile__free(profile);
	snapshot__free(scene.snap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stacks_that_are_one),
		cmocka_unit_test(test_random_stacks),
		cmocka_unit_test(test_shares_are_summed),
	};

	return cmocka_run_group_tests_name("model profile of folded stacks", tests, NULL, NULL);
}
