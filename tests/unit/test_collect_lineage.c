/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who owns what after fork: scenes by hand, then whole families of processes against a model that really copies. */
#include "collect_events_fixture.h"

#include <stdlib.h>

#include "collect/lineage.h"

#define A 0x1000
#define B 0x2000

struct scene {
	struct space_table table;
	struct lineage lineage;
};

static int setup(void **state)
{
	*state = calloc(1, sizeof(struct scene));
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	struct scene *scene = *state;

	lineage__free(&scene->lineage);
	space_table__free(&scene->table);
	free(scene);
	return 0;
}

static void begin(struct scene *scene)
{
	lineage__free(&scene->lineage);
	assert_int_equal(lineage__begin(&scene->lineage, &scene->table), 0);
}

/* A block is in the block table; the collector hands over what is wanted. */
static void add_live(struct scene *scene, uint32_t space, uint64_t addr, struct block block)
{
	if (lineage__wants(&scene->lineage, space))
		assert_int_equal(lineage__add(&scene->lineage, space, addr, &block), 0);
}

struct want {
	uint64_t addr, size;
	bool freed;
};

/* Checks all that a space inherited, in any order. */
static void check(const struct scene *scene, uint32_t space, const struct want *want, size_t cnt,
		  uint64_t unknown_frees)
{
	struct inherited_blocks got;

	assert_int_equal(lineage__inherited(&scene->lineage, space_table__find(&scene->table, space), &got), 0);
	assert_int_equal(got.blocks.cnt, cnt);
	assert_int_equal(got.unknown_frees, unknown_frees);
	for (size_t i = 0; i < cnt; i++) {
		const struct inherited_block *found = NULL;

		for (size_t k = 0; k < got.blocks.cnt; k++)
			if (got.blocks.items[k].addr == want[i].addr)
				found = &got.blocks.items[k];
		assert_non_null(found);
		assert_int_equal(found->block->size, want[i].size);
		assert_int_equal(found->freed, want[i].freed);
	}
	inherited_blocks__free(&got);
}

#define CHECK(scene, space, unknown_frees, ...)                                                           \
	check(scene, space, (const struct want[]){__VA_ARGS__},                                           \
	      sizeof((const struct want[]){__VA_ARGS__}) / sizeof(struct want), unknown_frees)
#define CHECK_NOTHING(scene, space, unknown_frees) check(scene, space, NULL, 0, unknown_frees)

static void test_fork_inherits(void **state)
{
	struct scene *scene = *state;

	see_new(&scene->table, 1, 100, 10);
	see_fork(&scene->table, 2, 101, 1, 50);
	begin(scene);
	assert_true(lineage__wants(&scene->lineage, 1));
	assert_false(lineage__wants(&scene->lineage, 2));
	add_live(scene, 1, A, make_block(16, 20));
	add_live(scene, 1, B, make_block(32, 30));
	CHECK(scene, 2, 0, {A, 16}, {B, 32});
	CHECK_NOTHING(scene, 1, 0);
}

static void test_child_frees(void **state)
{
	struct scene *scene = *state;

	see_new(&scene->table, 1, 100, 10);
	see_fork(&scene->table, 2, 101, 1, 50);
	see_fork(&scene->table, 3, 102, 1, 51);
	see_unknown_free(&scene->table, 2, A, 60);
	begin(scene);
	add_live(scene, 1, A, make_block(16, 20));
	add_live(scene, 1, B, make_block(32, 30));
	CHECK(scene, 2, 0, {A, 16, true}, {B, 32});
	CHECK(scene, 3, 0, {A, 16}, {B, 32}); /* its sister's free is none of its own */
}

static void test_parent_frees_after_fork(void **state)
{
	struct scene *scene = *state;

	see_new(&scene->table, 1, 100, 10);
	see_fork(&scene->table, 2, 101, 1, 50);
	see_ancestor_free(&scene->table, 1, A, make_block(16, 20), 60);
	begin(scene);
	CHECK(scene, 2, 0, {A, 16});
}

