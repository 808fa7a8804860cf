/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is traced when, for how long, and what ends it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <math.h>

#include "engine/window_plan.h"

#define MINUTE_NS 2.4e9 /* the budget of 1 % on four CPUs */
#define HIT_NS 2000.0
#define ATTACH_NS 1e6

static const uint8_t key[SIPHASH_BYTES] = "sixteen letters";

/* A tool on a host of four CPUs that does nothing but this. */
struct tool {
	struct budget budget;
	struct window_plan plan;
	uint64_t clock_ns;
};

static void begin(struct tool *tool, double share)
{
	*tool = (struct tool){0};
	budget__init(&tool->budget, share, 4, 0, 0);
	window_plan__init(&tool->plan, &tool->budget, key);
}

static void pass(struct tool *tool, uint64_t ns)
{
	while (ns) {
		uint64_t step_ns = ns < BUDGET_MAX_STEP_NS ? ns : BUDGET_MAX_STEP_NS;

		tool->clock_ns += step_ns;
		budget__pass(&tool->budget, tool->clock_ns, 0);
		ns -= step_ns;
	}
}

static int suspect(struct tool *tool, uint64_t id, double growth)
{
	struct suspect_facts facts = {.id = id,
				      .growth_bytes_per_h = growth,
				      .ns_per_hit = HIT_NS,
				      .attach_ns = ATTACH_NS};

	return window_plan__suspect(&tool->plan, &facts);
}

/* Waits for the next order, ten minutes at most. */
static struct window_order wait_order(struct tool *tool)
{
	uint64_t begun_ns = tool->clock_ns, wait_ns;
	struct window_order order;

	while (!window_plan__next(&tool->plan, &order, &wait_ns)) {
		assert_in_range(wait_ns, 1, BUDGET_MAX_STEP_NS);
		pass(tool, wait_ns);
		if (tool->clock_ns - begun_ns > 600 * NS_PER_SEC)
			fail_msg("no order for ten minutes");
	}
	return order;
}

static struct window_bill bill_of(uint64_t hits, uint64_t open_ns)
{
	double lost = fmin(hits * HIT_NS / open_ns, 1);

	return (struct window_bill){
		.hits = hits, .busy_ns = open_ns, .lost_low = lost * 0.9, .lost_high = lost * 1.1};
}

/* Runs the window that was ordered, of a suspect that is hit so often and whose probes take so
 * long. Returns its cost. */
static double run_dear_window(struct tool *tool, const struct window_order *order,
			      double hits_per_sec, double attach_ns)
{
	enum window_state state = WINDOW_GOES_ON;
	uint64_t opened_ns;
	struct window_bill bill;

	pass(tool, 12 * NS_PER_MS);
	window_plan__opened(&tool->plan);
	opened_ns = tool->clock_ns;
	while (state == WINDOW_GOES_ON) {
		pass(tool, order->length_ns / 8 + NS_PER_MS / 5);
		state = window_plan__watch(&tool->plan, (tool->clock_ns - opened_ns) *
								hits_per_sec / NS_PER_SEC);
	}
	bill = bill_of((tool->clock_ns - opened_ns) * hits_per_sec / NS_PER_SEC,
		       tool->clock_ns - opened_ns);
	pass(tool, 60 * NS_PER_MS);
	window_plan__closed(&tool->plan, &bill, attach_ns);
	return bill.hits * HIT_NS + attach_ns;
}

static double run_window(struct tool *tool, const struct window_order *order, double hits_per_sec)
{
	return run_dear_window(tool, order, hits_per_sec, ATTACH_NS);
}

static void test_no_budget_no_windows(void **state)
{
	struct window_order order;
	struct tool tool;
	uint64_t wait_ns;

	(void)state;
	begin(&tool, 0);
	assert_int_equal(suspect(&tool, 1, 1e9), 0);
	for (int i = 0; i < 1000; i++) {
		assert_false(window_plan__next(&tool.plan, &order, &wait_ns));
		pass(&tool, wait_ns);
	}
}

static void test_first_window_is_tiny(void **state)
{
	struct window_order order;
	struct tool tool;

	(void)state;
	begin(&tool, 0.01);
	suspect(&tool, 7, 1e9);
	order = wait_order(&tool);
	assert_int_equal(order.id, 7);
	assert_false(order.is_exact);
	assert_true(order.length_ns <= 2 * NS_PER_MS);
	assert_true(order.cost_ns - ATTACH_NS <= ATTACH_NS + MINUTE_NS / 1000);
}

