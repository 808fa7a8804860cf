/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The call tree adds up to the last byte, whatever the stacks, the grouping and the pruning. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/tree.h"

#define MAX_SYMBOLS 64

/* ---- random snapshots ---- */

struct scene {
	struct snapshot *snap;
	struct symbol symbols[MAX_SYMBOLS];
};

static void add_frames(struct scene *scene, unsigned int *seed)
{
	static const char *const functions[] = {
		"a", "b", "c", "d", "main", "operator new(unsigned long)", "_start", NULL};
	static const struct symbol_inline inlines[] = {
		{"std::string::_M_create(unsigned long)", NULL, 0},
		{"small", "s.h", 3},
		{"a", "a.c", 1}};
	/* Half of the snapshots are of Python. */
	bool has_python = *seed & 1;
	uint32_t modules[2], code;

	modules[0] = snapshot__add_module(scene->snap, "/bin/app", 1, 1, NULL, 0, -1);
	modules[1] = snapshot__add_module(scene->snap, "/lib/libx.so", 1, 2, NULL, 0, -1);
	scene->snap->modules.items[modules[1]].is_interpreter = has_python;
	for (uint32_t i = 0; i < MAX_SYMBOLS; i++) {
		if (has_python && rand_r(seed) % 3 == 0) {
			code = snapshot__add_code(scene->snap, "a.py", rand_r(seed) % 2 ? "a" : "b",
						  rand_r(seed) % 2);
			snapshot__add_frame(scene->snap, FRAME_PYTHON,
					    rand_r(seed) % 8 ? code : SNAP_NONE, i);
			scene->symbols[i] = (struct symbol){
				.function = rand_r(seed) % 8 ? "a" : NULL,
				.file = "a.py",
				.line = rand_r(seed) % 3,
			};
			continue;
		}
		snapshot__add_frame(scene->snap, FRAME_NATIVE, modules[rand_r(seed) % 2], 16 * i);
		scene->symbols[i] = (struct symbol){
			.function = functions[rand_r(seed) % 8],
			.file = rand_r(seed) % 2 ? "a.c" : NULL,
			.line = rand_r(seed) % 3,
			.inlines = inlines,
			.inline_cnt = rand_r(seed) % 4,
		};
	}
}

static void scene__init(struct scene *scene, unsigned int seed)
{
	uint32_t frames[40];
	char cgroup[8];

	*scene = (struct scene){.snap = snapshot__new("trace")};
	add_frames(scene, &seed);
	for (int i = 0; i < 4; i++) {
		snprintf(cgroup, sizeof(cgroup), "/%d", i / 2);
		snapshot__add_proc(scene->snap, 100 + i, 1, "p", "", cgroup, "");
	}
	for (int i = rand_r(&seed) % 60; i > 0; i--) {
		struct snap_row row = {
			.proc = rand_r(&seed) % 4,
			.layer = rand_r(&seed) % 4 ? LAYER_MALLOC : LAYER_MMAP,
			.unwind = rand_r(&seed) % 3 ? UNWIND_COMPLETE : rand_r(&seed) % 9,
			.cost = {.live_bytes = rand_r(&seed) % 5000 - 500,
				 .live_count = rand_r(&seed) % 5},
		};
		size_t depth = rand_r(&seed) % 40;

		for (size_t j = 0; j < depth; j++)
			frames[j] = rand_r(&seed) % (j < 3 ? 4 : MAX_SYMBOLS);
		row.stack = snapshot__add_stack(scene->snap, frames, depth);
		assert_int_equal(snapshot__add_row(scene->snap, &row), 0);
		for (int j = rand_r(&seed) % 4; j > 0; j--)
			assert_int_equal(
				snapshot__add_type_share(
					scene->snap,
					snapshot__add_type(scene->snap, j & 1 ? "int" : "str"),
					rand_r(&seed) % 4, rand_r(&seed) % 900),
				0);
	}
}

/* ---- what must hold ---- */

static int64_t sum_live(const struct snapshot *snap, int64_t *ret_count)
{
	int64_t bytes = 0;

	*ret_count = 0;
	for (size_t i = 0; i < snap->rows.cnt; i++) {
		bytes += snap->rows.items[i].cost.live_bytes;
		*ret_count += snap->rows.items[i].cost.live_count;
	}
	return bytes;
}

