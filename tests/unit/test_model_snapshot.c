/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "model/snapshot.h"

static void test_new_is_empty(void **state)
{
	struct snapshot *snap = snapshot__new("trace");

	(void)state;
	assert_non_null(snap);
	assert_string_equal(snap->mode, "trace");
	assert_true(*snap->hostname && *snap->kernel && *snap->arch);
	assert_true(snap->cpus >= 1);
	assert_int_equal(snap->nodes.cnt, 1);
	assert_int_equal(snapshot__add_stack(snap, NULL, 0), 0);
	assert_int_equal(snap->rows.cnt + snap->procs.cnt + snap->frames.cnt, 0);
	snapshot__free(snap);
	snapshot__free(NULL);
}

static void test_strings_are_copied(void **state)
{
	char text[] = "worker";
	const uint8_t build_id[64] = {1, 2, 3};
	struct snapshot *snap = snapshot__new("trace");
	uint32_t proc, module;

	(void)state;
	proc = snapshot__add_proc(snap, 7, 8, text, NULL, "/a.slice", NULL);
	module = snapshot__add_module(snap, text, 1, 2, build_id, 3, -1);
	assert_int_equal(proc, 0);
	assert_int_equal(module, 0);
	assert_int_equal(
		snapshot__add_coverage(snap, proc, text, NULL, COVERAGE_PARTIAL, "half of it"), 0);
	assert_int_equal(snapshot__add_note(snap, "%s %d", text, 3), 0);
	memset(text, 'x', sizeof(text) - 1);
	assert_string_equal(snap->procs.items[0].comm, "worker");
	assert_string_equal(snap->procs.items[0].exe, "");
	assert_string_equal(snap->procs.items[0].container, "");
	assert_int_equal(snap->procs.items[0].state, PROC_RUNNING);
	assert_string_equal(snap->procs.items[0].coverage.items[0].name, "worker");
	assert_string_equal(snap->procs.items[0].coverage.items[0].path, "");
	assert_string_equal(snap->procs.items[0].coverage.items[0].reason, "half of it");
	assert_string_equal(snap->modules.items[0].path, "worker");
	assert_int_equal(snap->modules.items[0].build_id_len, 3);
	assert_string_equal(snap->notes.items[0], "worker 3");
	/* A build-id too long to keep is as good as none. */
	module = snapshot__add_module(snap, "big", 0, 0, build_id, sizeof(build_id), -1);
	assert_int_equal(snap->modules.items[module].build_id_len, 0);
	snapshot__free(snap);
}

static void test_bad_indexes_are_refused(void **state)
{
	struct snapshot *snap = snapshot__new("trace");
	struct snap_row row = {0};
	const uint32_t frame = 0;

	(void)state;
	assert_int_equal(snapshot__add_row(snap, &row), -EINVAL);
	assert_int_equal(snapshot__add_stack(snap, &frame, 1), SNAP_NONE);
	assert_int_equal(snapshot__add_frame(snap, FRAME_NATIVE, 0, 1), SNAP_NONE);
	assert_int_equal(snapshot__add_coverage(snap, 0, "", "", COVERAGE_PROBED, ""), -EINVAL);
	assert_int_equal(snapshot__add_proc(snap, 1, 1, "a", "", "", ""), 0);
	assert_int_equal(snapshot__add_row(snap, &row), 0);
	row.stack = 1;
	assert_int_equal(snapshot__add_row(snap, &row), -EINVAL);
	assert_int_equal(snap->rows.cnt, 1);
	snapshot__free(snap);
}

