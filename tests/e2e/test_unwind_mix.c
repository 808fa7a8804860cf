/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * No stack is ever made of two: threads of several processes preempt each other on one CPU, each in
 * functions of its own (leakers/unwind_mix.c). Every frame of every stack must be its thread's, at
 * its place, and every stack must have been counted as often as it was made. Most telling on a
 * kernel that was started with preempt=full.
 *
 * MIX_ROUNDS sets how long that goes on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/harness.h"

#define LETTERS 24
#define MAX_LEVELS 60
#define MAX_SHOWN 10

/* A thread: what it told, and what the report says. Index 0 of `own` are ticks. */
struct thread {
	int pid;
	struct tally want[MAX_LEVELS + 1], got[MAX_LEVELS + 1];
};

struct check {
	struct thread threads[LETTERS];
	const struct report *report;
	size_t rows;	   /* of these threads */
	size_t wrong_rows; /* that nobody can have made */
	int64_t wrong_cnt; /* how often such were seen */
	int64_t mixed_cnt; /* of these, with frames of several threads */
	int64_t stack_cnt; /* allocations, all in all */
};

static const char *text_or_empty(struct json_object *object, const char *name)
{
	return text_of(object, name) ?: "";
}

static int64_t item(struct json_object *array, size_t index)
{
	return json_object_get_int64(json_object_array_get_idx(array, index));
}

/* ---- what the leaker told ---- */

static struct tally read_numbers(struct json_object *array)
{
	struct tally tally = {
		.alloc_bytes = item(array, 0),
		.alloc_count = item(array, 1),
		.free_bytes = item(array, 2),
		.free_count = item(array, 3),
	};

	tally.live_bytes = tally.alloc_bytes - tally.free_bytes;
	tally.live_count = tally.alloc_count - tally.free_count;
	return tally;
}

static void read_thread(struct check *check, const char *line)
{
	struct json_object *json = json_tokener_parse(line), *own = field(json, "own");
	int letter = text_or_empty(json, "thread")[0] - 'a';
	struct thread *thread;

	assert_in_range(letter, 0, LETTERS - 1);
	assert_int_equal(json_object_array_length(own), MAX_LEVELS + 1);
	thread = &check->threads[letter];
	assert_int_equal(thread->pid, 0);
	thread->pid = json_object_get_int(field(json, "pid"));
	for (size_t i = 1; i <= MAX_LEVELS; i++)
		thread->want[i] = read_numbers(json_object_array_get_idx(own, i));
	thread->want[0] = read_numbers(field(json, "ticks"));
	for (size_t i = 0; i <= MAX_LEVELS; i++)
		check->stack_cnt += thread->want[i].alloc_count;
	json_object_put(json);
}

static void read_threads(struct check *check, struct child *leaker)
{
	char *out = child__stdout(leaker), *rest = out, *line;
	size_t cnt = 0;

	while ((line = strsep(&rest, "\n"))) {
		if (!strncmp(line, "FAILED", 6))
			fail_msg("the leaker itself: %s", line);
		if (strncmp(line, "MIX ", 4))
			continue;
		read_thread(check, line + 4);
		cnt++;
	}
	free(out);
	assert_int_equal(cnt, LETTERS);
}

/* ---- a row's frames ---- */

enum call_kind { CALL_TAKE, CALL_STEP, CALL_RUN, CALL_TICK, CALL_COMMON, CALL_FOREIGN };

struct call {
	enum call_kind kind;
	int letter; /* TAKE, STEP, RUN, TICK */
	int level;  /* STEP: modulo 4 */
	const char *name;
};

struct calls {
	struct call items[256];
	size_t cnt, at;
};

/* Whether a name is `prefix` and a letter; *ret_letter counts from 0. */
static bool has_letter(const char *name, const char *prefix, int *ret_letter)
{
	size_t len = strlen(prefix);

	if (strncmp(name, prefix, len) || strlen(name) != len + 1)
		return false;
	*ret_letter = name[len] - 'a';
	return *ret_letter >= 0 && *ret_letter < LETTERS;
}

static struct call read_call(struct json_object *frame, const char *exe)
{
	struct call call = {
		.kind = CALL_COMMON, .letter = -1, .name = text_or_empty(frame, "function")};
	char letter[2] = "", level;

	if (strcmp(text_or_empty(frame, "module"), exe))
		call.kind = CALL_FOREIGN;
	else if (has_letter(call.name, "take_", &call.letter))
		call.kind = CALL_TAKE;
	else if (has_letter(call.name, "run_", &call.letter))
		call.kind = CALL_RUN;
	else if (has_letter(call.name, "tick_", &call.letter))
		call.kind = CALL_TICK;
	else if (sscanf(call.name, "step_%1[a-x]_%c", letter, &level) == 2) {
		call.kind = CALL_STEP;
		call.letter = letter[0] - 'a';
		call.level = level - '0';
	}
	return call;
}

