/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The cohort estimator on simulated processes. In the environment:
 *   COHORT_RUNS=N    that many of them instead of a few, and prints what was said
 *   COHORT_SEED=S    the first one's seed
 *   COHORT_IDLE=S    they work and rest for S seconds in turn
 *   COHORT_UNREAD=P  P % of all looks at contents fail
 *   COHORT_WHOLE=1   the churn is at its rate between windows, too
 *   COHORT_SHOW=1    prints every verdict
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "unit/cohort_process.h"

#define FEW_RUNS 5
#define MAX_RUNS 1024

#define LOOKS 20
#define LOOK_S 15

static double look_s(size_t look)
{
	return LOOK_S * (look + 1.0);
}

/* What all runs said of a service. */
struct tally {
	double named_s[MAX_RUNS]; /* first told to grow, by run; 0 = never */
	uint32_t growing[LOOKS];
	uint32_t states[LOOKS][5];
	uint32_t bounds, held;
	uint32_t wrong; /* runs in which it was called growing after it had turned over */
};

static struct tally tallies[MAX_SERVICES];

/* Blocks of one size share their addresses. */
enum class_name {
	CLASS_SHARED,
	CLASS_APART,
	CLASS_APART60,
	CLASS_ALIKE,
	CLASS_QUEUE,
	CLASS_ANY,
	CLASS_ALIKE10,
	CLASS_LRU,
	CLASS_RESIZED,
	CLASS_ALONE,
	CLASS_SPARE,
};

static const struct heap_class classes[] = {
	[CLASS_SHARED] = {.bytes = 100, .order = HEAP_LIFO},
	[CLASS_APART] = {.bytes = 208, .order = HEAP_LIFO},
	[CLASS_APART60] = {.bytes = 304, .order = HEAP_LIFO},
	[CLASS_ALIKE] = {.bytes = 400, .order = HEAP_LIFO},
	[CLASS_QUEUE] = {.bytes = 496, .order = HEAP_FIFO},
	[CLASS_ANY] = {.bytes = 592, .order = HEAP_RANDOM},
	[CLASS_ALIKE10] = {.bytes = 688, .order = HEAP_LIFO},
	[CLASS_LRU] = {.bytes = 784, .order = HEAP_LIFO},
	[CLASS_RESIZED] = {.bytes = 4096, .order = HEAP_LIFO},
	[CLASS_ALONE] = {.bytes = 880, .order = HEAP_LIFO},
	[CLASS_SPARE] = {.bytes = 976, .order = HEAP_FIFO, .spare = 200000, .tells_free = true},
};