/* Freed between the births of two children: the second one never had it. */
static void test_parent_frees_between_forks(void **state)
{
	struct scene *scene = *state;

	see_new(&scene->table, 1, 100, 10);
	see_fork(&scene->table, 2, 101, 1, 50);
	see_ancestor_free(&scene->table, 1, A, make_block(16, 20), 60);
	see_fork(&scene->table, 3, 102, 1, 70);
	begin(scene);
	CHECK(scene, 2, 0, {A, 16});
	CHECK_NOTHING(scene, 3, 0);
}

static void test_born_after_fork(void **state)
{
	struct scene *scene = *state;

	see_new(&scene->table, 1, 100, 10);
	see_fork(&scene->table, 2, 101, 1, 50);
	/* one that lives, one that was freed for the sake of a child born later */
	see_fork(&scene->table, 3, 102, 1, 80);
	see_ancestor_free(&scene->table, 1, B, make_block(32, 70), 90);
	begin(scene);
	add_live(scene, 1, A, make_block(16, 60));
	CHECK_NOTHING(scene, 2, 0);
	CHECK(scene, 3, 0, {A, 16}, {B, 32});
}

static void test_address_reused_in_parent(void **state)
{
	struct scene *scene = *state;

	see_new(&scene->table, 1, 100, 10);
	see_fork(&scene->table, 2, 101, 1, 50);
	see_ancestor_free(&scene->table, 1, A, make_block(16, 20), 60);
	see_fork(&scene->table, 3, 102, 1, 80);
	begin(scene);
	add_live(scene, 1, A, make_block(48, 70));
	CHECK(scene, 2, 0, {A, 16}); /* what it had before ... */
	CHECK(scene, 3, 0, {A, 48}); /* ... and what came after */
}

static void test_unknown_frees_that_match_nothing(void **state)
{
	struct scene *scene = *state;

	see_new(&scene->table, 1, 100, 10);
	see_fork(&scene->table, 2, 101, 1, 50);
	see_unknown_free(&scene->table, 2, A, 60);
	see_unknown_free(&scene->table, 2, B, 61);
	see_unknown_free(&scene->table, 2, 0x3000, 62);
	begin(scene);
	add_live(scene, 1, A, make_block(16, 20));
	add_live(scene, 1, B, make_block(16, 55)); /* not the child's B */
	CHECK(scene, 2, 2, {A, 16, true});
}

/* The parent frees its copy after the child has ended, so that nothing tells at the report what the child's free was of. */
static void test_free_judged_when_it_happened(void **state)
{
	struct scene *scene = *state;

	see_new(&scene->table, 1, 100, 10);
	see_fork(&scene->table, 2, 101, 1, 50);
	see_inherited_free(&scene->table, 2, A, 60);
	see_unknown_free(&scene->table, 2, B, 61);
	begin(scene);
	CHECK_NOTHING(scene, 2, 1); /* B only */
}

/* Blocks that found no room in the table may lie at one address again and again. */
static void test_repeated_unknown_frees(void **state)
{
	struct scene *scene = *state;

	see_new(&scene->table, 1, 100, 10);
	see_fork(&scene->table, 2, 101, 1, 50);
	for (unsigned int i = 0; i < 5; i++)
		see_unknown_free(&scene->table, 2, A, 60 + i);
	for (unsigned int i = 0; i < 3; i++)
		see_unknown_free(&scene->table, 2, B, 70 + i);
	begin(scene);
	add_live(scene, 1, A, make_block(16, 20));
	CHECK(scene, 2, 7, {A, 16, true});
}