static void test_frames_and_stacks_are_interned(void **state)
{
	struct snapshot *snap = snapshot__new("trace");
	uint32_t module = snapshot__add_module(snap, "/bin/a", 1, 2, NULL, 0, -1);
	uint32_t leaf, other, root, stack, stack2, frames[2];

	(void)state;
	leaf = snapshot__add_frame(snap, FRAME_NATIVE, module, 0x10);
	other = snapshot__add_frame(snap, FRAME_NATIVE, SNAP_NONE, 0x10);
	root = snapshot__add_frame(snap, FRAME_NATIVE, module, 0x20);
	assert_int_equal(snapshot__add_frame(snap, FRAME_NATIVE, module, 0x10), leaf);
	assert_int_not_equal(snapshot__add_frame(snap, FRAME_KERNEL, module, 0x10), leaf);
	assert_int_not_equal(leaf, other);
	frames[0] = leaf;
	frames[1] = root;
	stack = snapshot__add_stack(snap, frames, 2);
	assert_int_equal(snapshot__add_stack(snap, frames, 2), stack);
	/* Walks from the leaf to the root. */
	assert_int_equal(snap->nodes.items[stack].frame, leaf);
	assert_int_equal(snap->nodes.items[snap->nodes.items[stack].parent].frame, root);
	frames[0] = other;
	stack2 = snapshot__add_stack(snap, frames, 2);
	assert_int_not_equal(stack, stack2);
	assert_int_equal(snap->nodes.items[stack].parent, snap->nodes.items[stack2].parent);
	/* Recursion is a stack like any other. */
	frames[0] = frames[1] = root;
	assert_int_not_equal(snapshot__add_stack(snap, frames, 2),
			     snapshot__add_stack(snap, frames, 1));
	snapshot__free(snap);
}

static void test_python_codes(void **state)
{
	char file[] = "app/cache.py", function[] = "Cache.store";
	struct snapshot *snap = snapshot__new("trace");
	uint32_t store, module, frame;

	(void)state;
	assert_int_equal(snapshot__add_frame(snap, FRAME_PYTHON, 0, 42), SNAP_NONE);
	store = snapshot__add_code(snap, file, function, 40);
	assert_int_equal(store, 0);
	assert_int_equal(snapshot__add_code(snap, file, function, 40), store);
	assert_int_not_equal(snapshot__add_code(snap, file, function, 41), store);
	assert_int_not_equal(snapshot__add_code(snap, file, "Cache", 40), store);
	assert_int_not_equal(snapshot__add_code(snap, "cache.py", function, 40), store);
	/* Where one text ends and the other begins counts. */
	assert_int_not_equal(snapshot__add_code(snap, "ab", "c", 1),
			     snapshot__add_code(snap, "a", "bc", 1));
	assert_int_equal(snap->codes.cnt, 6);
	memset(file, 'x', sizeof(file) - 1);
	memset(function, 'x', sizeof(function) - 1);
	assert_string_equal(snap->codes.items[store].file, "app/cache.py");
	assert_string_equal(snap->codes.items[store].function, "Cache.store");
	assert_int_equal(snap->codes.items[store].first_line, 40);
	/* Python frames index codes, the others modules. */
	module = snapshot__add_module(snap, "/bin/a", 1, 2, NULL, 0, -1);
	assert_int_equal(module, store);
	frame = snapshot__add_frame(snap, FRAME_PYTHON, store, 42);
	assert_int_equal(snapshot__add_frame(snap, FRAME_PYTHON, store, 42), frame);
	assert_int_not_equal(snapshot__add_frame(snap, FRAME_PYTHON, store, 43), frame);
	assert_int_not_equal(snapshot__add_frame(snap, FRAME_NATIVE, module, 42), frame);
	assert_int_not_equal(snapshot__add_frame(snap, FRAME_PYTHON, SNAP_NONE, 42), SNAP_NONE);
	assert_int_not_equal(snapshot__add_frame(snap, FRAME_PYTHON, 5, 1), SNAP_NONE);
	assert_int_equal(snapshot__add_frame(snap, FRAME_PYTHON, 6, 1), SNAP_NONE);
	assert_int_equal(snapshot__add_frame(snap, FRAME_NATIVE, 1, 1), SNAP_NONE);
	snapshot__free(snap);
}