static const struct service services[] = {
	{.name = "churn",
	 .kind = SERVICE_FIFO,
	 .class = CLASS_SHARED,
	 .per_s = 100000,
	 .capacity = 64,
	 .turns_s = 1,
	 .is_hidden = true},
	{.name = "leak 10 MB/min",
	 .kind = SERVICE_LEAK,
	 .class = CLASS_SHARED,
	 .per_s = 1667,
	 .named_s = 60},
	{.name = "leak 1 MB/min",
	 .kind = SERVICE_LEAK,
	 .class = CLASS_SHARED,
	 .per_s = 166.7,
	 .named_s = 300},
	{.name = "leak in bursts",
	 .kind = SERVICE_LEAK,
	 .class = CLASS_ANY,
	 .per_s = 281,
	 .burst = 40,
	 .is_restless = true},
	{.name = "leak alike",
	 .kind = SERVICE_LEAK,
	 .class = CLASS_ALONE,
	 .per_s = 300,
	 .is_alike = true},
	{.name = "replace 0.4 s",
	 .kind = SERVICE_REPLACE,
	 .class = CLASS_SHARED,
	 .per_s = 5000,
	 .capacity = 2000,
	 .turns_s = 4},
	{.name = "replace 10 s",
	 .kind = SERVICE_REPLACE,
	 .class = CLASS_ANY,
	 .per_s = 500,
	 .capacity = 5000,
	 .turns_s = 20},
	{.name = "replace 30 s",
	 .kind = SERVICE_REPLACE,
	 .class = CLASS_SHARED,
	 .per_s = 200,
	 .capacity = 6000,
	 .turns_s = 60},
	{.name = "FIFO 10 s",
	 .kind = SERVICE_FIFO,
	 .class = CLASS_SHARED,
	 .per_s = 500,
	 .capacity = 5000,
	 .turns_s = 12.5},
	{.name = "FIFO 10 s, apart",
	 .kind = SERVICE_FIFO,
	 .class = CLASS_APART,
	 .per_s = 500,
	 .capacity = 5000,
	 .turns_s = 12.5},
	{.name = "FIFO 60 s",
	 .kind = SERVICE_FIFO,
	 .class = CLASS_SHARED,
	 .per_s = 200,
	 .capacity = 12000,
	 .turns_s = 75},
	{.name = "FIFO 60 s, apart",
	 .kind = SERVICE_FIFO,
	 .class = CLASS_APART60,
	 .per_s = 200,
	 .capacity = 12000,
	 .turns_s = 75},
	{.name = "FIFO 60 s, alike",
	 .kind = SERVICE_FIFO,
	 .class = CLASS_ALIKE,
	 .per_s = 200,
	 .capacity = 12000,
	 .turns_s = 75,
	 .is_alike = true},
	{.name = "FIFO 10 s, alike",
	 .kind = SERVICE_FIFO,
	 .class = CLASS_ALIKE10,
	 .per_s = 500,
	 .capacity = 5000,
	 .turns_s = 12.5,
	 .is_alike = true},
	{.name = "FIFO 10 s, queue",
	 .kind = SERVICE_FIFO,
	 .class = CLASS_QUEUE,
	 .per_s = 500,
	 .capacity = 5000,
	 .turns_s = 12.5,
	 .is_restless = true},
	{.name = "LRU",
	 .kind = SERVICE_LRU,
	 .class = CLASS_LRU,
	 .per_s = 500,
	 .capacity = 5000,
	 .turns_s = 20,
	 .is_restless = true},
	{.name = "start-up",
	 .kind = SERVICE_STARTUP,
	 .class = CLASS_ANY,
	 .per_s = 2000,
	 .until_s = 20,
	 .turns_s = 25},
	{.name = "mixed",
	 .kind = SERVICE_MIXED,
	 .class = CLASS_ANY,
	 .per_s = 1000,
	 .capacity = 100},
	{.name = "churn, not used again",
	 .kind = SERVICE_FIFO,
	 .class = CLASS_SPARE,
	 .per_s = 300,
	 .capacity = 3,
	 .turns_s = 1},
	{.name = "resized",
	 .kind = SERVICE_RESIZE,
	 .class = CLASS_RESIZED,
	 .per_s = 100,
	 .turns_s = 1},
};

/* The heap gives back what the services share in another order in each run. */
static void add_services(struct process *process, uint64_t seed)
{
	for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++)
		process->classes[process->class_cnt++] = classes[i];
	process->classes[CLASS_SHARED].order = seed % 3;
	for (size_t i = 0; i < sizeof(services) / sizeof(*services); i++)
		process->services[process->service_cnt++] = services[i];
}

static const char *const state_names[] = {"unknown", "growing", "bounded", "start-up", "churn"};

static void show(const struct process *process, const struct cohort_verdict *verdict, double now_s)
{
	const struct imprint_sums *contents = &verdict->contents;

	printf("%4.0f s %-18s %-8s %u %7.1f (%7.1f to %7.1f) %.4f; born %6.0f outlived %.2f "
	       "old %5.0f again %4.0f expected %5.1f others %5.2f; read %2u kept %2u elders %2u "
	       "late %2u life %5.1f%s\n",
	       now_s, process->services[verdict->stack - 1].name, state_names[verdict->state],
	       verdict->doubt, verdict->rate / 1e6, verdict->rate_low / 1e6,
	       verdict->rate_high / 1e6, verdict->confidence, verdict->born, verdict->outlived,
	       verdict->followed, verdict->again, verdict->expected, verdict->others_again,
	       contents->read, contents->kept, contents->elders, contents->late,
	       contents->life_ns / (double)NS_PER_SEC, contents->is_alike ? " alike" : "");
}

