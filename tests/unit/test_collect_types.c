/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The types of the live blocks of a row. What a block holds is told by its first byte here. */
#include "collect_maps_fixture.h"
#include "collect_pools_fixture.h"

#include <sys/mman.h>
#include <sys/wait.h>

#include "collect/row_types.h"
#include "python/owners.h"
#include "python/types.h"

struct python_types {
	uint64_t asked;
};

uint32_t python_types__of_block(struct python_types *types, const uint8_t *data, size_t len,
				uint32_t *ret_object)
{
	types->asked++;
	*ret_object = 0;
	assert_true(len >= 16);
	return data[0] ? data[0] : TYPE_NONE;
}

enum { DICT = 1, SESSION, LIST, DICT_OF };

/* Whose the blocks at two places are. */
struct python_owners {
	struct {
		uint64_t addr;
		uint32_t owner;
	} known[2];
};

uint32_t python_owners__of(struct python_owners *owners, uint64_t addr, uint32_t type)
{
	for (size_t i = 0; owners && i < 2; i++)
		if (owners->known[i].addr == addr)
			return owners->known[i].owner;
	return type;
}

char *python_owner__name(const struct python_types *types, uint32_t owner)
{
	static const char *const names[] = {"", "dict", "app.Session", "list",
					    "dict of app.Session"};

	(void)types;
	return strdup(names[owner]);
}

struct scene {
	struct world *world;
	struct fake_pools *pools;
	struct python_types types;
	struct python_view view;
};

static void begin(struct scene *scene, void **state, pid_t pid)
{
	*scene = (struct scene){.world = enter(state)};
	add_space(scene->world, 1, pid);
	scene->pools = make_pools();
	add_pool(scene->pools, POOL_AT(0), 48);
	scene->view = (struct python_view){
		.space = 1,
		.version = "3.11.2",
		.frames = COVERAGE_PROBED,
		.objects = COVERAGE_PROBED,
		.scan = &scene->pools->scan,
		.types = &scene->types,
	};
	scene->world->opts.pythons = &scene->view;
	scene->world->opts.python_cnt = 1;
}

static void make_object(struct scene *scene, uint32_t i, uint8_t type, uint64_t stack_id,
			uint64_t born_ns)
{
	add_block(scene->world, 1, use_block(scene->pools, 0, i, type),
		  (struct block){.size = 48,
				 .stack_id = stack_id,
				 .layer = LAYER_PYTHON,
				 .born_ns = born_ns});
}

struct want {
	const char *type;
	int64_t cnt, bytes;
};

static void check_types(const struct snapshot *snap, const struct snap_row *row,
			const struct want *want, size_t cnt)
{
	assert_non_null(row);
	assert_int_equal(row->type_cnt, cnt);
	for (size_t i = 0; i < cnt; i++) {
		const struct snap_type_share *share = &snap->type_shares.items[row->first_type + i];

		assert_string_equal(snap->types.items[share->type], want[i].type);
		assert_int_equal(share->cnt, want[i].cnt);
		assert_int_equal(share->bytes, want[i].bytes);
	}
}

#define CHECK_TYPES(snap, row, ...)                                                                \
	check_types(snap, row, (const struct want[]){__VA_ARGS__},                                 \
		    sizeof((const struct want[]){__VA_ARGS__}) / sizeof(struct want))

static void test_objects(void **state)
{
	static const uint8_t types[] = {SESSION, DICT, 0, DICT, DICT, SESSION};
	struct snapshot *snap;
	struct scene scene;

	begin(&scene, state, 100);
	for (uint32_t i = 0; i < sizeof(types); i++)
		make_object(&scene, i, types[i], 7, BORN);
	add_block(scene.world, 1, block_at(scene.pools, 0, 20), /* dead */
		  (struct block){.size = 48, .stack_id = 7, .layer = LAYER_PYTHON});
	snap = report(scene.world);
	CHECK_TYPES(snap, find_row(snap, 0, LAYER_PYTHON), {"dict", 3, 3 * 48},
		    {"app.Session", 2, 2 * 48}, {"(not an object)", 1, 48});
	assert_int_equal(scene.types.asked, sizeof(types));
	snap = report(scene.world); /* nothing is left of the pass before */
	CHECK_TYPES(snap, find_row(snap, 0, LAYER_PYTHON), {"dict", 3, 3 * 48},
		    {"app.Session", 2, 2 * 48}, {"(not an object)", 1, 48});
	scene.view.types = NULL;
	snap = report(scene.world);
	assert_int_equal(find_row(snap, 0, LAYER_PYTHON)->type_cnt, 0);
	scene.view.types = &scene.types;
	scene.pools->pools[0].data = NULL;
	snap = report(scene.world);
	assert_int_equal(find_row(snap, 0, LAYER_PYTHON)->type_cnt, 0);
	free(scene.pools);
}