static void test_many_codes(void **state)
{
	struct snapshot *snap = snapshot__new("trace");
	char file[32], function[32];

	(void)state;
	for (int round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < 20000; i++) {
			snprintf(file, sizeof(file), "f%u.py", i % 100);
			snprintf(function, sizeof(function), "f%u", i / 100);
			assert_int_equal(snapshot__add_code(snap, file, function, i % 7), i);
			assert_int_equal(snapshot__add_type(snap, function), i / 100);
		}
	}
	assert_int_equal(snap->codes.cnt, 20000);
	assert_int_equal(snap->types.cnt, 200);
	snapshot__free(snap);
}

static void test_types(void **state)
{
	struct snapshot *snap = snapshot__new("trace");
	struct snap_row row = {0};
	uint32_t dict, session;

	(void)state;
	dict = snapshot__add_type(snap, "dict");
	session = snapshot__add_type(snap, "app.Session");
	assert_int_equal(snapshot__add_type(snap, "dict"), dict);
	assert_string_equal(snap->types.items[session], "app.Session");
	assert_string_equal(snap->types.items[snapshot__add_type(snap, NULL)], "");
	snapshot__add_proc(snap, 1, 1, "a", "", "", "");
	assert_int_equal(snapshot__add_type_share(snap, dict, 1, 2), -EINVAL);
	assert_int_equal(snapshot__add_row(snap, &row), 0);
	assert_int_equal(snapshot__add_type_share(snap, 3, 1, 2), -EINVAL);
	assert_int_equal(snapshot__add_type_share(snap, dict, 3, 696), 0);
	assert_int_equal(snapshot__add_type_share(snap, session, 2, 96), 0);
	assert_int_equal(snapshot__add_row(snap, &row), 0);
	assert_int_equal(snapshot__add_row(snap, &row), 0);
	assert_int_equal(snapshot__add_type_share(snap, session, 1, 48), 0);
	assert_int_equal(snap->rows.items[0].first_type, 0);
	assert_int_equal(snap->rows.items[0].type_cnt, 2);
	assert_int_equal(snap->rows.items[1].type_cnt, 0);
	assert_int_equal(snap->rows.items[2].first_type, 2);
	assert_int_equal(snap->rows.items[2].type_cnt, 1);
	assert_int_equal(snap->type_shares.items[1].type, session);
	assert_int_equal(snap->type_shares.items[1].cnt, 2);
	assert_int_equal(snap->type_shares.items[1].bytes, 96);
	/* A row with shares that do not exist, or that are not the last. */
	row.first_type = 2;
	row.type_cnt = 2;
	assert_int_equal(snapshot__add_row(snap, &row), -EINVAL);
	row.first_type = UINT32_MAX;
	row.type_cnt = UINT32_MAX;
	assert_int_equal(snapshot__add_row(snap, &row), -EINVAL);
	row.first_type = 0;
	row.type_cnt = 1;
	assert_int_equal(snapshot__add_row(snap, &row), 0);
	assert_int_equal(snapshot__add_type_share(snap, dict, 1, 2), -EINVAL);
	snapshot__free(snap);
}

static void test_failures_and_pythons(void **state)
{
	struct snapshot *snap = snapshot__new("trace");
	char limit[] = "the address space limit (ulimit -v)";
	struct snap_failure failure = {
		.kind = FAILURE_MEMORY_ERROR,
		.bytes = 8ULL << 30,
		.cnt = 3,
		.limit = limit,
	};
	struct snap_python *python;

	(void)state;
	assert_int_equal(snapshot__add_failure(snap, &failure), -EINVAL);
	snapshot__add_proc(snap, 1, 1, "a", "", "", "");
	failure.stack = 1;
	assert_int_equal(snapshot__add_failure(snap, &failure), -EINVAL);
	failure.stack = 0;
	assert_int_equal(snapshot__add_failure(snap, &failure), 0);
	memset(limit, 'x', sizeof(limit) - 1);
	failure.limit = NULL;
	assert_int_equal(snapshot__add_failure(snap, &failure), 0);
	assert_int_equal(snap->failures.cnt, 2);
	assert_string_equal(snap->failures.items[0].limit, "the address space limit (ulimit -v)");
	assert_string_equal(snap->failures.items[1].limit, "");
	assert_int_equal(snap->failures.items[1].bytes, 8ULL << 30);
	/* What others put into a process is freed with it. */
	python = &snap->procs.items[0].python;
	assert_null(python->version);
	python->version = strdup("3.11.2");
	python->frames_reason = strdup("");
	python->objects_reason = strdup("2 of 171 sites are not probed");
	snapshot__free(snap);
}

