/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What looking at first touches costs: all of the host's faults, which the budget is told, and that
 * it ends when they are too many. Takes root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>

#include "engine/suspect_touches.h"
#include "small_attacher.h"
#include "touch_child.h"

#define RUN_LEAST_NS 50.0  /* of one program, with nobody to look at */
#define OWN_LEAST_NS 150.0 /* of a page beyond that, where somebody has */
#define RUNS 2 /* of a fault: the page and its counting; the fault itself, too, but on arm64 */
#define CPUS 2
/* A step of touch_child is some 1000 us, three times what this lets be taken at once. */
#define DEAR_BUDGET 4e-5

struct world {
	struct session session;
	struct suspects_opts opts;
	struct suspects suspects;
	struct suspect suspect;
	struct touch_child child, stranger;
	uint64_t now_ns;
};

/* A suspect that does nothing is watched, and there is a stranger. */
static int open_world(void **state)
{
	static struct world world;
	const struct attacher_opts opts = {.in_windows = true, .watch_touches = true};

	world = (struct world){.now_ns = 1000 * NS_PER_SEC};
	*state = &world;
	if (geteuid())
		return 0;
	if (small_attacher__open(opts, &world.session.attacher))
		return -1;
	attacher__start(world.session.attacher);
	world.suspects = (struct suspects){.opts = &world.opts, .session = &world.session};
	world.suspects.touches = touches__new(attacher__maps(world.session.attacher), NULL);
	world.child = touch_child__start();
	world.stranger = touch_child__start();
	touch_child__run(&world.stranger, " ");
	world.suspect.suspicion.pid = world.child.pid;
	return !world.suspects.touches || array_push(&world.suspects.list, &world.suspect) ||
			       attacher__add_proc(world.session.attacher, world.child.pid,
						  &world.suspect.space)
		       ? -1
		       : 0;
}

static int close_world(void **state)
{
	struct world *world = *state;

	if (!world->session.attacher)
		return 0;
	suspect_touches__end(&world->suspects, &world->suspect);
	touch_child__end(&world->child);
	touch_child__end(&world->stranger);
	array_free(&world->suspects.list);
	touches__free(world->suspects.touches);
	attacher__free(world->session.attacher);
	return 0;
}

/* Begins to watch, within a budget. */
static struct world *begin(void **state, double budget)
{
	struct world *world = *state;

	if (!world->session.attacher) {
		print_message("loading BPF programs takes root\n");
		skip();
	}
	world->opts.budget = budget;
	budget__init(&world->suspects.budget, budget, CPUS, world->now_ns, 0);
	suspect_touches__watch(&world->suspects, &world->suspect);
	assert_true(world->suspect.is_touch_watched);
	suspect_touches__bill(&world->suspects, world->now_ns);
	return world;
}

/* Returns what is billed after so long. */
static double bill_after(struct world *world, uint64_t ns)
{
	double before_ns = budget__spent_ns(&world->suspects.budget);

	world->now_ns += ns;
	suspect_touches__bill(&world->suspects, world->now_ns);
	return budget__spent_ns(&world->suspects.budget) - before_ns;
}

static void check_note(const struct world *world, const char *part)
{
	struct snapshot *snap = snapshot__new("sweep");

	assert_non_null(snap);
	assert_int_equal(suspect_touches__note(&world->suspects, snap), 0);
	assert_int_equal(snap->notes.cnt, part ? 1 : 0);
	if (part && !strstr(snap->notes.items[0], part))
		fail_msg("\"%s\" does not say \"%s\"", snap->notes.items[0], part);
	snapshot__free(snap);
}

static void test_faults_of_all_are_billed(void **state)
{
	struct world *world = begin(state, 0.01);
	const double least_ns = STEP_PAGES * RUNS * RUN_LEAST_NS;
	double cost_ns;

	touch_child__run(&world->stranger, "m");
	cost_ns = bill_after(world, NS_PER_SEC);
	print_message("a stranger's %lu faults: %.0f us\n", STEP_PAGES, cost_ns / 1000);
	assert_true(cost_ns >= least_ns);
	/* More is done for those of a suspect, also for those that are no sample. */
	touch_child__run(&world->child, "m");
	cost_ns = bill_after(world, NS_PER_SEC);
	print_message("the suspect's: %.0f us, %" PRIu64 " samples\n", cost_ns / 1000,
		      (uint64_t)world->suspect.touch_count.samples);
	assert_in_range(world->suspect.touch_count.adds, STEP_PAGES, 2 * STEP_PAGES);
	assert_true(cost_ns >= least_ns + STEP_PAGES * OWN_LEAST_NS);
	assert_true(world->suspect.is_touch_watched);
	check_note(world, NULL);
}

/* Faults of others may be as many as they like: it ends, says so, and is tried again. */
static void test_too_dear(void **state)
{
	struct world *world = begin(state, DEAR_BUDGET);

	touch_child__run(&world->stranger, "m");
	bill_after(world, NS_PER_SEC);
	assert_false(world->suspect.is_touch_watched);
	check_note(world, "is not watched for now: the host's page faults made it take ");
	suspect_touches__watch(&world->suspects, &world->suspect);
	assert_false(world->suspect.is_touch_watched);
	bill_after(world, 60 * NS_PER_SEC);
	assert_false(world->suspect.is_touch_watched);
	bill_after(world, 240 * NS_PER_SEC);
	assert_true(world->suspect.is_touch_watched);
	check_note(world, NULL);
}

/* With no budget for windows there is one for this, and it ends all the same. */
static void test_without_a_budget(void **state)
{
	struct world *world = begin(state, 0);

	touch_child__run(&world->child, "m");
	assert_true(bill_after(world, NS_PER_SEC) > 0);
	assert_true(world->suspect.is_touch_watched);
	for (int i = 0; i < 20 && world->suspect.is_touch_watched; i++) {
		for (int round = 0; round < 40 * sysconf(_SC_NPROCESSORS_ONLN); round++)
			touch_child__run(&world->child, "df");
		bill_after(world, NS_PER_SEC);
	}
	assert_false(world->suspect.is_touch_watched);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_faults_of_all_are_billed, open_world,
						close_world),
		cmocka_unit_test_setup_teardown(test_too_dear, open_world, close_world),
		cmocka_unit_test_setup_teardown(test_without_a_budget, open_world, close_world),
	};

	return cmocka_run_group_tests_name("engine suspect touches", tests, NULL, NULL);
}