static void read_calls(struct calls *calls, struct json_object *row, const char *exe)
{
	struct json_object *frames = field(row, "frames");

	*calls = (struct calls){.cnt = 0};
	for (size_t i = 0; i < json_object_array_length(frames); i++) {
		struct json_object *frame = json_object_array_get_idx(frames, i);

		if (json_object_get_boolean(field(frame, "inlined")))
			continue;
		assert_true(calls->cnt < sizeof(calls->items) / sizeof(calls->items[0]));
		calls->items[calls->cnt++] = read_call(frame, exe);
	}
}

/* Goes past the next call if it is such a one. */
static bool take_call(struct calls *calls, enum call_kind kind, int letter)
{
	const struct call *call = &calls->items[calls->at];

	if (calls->at >= calls->cnt || call->kind != kind || call->letter != letter)
		return false;
	calls->at++;
	return true;
}

static bool take_common(struct calls *calls, const char *name)
{
	const struct call *call = &calls->items[calls->at];

	if (calls->at >= calls->cnt || call->kind != CALL_COMMON || strcmp(call->name, name))
		return false;
	calls->at++;
	return true;
}

/* Goes past step_x_... down to step_x_0. Returns how many there were, or -1 when they are not one
 * below the other. */
static int take_steps(struct calls *calls, int letter)
{
	int cnt = 0, last = -1;

	while (calls->at < calls->cnt) {
		const struct call *call = &calls->items[calls->at];

		if (call->kind != CALL_STEP || call->letter != letter)
			break;
		if (last >= 0 && call->level != (last + 3) % 4)
			return -1;
		last = call->level;
		cnt++;
		calls->at++;
	}
	return cnt && last != 0 ? -1 : cnt;
}

/* The way from a handler to what it has interrupted: the kernel's frame, and where the thread was
 * in the allocator, in the C library, on the way there. */
static void take_interrupted(struct calls *calls)
{
	while (take_call(calls, CALL_FOREIGN, -1) || take_common(calls, "malloc") ||
	       take_common(calls, "free") || take_common(calls, "") ||
	       take_common(calls, "nanosleep@plt") || take_common(calls, "sched_yield@plt") ||
	       take_common(calls, "syscall@plt") || take_common(calls, "pthread_sigmask@plt"))
		;
}

/* Reads calls as those of a thread. Returns its level, 0 = a handler's, or -1: no thread has calls
 * like these. */
static int parse_calls(struct calls *calls, int letter)
{
	bool ticks = take_call(calls, CALL_TICK, letter), takes;
	int levels;

	if (ticks && !take_common(calls, "on_tick"))
		return -1;
	if (ticks)
		take_interrupted(calls);
	takes = take_call(calls, CALL_TAKE, letter);
	levels = take_steps(calls, letter);
	if (levels < 0 || (takes && levels < 3) || (!takes && !ticks))
		return -1;
	if (!take_call(calls, CALL_RUN, letter) && (levels || !ticks))
		return -1;
	if (!take_common(calls, "work") || !take_common(calls, "thread_main"))
		return -1;
	while (take_call(calls, CALL_FOREIGN, -1))
		;
	return calls->at < calls->cnt || levels > MAX_LEVELS ? -1 : ticks ? 0 : levels;
}

/* ---- rows ---- */

static void print_row(struct json_object *row, const struct calls *calls)
{
	print_error("  process %s, %s, %s times:", text_or_empty(row, "pid"),
		    text_or_empty(row, "unwind"), text_or_empty(row, "alloc_count"));
	for (size_t i = 0; i < calls->cnt; i++)
		print_error("%s %s%s", i ? " <" : "", calls->items[i].name,
			    calls->items[i].kind == CALL_FOREIGN ? "()" : "");
	print_error("\n");
}

/* Whether the calls are none of a thread's work: what starts processes and threads allocates too.
 */
static bool is_nobodys(const struct calls *calls)
{
	for (size_t i = 0; i < calls->cnt; i++)
		if (calls->items[i].letter >= 0 || !strcmp(calls->items[i].name, "work"))
			return false;
	return true;
}

static bool is_mixed(const struct calls *calls)
{
	int letter = -1;

	for (size_t i = 0; i < calls->cnt; i++) {
		if (letter >= 0 && calls->items[i].letter >= 0 && calls->items[i].letter != letter)
			return true;
		if (calls->items[i].letter >= 0)
			letter = calls->items[i].letter;
	}
	return false;
}

