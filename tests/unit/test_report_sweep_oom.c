/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a sweep tells when the kernel has killed, and of a service that has started anew: what was
 * known before, with names that outlive the process and the report they were in. */
#include "unit/sweep_code_scene.h"

#include "model/kept_code.h"
#include "model/sweep_oom.h"

static struct kept_code *keep_leak(void)
{
	struct code_scene scene;
	struct sweep_code *code;
	struct kept_code *kept;

	code_scene__init(&scene);
	code = add_process(&scene, "shop", 10.2);
	add_growing(code, scene.store, 9.9)->others_again = 0.34;
	add_growing(code, scene.python, 1)->layer = LAYER_PYTHON;
	add_sites(code, COHORT_CHURN, COHORT_CERTAIN, 4);
	set_ledger(code, LEDGER_HEAP_USED, 700);
	code->ledger_ago_ns = 30 * SEC;
	kept = kept_code__new(scene.sweep, &scene.sweep->rows.items[0]);
	assert_non_null(kept);
	sweep__free(scene.sweep);
	return kept;
}

static void set_kept(struct sweep_row *row, struct kept_code *kept, uint64_t ago_ns)
{
	row->kept = kept_code__ref(kept);
	row->kept_ns = ago_ns;
}

/* ---- a restart ---- */

static void test_before_a_restart(void **state)
{
	struct kept_code *kept = keep_leak();
	struct code_scene scene;
	struct sweep_code *code;

	(void)state;
	code_scene__init(&scene);
	add_process(&scene, "filler", 99); /* for the next one to have another number */
	code = add_process(&scene, "shop", 12);
	add_sites(code, COHORT_UNKNOWN, COHORT_TOO_FEW, 2);
	scene.sweep->rows.items[1].restarts = 1;
	set_kept(&scene.sweep->rows.items[1], kept, 3 * MINUTE);
	check_text(render_sweep(scene.sweep, "table", 0, false), "sweep-before.txt");
	check_text(render_sweep(scene.sweep, "json", 0, false), "sweep-before.json");
	sweep__free(scene.sweep);
	kept_code__put(kept);
}

/* ---- kills ---- */

static void add_process_of(struct sweep_oom *oom, pid_t pid, const char *comm, double mib,
			   enum oom_fate fate)
{
	struct sweep_row row = {
		.pid = pid,
		.start_ns = SEC,
		.comm = (char *)comm,
		.cgroup = "/system.slice/shop.service",
		.title = "shop.service",
		.restarts = pid == 4711 ? 2 : 0,
		.anon_bytes = (uint64_t)(mib * MIB),
		.growth = {.state = GROWTH_TOO_EARLY},
	};

	if (fate != OOM_THERE)
		row.growth = growing(10.2);
	if (pid == 1) {
		row.cgroup = "/system.slice/other.service";
		row.title = "other\033[2J.service";
	}
	assert_int_equal(sweep_oom__add(oom, &row, fate), 0);
}

static struct sweep_oom *new_kill(struct kept_code *kept)
{
	struct sweep_oom *oom =
		sweep_oom__new("/system.slice/shop.service", "shop.service", "/system.slice");

	assert_non_null(oom);
	oom->time_ns = 1767225600 * SEC;
	oom->kills = 1;
	oom->limit_bytes = 1ULL << 30;
	sweep_oom__add_shmem(oom, 60 << 20);
	add_process_of(oom, 7, "sh", 0.5, OOM_THERE);
	add_process_of(oom, 4711, "shop", 820, OOM_KILLED);
	add_process_of(oom, 8, "evil\n\033[31m", 3, OOM_GONE);
	add_process_of(oom, 1, "other", 120, OOM_THERE);
	set_kept(&oom->list.items[0].row, kept, 2 * SEC);
	return oom;
}

/* An event is the table of what was killed; in a report it stands before the rest. */
static void test_kill(void **state)
{
	struct kept_code *kept = keep_leak();
	struct sweep_oom *oom = new_kill(kept), *host = sweep_oom__new(NULL, NULL, NULL);
	struct sweep *sweep = new_sweep();
	char *text;

	(void)state;
	host->kills = 2;
	host->limit_bytes = 64ULL << 30;
	host->is_limit_doubtful = true;
	sweep->is_event = true;
	assert_int_equal(array_push(&sweep->ooms, oom), 0);
	check_text(render_sweep(sweep, "table", 0, false), "sweep-oom.txt");
	assert_int_equal(array_push(&sweep->ooms, host), 0);
	check_text(render_sweep(sweep, "table", 2, false), "sweep-oom-top.txt");
	check_text(render_sweep(sweep, "json", 0, false), "sweep-oom.json");
	sweep->is_event = false;
	text = render_sweep(sweep, "table", 10, true);
	assert_non_null(strstr(text, "out of memory"));
	assert_non_null(strstr(text, "nothing grows"));
	free(text);
	sweep__free(sweep);
	sweep_oom__free(oom);
	sweep_oom__free(host);
	kept_code__put(kept);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_before_a_restart),
		cmocka_unit_test(test_kill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
