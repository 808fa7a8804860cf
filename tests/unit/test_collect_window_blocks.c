/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Windows as the kernel side's tables tell them, over real BPF maps. */
#include "collect_maps_fixture.h"

#include "collect/window_blocks.h"

#define LEAK 7ULL
#define CHURN 8ULL
#define STEP_NS 1000000000ULL
#define WINDOW_NS 10000000ULL

static const uint8_t key[SIPHASH_BYTES] = {1, 2, 3};

struct scene {
	struct world *world;
	struct window_blocks blocks;
	struct cohort *cohort;
	uint64_t windows;
	bool goes_on;
};

static struct scene begin(void **state)
{
	struct scene scene = {.world = enter(state), .cohort = cohort__new(key, 1 << 10, 16)};

	assert_non_null(scene.cohort);
	add_space(scene.world, 1, 100);
	add_space(scene.world, 2, 200);
	return scene;
}

static void end(struct scene *scene)
{
	window_blocks__free(&scene->blocks);
	cohort__free(scene->cohort);
}

static uint64_t begin_ns(uint64_t window)
{
	return (window + 1) * STEP_NS;
}

static void bear(const struct scene *scene, uint32_t space, uint64_t addr, uint64_t stack,
		 uint64_t born_ns)
{
	add_block(
		scene->world, space, addr,
		(struct block){
			.size = 100, .born_ns = born_ns, .stack_id = stack, .layer = LAYER_MALLOC});
}

static void kill_block(const struct scene *scene, uint64_t addr)
{
	const struct block_key block = {.addr = addr, .space = 1};

	assert_int_equal(bpf_map_delete_elem(scene->world->maps.live_blocks, &block), 0);
}

/* The window that comes next is over. */
static void read_window(struct scene *scene)
{
	const struct cohort_window window = {.begin_ns = begin_ns(scene->windows),
					     .end_ns = begin_ns(scene->windows) + WINDOW_NS,
					     .hits = 100};

	assert_int_equal(window_blocks__read(&scene->blocks, &scene->world->maps,
					     scene->world->collector, 1, &window, scene->goes_on,
					     scene->cohort),
			 0);
	scene->windows++;
}

static struct cohort_verdict verdict_of(const struct scene *scene, uint64_t stack)
{
	struct cohort_verdict found = {0};
	struct cohort_verdicts verdicts;

	assert_int_equal(cohort__judge(scene->cohort, begin_ns(scene->windows), -1, &verdicts), 0);
	for (size_t i = 0; i < verdicts.items.cnt; i++)
		if (verdicts.items.items[i].stack == stack)
			found = verdicts.items.items[i];
	cohort_verdicts__free(&verdicts);
	return found;
}

/* What outlives a window is told one by one, what does not in sums, each once. */
static void test_births_and_churn(void **state)
{
	struct scene scene = begin(state);

	for (uint64_t window = 0; window < 40; window++) {
		for (uint64_t i = 0; i < 3; i++)
			bear(&scene, 1, (window * 4 + i + 1) << 12, LEAK, begin_ns(window) + i);
		add_sums(scene.world, 1, LAYER_MALLOC, CHURN, 5000, 50);
		bear(&scene, 2, window << 12, LEAK, begin_ns(window));
		read_window(&scene);
		assert_int_equal(scene.blocks.calls, 53);
	}
	assert_float_equal(verdict_of(&scene, LEAK).born, 120, 0);
	assert_float_equal(verdict_of(&scene, LEAK).bytes, 12000, 0);
	assert_float_equal(verdict_of(&scene, LEAK).outlived, 1, 0);
	assert_float_equal(verdict_of(&scene, CHURN).born, 2000, 0);
	assert_float_equal(verdict_of(&scene, CHURN).bytes, 200000, 0);
	assert_float_equal(verdict_of(&scene, CHURN).outlived, 0, 0);
	assert_int_equal(verdict_of(&scene, CHURN).state, COHORT_CHURN);
	assert_true(has_block(scene.world, 1, 1 << 12));
	assert_true(has_block(scene.world, 2, 1 << 12)); /* another's */
	end(&scene);
}

/* A block that is remembered and not in the table any more has died; so has one whose address has
 * come back. */
static void test_deaths(void **state)
{
	struct scene scene = begin(state);
	struct cohort_verdict verdict;

	for (uint64_t i = 0; i < 20; i++)
		bear(&scene, 1, (i + 1) << 12, LEAK, begin_ns(0) + i);
	read_window(&scene);
	for (uint64_t i = 0; i < 4; i++)
		kill_block(&scene, (i + 1) << 12);
	bear(&scene, 1, 5 << 12, CHURN, begin_ns(1) + 1);
	read_window(&scene);
	read_window(&scene);
	verdict = verdict_of(&scene, LEAK);
	assert_float_equal(verdict.born, 20, 0);
	assert_float_equal(verdict.followed, 20, 0);
	assert_float_equal(verdict.again, 5, 0);
	assert_float_equal(verdict_of(&scene, CHURN).born, 1, 0);
	end(&scene);
}

/* What is born while probes come and go is in nobody's window, and no churn. */
static void test_between_windows(void **state)
{
	struct scene scene = begin(state);

	for (uint64_t window = 0; window < 20; window++) {
		bear(&scene, 1, (window * 4 + 1) << 12, LEAK, begin_ns(window) - 5);
		bear(&scene, 1, (window * 4 + 2) << 12, LEAK, begin_ns(window) + 5);
		bear(&scene, 1, (window * 4 + 3) << 12, LEAK, begin_ns(window) + WINDOW_NS + 5);
		read_window(&scene);
	}
	assert_float_equal(verdict_of(&scene, LEAK).born, 20, 0);
	assert_float_equal(verdict_of(&scene, LEAK).outlived, 1, 0);
	end(&scene);
}

/* Entries that nobody remembers go, and their room is given back; nested ones, too. */
static void test_room(void **state)
{
	struct scene scene = begin(state);
	struct block nested = {.size = 1,
			       .born_ns = begin_ns(0),
			       .stack_id = LEAK,
			       .layer = LAYER_MALLOC,
			       .flags = BLOCK_NESTED};
	struct block_key at = {.addr = 0x77000, .space = 1};

	scene.world->tables.groups[0].used[TABLE_BLOCKS] = 10;
	bear(&scene, 1, 0x1000, LEAK, begin_ns(0) - 1); /* from before: of no window */
	bear(&scene, 1, 0x2000, LEAK, begin_ns(0) + 1);
	bear(&scene, 1, 0x3000, LEAK, begin_ns(0) + WINDOW_NS + 1); /* of the next one */
	assert_int_equal(bpf_map_update_elem(scene.world->maps.live_blocks, &at, &nested, 0), 0);
	scene.goes_on = true;
	read_window(&scene);
	assert_false(has_block(scene.world, 1, 0x1000));
	assert_true(has_block(scene.world, 1, 0x2000));
	assert_true(has_block(scene.world, 1, 0x3000));
	assert_false(has_block(scene.world, 1, 0x77000));
	assert_int_equal(scene.world->tables.groups[0].used[TABLE_BLOCKS], 8);
	scene.goes_on = false; /* the probes have gone: nobody would see its end */
	read_window(&scene);
	assert_true(has_block(scene.world, 1, 0x2000));
	assert_false(has_block(scene.world, 1, 0x3000));
	assert_int_equal(scene.world->tables.groups[0].used[TABLE_BLOCKS], 7);
	end(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(test_births_and_churn),
		WORLD_TEST(test_deaths),
		WORLD_TEST(test_between_windows),
		WORLD_TEST(test_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