/* Counts a verdict. */
static void take_verdict(const struct process *process, const struct cohort_verdict *verdict,
			 size_t run, size_t look, bool *is_wrong)
{
	const struct service *service = &process->services[verdict->stack - 1];
	struct tally *tally = &tallies[verdict->stack - 1];
	double busy = process->idle_s ? process->busy_s / (process->busy_s + process->idle_s) : 1;
	double truth = busy * service->per_s * process->classes[service->class].bytes * 3600;

	tally->states[look][verdict->state]++;
	if (verdict->state != COHORT_GROWING)
		return;
	tally->growing[look]++;
	if (service->kind == SERVICE_MIXED)
		truth /= 4;
	if (service->kind == SERVICE_LEAK || service->kind == SERVICE_MIXED) {
		tally->bounds++;
		tally->held += verdict->rate_low <= truth && truth <= verdict->rate_high;
	}
	if (!tally->named_s[run])
		tally->named_s[run] = look_s(look);
	if (service->turns_s && look_s(look) * busy >= service->turns_s)
		*is_wrong = true;
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
	return getenv(name) ? strtoull(getenv(name), NULL, 10) : otherwise;
}

static void run_process(uint64_t seed, size_t run)
{
	bool is_wrong[MAX_SERVICES] = {0}, is_shown = getenv("COHORT_SHOW");
	struct process process = {0};

	add_services(&process, seed);
	process.busy_s = process.idle_s = number_from("COHORT_IDLE", 0);
	process.unread = number_from("COHORT_UNREAD", 0) / 100.0;
	process.is_whole = getenv("COHORT_WHOLE");
	process.in_sums = run % 2;
	sim_start(&process, seed);
	for (size_t look = 0; look < LOOKS; look++) {
		struct cohort_verdicts verdicts;

		sim_run(&process, look_s(look));
		assert_int_equal(cohort__judge(process.cohort, process.now_ns, -1, &verdicts), 0);
		for (size_t i = 0; i < verdicts.items.cnt; i++) {
			const struct cohort_verdict *verdict = &verdicts.items.items[i];
			bool was_wrong = is_wrong[verdict->stack - 1];

			take_verdict(&process, verdict, run, look, &is_wrong[verdict->stack - 1]);
			if (is_shown || is_wrong[verdict->stack - 1] > was_wrong)
				show(&process, verdict, look_s(look));
		}
		cohort_verdicts__free(&verdicts);
	}
	for (size_t i = 0; i < process.service_cnt; i++)
		tallies[i].wrong += is_wrong[i];
	sim_end(&process);
}

/* Returns in how many of the runs a service was called growing no later than `limit_s`. */
static uint32_t named_within(const struct tally *tally, size_t runs, double limit_s)
{
	uint32_t cnt = 0;

	for (size_t i = 0; i < runs; i++)
		cnt += tally->named_s[i] && tally->named_s[i] <= limit_s;
	return cnt;
}

static void print_tally(const struct service *service, const struct tally *tally)
{
	printf("%-18s growing", service->name);
	for (size_t i = 0; i < LOOKS; i++)
		printf(" %u@%.0f", tally->growing[i], look_s(i));
	printf("; last:");
	for (size_t i = 0; i < 5; i++)
		if (tally->states[LOOKS - 1][i])
			printf(" %s %u", state_names[i], tally->states[LOOKS - 1][i]);
	printf("; wrong %u; bounds %u of %u\n", tally->wrong, tally->held, tally->bounds);
}

/* Whether what was said of a service is good enough; `limit_s` is when a leak must be named. */
static bool is_well(const struct service *service, const struct tally *tally, size_t runs,
		    double limit_s)
{
	return (!limit_s || named_within(tally, runs, limit_s) * 20 >= 19 * runs) &&
	       tally->wrong <= (service->is_alike ? runs / 100 : 0) &&
	       tally->held * 20 >= 19 * tally->bounds;
}

static void test_services(void **state)
{
	uint64_t runs = number_from("COHORT_RUNS", FEW_RUNS), seed = number_from("COHORT_SEED", 1);
	struct process process = {0};
	bool is_fine = true;

	(void)state;
	assert_true(runs <= MAX_RUNS);
	for (size_t i = 0; i < runs; i++)
		run_process(seed + i, i);
	add_services(&process, seed);
	for (size_t i = 0; i < process.service_cnt; i++) {
		const struct service *service = &process.services[i];
		bool is_ok = is_well(service, &tallies[i], runs, service->named_s);

		if (!is_ok || getenv("COHORT_RUNS"))
			print_tally(service, &tallies[i]);
		is_fine &= is_ok;
	}
	assert_true(is_fine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_services),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
