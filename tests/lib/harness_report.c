/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ground truth and reports: reading, summing, comparing. */
#include "lib/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/harness_internal.h"

#define MAX_VALUES 256

static struct json_object *values[MAX_VALUES];
static size_t value_cnt;

static struct json_object *keep(struct json_object *value)
{
	assert_non_null(value);
	assert_true(value_cnt < MAX_VALUES);
	values[value_cnt++] = value;
	return value;
}

void report__release_all(void)
{
	for (size_t i = 0; i < value_cnt; i++)
		json_object_put(values[i]);
	value_cnt = 0;
}

struct json_object *field(struct json_object *object, const char *name)
{
	struct json_object *value = NULL;

	json_object_object_get_ex(object, name, &value);
	return value;
}

const char *text_of(struct json_object *object, const char *name)
{
	struct json_object *value = field(object, name);

	return value ? json_object_get_string(value) : NULL;
}

static int64_t number(struct json_object *object, const char *name)
{
	struct json_object *value = field(object, name);

	if (!value)
		fail_msg("\"%s\" is missing in %.300s", name, json_object_to_json_string(object));
	return json_object_get_int64(value);
}

struct tally read_tally(struct json_object *object)
{
	return (struct tally){
		.live_bytes = number(object, "live_bytes"),
		.live_count = number(object, "live_count"),
		.alloc_bytes = number(object, "alloc_bytes"),
		.alloc_count = number(object, "alloc_count"),
		.free_bytes = number(object, "free_bytes"),
		.free_count = number(object, "free_count"),
	};
}

void add_tally(struct tally *sum, struct tally item)
{
	sum->live_bytes += item.live_bytes;
	sum->live_count += item.live_count;
	sum->alloc_bytes += item.alloc_bytes;
	sum->alloc_count += item.alloc_count;
	sum->free_bytes += item.free_bytes;
	sum->free_count += item.free_count;
}

/* Parses JSON values one after another into an array. */
static struct json_object *parse_values(const char *input)
{
	struct json_object *array = json_object_new_array();
	struct json_tokener *tokener = json_tokener_new();
	size_t left = strlen(input);

	while (left > 0) {
		struct json_object *value;
		size_t used;

		if (strchr(" \n\t\r", *input)) {
			input++;
			left--;
			continue;
		}
		value = json_tokener_parse_ex(tokener, input, (int)left);
		used = json_tokener_get_parse_end(tokener);
		if (!value)
			fail_msg("not JSON (%s): %.300s",
				 json_tokener_error_desc(json_tokener_get_error(tokener)), input);
		json_object_array_add(array, value);
		input += used;
		left -= used;
		json_tokener_reset(tokener);
	}
	json_tokener_free(tokener);
	return keep(array);
}

struct expects expects__read(struct child *leaker)
{
	struct json_object *array = json_object_new_array();
	char *out = child__stdout(leaker), *rest = out, *line;

	while ((line = strsep(&rest, "\n"))) {
		if (!strncmp(line, "FAILED", 6))
			fail_msg("the leaker itself: %s", line);
		if (!strncmp(line, "EXPECT ", 7))
			json_object_array_add(array, json_tokener_parse(line + 7));
	}
	free(out);
	keep(array);
	return (struct expects){.items = array, .cnt = json_object_array_length(array)};
}

struct json_object *expects__of(const struct expects *expects, int index)
{
	assert_true((size_t)index < expects->cnt);
	return json_object_array_get_idx(expects->items, (size_t)index);
}

int expect__pid(struct json_object *expect)
{
	return (int)number(expect, "pid");
}

struct tally expect__totals(struct json_object *expect)
{
	return read_tally(expect);
}

struct tally expect__function(struct json_object *expect, const char *kind, const char *name)
{
	struct json_object *function = field(field(expect, kind), name);

	if (!function)
		fail_msg("the leaker did not call %s", name);
	return read_tally(function);
}

struct report report__parse(const char *input)
{
	struct json_object *docs = parse_values(input);
	size_t cnt = json_object_array_length(docs);

	if (!cnt)
		fail_msg("the tool printed no report");
	return (struct report){
		.docs = docs, .root = json_object_array_get_idx(docs, cnt - 1), .cnt = cnt};
}

struct report sweep__read_reports(const struct child *tool)
{
	char *out = child__stdout(tool);
	struct report report = report__parse(out);

	free(out);
	return report;
}