static void test_what_ends_a_window(void **state)
{
	struct window_order order;
	struct tool tool;
	uint64_t hits;

	(void)state;
	begin(&tool, 0.01);
	suspect(&tool, 1, 1e9);
	order = wait_order(&tool);
	/* Making the probes takes none of its time. */
	pass(&tool, 100 * NS_PER_MS);
	window_plan__opened(&tool.plan);
	assert_int_equal(window_plan__watch(&tool.plan, 0), WINDOW_GOES_ON);
	/* A hit is thought to cost twice what was calibrated. */
	hits = (WINDOW_CUT * order.cost_ns - ATTACH_NS) / (2 * HIT_NS);
	assert_int_equal(window_plan__watch(&tool.plan, hits - 1), WINDOW_GOES_ON);
	assert_int_equal(window_plan__watch(&tool.plan, hits + 1), WINDOW_TOO_DEAR);
	window_plan__closed(&tool.plan, &(struct window_bill){.hits = hits}, ATTACH_NS);

	order = wait_order(&tool);
	window_plan__opened(&tool.plan);
	pass(&tool, order.length_ns - 1);
	assert_int_equal(window_plan__watch(&tool.plan, 1), WINDOW_GOES_ON);
	pass(&tool, 1);
	assert_int_equal(window_plan__watch(&tool.plan, 1), WINDOW_OVER);
	window_plan__closed(&tool.plan, &(struct window_bill){.hits = 1}, ATTACH_NS);

	/* Something else has used up what there was. */
	order = wait_order(&tool);
	window_plan__opened(&tool.plan);
	budget__spend(&tool.budget, MINUTE_NS / 10);
	assert_int_equal(window_plan__watch(&tool.plan, 1), WINDOW_TOO_DEAR);
}

/* What making probes costs is measured anew while a window is open. */
static void test_attaching_is_spent_once(void **state)
{
	struct suspect_facts dearer = {.id = 1,
				       .growth_bytes_per_h = 1e9,
				       .ns_per_hit = HIT_NS,
				       .attach_ns = 5 * ATTACH_NS};
	struct tool tool;

	(void)state;
	begin(&tool, 0.01);
	suspect(&tool, 1, 1e9);
	wait_order(&tool);
	assert_int_equal(budget__spent_ns(&tool.budget), ATTACH_NS);
	assert_int_equal(window_plan__suspect(&tool.plan, &dearer), 0);
	window_plan__opened(&tool.plan);
	window_plan__closed(&tool.plan, &(struct window_bill){0}, 3 * ATTACH_NS);
	assert_int_equal(budget__spent_ns(&tool.budget), 3 * ATTACH_NS);
	budget__pass(&tool.budget, tool.clock_ns, 3 * ATTACH_NS);
	assert_int_equal(budget__spent_ns(&tool.budget), 3 * ATTACH_NS);
}

/* Probes that take longer to make than the budget brings in five seconds have windows, too. */
static void test_dear_probes(void **state)
{
	const double attach_ns = MINUTE_NS / 12;
	struct suspect_facts facts = {
		.id = 1, .growth_bytes_per_h = 1e9, .ns_per_hit = HIT_NS, .attach_ns = attach_ns};
	struct tool tool;
	int cnt = 0;

	(void)state;
	begin(&tool, 0.01);
	assert_true(window_plan__can_pay(&tool.plan, attach_ns));
	assert_false(window_plan__can_pay(&tool.plan, MINUTE_NS / 8));
	assert_int_equal(window_plan__suspect(&tool.plan, &facts), 0);
	for (; tool.clock_ns < 1200 * NS_PER_SEC; cnt++) {
		struct window_order order = wait_order(&tool);

		assert_true(run_dear_window(&tool, &order, 1e5, attach_ns) > attach_ns);
		assert_true(tool.budget.time_ns - tool.plan.opened_ns >= order.length_ns);
		assert_true(budget__spent_ns(&tool.budget) <= 1.05 * MINUTE_NS);
	}
	print_message("%d windows in 20 minutes\n", cnt);
	assert_in_range(cnt, 20, 20 * 12);
}

