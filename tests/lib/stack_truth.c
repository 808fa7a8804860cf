/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/stack_truth.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/maps.h"

#define MAX_ELEMENTS (MAX_FRAMES + 16)
#define MAX_TRUTHS 512
#define MAX_CALLS MAX_FRAMES

/* One STACK line. */
struct truth {
	struct json_object *json;
	char *text; /* owned; what elements point into */
	const char *end;
	const char *elements[MAX_ELEMENTS];
	size_t cnt;
	int pid;
	bool any; /* may be, in any number */
	struct tally want, got;
};

/* ---- truths ---- */

static void truth__parse(struct truth *truth, const char *line)
{
	char *at;

	*truth = (struct truth){.json = json_tokener_parse(line), .end = "complete"};
	if (!truth->json)
		fail_msg("not JSON: %s", line);
	truth->pid = json_object_get_int(field(truth->json, "pid"));
	truth->any = json_object_get_boolean(field(truth->json, "any"));
	if (!truth->any)
		truth->want = read_tally(truth->json);
	truth->text = strdup(text_of(truth->json, "frames"));
	at = truth->text;
	if (*at == '[') {
		truth->end = at + 1;
		at = strstr(at, "] ");
		assert_non_null(at);
		*at = '\0';
		at += 2;
	}
	while (at) {
		char *next = strstr(at, " < ");

		assert_true(truth->cnt < MAX_ELEMENTS);
		truth->elements[truth->cnt++] = at;
		if (next)
			*next = '\0';
		at = next ? next + 3 : NULL;
	}
}

static size_t read_truths(struct child *leaker, struct truth *truths)
{
	char *out = child__stdout(leaker), *rest = out, *line;
	size_t cnt = 0;

	while ((line = strsep(&rest, "\n"))) {
		if (!strncmp(line, "FAILED", 6))
			fail_msg("the leaker itself: %s", line);
		if (strncmp(line, "STACK ", 6))
			continue;
		assert_true(cnt < MAX_TRUTHS);
		truth__parse(&truths[cnt++], line + 6);
	}
	free(out);
	if (!cnt)
		fail_msg("the leaker told no stacks");
	return cnt;
}

/* ---- matching ---- */

struct calls {
	struct {
		const char *function;
		bool foreign; /* outside of the program's own file */
	} items[MAX_CALLS];
	size_t cnt;
};

/* Whether the file is the program's, also when one of both is told as deleted. */
static bool is_own_file(const char *module, const char *exe)
{
	static const char deleted[] = " (deleted)";
	size_t len = module ? strlen(module) : 0, exe_len = exe ? strlen(exe) : 0;

	if (len > sizeof(deleted) - 1 && !strcmp(module + len - (sizeof(deleted) - 1), deleted))
		len -= sizeof(deleted) - 1;
	if (exe_len > sizeof(deleted) - 1 &&
	    !strcmp(exe + exe_len - (sizeof(deleted) - 1), deleted))
		exe_len -= sizeof(deleted) - 1;
	return len && len == exe_len && !memcmp(module, exe, len);
}

/* Reads the frames of a row; inlined calls share one and are left out. */
static void calls__read(struct calls *calls, struct json_object *row, const char *exe)
{
	struct json_object *frames = field(row, "frames");

	calls->cnt = 0;
	for (size_t i = 0; i < json_object_array_length(frames); i++) {
		struct json_object *frame = json_object_array_get_idx(frames, i);

		if (json_object_get_boolean(field(frame, "inlined")))
			continue;
		assert_true(calls->cnt < MAX_CALLS);
		calls->items[calls->cnt].function = text_of(frame, "function") ?: "(unnamed)";
		calls->items[calls->cnt].foreign = !is_own_file(text_of(frame, "module"), exe);
		calls->cnt++;
	}
}

/* Whether a name is one of "a|b*|c". */
static bool name_matches(const char *alternatives, const char *name)
{
	char *list = strdup(alternatives), *rest = list, *pattern;
	bool found = false;

	while (!found && (pattern = strsep(&rest, "|")))
		found = !fnmatch(pattern, name, FNM_NOESCAPE);
	free(list);
	return found;
}