void sweep__await_reports(const struct child *tool, size_t cnt)
{
	for (int waited = 0; waited < TIMEOUT_MS; waited += 50) {
		char *out = child__stdout(tool);
		size_t ends = 0;

		for (const char *at = out; (at = strstr(at, "]}\n")); at++)
			ends++;
		free(out);
		if (ends >= cnt)
			return;
		sleep_ms(50);
	}
	fail_msg("there is no report %zu", cnt);
}

struct report report__read_file(const char *path)
{
	struct report report;
	size_t len = 0;
	char *content = NULL;
	FILE *file = fopen(path, "re");

	if (!file)
		fail_msg("%s was not written", path);
	if (getdelim(&content, &len, '\0', file) < 0)
		fail_msg("%s is empty", path);
	fclose(file);
	report = report__parse(content);
	free(content);
	return report;
}

struct report report__await_file(const char *path)
{
	struct report report;
	int64_t first = -1, now;

	for (int waited = 0; waited < TIMEOUT_MS; waited += 100) {
		sleep_ms(100);
		if (access(path, R_OK))
			continue;
		report = report__read_file(path);
		now = report__number(&report, NULL, "interval");
		if (first < 0)
			first = now;
		if (now >= first + 2)
			return report;
	}
	fail_msg("no report at intervals");
	return report;
}

static struct json_object *stacks_of(const struct report *report)
{
	struct json_object *stacks = field(report->root, "stacks");

	if (!stacks)
		fail_msg("the report has no \"stacks\"");
	return stacks;
}

size_t report__stack_cnt(const struct report *report)
{
	return json_object_array_length(stacks_of(report));
}

enum match { MATCH_ALL, MATCH_LEAF, MATCH_ANYWHERE, MATCH_LIKE };

/* The function of frame 0, behind what is inlined into it. */
static size_t leaf_of(struct json_object *frames, size_t cnt)
{
	size_t i = 0;

	while (i < cnt &&
	       json_object_get_boolean(field(json_object_array_get_idx(frames, i), "inlined")))
		i++;
	return i;
}

static bool stack_matches(struct json_object *stack, enum match match, const char *name)
{
	struct json_object *frames = field(stack, "frames");
	size_t cnt = frames ? json_object_array_length(frames) : 0;
	size_t begin = match == MATCH_ANYWHERE ? 0 : leaf_of(frames, cnt);

	if (match == MATCH_ALL)
		return true;
	for (size_t i = begin; i < cnt && (i == begin || match == MATCH_ANYWHERE); i++) {
		const char *function = text_of(json_object_array_get_idx(frames, i), "function");

		if (function && (match == MATCH_LIKE ? strstr(function, name) != NULL
						     : !strcmp(function, name)))
			return true;
	}
	return false;
}

static struct tally sum_stacks(const struct report *report, int pid, const char *layer,
			       enum match match, const char *name)
{
	struct json_object *stacks = stacks_of(report);
	struct tally sum = {0};

	for (size_t i = 0; i < json_object_array_length(stacks); i++) {
		struct json_object *stack = json_object_array_get_idx(stacks, i);

		if (pid && number(stack, "pid") != pid)
			continue;
		if (layer && strcmp(text_of(stack, "layer"), layer))
			continue;
		if (!stack_matches(stack, match, name))
			continue;
		add_tally(&sum, read_tally(stack));
	}
	return sum;
}

struct tally report__sum(const struct report *report, int pid, const char *layer, const char *leaf)
{
	return sum_stacks(report, pid, layer, leaf ? MATCH_LEAF : MATCH_ALL, leaf);
}

struct tally report__sum_anywhere(const struct report *report, int pid, const char *layer,
				  const char *function)
{
	return sum_stacks(report, pid, layer, MATCH_ANYWHERE, function);
}

struct tally report__sum_like(const struct report *report, int pid, const char *layer,
			      const char *part)
{
	return sum_stacks(report, pid, layer, MATCH_LIKE, part);
}

int64_t report__number(const struct report *report, const char *section, const char *name)
{
	return number(section ? field(report->root, section) : report->root, name);
}

int64_t report__loss(const struct report *report, const char *name)
{
	return report__number(report, "loss", name);
}

struct json_object *report__process(const struct report *report, int pid)
{
	struct json_object *procs = field(report->root, "processes");

	for (size_t i = 0; procs && i < json_object_array_length(procs); i++) {
		struct json_object *proc = json_object_array_get_idx(procs, i);

		if (number(proc, "pid") == pid)
			return proc;
	}
	return NULL;
}