static void test_windows_do_not_overlap(void **state)
{
	struct window_order order, other;
	struct tool tool;
	uint64_t wait_ns;

	(void)state;
	begin(&tool, 0.01);
	suspect(&tool, 1, 1e9);
	suspect(&tool, 2, 1e9);
	order = wait_order(&tool);
	for (int i = 0; i < 600; i++) {
		pass(&tool, NS_PER_SEC);
		assert_false(window_plan__next(&tool.plan, &other, &wait_ns));
	}
	window_plan__closed(&tool.plan, &(struct window_bill){0}, ATTACH_NS);
	other = wait_order(&tool);
	assert_int_not_equal(other.id, order.id);
	/* One that ends with its process lets others begin. */
	window_plan__forget(&tool.plan, other.id);
	assert_int_equal(window_plan__watch(&tool.plan, 0), WINDOW_OVER);
	assert_int_equal(wait_order(&tool).id, order.id);
}

static void test_exact_tracing_comes_and_goes(void **state)
{
	struct window_order order;
	struct window_bill bill;
	struct tool tool;
	int turns = 0;

	(void)state;
	begin(&tool, 0.01);
	suspect(&tool, 1, 1e9);
	/* 1000 hits a second of 2 us are 0.2 % of a CPU, its share is 4 %. */
	for (order = wait_order(&tool); !order.is_exact; order = wait_order(&tool)) {
		run_window(&tool, &order, 1000);
		assert_true(++turns < 20);
	}
	for (int i = 0; i < 3000; i++) {
		pass(&tool, 20 * NS_PER_MS);
		bill = bill_of(20, 20 * NS_PER_MS);
		assert_true(window_plan__traced(&tool.plan, 1, &bill));
	}
	/* A hundred times as much is 20 %: it ends before it has cost a second's share five times.
	 */
	for (turns = 1;; turns++) {
		pass(&tool, 20 * NS_PER_MS);
		bill = bill_of(2000, 20 * NS_PER_MS);
		if (!window_plan__traced(&tool.plan, 1, &bill))
			break;
		assert_true(turns * bill.hits * HIT_NS < WINDOW_CUT * 0.04 * NS_PER_SEC);
	}
	assert_false(window_plan__traced(&tool.plan, 1, &bill));
	for (turns = 0; turns < 20; turns++) {
		order = wait_order(&tool);
		assert_false(order.is_exact);
		run_window(&tool, &order, 100000);
	}
	assert_false(window_plan__traced(&tool.plan, 99, &bill));
}

/* More than half its share, but less than all of it. */
static void test_exact_tracing_needs_a_margin(void **state)
{
	struct window_order order;
	struct tool tool;

	(void)state;
	begin(&tool, 0.01);
	suspect(&tool, 1, 1e9);
	for (int i = 0; i < 50; i++) {
		order = wait_order(&tool);
		assert_false(order.is_exact);
		run_window(&tool, &order, 12000);
	}
}

struct gaps {
	double mean_ns, short_part, long_part; /* below half, above twice the mean */
	uint64_t sum_ns;
};

#define GAPS 2000

static struct gaps measure_gaps(const uint8_t *with_key)
{
	static double gap_ns[GAPS];
	struct window_order order;
	struct gaps gaps = {0};
	struct tool tool;

	begin(&tool, 0.01);
	window_plan__init(&tool.plan, &tool.budget, with_key);
	suspect(&tool, 1, 1e9);
	for (int i = -20; i < GAPS; i++) {
		uint64_t begun_ns = tool.clock_ns;

		order = wait_order(&tool);
		if (i >= 0) {
			gap_ns[i] = tool.clock_ns - begun_ns;
			gaps.mean_ns += gap_ns[i] / GAPS;
			gaps.sum_ns += gap_ns[i];
		}
		run_window(&tool, &order, 500000);
	}
	for (int i = 0; i < GAPS; i++) {
		gaps.short_part += gap_ns[i] < gaps.mean_ns / 2 ? 1.0 / GAPS : 0;
		gaps.long_part += gap_ns[i] > gaps.mean_ns * 2 ? 1.0 / GAPS : 0;
	}
	return gaps;
}