static void check_row(struct check *check, struct json_object *row)
{
	int pid = json_object_get_int(field(row, "pid")), letter, level = -1;
	struct json_object *proc = report__process(check->report, pid);
	bool complete = !strcmp(text_or_empty(row, "unwind"), "complete");
	struct calls calls;

	read_calls(&calls, row, proc ? text_or_empty(proc, "exe") : "");
	if (complete && is_nobodys(&calls))
		return;
	check->rows++;
	letter = calls.cnt ? calls.items[0].letter : -1;
	if (complete && letter >= 0 && letter < LETTERS && check->threads[letter].pid == pid)
		level = parse_calls(&calls, letter);
	if (level >= 0) {
		add_tally(&check->threads[letter].got[level], read_tally(row));
		return;
	}
	if (check->wrong_rows++ < MAX_SHOWN)
		print_row(row, &calls);
	check->wrong_cnt += json_object_get_int64(field(row, "alloc_count"));
	if (is_mixed(&calls))
		check->mixed_cnt += json_object_get_int64(field(row, "alloc_count"));
}

static void check_rows(struct check *check)
{
	struct json_object *rows = field(check->report->root, "stacks");

	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);

		if (!strcmp(text_or_empty(row, "layer"), "malloc"))
			check_row(check, row);
	}
	print_message("%lld stacks of %d threads, %zu of them distinct; %lld walked, %lld reused\n",
		      (long long)check->stack_cnt, LETTERS, check->rows,
		      (long long)report__loss(check->report, "stacks_walked"),
		      (long long)report__loss(check->report, "stacks_reused"));
	if (check->wrong_rows)
		fail_msg("%lld stacks are wrong (%zu distinct), %lld of them are mixed",
			 (long long)check->wrong_cnt, check->wrong_rows,
			 (long long)check->mixed_cnt);
}

/*
 * Made preemptible, Linux 6.12 (not 7.2) refuses a thread its state while another one of the CPU
 * has been preempted as it got its own (bpf_task_storage_busy): such hits are lost, but counted.
 */
static void check_numbers_but_for(const struct check *check, int64_t lost)
{
	int64_t missing = 0;

	for (int i = 0; i < LETTERS; i++) {
		for (int level = 0; level <= MAX_LEVELS; level++) {
			int64_t got = check->threads[i].got[level].alloc_count,
				want = check->threads[i].want[level].alloc_count;

			assert_true(got <= want);
			missing += want - got;
		}
	}
	print_message("%lld stacks are missing, %lld hits are known to be lost\n",
		      (long long)missing, (long long)lost);
	assert_true(missing <= lost);
}

static void check_numbers(const struct check *check)
{
	int64_t lost = report__loss(check->report, "threads_lost");

	if (lost)
		return check_numbers_but_for(check, lost);
	for (int i = 0; i < LETTERS; i++) {
		for (int level = 0; level <= MAX_LEVELS; level++) {
			char *what = format("thread %c, %d levels", 'a' + i, level);

			assert_tally(check->report, what, check->threads[i].got[level],
				     check->threads[i].want[level]);
			free(what);
		}
	}
}

static void check_losses(const struct report *report)
{
	static const char *const names[] = {
		"stacks_lost",	   "stack_collisions", "stacks_truncated",  "stacks_broken",
		"stacks_no_table", "stacks_no_rule",   "stacks_odd_rule",   "stacks_unreadable",
		"stacks_no_code",  "map_full",	       "returns_unmatched", "events_lost",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (report__loss(report, names[i]))
			fail_msg("%s is %lld", names[i], (long long)report__loss(report, names[i]));
}

static void check_mix(const char *const *tool_args)
{
	const char *rounds = getenv("MIX_ROUNDS") ?: "1000";
	struct check *check = calloc(1, sizeof(*check));
	struct run run = run__trace(ARGS("unwind_mix", rounds), tool_args, NULL);

	assert_non_null(check);
	check->report = &run.report;
	read_threads(check, run.leaker);
	check_rows(check);
	check_numbers(check);
	check_losses(&run.report);
	free(check);
}

static void test_threads_that_preempt_each_other(void **state)
{
	(void)state;
	check_mix(ARGS("--max-stacks", "524288"));
}

/* Other probe programs, with stacks of their own. */
static void test_with_separate_return_probes(void **state)
{
	(void)state;
	check_mix(ARGS("--max-stacks", "524288", "--probe-mode", "perf"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		E2E_TEST(test_threads_that_preempt_each_other),
		E2E_TEST(test_with_separate_return_probes),
	};

	return harness__main("e2e unwind_mix", tests, sizeof(tests) / sizeof(tests[0]));
}