/* What is no object is told by its owner, and a dict can be somebody's. */
static void test_parts(void **state)
{
	static const uint8_t types[] = {SESSION, DICT, DICT, DICT, DICT, 0, 0, 0, 0, 0};
	struct python_owners owners = {0};
	struct snapshot *snap;
	struct scene scene;

	begin(&scene, state, 100);
	for (uint32_t i = 0; i < sizeof(types); i++)
		make_object(&scene, i, types[i], 7, BORN);
	scene.view.owners = &owners;
	snap = report(scene.world);
	CHECK_TYPES(snap, find_row(snap, 0, LAYER_PYTHON), {"(not an object)", 5, 5 * 48},
		    {"dict", 4, 4 * 48}, {"app.Session", 1, 48});
	owners.known[0].addr = block_at(scene.pools, 0, 1);
	owners.known[0].owner = DICT_OF;
	owners.known[1].addr = block_at(scene.pools, 0, 9);
	owners.known[1].owner = DICT_OF;
	snap = report(scene.world);
	CHECK_TYPES(snap, find_row(snap, 0, LAYER_PYTHON), {"(not an object)", 4, 4 * 48},
		    {"dict", 3, 3 * 48}, {"dict of app.Session", 2, 2 * 48},
		    {"app.Session", 1, 48});
	free(scene.pools);
}

/* Shares are of the blocks that the row shows. */
static void test_minimum_age(void **state)
{
	struct snapshot *snap;
	struct scene scene;

	begin(&scene, state, 100);
	make_object(&scene, 0, DICT, 7, NOW - 100);
	make_object(&scene, 1, LIST, 7, NOW - 10);
	scene.world->opts.min_age_ns = 50;
	snap = report(scene.world);
	assert_int_equal(find_row(snap, 0, LAYER_PYTHON)->cost.live_count, 1);
	CHECK_TYPES(snap, find_row(snap, 0, LAYER_PYTHON), {"dict", 1, 48});
	free(scene.pools);
}

/* Rows that become one share their types. */
static void test_rows_that_become_one(void **state)
{
	struct snapshot *snap;
	struct scene scene;

	begin(&scene, state, 100);
	for (uint64_t id = 7; id <= 9; id++)
		add_native_stack(scene.world, id, 0, (const uint64_t[]){0x1234}, 1,
				 UNWIND_COMPLETE);
	make_object(&scene, 0, DICT, 7, BORN);
	make_object(&scene, 1, LIST, 8, BORN);
	make_object(&scene, 2, DICT, 8, BORN);
	make_object(&scene, 3, DICT, 9, BORN);
	make_object(&scene, 4, LIST, 10, BORN); /* a lost stack is another one */
	snap = report(scene.world);
	assert_int_equal(snap->rows.cnt, 2);
	for (size_t i = 0; i < 2; i++) {
		if (snap->rows.items[i].stack)
			CHECK_TYPES(snap, &snap->rows.items[i], {"dict", 3, 3 * 48},
				    {"list", 1, 48});
		else
			CHECK_TYPES(snap, &snap->rows.items[i], {"list", 1, 48});
	}
	check_accounted(snap);
	free(scene.pools);
}

/* ---- blocks that malloc gave out ---- */

#define LARGE 1024
#define LARGE_CNT 1300 /* more than two batches; even */

static void make_large(struct scene *scene, uint64_t addr, uint64_t size)
{
	add_block(scene->world, 1, addr,
		  (struct block){.size = size, .stack_id = 7, .layer = LAYER_MALLOC});
}