/* Returns the bytes of the stacks whose path ends in each node: what its children do not hold. */
static int64_t check_children(const struct call_tree *tree, uint32_t node, size_t *visited)
{
	const struct tree_node *item = &tree->nodes.items[node];
	int64_t bytes = item->live_bytes;

	++*visited;
	for (uint32_t at = item->first_child; at != TREE_NONE;
	     at = tree->nodes.items[at].next_sibling) {
		assert_int_equal(tree->nodes.items[at].parent, node);
		bytes -= tree->nodes.items[at].live_bytes;
	}
	return bytes;
}

/* Walks the tree; ends of stacks must add up to the whole. */
static void check_sums(const struct call_tree *tree, const struct snapshot *snap)
{
	int64_t count, bytes = sum_live(snap, &count), ends = 0;
	uint32_t at = TREE_ROOT;
	size_t visited = 0;

	assert_int_equal(tree->nodes.items[TREE_ROOT].live_bytes, bytes);
	assert_int_equal(tree->nodes.items[TREE_ROOT].live_count, count);
	while (at != TREE_NONE) {
		int64_t own = check_children(tree, at, &visited);

		ends += own;
		/* Sections are nothing but their calls. */
		if (tree_label(tree, at)->kind == TREE_PROC ||
		    tree_label(tree, at)->kind == TREE_CGROUP)
			assert_int_equal(own, 0);
		if (tree->nodes.items[at].first_child != TREE_NONE) {
			at = tree->nodes.items[at].first_child;
			continue;
		}
		while (at != TREE_NONE && tree->nodes.items[at].next_sibling == TREE_NONE)
			at = tree->nodes.items[at].parent;
		if (at != TREE_NONE)
			at = tree->nodes.items[at].next_sibling;
	}
	assert_int_equal(ends, bytes);
	assert_true(visited <= tree->nodes.cnt);
}

static void check_order(const struct call_tree *tree)
{
	for (size_t i = 0; i < tree->nodes.cnt; i++) {
		const struct tree_node *node = &tree->nodes.items[i], *next;

		if (node->next_sibling == TREE_NONE)
			continue;
		next = &tree->nodes.items[node->next_sibling];
		if (tree_label(tree, node->next_sibling)->kind != TREE_REST)
			assert_true(node->live_bytes >= next->live_bytes);
	}
}

static void test_random_trees(void **state)
{
	(void)state;
	for (unsigned int seed = 1; seed <= 150; seed++) {
		struct scene scene;

		scene__init(&scene, seed);
		for (int i = 0; i < 4 * (GROUP_SERVICE + 1); i++) {
			const struct profile_opts opts = {.group = i / 4, .all_frames = i & 1};
			struct profile *profile =
				profile__new(scene.snap, scene.symbols, &opts, NULL);
			struct call_tree *tree = call_tree__new(profile, i & 2);

			assert_non_null(tree);
			check_sums(tree, scene.snap);
			check_order(tree);
			assert_int_equal(call_tree__prune(tree, seed % 200, seed % 4), 0);
			check_sums(tree, scene.snap);
			call_tree__free(tree);
			profile__free(profile);
		}
		snapshot__free(scene.snap);
	}
	call_tree__free(NULL);
}

/* Changes add up, too, and do not depend on the grouping. */
static void test_deltas(void **state)
{
	(void)state;
	for (unsigned int round = 1; round <= 60; round++) {
		struct profile_opts opts = {.sort = SORT_GROWTH};
		unsigned int seed = round;
		struct profile *before, *after;
		struct scene old, new;
		int64_t deltas[GROUP_SERVICE + 1];

		scene__init(&old, seed);
		scene__init(&new, seed);
		for (size_t i = 0; i < new.snap->rows.cnt; i++)
			new.snap->rows.items[i].cost.live_bytes += rand_r(&seed) % 900;
		before = profile__new(old.snap, old.symbols, &opts, NULL);
		for (int group = GROUP_STACK; group <= GROUP_SERVICE; group++) {
			struct call_tree *tree;

			opts.group = group;
			after = profile__new(new.snap, new.symbols, &opts, before);
			tree = call_tree__new(after, group & 1);
			deltas[group] = tree->nodes.items[TREE_ROOT].delta_bytes;
			check_sums(tree, new.snap);
			assert_int_equal(deltas[group], deltas[GROUP_STACK]);
			assert_int_equal(call_tree__prune(tree, 10, 0), 0);
			check_sums(tree, new.snap);
			call_tree__free(tree);
			profile__free(after);
		}
		profile__free(before);
		snapshot__free(new.snap);
		snapshot__free(old.snap);
	}
}

/* ---- one tree, node by node ---- */