/* Makes the frames of stack `i`: eight of a hundred functions, then a common end. */
static void make_stack(const uint32_t *pool, uint32_t i, uint32_t frames[10])
{
	for (unsigned int depth = 0; depth < 8; depth++, i /= 7)
		frames[depth] = pool[(i * 13 + depth) % 100];
	frames[8] = pool[98];
	frames[9] = pool[99];
}

static void test_many_stacks(void **state)
{
	struct snapshot *snap = snapshot__new("trace");
	uint32_t module = snapshot__add_module(snap, "/bin/a", 1, 2, NULL, 0, -1);
	uint32_t pool[100], frames[10], *stacks = calloc(100000, sizeof(*stacks));
	size_t node_cnt;

	(void)state;
	for (uint32_t i = 0; i < 100; i++)
		pool[i] = snapshot__add_frame(snap, FRAME_NATIVE, module, 0x1000 + i * 16);
	for (uint32_t i = 0; i < 100000; i++) {
		make_stack(pool, i, frames);
		stacks[i] = snapshot__add_stack(snap, frames, 10);
		assert_int_not_equal(stacks[i], SNAP_NONE);
	}
	node_cnt = snap->nodes.cnt;
	for (uint32_t i = 0; i < 100000; i++) {
		uint32_t node = stacks[i];

		make_stack(pool, i, frames);
		assert_int_equal(snapshot__add_stack(snap, frames, 10), stacks[i]);
		for (unsigned int depth = 0; depth < 10; depth++) {
			assert_true(snap->nodes.items[node].parent < node);
			assert_int_equal(snap->nodes.items[node].frame, frames[depth]);
			node = snap->nodes.items[node].parent;
		}
		assert_int_equal(node, 0);
	}
	assert_int_equal(snap->nodes.cnt, node_cnt);
	assert_int_equal(snap->frames.cnt, 100);
	free(stacks);
	snapshot__free(snap);
}

static void test_cost_algebra(void **state)
{
	const struct cost a = {1, 2, 3, 4, 5, 6, 7, 8};
	const struct cost b = {10, -20, 30, -40, 50, -60, 70, -80};
	const struct cost zero = {0};
	struct cost sum = a;

	(void)state;
	cost__add(&sum, &b);
	assert_int_equal(sum.live_bytes, 11);
	assert_int_equal(sum.live_count, -18);
	assert_int_equal(sum.inherited_bytes, 77);
	cost__sub(&sum, &b);
	assert_memory_equal(&sum, &a, sizeof(a));
	cost__sub(&sum, &a);
	assert_memory_equal(&sum, &zero, sizeof(zero));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new_is_empty),
		cmocka_unit_test(test_strings_are_copied),
		cmocka_unit_test(test_bad_indexes_are_refused),
		cmocka_unit_test(test_frames_and_stacks_are_interned),
		cmocka_unit_test(test_many_stacks),
		cmocka_unit_test(test_python_codes),
		cmocka_unit_test(test_many_codes),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_failures_and_pythons),
		cmocka_unit_test(test_cost_algebra),
	};

	return cmocka_run_group_tests_name("model snapshot", tests, NULL, NULL);
}