static void test_large_blocks(void **state)
{
	uint8_t *area = mmap(NULL, 2 * LARGE_CNT * LARGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int64_t lists = 0, sessions = 0, buffers = 0;
	const struct snap_row *row;
	struct snapshot *snap;
	struct scene scene;

	assert_ptr_not_equal(area, MAP_FAILED);
	begin(&scene, state, getpid());
	for (uint32_t i = 0; i < LARGE_CNT; i++) {
		uint8_t *block = area + 2 * i * LARGE;

		block[0] = i % 4 == 0 ? LIST : i % 4 == 1 ? SESSION : 0;
		make_large(&scene, (uintptr_t)block, 600);
	}
	/* Two blocks a page: one page alone goes, and several in a row. */
	for (uint32_t i = 0; i < LARGE_CNT; i += 2) {
		if (i % 50 == 48 || (i / 8) % 20 == 3) {
			munmap(area + 2 * i * LARGE, 4096);
			continue;
		}
		lists += i % 4 == 0;
		sessions += i % 4 == 0;
		buffers += i % 4 ? 2 : 0;
	}
	assert_true(lists > 100 && sessions > 100 && buffers > 200 &&
		    lists + sessions + buffers < LARGE_CNT - 50);
	make_large(&scene, 0x1000, 512); /* of these, pools give out their own */
	snap = report(scene.world);
	check_accounted(snap);
	assert_int_equal(find_row(snap, 0, LAYER_MALLOC)->cost.live_count, LARGE_CNT + 1);
	/* equal ones in the order in which they were met: any */
	row = find_row(snap, 0, LAYER_MALLOC);
	assert_int_equal(row->type_cnt, 3);
	for (uint32_t i = 0; i < 3; i++) {
		const struct snap_type_share *share = &snap->type_shares.items[row->first_type + i];
		const char *type = snap->types.items[share->type];
		int64_t cnt = !strcmp(type, "list")	     ? lists
			      : !strcmp(type, "(buffer)")    ? buffers
			      : !strcmp(type, "app.Session") ? sessions
							     : -1;

		assert_int_equal(share->cnt, cnt);
		assert_int_equal(share->bytes, cnt * 600);
	}
	munmap(area, 2 * LARGE_CNT * LARGE);
	free(scene.pools);
}

static void test_large_parts(void **state)
{
	uint8_t *area =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct python_owners owners = {{{(uintptr_t)area + LARGE, LIST}}};
	struct snapshot *snap;
	struct scene scene;

	assert_ptr_not_equal(area, MAP_FAILED);
	begin(&scene, state, getpid());
	scene.view.owners = &owners;
	make_large(&scene, (uintptr_t)area, 600);
	make_large(&scene, (uintptr_t)area + LARGE, 1000);
	snap = report(scene.world);
	CHECK_TYPES(snap, find_row(snap, 0, LAYER_MALLOC), {"list", 1, 1000}, {"(buffer)", 1, 600});
	munmap(area, 4096);
	free(scene.pools);
}

static void test_process_has_gone(void **state)
{
	pid_t pid = fork();
	struct snapshot *snap;
	struct scene scene;

	if (!pid)
		_exit(0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	begin(&scene, state, pid);
	make_large(&scene, (uintptr_t)&scene & ~15UL, 600);
	snap = report(scene.world);
	assert_int_equal(find_row(snap, 0, LAYER_MALLOC)->type_cnt, 0);
	assert_int_equal(scene.types.asked, 0);
	free(scene.pools);
}

static void test_no_more_than_that(void **state)
{
	struct row_types types = {0};
	struct large_block block = {.pid = NO_SUCH_PID};

	(void)state;
	for (uint32_t i = 0; i < MAX_LARGE_READS + 10; i++)
		assert_int_equal(row_types__add_large(&types, &block), 0);
	assert_int_equal(types.large.cnt, MAX_LARGE_READS);
	assert_int_equal(row_types__read_large(&types), 0);
	assert_null(row_types__first(&types, 0));
	row_types__free(&types);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(test_objects),	   WORLD_TEST(test_parts),
		WORLD_TEST(test_minimum_age),	   WORLD_TEST(test_rows_that_become_one),
		WORLD_TEST(test_large_blocks),	   WORLD_TEST(test_large_parts),
		WORLD_TEST(test_process_has_gone), cmocka_unit_test(test_no_more_than_that),
	};

	return cmocka_run_group_tests_name("collect/types", tests, NULL, NULL);
}