/* What a reader of a failed test wants to know first. */
static void print_losses(const struct report *report)
{
	struct json_object *loss = field(report->root, "loss"),
			   *notes = field(report->root, "notes");

	print_error("  not zero:");
	if (loss) {
		json_object_object_foreach(loss, name, value) if (json_object_get_int64(value))
			print_error(" %s=%lld", name, (long long)json_object_get_int64(value));
	}
	print_error("\n");
	for (size_t i = 0; notes && i < json_object_array_length(notes); i++)
		print_error("  note: %s\n",
			    json_object_get_string(json_object_array_get_idx(notes, i)));
}

static bool differs(const char *what, const char *name, int64_t got, int64_t want)
{
	if (got == want)
		return false;
	print_error("%s: %s is %lld, should be %lld (%+lld)\n", what, name, (long long)got,
		    (long long)want, (long long)(got - want));
	return true;
}

void assert_live(const struct report *report, const char *what, struct tally got, struct tally want)
{
	bool bad = differs(what, "live_bytes", got.live_bytes, want.live_bytes);

	bad |= differs(what, "live_count", got.live_count, want.live_count);
	if (!bad)
		return;
	print_losses(report);
	fail_msg("%s is not exact", what);
}

void assert_tally(const struct report *report, const char *what, struct tally got,
		  struct tally want)
{
	bool bad = differs(what, "live_bytes", got.live_bytes, want.live_bytes);

	bad |= differs(what, "live_count", got.live_count, want.live_count);
	bad |= differs(what, "alloc_bytes", got.alloc_bytes, want.alloc_bytes);
	bad |= differs(what, "alloc_count", got.alloc_count, want.alloc_count);
	bad |= differs(what, "free_bytes", got.free_bytes, want.free_bytes);
	bad |= differs(what, "free_count", got.free_count, want.free_count);
	if (!bad)
		return;
	print_losses(report);
	fail_msg("%s is not exact", what);
}

void assert_expect_functions(const struct report *report, struct json_object *expect)
{
	int pid = expect__pid(expect);

	json_object_object_foreach(field(expect, "functions"), name, value) assert_tally(
		report, name, report__sum(report, pid, "malloc", name), read_tally(value));
	json_object_object_foreach(field(expect, "mmap"), map_name, map_value)
	{
		struct tally got = report__sum(report, pid, "mmap", map_name),
			     want = read_tally(map_value);

		want.live_count = got.live_count; /* ranges split and merge */
		assert_live(report, map_name, got, want);
	}
}

void assert_expect(const struct report *report, struct json_object *expect)
{
	int pid = expect__pid(expect);
	char *what = format("all of process %d", pid);

	assert_tally(report, what, report__sum(report, pid, "malloc", NULL),
		     expect__totals(expect));
	free(what);
	assert_expect_functions(report, expect);
}

/* `young` is what --min-age keeps out of the live numbers, {0} where it does not apply. */
static void assert_adds_up(const struct report *report, const char *what,
			   struct json_object *object, struct tally young)
{
	struct tally got = read_tally(object);
	struct json_object *bytes = field(object, "inherited_bytes"),
			   *count = field(object, "inherited_count");
	bool bad;

	bad = differs(what, "live + freed - inherited bytes",
		      got.live_bytes + young.live_bytes + got.free_bytes -
			      json_object_get_int64(bytes),
		      got.alloc_bytes);
	bad |= differs(what, "live + freed - inherited blocks",
		       got.live_count + young.live_count + got.free_count -
			       json_object_get_int64(count),
		       got.alloc_count);
	if (!bad)
		return;
	print_losses(report);
	fail_msg("the ledger does not add up");
}

void assert_ledger(const struct report *report)
{
	struct json_object *stacks = stacks_of(report), *totals = field(report->root, "totals");
	const struct tally young = {
		.live_bytes = report__number(report, "young", "live_bytes"),
		.live_count = report__number(report, "young", "live_count"),
	};

	assert_non_null(totals);
	assert_adds_up(report, "totals", totals, young);
	if (report__number(report, "young", "min_age_ns"))
		return;
	for (size_t i = 0; i < json_object_array_length(stacks); i++)
		assert_adds_up(report, "a stack", json_object_array_get_idx(stacks, i), young);
}

struct json_object *sweep__row(struct json_object *doc, int pid)
{
	struct json_object *rows = field(doc, "growing");

	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);

		if (field(row, "pid") && json_object_get_int(field(row, "pid")) == pid)
			return row;
	}
	return NULL;
}

double number_in(struct json_object *object, const char *name)
{
	assert_non_null(field(object, name));
	return json_object_get_double(field(object, name));
}