static bool is_wildcard(const char *pattern)
{
	return !strcmp(pattern, "*") || !strcmp(pattern, "**") || !strncmp(pattern, "*:", 2);
}

/* Whether a frame is one of those that a wildcard stands for. */
static bool wildcard_takes(const char *pattern, const char *function, bool foreign)
{
	if (foreign || pattern[1] == '*')
		return true;
	return pattern[1] == ':' && name_matches(pattern + 2, function);
}

/* `cut`: the stack ends early, as it may; then what is there has to be right, up to a wildcard. */
static bool matches(const struct truth *truth, const struct calls *calls, bool cut)
{
	size_t element = 0, call = 0, star = SIZE_MAX, star_call = 0;

	while (call < calls->cnt) {
		const char *pattern = element < truth->cnt ? truth->elements[element] : NULL;

		if (pattern && is_wildcard(pattern)) {
			star = element++;
			star_call = call;
			continue;
		}
		if (pattern && name_matches(pattern, calls->items[call].function)) {
			element++;
			call++;
			continue;
		}
		/* Back to the last wildcard, which takes one frame more, if it may. */
		if (star == SIZE_MAX ||
		    !wildcard_takes(truth->elements[star], calls->items[star_call].function,
				    calls->items[star_call].foreign))
			return false;
		call = ++star_call;
		element = star + 1;
	}
	while (element < truth->cnt && is_wildcard(truth->elements[element]))
		element++;
	return element == truth->cnt || (cut && star != SIZE_MAX);
}

static const char *exe_of(const struct report *report, int pid)
{
	struct json_object *proc = report__process(report, pid);

	return proc ? text_of(proc, "exe") : NULL;
}

/* ---- what a reader of a failed test wants to know ---- */

static void print_row(struct json_object *row, const struct calls *calls)
{
	print_error("  %s, %s, %lld allocated in %lld:", text_of(row, "layer"),
		    text_of(row, "unwind"),
		    (long long)json_object_get_int64(field(row, "alloc_bytes")),
		    (long long)json_object_get_int64(field(row, "alloc_count")));
	for (size_t i = 0; i < calls->cnt; i++)
		print_error("%s %s%s", i ? " <" : "", calls->items[i].function,
			    calls->items[i].foreign ? "()" : "");
	print_error("\n");
}

static void print_losses(const struct report *report)
{
	json_object_object_foreach(field(report->root, "loss"), name,
				   value) if (json_object_get_int64(value))
		print_error(" %s=%lld", name, (long long)json_object_get_int64(value));
	print_error("\n");
}

/* Rows of mappings tell nothing to compare with, but they end somewhere, too. */
static void print_cut_mappings(const struct report *report, struct json_object *rows)
{
	struct calls calls;

	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);

		if (!strcmp(text_of(row, "layer"), "malloc") ||
		    !strcmp(text_of(row, "unwind"), "complete"))
			continue;
		calls__read(&calls, row, exe_of(report, json_object_get_int(field(row, "pid"))));
		print_row(row, &calls);
	}
}

/* ---- losses ---- */

/* Whether a truth speaks of stacks that are counted there. */
static bool is_expected_loss(const char *counter, const struct truth *truths, size_t cnt)
{
	char *end = strdup(counter + strlen("stacks_"));
	bool expected = false;

	for (char *at = end; *at; at++)
		if (*at == '_')
			*at = '-';
	for (size_t i = 0; i < cnt && !expected; i++)
		expected = name_matches(truths[i].end, end);
	free(end);
	return expected;
}

static bool has_losses(const struct report *report, const struct truth *truths, size_t cnt)
{
	static const char *const names[] = {
		"stacks_lost",	   "stack_collisions",	"stacks_truncated",
		"stacks_broken",   "stacks_no_table",	"stacks_no_rule",
		"stacks_odd_rule", "stacks_unreadable", "stacks_no_code",
	};
	bool bad = false;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		int64_t lost = report__loss(report, names[i]);

		if (!lost || is_expected_loss(names[i], truths, cnt))
			continue;
		print_error("%s: %lld\n", names[i], (long long)lost);
		bad = true;
	}
	return bad;
}