static uint32_t child(const struct call_tree *tree, uint32_t node, const char *function)
{
	for (uint32_t at = tree->nodes.items[node].first_child; at != TREE_NONE;
	     at = tree->nodes.items[at].next_sibling) {
		const struct tree_label *label = tree_label(tree, at);

		if (label->kind == TREE_CALL && label->call.function &&
		    !strcmp(label->call.function, function))
			return at;
	}
	fail_msg("%s is not there", function);
	return TREE_NONE;
}

static void test_shape(void **state)
{
	struct profile_opts opts = {0};
	struct snapshot *snap = snapshot__new("trace");
	struct symbol symbols[5] = {
		{.function = "operator new(unsigned long)"},
		{.function = "leak", .file = "l.c", .line = 1},
		{.function = "leak", .file = "l.c", .line = 2},
		{.function = "serve"},
		{.function = "main"},
	};
	const uint32_t first[] = {0, 1, 3, 4}, second[] = {0, 2, 3, 4}, third[] = {3, 4};
	uint32_t module = snapshot__add_module(snap, "/bin/app", 1, 1, NULL, 0, -1);
	struct snap_row row = {.layer = LAYER_MALLOC, .unwind = UNWIND_COMPLETE};
	struct profile *profile;
	struct call_tree *tree;
	uint32_t at;

	(void)state;
	for (uint32_t i = 0; i < 5; i++)
		snapshot__add_frame(snap, FRAME_NATIVE, module, 16 * (i + 1));
	snapshot__add_proc(snap, 1, 1, "app", "", "", "");
	row.stack = snapshot__add_stack(snap, first, 4);
	row.cost = (struct cost){.live_bytes = 700, .live_count = 7};
	snapshot__add_row(snap, &row);
	row.stack = snapshot__add_stack(snap, second, 4);
	row.cost = (struct cost){.live_bytes = 290, .live_count = 2};
	snapshot__add_row(snap, &row);
	row.stack = snapshot__add_stack(snap, third, 2);
	row.cost = (struct cost){.live_bytes = 10, .live_count = 1};
	snapshot__add_row(snap, &row);

	profile = profile__new(snap, symbols, &opts, NULL);
	tree = call_tree__new(profile, true);
	at = child(tree, child(tree, TREE_ROOT, "main"), "serve");
	assert_int_equal(tree->nodes.items[at].live_bytes, 1000);
	/* Two lines of one function are two nodes; operator new is none. */
	at = child(tree, at, "leak");
	assert_int_equal(tree->nodes.items[at].live_bytes, 700);
	assert_int_equal(tree_label(tree, at)->call.line, 1);
	assert_int_equal(tree->nodes.items[at].first_child, TREE_NONE);
	assert_int_equal(tree->nodes.items[tree->nodes.items[at].next_sibling].live_bytes, 290);
	call_tree__free(tree);
	tree = call_tree__new(profile, false);
	assert_int_equal(call_tree__prune(tree, 20, 0), 0);
	at = tree->nodes.items[child(tree, TREE_ROOT, "leak")].next_sibling;
	at = tree->nodes.items[at].next_sibling;
	assert_int_equal(tree_label(tree, at)->kind, TREE_REST);
	assert_int_equal(tree_label(tree, at)->value, 1);
	assert_int_equal(tree->nodes.items[at].live_bytes, 10);
	call_tree__free(tree);
	profile__free(profile);

	opts.group = GROUP_FUNCTION;
	profile = profile__new(snap, symbols, &opts, NULL);
	tree = call_tree__new(profile, false);
	at = child(tree, TREE_ROOT, "leak");
	assert_int_equal(tree->nodes.items[at].live_bytes, 990);
	assert_null(tree_label(tree, at)->call.file);
	call_tree__free(tree);
	profile__free(profile);
	snapshot__free(snap);
}

static void test_empty(void **state)
{
	struct snapshot *snap = snapshot__new("trace");
	const struct profile_opts opts = {0};
	struct profile *profile = profile__new(snap, NULL, &opts, NULL);
	struct call_tree *tree = call_tree__new(profile, false);

	(void)state;
	assert_int_equal(tree->nodes.cnt, 1);
	assert_int_equal(call_tree__prune(tree, 10, 5), 0);
	assert_int_equal(tree->nodes.cnt, 1);
	call_tree__free(tree);
	profile__free(profile);
	snapshot__free(snap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_trees),
		cmocka_unit_test(test_deltas),
		cmocka_unit_test(test_shape),
		cmocka_unit_test(test_empty),
	};

	return cmocka_run_group_tests_name("model tree", tests, NULL, NULL);
}