static void test_windows_come_by_chance(void **state)
{
	struct gaps gaps = measure_gaps(key), same = measure_gaps(key);
	struct gaps other = measure_gaps((const uint8_t *)"another key, yes");

	(void)state;
	/* An exponential distribution has 0.39 and 0.14. */
	if (gaps.short_part < 0.3 || gaps.short_part > 0.5 || gaps.long_part < 0.08 ||
	    gaps.long_part > 0.2)
		fail_msg("gaps of %.0f ms: %.3f are short, %.3f long", gaps.mean_ns / 1e6,
			 gaps.short_part, gaps.long_part);
	assert_int_equal(gaps.sum_ns, same.sum_ns);
	assert_int_not_equal(gaps.sum_ns, other.sum_ns);
}

static void test_shares_go_by_growth(void **state)
{
	double cost_ns[3] = {0}, part;
	struct window_order order;
	struct tool tool;

	(void)state;
	begin(&tool, 0.01);
	suspect(&tool, 1, 1e8);
	suspect(&tool, 2, 9e8);
	while (tool.clock_ns < 1800 * NS_PER_SEC) {
		order = wait_order(&tool);
		cost_ns[order.id] += run_window(&tool, &order, order.id == 1 ? 400000 : 200000);
	}
	part = cost_ns[1] / (cost_ns[1] + cost_ns[2]);
	if (part < 0.085 || part > 0.115)
		fail_msg("who grows a tenth got %.3f", part);
	/* Growth is measured anew, and shrinking is no growth. */
	suspect(&tool, 1, 9e8);
	suspect(&tool, 2, -1e8);
	cost_ns[1] = cost_ns[2] = 0;
	while (tool.clock_ns < 3600 * NS_PER_SEC) {
		order = wait_order(&tool);
		cost_ns[order.id] += run_window(&tool, &order, 200000);
	}
	part = cost_ns[2] / (cost_ns[1] + cost_ns[2]);
	if (part > 0.02 || part <= 0)
		fail_msg("who does not grow got %.4f", part);
}

static void test_suspects_are_bounded(void **state)
{
	struct window_order order;
	struct tool tool;

	(void)state;
	begin(&tool, 0.01);
	for (uint64_t id = 1; id <= WINDOW_SUSPECTS; id++)
		assert_int_equal(suspect(&tool, id, id * 1e6), 0);
	assert_int_equal(suspect(&tool, 100, 0.5e6), -ENOSPC);
	assert_int_equal(suspect(&tool, 1, 1.1e6), 0);
	assert_int_equal(suspect(&tool, 101, 1.2e6), -ENOSPC);
	assert_int_equal(suspect(&tool, 101, 3.5e6), 0);
	assert_false(window_plan__has(&tool.plan, 1));
	assert_true(window_plan__has(&tool.plan, 2) && window_plan__has(&tool.plan, 101));
	/* Whose window is open keeps its place, and stays the one that is open. */
	order = wait_order(&tool);
	for (uint64_t id = 200; id < 263; id++)
		assert_int_equal(suspect(&tool, id, 1e9), 0);
	assert_true(window_plan__has(&tool.plan, order.id));
	for (uint64_t id = 237; id < 263; id++)
		window_plan__forget(&tool.plan, id);
	window_plan__forget(&tool.plan, 12345);
	window_plan__opened(&tool.plan);
	pass(&tool, order.length_ns);
	assert_int_equal(window_plan__watch(&tool.plan, 0), WINDOW_OVER);
	assert_int_equal(tool.plan.suspects[tool.plan.open].facts.id, order.id);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_budget_no_windows),
		cmocka_unit_test(test_first_window_is_tiny),
		cmocka_unit_test(test_what_ends_a_window),
		cmocka_unit_test(test_attaching_is_spent_once),
		cmocka_unit_test(test_dear_probes),
		cmocka_unit_test(test_windows_do_not_overlap),
		cmocka_unit_test(test_exact_tracing_comes_and_goes),
		cmocka_unit_test(test_exact_tracing_needs_a_margin),
		cmocka_unit_test(test_windows_come_by_chance),
		cmocka_unit_test(test_shares_go_by_growth),
		cmocka_unit_test(test_suspects_are_bounded),
	};

	return cmocka_run_group_tests_name("engine window plan", tests, NULL, NULL);
}