static void test_grandchild_through_dead_parent(void **state)
{
	struct scene *scene = *state;

	see_new(&scene->table, 1, 100, 10);
	see_fork(&scene->table, 2, 101, 1, 50);
	see_fork(&scene->table, 3, 102, 2, 100);
	see_exit(&scene->table, 2, 101, 0, 110);
	see_exit(&scene->table, 1, 100, 0, 120);
	begin(scene);
	assert_true(lineage__wants(&scene->lineage, 1));
	assert_true(lineage__wants(&scene->lineage, 2));
	add_live(scene, 1, A, make_block(16, 20));
	add_live(scene, 1, B, make_block(32, 60)); /* the middle one was born before */
	add_live(scene, 2, 0x3000, make_block(48, 70));
	add_live(scene, 2, 0x4000, make_block(64, 105)); /* after the grandchild's birth */
	CHECK(scene, 3, 0, {A, 16}, {0x3000, 48});
}

static void test_middle_one_frees_what_it_inherited(void **state)
{
	struct scene *scene = *state;

	see_new(&scene->table, 1, 100, 10);
	see_fork(&scene->table, 2, 101, 1, 50);
	see_unknown_free(&scene->table, 2, A, 60);
	see_fork(&scene->table, 3, 102, 2, 100);
	see_unknown_free(&scene->table, 2, B, 110);
	begin(scene);
	add_live(scene, 1, A, make_block(16, 20));
	add_live(scene, 1, B, make_block(32, 30));
	CHECK(scene, 2, 0, {A, 16, true}, {B, 32, true});
	CHECK(scene, 3, 0, {B, 32}); /* A was freed before its birth, B after it */
}

/* Freed by the middle one, which then gets the address for a block of its own. */
static void test_middle_one_reuses_the_address(void **state)
{
	struct scene *scene = *state;

	see_new(&scene->table, 1, 100, 10);
	see_fork(&scene->table, 2, 101, 1, 50);
	see_unknown_free(&scene->table, 2, A, 60);
	see_fork(&scene->table, 3, 102, 2, 100);
	see_unknown_free(&scene->table, 3, A, 110);
	begin(scene);
	add_live(scene, 1, A, make_block(16, 20));
	add_live(scene, 2, A, make_block(48, 70));
	CHECK(scene, 3, 0, {A, 48, true});
}

/* The event of the middle one's free was lost: the address counts twice, but the number of frees stays sane. */
static void test_lost_free(void **state)
{
	struct scene *scene = *state;
	struct inherited_blocks got;

	see_new(&scene->table, 1, 100, 10);
	see_fork(&scene->table, 2, 101, 1, 50);
	see_fork(&scene->table, 3, 102, 2, 100);
	see_unknown_free(&scene->table, 3, A, 110);
	begin(scene);
	add_live(scene, 1, A, make_block(16, 20));
	add_live(scene, 2, A, make_block(48, 70));
	assert_int_equal(lineage__inherited(&scene->lineage, space_table__find(&scene->table, 3), &got), 0);
	assert_int_equal(got.unknown_frees, 0);
	inherited_blocks__free(&got);
}

static void test_exec_inherits_nothing(void **state)
{
	struct scene *scene = *state;

	see_new(&scene->table, 1, 100, 10);
	see_fork(&scene->table, 2, 101, 1, 50);
	see_exec(&scene->table, 3, 101, 2, 60);
	begin(scene);
	assert_false(lineage__wants(&scene->lineage, 1)); /* nobody is left who could own a copy */
	CHECK_NOTHING(scene, 3, 0);
}

/* The parent executes another program: its child keeps what the old one had. */
static void test_parent_execs(void **state)
{
	struct scene *scene = *state;

	see_new(&scene->table, 1, 100, 10);
	see_fork(&scene->table, 2, 101, 1, 50);
	see_exec(&scene->table, 3, 100, 1, 60);
	begin(scene);
	add_live(scene, 1, A, make_block(16, 20));
	CHECK(scene, 2, 0, {A, 16});
}

static void test_unknown_parent(void **state)
{
	struct scene *scene = *state;

	see_fork(&scene->table, 2, 101, 1, 50);
	see_unknown_free(&scene->table, 2, A, 60);
	begin(scene);
	CHECK_NOTHING(scene, 2, 1);
}

