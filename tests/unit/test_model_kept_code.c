/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Code that is kept: every name of it is its own, and there is no more of it than it should be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/kept_code.h"

#define DEEP 300 /* frames */

struct scene {
	struct sweep *sweep;
	uint32_t native, python, deep; /* stacks */
	char *name;		       /* of a function, to be spoiled */
	struct symbol_inline inlined;
};

static uint32_t frame(struct scene *scene, enum frame_kind kind, uint32_t module, uint64_t offset)
{
	uint32_t index = snapshot__add_frame(scene->sweep->snap, kind, module, offset);

	assert_int_not_equal(index, SNAP_NONE);
	return index;
}

static uint32_t stack(struct scene *scene, const uint32_t *frames, size_t cnt)
{
	uint32_t node = snapshot__add_stack(scene->sweep->snap, frames, cnt);

	assert_int_not_equal(node, SNAP_NONE);
	return node;
}

static void add_stacks(struct scene *scene)
{
	struct snapshot *snap = scene->sweep->snap;
	uint32_t other = snapshot__add_module(snap, "/lib/other.so", 1, 2, NULL, 0, -1);
	uint32_t python = snapshot__add_module(snap, "/usr/bin/python3", 1, 3,
					       (const uint8_t[]){0xab, 0xcd}, 2, -1);
	uint32_t code = snapshot__add_code(snap, "/srv/app.py", "view", 10);
	uint32_t deep[DEEP];

	snap->modules.items[python].is_interpreter = true;
	frame(scene, FRAME_NATIVE, other, 1); /* of no stack that is kept */
	scene->native = stack(scene,
			      (const uint32_t[]){frame(scene, FRAME_NATIVE, python, 0x10),
						 frame(scene, FRAME_NATIVE, SNAP_NONE, 0x99),
						 frame(scene, FRAME_NATIVE, python, 0x30)},
			      3);
	scene->python = stack(scene,
			      (const uint32_t[]){frame(scene, FRAME_PYTHON, code, 12),
						 frame(scene, FRAME_PYTHON, SNAP_NONE, 0),
						 frame(scene, FRAME_NATIVE, python, 0x30)},
			      3);
	for (uint32_t i = 0; i < DEEP; i++)
		deep[i] = frame(scene, FRAME_KERNEL, SNAP_NONE, 0x1000 + i);
	scene->deep = stack(scene, deep, DEEP);
}

static void scene__init(struct scene *scene)
{
	const struct sweep_row row = {.pid = 7, .start_ns = 8, .growth.bytes_per_hour = 5};
	struct sweep_code *code = calloc(1, sizeof(*code));
	struct snapshot *snap;

	*scene = (struct scene){.sweep = sweep__new(), .name = strdup("leak_here")};
	assert_non_null(scene->sweep);
	assert_non_null(code);
	snap = scene->sweep->snap;
	add_stacks(scene);
	scene->inlined = (struct symbol_inline){.function = scene->name, .line = 3};
	scene->sweep->symbols = calloc(snap->frames.cnt, sizeof(struct symbol));
	for (size_t i = 0; i < snap->frames.cnt; i++)
		scene->sweep->symbols[i] = (struct symbol){
			.function = scene->name,
			.line = (uint32_t)i,
			.inlines = &scene->inlined,
			.inline_cnt = i % 2,
		};
	code->obstacle = strdup("something");
	code->window_cnt = 4;
	assert_int_equal(sweep__add(scene->sweep, &row), 0);
	assert_true(sweep__set_code(scene->sweep, 7, 8, code));
}

static void add_site(struct scene *scene, uint32_t node, enum cohort_state state)
{
	const struct sweep_site site = {.stack = node, .verdict.state = state};

	assert_int_equal(array_push(&scene->sweep->rows.items[0].code->sites, site), 0);
}

/* Keeps it, and destroys what it was kept from. */
static struct kept_code *keep(struct scene *scene)
{
	struct kept_code *kept = kept_code__new(scene->sweep, &scene->sweep->rows.items[0]);

	assert_non_null(kept);
	memset(scene->name, 'x', strlen(scene->name));
	free(scene->name);
	memset(&scene->inlined, 0, sizeof(scene->inlined));
	sweep__free(scene->sweep);
	return kept;
}

/* Returns the frame of a stack, counted from the leaf, and its symbol. */
static const struct snap_frame *frame_of(const struct kept_code *kept, uint32_t node, int nr,
					 const struct symbol **ret_symbol)
{
	const struct snapshot *snap = kept->snap;

	while (nr--)
		node = snap->nodes.items[node].parent;
	assert_true(node > 0 && node < snap->nodes.cnt);
	*ret_symbol = &kept->symbols[snap->nodes.items[node].frame];
	return &snap->frames.items[snap->nodes.items[node].frame];
}

