/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Recorded blocks of Python's object allocator against what its pools say. */
#include "collect_pools_fixture.h"

#include "collect/objects.h"

struct scene {
	struct fake_pools *now, *before;
	struct object_tally tally;
};

static int setup(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	*state = scene;
	if (!scene)
		return -1;
	scene->now = make_pools();
	scene->before = make_pools();
	add_pool(scene->now, POOL_AT(0), 48);
	add_pool(scene->now, POOL_AT(1), 512);
	return 0;
}

static int teardown(void **state)
{
	struct scene *scene = *state;

	object_tally__free(&scene->tally);
	free(scene->now);
	free(scene->before);
	free(scene);
	return 0;
}

static void begin(struct scene *scene)
{
	assert_int_equal(object_tally__begin(&scene->tally, &scene->now->scan), 0);
}

static bool see(struct scene *scene, uint64_t addr, uint64_t size)
{
	const struct pool *pool = NULL;
	bool seen = object_tally__see(&scene->tally, addr, size, &pool);

	if (seen)
		assert_true(pool && pool->addr <= addr && addr < pool->addr + POOL_BYTES);
	else
		assert_null(pool);
	return seen;
}

static void test_in_use_and_free(void **state)
{
	struct scene *scene = *state;
	uint64_t first = use_block(scene->now, 0, 0, 0), last;

	last = use_block(scene->now, 1, scene->now->pools[1].block_cnt - 1, 0);
	begin(scene);
	assert_true(see(scene, first, 48));
	assert_true(see(scene, last, 512));
	assert_false(see(scene, block_at(scene->now, 0, 1), 48));
}

static void test_no_such_block(void **state)
{
	struct scene *scene = *state;
	uint64_t first = use_block(scene->now, 0, 0, 0);

	use_block(scene->now, 0, 1, 0);
	begin(scene);
	assert_false(see(scene, first + 16, 48)); /* within a block */
	assert_false(see(scene, POOL_AT(0), 48)); /* the pool's header */
	assert_false(see(scene, POOL_AT(0) + PYTHON_POOL_HEADER - 16, 48));
	assert_false(see(scene, block_at(scene->now, 0, scene->now->pools[0].block_cnt), 48));
	assert_false(see(scene, POOL_AT(2) + PYTHON_POOL_HEADER, 48)); /* no pool */
	assert_false(see(scene, 0, 48));
	assert_false(see(scene, UINT64_MAX, 48));
}

/* The pool has been given to another size since: what is there now is another block. */
static void test_size_must_fit(void **state)
{
	struct scene *scene = *state;
	uint64_t addr = use_block(scene->now, 0, 0, 0);

	begin(scene);
	assert_false(see(scene, addr, 49));
	assert_false(see(scene, addr, 32));
	assert_true(see(scene, addr, 33)); /* as it was asked for */
}

static void test_one_block_a_place(void **state)
{
	struct scene *scene = *state;
	uint64_t addr = use_block(scene->now, 0, 3, 0);

	begin(scene);
	assert_true(see(scene, addr, 48));
	assert_false(see(scene, addr, 48));
}

static struct object_sums sum(const struct scene *scene, const struct pool_scan *baseline,
			      bool all_old)
{
	struct object_sums sums;

	object_tally__sum(&scene->tally, baseline, all_old, &sums);
	return sums;
}

static void test_sums(void **state)
{
	struct scene *scene = *state;
	struct object_sums sums;

	for (uint32_t i = 0; i < 100; i++)
		use_block(scene->now, 0, i, 0);
	for (uint32_t i = 0; i < 20; i++)
		use_block(scene->now, 1, i, 0);
	add_pool(scene->before, POOL_AT(0), 48);
	add_pool(scene->before, POOL_AT(1), 256); /* was of another size then */
	for (uint32_t i = 0; i < 50; i++)
		use_block(scene->before, 0, i, 0);
	for (uint32_t i = 0; i < 50; i++)
		use_block(scene->before, 1, i, 0);
	begin(scene);
	for (uint32_t i = 40; i < 90; i++)
		assert_true(see(scene, block_at(scene->now, 0, i), 48));
	sums = sum(scene, &scene->before->scan, false);
	assert_int_equal(sums.seen_cnt, 50);
	assert_int_equal(sums.seen_bytes, 50 * 48);
	assert_int_equal(sums.old_cnt, 40);
	assert_int_equal(sums.old_bytes, 40 * 48);
	assert_int_equal(sums.missed_cnt, 10 + 20);
	assert_int_equal(sums.missed_bytes, 10 * 48 + 20 * 512);

	sums = sum(scene, NULL, false); /* there were none */
	assert_int_equal(sums.missed_cnt, 70);
	assert_int_equal(sums.old_cnt, 0);
	sums = sum(scene, NULL, true); /* nobody knows */
	assert_int_equal(sums.missed_cnt, 0);
	assert_int_equal(sums.old_cnt, 70);
	assert_int_equal(sums.old_bytes, 50 * 48 + 20 * 512);
}

static void test_nothing_known(void **state)
{
	struct scene *scene = *state;
	struct object_sums sums;

	assert_int_equal(object_tally__begin(&scene->tally, NULL), 0);
	assert_false(see(scene, POOL_AT(0), 48));
	sums = sum(scene, NULL, true);
	assert_int_equal(sums.seen_cnt + sums.old_cnt + sums.missed_cnt, 0);
}

static void test_no_pools(void **state)
{
	struct scene *scene = *state;

	scene->now->scan.pools.cnt = 0;
	begin(scene);
	assert_false(see(scene, POOL_AT(0) + PYTHON_POOL_HEADER, 48));
}

#define SCENE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(test_in_use_and_free),
		SCENE_TEST(test_no_such_block),
		SCENE_TEST(test_size_must_fit),
		SCENE_TEST(test_one_block_a_place),
		SCENE_TEST(test_sums),
		SCENE_TEST(test_nothing_known),
		SCENE_TEST(test_no_pools),
	};

	return cmocka_run_group_tests_name("collect/objects", tests, NULL, NULL);
}