/* ---- the whole ---- */

static bool is_of_truth(const struct truth *truth, struct json_object *row,
			const struct calls *calls)
{
	const char *end = text_of(row, "unwind");
	bool cut = strcmp(end, "complete") && name_matches(truth->end, "complete");

	return truth->pid == json_object_get_int(field(row, "pid")) &&
	       name_matches(truth->end, end) && matches(truth, calls, cut);
}

/* What the C library allocates before main, of which the program knows nothing. */
static bool is_start_up(struct json_object *row, const struct calls *calls)
{
	if (strcmp(text_of(row, "unwind"), "complete"))
		return false;
	for (size_t i = 0; i < calls->cnt; i++)
		if (!strcmp(calls->items[i].function, "main"))
			return false;
	return calls->cnt && (calls->items[calls->cnt - 1].foreign ||
			      !strcmp(calls->items[calls->cnt - 1].function, "_start"));
}

/* Whether the row is nobody's although its process has told all its stacks. */
static bool is_stray(const struct report *report, struct json_object *row, struct truth *truths,
		     size_t cnt)
{
	int pid = json_object_get_int(field(row, "pid"));
	bool told = false;
	struct calls calls;

	if (strcmp(text_of(row, "layer"), "malloc"))
		return false;
	calls__read(&calls, row, exe_of(report, pid));
	for (size_t i = 0; i < cnt; i++) {
		told |= truths[i].pid == pid;
		if (!is_of_truth(&truths[i], row, &calls))
			continue;
		add_tally(&truths[i].got, read_tally(row));
		return false; /* the first that matches */
	}
	if (!told || is_start_up(row, &calls))
		return false;
	print_row(row, &calls);
	return true;
}

size_t assert_stacks(const struct report *report, struct child *leaker)
{
	struct truth *truths = calloc(MAX_TRUTHS, sizeof(*truths));
	struct json_object *rows = field(report->root, "stacks");
	size_t cnt, strays = 0;
	bool bad;

	assert_non_null(truths);
	cnt = read_truths(leaker, truths);
	for (size_t i = 0; i < json_object_array_length(rows); i++)
		strays += is_stray(report, json_object_array_get_idx(rows, i), truths, cnt);
	bad = has_losses(report, truths, cnt) || strays;
	for (size_t i = 0; i < cnt; i++) {
		if (!truths[i].any &&
		    memcmp(&truths[i].got, &truths[i].want, sizeof(truths[i].got))) {
			print_error(
				"  %lld bytes in %lld of %lld in %lld (live %lld of %lld): %s\n",
				(long long)truths[i].got.alloc_bytes,
				(long long)truths[i].got.alloc_count,
				(long long)truths[i].want.alloc_bytes,
				(long long)truths[i].want.alloc_count,
				(long long)truths[i].got.live_bytes,
				(long long)truths[i].want.live_bytes,
				text_of(truths[i].json, "frames"));
			bad = true;
		}
		json_object_put(truths[i].json);
		free(truths[i].text);
	}
	free(truths);
	if (bad) {
		print_cut_mappings(report, rows);
		print_error("  counters:");
		print_losses(report);
		fail_msg("the stacks are not what they should be: %zu rows are nobody's", strays);
	}
	return json_object_array_length(rows);
}

struct run check_stacks(const char *const *leaker_args, const char *const *tool_args)
{
	struct run run = run__trace(leaker_args, tool_args, NULL);

	assert_stacks(&run.report, run.leaker);
	return run;
}

struct run check_stacks_of_command(const char *const *leaker_args, const char *const *tool_args)
{
	struct run run = run__command(leaker_args, tool_args, NULL);

	assert_stacks(&run.report, run.leaker);
	return run;
}

void need_leaker(const char *name)
{
	char *path = leaker_path(name);
	bool there = !access(path, X_OK);

	free(path);
	if (there)
		return;
	print_message("skipped: %s could not be built here\n", name);
	skip();
}