static void test_names(void **state)
{
	const struct snap_frame *item;
	const struct symbol *symbol;
	const struct snap_module *module;
	struct kept_code *kept;
	struct scene scene;
	uint32_t native, python;

	(void)state;
	scene__init(&scene);
	add_site(&scene, scene.native, COHORT_GROWING);
	add_site(&scene, scene.deep, COHORT_BOUNDED);
	add_site(&scene, scene.python, COHORT_GROWING);
	kept = keep(&scene);
	assert_int_equal(kept->pid, 7);
	assert_int_equal(kept->start_ns, 8);
	assert_true(kept->growth_per_hour == 5);
	assert_string_equal(kept->code->obstacle, "something");
	assert_int_equal(kept->code->window_cnt, 4);
	assert_int_equal(kept->code->sites.cnt, 3);
	assert_int_equal(sweep_code__growing(kept->code), 2);
	native = kept->code->sites.items[0].stack;
	python = kept->code->sites.items[2].stack;
	assert_int_equal(kept->code->sites.items[1].stack, 0);
	assert_int_equal(kept->snap->modules.cnt, 1);
	assert_int_equal(kept->snap->frames.cnt, 5);
	item = frame_of(kept, native, 0, &symbol);
	module = &kept->snap->modules.items[item->module];
	assert_string_equal(module->path, "/usr/bin/python3");
	assert_true(module->is_interpreter && module->build_id_len == 2 && module->fd == -1);
	assert_int_equal(item->offset, 0x10);
	assert_string_equal(symbol->function, "leak_here");
	assert_int_equal(symbol->inline_cnt, 1);
	assert_string_equal(symbol->inlines[0].function, "leak_here");
	assert_null(symbol->inlines[0].file);
	item = frame_of(kept, native, 1, &symbol);
	assert_int_equal(item->module, SNAP_NONE);
	assert_int_equal(item->offset, 0x99);
	assert_int_equal(symbol->inline_cnt, 0);
	item = frame_of(kept, python, 0, &symbol);
	assert_int_equal(item->kind, FRAME_PYTHON);
	assert_string_equal(kept->snap->codes.items[item->module].function, "view");
	assert_int_equal(kept->snap->codes.items[item->module].first_line, 10);
	assert_int_equal(frame_of(kept, python, 1, &symbol)->module, SNAP_NONE);
	assert_ptr_equal(frame_of(kept, python, 2, &symbol), frame_of(kept, native, 2, &symbol));
	kept_code__put(kept_code__ref(kept));
	assert_string_equal(symbol->function, "leak_here");
	kept_code__put(kept);
	kept_code__put(NULL);
}

/* A process chooses how deep its stacks are, and how many. */
static void test_bounds(void **state)
{
	struct kept_code *kept;
	struct scene scene;
	size_t depth = 0;
	uint32_t node;

	(void)state;
	scene__init(&scene);
	free(scene.sweep->symbols);
	scene.sweep->symbols = NULL; /* nobody has named them */
	for (int i = 0; i < MAX_KEPT_STACKS + 5; i++)
		add_site(&scene, scene.deep, COHORT_GROWING);
	kept = keep(&scene);
	assert_null(kept->symbols);
	assert_int_equal(kept->code->sites.cnt, MAX_KEPT_STACKS + 5);
	for (size_t i = 0; i < kept->code->sites.cnt; i++)
		assert_true((kept->code->sites.items[i].stack != 0) == (i < MAX_KEPT_STACKS));
	for (node = kept->code->sites.items[0].stack; node;
	     node = kept->snap->nodes.items[node].parent)
		depth++;
	assert_int_equal(depth, MAX_KEPT_FRAMES);
	node = kept->code->sites.items[0].stack;
	node = kept->snap->nodes.items[node].frame;
	assert_int_equal(kept->snap->frames.items[node].offset, 0x1000);
	kept_code__put(kept);
}

/* Where memory was first touched is kept, too: the first ones. */
static void test_touches(void **state)
{
	struct kept_code *kept;
	struct scene scene;
	const struct symbol *symbol;

	(void)state;
	scene__init(&scene);
	for (int i = 0; i < MAX_KEPT_STACKS + 3; i++) {
		const struct sweep_touch touch = {.stack = i % 2 ? 0 : scene.native,
						  .bytes = (uint64_t)(100 - i)};

		assert_int_equal(array_push(&scene.sweep->rows.items[0].code->touches, touch), 0);
	}
	kept = keep(&scene);
	assert_int_equal(sweep_code__stacks(kept->code), MAX_KEPT_STACKS);
	assert_int_equal(sweep_code__growing(kept->code), 0);
	for (int i = 0; i < MAX_KEPT_STACKS; i++) {
		assert_int_equal(kept->code->touches.items[i].bytes, 100 - i);
		if (i % 2)
			assert_int_equal(kept->code->touches.items[i].stack, 0);
		else
			assert_int_equal(
				frame_of(kept, kept->code->touches.items[i].stack, 1, &symbol)
					->offset,
				0x99);
	}
	kept_code__put(kept);
}

/* Nodes that are not in the tree are no stack. */
static void test_wrong_node(void **state)
{
	struct kept_code *kept;
	struct scene scene;

	(void)state;
	scene__init(&scene);
	add_site(&scene, 1U << 30, COHORT_GROWING);
	add_site(&scene, 0, COHORT_GROWING);
	kept = keep(&scene);
	assert_int_equal(kept->code->sites.items[0].stack, 0);
	assert_int_equal(kept->code->sites.items[1].stack, 0);
	kept_code__put(kept);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_touches),
		cmocka_unit_test(test_wrong_node),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