static void test_many_generations(void **state)
{
	struct scene *scene = *state;
	struct want want[32];

	see_new(&scene->table, 1, 100, 10);
	for (uint32_t id = 2; id <= 33; id++)
		see_fork(&scene->table, id, 100 + id, id - 1, id * 100);
	begin(scene);
	for (uint32_t id = 1; id <= 32; id++) {
		add_live(scene, id, id * 16, make_block(id, id * 100 + 50));
		want[id - 1] = (struct want){.addr = id * 16, .size = id};
	}
	check(scene, 33, want, 32, 0);
}

/* ---- families against a model ------------------------------------------------------------------------------- */

#define MAX_SPACES 400
#define ADDR_CNT 48

/* What the process really has at an address. */
struct cell {
	bool live, inherited;
	struct block block;
};

struct model_space {
	bool running, ended, released, dropped;
	uint32_t parent;
	pid_t tgid;
	uint64_t last_fork_ns;
	unsigned int heirs;
	struct cell cells[ADDR_CNT];
	struct cell born_with[ADDR_CNT];	/* a copy of its parent's, at its birth */
	bool freed[ADDR_CNT];			/* of those */
	uint64_t unknown_frees;
};

struct family {
	struct scene scene;
	struct model_space spaces[MAX_SPACES];
	uint32_t last;
	pid_t last_tgid;
	uint64_t now, seed;
};

static uint32_t pick(struct family *family, uint32_t below)
{
	family->seed = family->seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (family->seed >> 33) % below;
}

static uint64_t addr_of(unsigned int i)
{
	return 0x7f0000000000ULL + i * 32;
}

static void release(struct family *family, uint32_t id)
{
	while (id) {
		struct model_space *space = &family->spaces[id], *parent = &family->spaces[space->parent];

		space->released = true;
		if (!space->parent || --parent->heirs || !parent->ended)
			break;
		id = space->parent;
	}
}

static void end(struct family *family, uint32_t id)
{
	struct model_space *space = &family->spaces[id];

	space->running = false;
	space->ended = true;
	if (!space->heirs)
		release(family, id);
}

static void do_fork(struct family *family, uint32_t id)
{
	struct model_space *parent = &family->spaces[id], *child = &family->spaces[family->last + 1];

	if (family->last + 1 >= MAX_SPACES)
		return;
	family->last++;
	parent->last_fork_ns = family->now;
	parent->heirs++;
	*child = (struct model_space){.running = true, .parent = id, .tgid = ++family->last_tgid};
	for (unsigned int i = 0; i < ADDR_CNT; i++) {
		child->cells[i] = child->born_with[i] = parent->cells[i];
		child->cells[i].inherited = true;
	}
	see_fork(&family->scene.table, family->last, child->tgid, id, ++family->now);
}

static void do_free(struct family *family, uint32_t id, unsigned int i)
{
	struct model_space *space = &family->spaces[id];
	struct cell *cell = &space->cells[i];

	if (cell->live && !cell->inherited) {
		if (space->heirs && cell->block.born_ns <= space->last_fork_ns)
			see_ancestor_free(&family->scene.table, id, addr_of(i), cell->block, family->now);
	} else if (space->parent) {
		if (cell->live)
			space->freed[i] = true;
		else
			space->unknown_frees++;
		see_unknown_free(&family->scene.table, id, addr_of(i), family->now);
	}
	cell->live = false;
}

static void do_exec(struct family *family, uint32_t id)
{
	pid_t tgid = family->spaces[id].tgid;

	if (family->last + 1 >= MAX_SPACES)
		return;
	end(family, id);
	family->last++;
	family->spaces[family->last] = (struct model_space){.running = true, .tgid = tgid};
	see_exec(&family->scene.table, family->last, tgid, id, family->now);
}

