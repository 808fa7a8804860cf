/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/resident.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t count_reports(struct child *tool)
{
	char *out = child__stdout(tool);
	size_t cnt = 0;

	for (const char *at = out; (at = strstr(at, "leaksweep trace: interval ")); at++)
		cnt++;
	for (const char *at = out; (at = strstr(at, "\"interval\":")); at++)
		cnt++;
	free(out);
	return cnt;
}

void await_reports(struct child *tool)
{
	size_t want = count_reports(tool) + 2;

	for (int waited = 0; count_reports(tool) < want; waited += 50) {
		if (waited > TIMEOUT_MS)
			fail_msg("no report at intervals");
		sleep_ms(50);
	}
}

int64_t rollup_bytes(int pid)
{
	char *path = format("/proc/%d/smaps_rollup", pid), *line = NULL;
	FILE *file = fopen(path, "r");
	long long kib = -1;
	size_t cap = 0;

	assert_non_null(file);
	while (kib < 0 && getline(&line, &cap, file) > 0)
		if (!strncmp(line, "Rss:", 4))
			kib = strtoll(line + 4, NULL, 10);
	fclose(file);
	free(line);
	free(path);
	assert_true(kib > 0);
	return kib * 1024;
}

void assert_near(const char *what, int64_t got, int64_t want)
{
	print_message("  %s: %" PRId64 ", should be %" PRId64 " (%+.2f %%)\n", what, got, want,
		      100.0 * (double)(got - want) / (double)want);
	if (llabs(got - want) * 20 >= want)
		fail_msg("%s is %" PRId64 ", should be %" PRId64, what, got, want);
}

int64_t resident_number(struct json_object *resident, const char *name)
{
	struct json_object *value = field(resident, name);

	if (!value)
		fail_msg("no %s in %s", name, json_object_to_json_string(resident));
	return json_object_get_int64(value);
}

struct json_object *assert_resident(const struct report *report, int pid, int64_t rss_bytes)
{
	static const char *const parts[] = {"objects_bytes", "objects_kept_bytes", "heaps_bytes",
					    "mapped_bytes",  "files_bytes",	   "stacks_bytes",
					    "shared_bytes",  "unread_bytes"};
	struct json_object *process = report__process(report, pid), *resident;
	int64_t sum = 0;

	assert_non_null(process);
	resident = field(process, "resident");
	assert_non_null(resident);
	print_message("  %s\n", json_object_to_json_string(resident));
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		sum += resident_number(resident, parts[i]);
	assert_int_equal(sum, resident_number(resident, "total_bytes"));
	assert_near("resident", sum, rss_bytes);
	return resident;
}

int64_t size_behind(const char *text, const char *before)
{
	static const char units[] = "KMG";
	const char *at = NULL, *unit;
	double number;
	char *end;

	for (const char *next = text; (next = strstr(next, before)); next++)
		at = next + strlen(before);
	if (!at)
		fail_msg("'%s' is not in:\n%s", before, text);
	number = strtod(at, &end);
	unit = end > at && *end == ' ' && end[1] ? strchr(units, end[1]) : NULL;
	if (!unit)
		fail_msg("no size behind '%s': %.40s", before, at);
	return (int64_t)(number * (double)(1LL << 10 * (unit - units + 1)));
}
