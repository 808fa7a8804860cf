/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which probes are made, by which kind of link, and in which order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "attach/plan.h"

/* ---- which mode ------------------------------------------------------------------------------ */

/* Features of a kernel: all that are not named are there. */
static struct features kernel_without(int multi_err, int session_err)
{
	struct features features = {0};

	features.err[FEAT_UPROBE_MULTI] = multi_err;
	features.err[FEAT_UPROBE_SESSION] = session_err;
	return features;
}

static void check_mode(struct features features, enum link_mode forced, int want,
		       const char *why_part)
{
	const char *why = NULL;

	assert_int_equal(link_mode__choose(&features, forced, &why), want);
	if (why_part) {
		assert_non_null(why);
		assert_non_null(strstr(why, why_part));
	} else {
		assert_null(why);
	}
}

static void test_best_mode_of_each_kernel(void **state)
{
	(void)state;
	check_mode(kernel_without(0, 0), LINK_AUTO, LINK_SESSION, "return");
	check_mode(kernel_without(0, -EINVAL), LINK_AUTO, LINK_MULTI, "6.13");
	check_mode(kernel_without(-EINVAL, -EINVAL), LINK_AUTO, LINK_PERF, "6.6");
}

static void test_forced_mode(void **state)
{
	(void)state;
	check_mode(kernel_without(0, 0), LINK_PERF, LINK_PERF, "option");
	check_mode(kernel_without(0, 0), LINK_MULTI, LINK_MULTI, "option");
	check_mode(kernel_without(0, 0), LINK_SESSION, LINK_SESSION, "option");
}

static void test_forced_mode_that_is_not_there(void **state)
{
	(void)state;
	check_mode(kernel_without(0, -EINVAL), LINK_SESSION, -EINVAL, NULL);
	check_mode(kernel_without(-EOPNOTSUPP, -EINVAL), LINK_MULTI, -EOPNOTSUPP, NULL);
}

static void test_no_mode_at_all(void **state)
{
	struct features features = kernel_without(-EINVAL, -EINVAL);

	(void)state;
	features.err[FEAT_PERF_LINK] = -EACCES;
	check_mode(features, LINK_AUTO, -EACCES, NULL);
	check_mode(features, LINK_PERF, -EACCES, NULL);
	/* Perf events alone may be forbidden. */
	check_mode((struct features){.err = {[FEAT_PERF_LINK] = -EACCES}}, LINK_AUTO, LINK_SESSION,
		   "return");
}

/* ---- which probes ---------------------------------------------------------------------------- */

#define MALLOC ALLOC_FN(ALLOC_OP_ALLOC, 1, 0, 0, 0)
#define REALLOC ALLOC_FN(ALLOC_OP_REALLOC, 2, 0, 1, 0)
#define XALLOCX ALLOC_FN(ALLOC_OP_RESIZE, 2, 0, 1, 0)
#define FREE ALLOC_FN(ALLOC_OP_FREE, 0, 0, 1, 0)

static const struct alloc_site five_sites[] = {
	{.cookie = MALLOC, .entry_off = 0x100, .probe_off = 0x104, .cost = PROBE_EMULATED},
	{.cookie = FREE, .entry_off = 0x200, .probe_off = 0x203, .cost = PROBE_EMULATED},
	{.cookie = REALLOC, .entry_off = 0x300, .probe_off = 0x300, .cost = PROBE_STEPPED},
	{.cookie = FREE, .entry_off = 0x400, .probe_off = 0x400, .cost = PROBE_STEPPED},
	{.cookie = XALLOCX, .entry_off = 0x500, .probe_off = 0x500, .cost = PROBE_EMULATED},
};

static struct elf_allocs allocs_of(const struct alloc_site *sites, size_t cnt)
{
	struct elf_allocs allocs = {0};

	allocs.sites.items = (struct alloc_site *)sites; /* only read */
	allocs.sites.cnt = cnt;
	return allocs;
}

static void check_step(const struct plan_step *step, enum probe_role role, enum link_mode mode,
		       const size_t *sites, size_t cnt)
{
	assert_int_equal(step->role, role);
	assert_int_equal(step->mode, mode);
	assert_int_equal(step->offsets.cnt, cnt);
	assert_int_equal(step->cookies.cnt, cnt);
	for (size_t i = 0; i < cnt; i++) {
		assert_int_equal(step->offsets.items[i], five_sites[sites[i]].probe_off);
		/* What it costs goes with it. */
		assert_int_equal(
			step->cookies.items[i],
			five_sites[sites[i]].cookie |
				(five_sites[sites[i]].cost == PROBE_STEPPED ? COOKIE_STEPPED : 0));
	}
}

static const size_t frees[] = {1, 3}, others[] = {0, 2, 4};