static void step(struct family *family)
{
	uint32_t id = 1 + pick(family, family->last), what = pick(family, 100);
	unsigned int i = pick(family, ADDR_CNT);
	struct model_space *space;
	struct cell *cell;

	while (!family->spaces[id].running)
		id = 1 + pick(family, family->last);
	space = &family->spaces[id];
	cell = &space->cells[i];
	family->now += 10;
	if (what < 50 && !cell->live)
		*cell = (struct cell){.live = true, .block = make_block(1 + pick(family, 4096), family->now)};
	else if (what < 85 && cell->live)
		do_free(family, id, i);
	else if (what == 85)
		do_free(family, id, i);
	else if (what == 86 && id != 1)
		do_exec(family, id);
	else if (what < 90 && id != 1) {
		end(family, id);
		see_exit(&family->scene.table, id, space->tgid, 0, family->now);
	} else if (what < 96)
		do_fork(family, id);
}

/* As the collector does: what is released is forgotten. */
static void purge(struct family *family)
{
	for (uint32_t id = 1; id <= family->last; id++) {
		struct model_space *space = &family->spaces[id];

		if (!space->released || space->dropped)
			continue;
		space->dropped = true;
		space_table__drop(&family->scene.table, space_table__find(&family->scene.table, id));
	}
}

static void check_space(struct family *family, uint32_t id)
{
	struct model_space *space = &family->spaces[id];
	struct want want[ADDR_CNT];
	size_t cnt = 0;

	for (unsigned int i = 0; i < ADDR_CNT; i++) {
		if (!space->born_with[i].live)
			continue;
		want[cnt++] = (struct want){
			.addr = addr_of(i),
			.size = space->born_with[i].block.size,
			.freed = space->freed[i],
		};
	}
	check(&family->scene, id, want, cnt, space->unknown_frees);
}

static size_t check_family(struct family *family)
{
	size_t checked = 0;

	begin(&family->scene);
	for (uint32_t id = 1; id <= family->last; id++)
		for (unsigned int i = 0; i < ADDR_CNT; i++)
			if (!family->spaces[id].dropped && family->spaces[id].cells[i].live &&
			    !family->spaces[id].cells[i].inherited)
				add_live(&family->scene, id, addr_of(i), family->spaces[id].cells[i].block);
	for (uint32_t id = 1; id <= family->last; id++) {
		if (!family->spaces[id].running || !family->spaces[id].parent)
			continue;
		check_space(family, id);
		checked++;
	}
	return checked;
}

static void test_families(void **state)
{
	size_t checked = 0;

	(void)state;
	for (unsigned int round = 0; round < 60; round++) {
		struct family *family = calloc(1, sizeof(*family));

		assert_non_null(family);
		family->seed = round;
		family->last = 1;
		family->last_tgid = 1000;
		family->now = 1000;
		family->spaces[1] = (struct model_space){.running = true, .tgid = 1000};
		see_new(&family->scene.table, 1, 1000, family->now);
		for (unsigned int i = 0; i < 6000; i++) {
			step(family);
			if (i % 100 == 99) {
				checked += check_family(family);
				purge(family);
				checked += check_family(family);
			}
		}
		lineage__free(&family->scene.lineage);
		space_table__free(&family->scene.table);
		free(family);
	}
	assert_true(checked > 5000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_fork_inherits),
		TEST(test_child_frees),
		TEST(test_parent_frees_after_fork),
		TEST(test_parent_frees_between_forks),
		TEST(test_born_after_fork),
		TEST(test_address_reused_in_parent),
		TEST(test_unknown_frees_that_match_nothing),
		TEST(test_free_judged_when_it_happened),
		TEST(test_repeated_unknown_frees),
		TEST(test_grandchild_through_dead_parent),
		TEST(test_middle_one_frees_what_it_inherited),
		TEST(test_middle_one_reuses_the_address),
		TEST(test_lost_free),
		TEST(test_exec_inherits_nothing),
		TEST(test_parent_execs),
		TEST(test_unknown_parent),
		TEST(test_many_generations),
		cmocka_unit_test(test_families),
	};

	return cmocka_run_group_tests_name("collect lineage", tests, NULL, NULL);
}