static void check_plan_in_two_parts(enum link_mode mode)
{
	struct elf_allocs allocs = allocs_of(five_sites, 5);
	struct attach_plan plan;

	assert_int_equal(attach_plan__make(&allocs, mode, &plan), 0);
	assert_int_equal(plan.mode, mode);
	assert_int_equal(plan.step_cnt, 3);
	check_step(&plan.steps[0], ROLE_FREE, mode, frees, 2);
	check_step(&plan.steps[1], ROLE_RETURN, mode, others, 3);
	check_step(&plan.steps[2], ROLE_ENTER, mode, others, 3);
	attach_plan__free(&plan);
}

static void test_frees_then_returns_then_entries(void **state)
{
	(void)state;
	check_plan_in_two_parts(LINK_MULTI);
	check_plan_in_two_parts(LINK_PERF);
}

static void test_session_is_entry_and_return(void **state)
{
	struct elf_allocs allocs = allocs_of(five_sites, 5);
	struct attach_plan plan;

	(void)state;
	assert_int_equal(attach_plan__make(&allocs, LINK_SESSION, &plan), 0);
	assert_int_equal(plan.mode, LINK_SESSION);
	assert_int_equal(plan.step_cnt, 2);
	check_step(&plan.steps[0], ROLE_FREE, LINK_MULTI, frees, 2);
	check_step(&plan.steps[1], ROLE_SESSION, LINK_SESSION, others, 3);
	attach_plan__free(&plan);
}

static void test_costs_are_counted_once_a_site(void **state)
{
	static const enum link_mode modes[] = {LINK_PERF, LINK_MULTI, LINK_SESSION};
	struct elf_allocs allocs = allocs_of(five_sites, 5);
	struct attach_plan plan;

	(void)state;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		assert_int_equal(attach_plan__make(&allocs, modes[i], &plan), 0);
		assert_int_equal(plan.emulated_cnt, 3);
		assert_int_equal(plan.stepped_cnt, 2);
		attach_plan__free(&plan);
	}
}

static void test_steps_without_sites_are_left_out(void **state)
{
	struct elf_allocs only_free = allocs_of(&five_sites[1], 1),
			  only_malloc = allocs_of(five_sites, 1);
	struct elf_allocs none = {0};
	struct attach_plan plan;

	(void)state;
	assert_int_equal(attach_plan__make(&none, LINK_MULTI, &plan), 0);
	assert_int_equal(plan.step_cnt, 0);
	attach_plan__free(&plan);
	assert_int_equal(attach_plan__make(&only_free, LINK_SESSION, &plan), 0);
	assert_int_equal(plan.step_cnt, 1);
	assert_int_equal(plan.steps[0].role, ROLE_FREE);
	attach_plan__free(&plan);
	assert_int_equal(attach_plan__make(&only_malloc, LINK_MULTI, &plan), 0);
	assert_int_equal(plan.step_cnt, 2);
	assert_int_equal(plan.steps[0].role, ROLE_RETURN);
	assert_int_equal(plan.steps[1].role, ROLE_ENTER);
	attach_plan__free(&plan);
}

static void test_many_sites(void **state)
{
	enum { CNT = 1000 };
	static struct alloc_site sites[CNT];
	struct elf_allocs allocs = allocs_of(sites, CNT);
	struct attach_plan plan;

	(void)state;
	for (size_t i = 0; i < CNT; i++)
		sites[i] = (struct alloc_site){
			.cookie = ALLOC_FN_WITH_SITE(i % 2 ? FREE : MALLOC, i),
			.probe_off = i * 16,
			.cost = PROBE_STEPPED,
		};
	assert_int_equal(attach_plan__make(&allocs, LINK_SESSION, &plan), 0);
	assert_int_equal(plan.steps[0].offsets.cnt, CNT / 2);
	assert_int_equal(plan.steps[1].offsets.cnt, CNT / 2);
	for (size_t i = 0; i < CNT / 2; i++) {
		assert_int_equal(plan.steps[0].offsets.items[i], (2 * i + 1) * 16);
		assert_int_equal(ALLOC_FN_SITE(plan.steps[0].cookies.items[i]), 2 * i + 1);
		assert_int_equal(ALLOC_FN_SITE(plan.steps[1].cookies.items[i]), 2 * i);
	}
	attach_plan__free(&plan);
	assert_null(plan.steps[0].offsets.items);
	attach_plan__free(&plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_best_mode_of_each_kernel),
		cmocka_unit_test(test_forced_mode),
		cmocka_unit_test(test_forced_mode_that_is_not_there),
		cmocka_unit_test(test_no_mode_at_all),
		cmocka_unit_test(test_frees_then_returns_then_entries),
		cmocka_unit_test(test_session_is_entry_and_return),
		cmocka_unit_test(test_costs_are_counted_once_a_site),
		cmocka_unit_test(test_steps_without_sites_are_left_out),
		cmocka_unit_test(test_many_sites),
	};

	return cmocka_run_group_tests_name("attach plan", tests, NULL, NULL);
}
