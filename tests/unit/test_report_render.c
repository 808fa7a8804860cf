/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Renderers against golden files, compared byte for byte. UPDATE_GOLDEN=1 writes them anew. What
 * other folders own (the version, the wording of reasons) is replaced by a placeholder before the
 * comparison.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "report/report.h"
#include "symbolize/symbolizer.h"

#define SEC 1000000000ULL
#define MAX_SYMBOLS 64

/* ---- comparing ---- */

static char *read_whole(const char *path)
{
	FILE *file = fopen(path, "r");
	char *text = NULL;
	size_t cap = 0;
	ssize_t len;

	if (!file)
		return NULL;
	len = getdelim(&text, &cap, '\0', file);
	fclose(file);
	if (len >= 0)
		return text;
	free(text);
	return strdup("");
}

/* Returns `text`, which is freed, with every `from` replaced. */
static char *replace_all(char *text, const char *from, const char *to)
{
	char *result, *at, *next;
	size_t len;
	FILE *out = open_memstream(&result, &len);

	for (at = text; (next = strstr(at, from)); at = next + strlen(from)) {
		fwrite(at, 1, next - at, out);
		fputs(to, out);
	}
	fputs(at, out);
	fclose(out);
	free(text);
	return result;
}

/* Empties the object of losses, whose names include/stats.h defines. */
static void cut_loss(char *text)
{
	char *loss = strstr(text, "\"loss\":{"), *end;

	if (!loss)
		return;
	loss += strlen("\"loss\":{");
	end = strchr(loss, '}');
	memmove(loss, end, strlen(end) + 1);
}

static char *without_foreign_words(char *text)
{
	char from[200], to[32];

	cut_loss(text);
	text = replace_all(text, "\"version\":\"" LEAKSWEEP_VERSION "\"",
			   "\"version\":\"@VERSION@\"");
	for (int reason = SYMBOL_NO_MODULE; reason <= SYMBOL_GAP; reason++) {
		const char *why = symbol_reason__text(reason);

		snprintf(from, sizeof(from), "\"reason\":\"%s\"}", why);
		snprintf(to, sizeof(to), "\"reason\":\"@%d@\"}", reason);
		text = replace_all(text, from, to);
		snprintf(from, sizeof(from), " [%.*s]", (int)strcspn(why, ":"), why);
		snprintf(to, sizeof(to), " [@%d@]", reason);
		text = replace_all(text, from, to);
	}
	return text;
}

static char *render_with(const struct profile *profile, const char *format,
			 const struct report_opts *opts)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_int_equal(report__by_name(format)(profile, opts, out), 0);
	fclose(out);
	assert_int_equal(strlen(text), len);
	return text;
}

static char *render(const struct profile *profile, const char *format)
{
	const struct report_opts opts = {.columns = 100};

	return render_with(profile, format, &opts);
}

static void check_text(char *text, const char *golden)
{
	char *path, *expected;

	text = without_foreign_words(text);
	assert_true(asprintf(&path, "tests/golden/%s", golden) > 0);
	if (getenv("UPDATE_GOLDEN")) {
		FILE *file = fopen(path, "w");

		assert_non_null(file);
		fputs(text, file);
		assert_int_equal(fclose(file), 0);
	}
	expected = read_whole(path);
	if (!expected)
		fail_msg("%s: cannot be read; run from the top folder", path);
	if (strcmp(expected, text))
		fail_msg("%s differs:\n%s\n--- expected ---\n%s", path, text, expected);
	free(expected);
	free(path);
	free(text);
}

static void check_golden(const struct profile *profile, const char *format, const char *golden)
{
	check_text(render(profile, format), golden);
}

/* ---- the scene: a server with a worker, and a command that has ended ---- */

struct scene {
	struct snapshot *snap;
	struct symbol symbols[MAX_SYMBOLS];
	uint32_t server, libc, jit;
};

static struct snapshot *new_snapshot(void)
{
	struct snapshot *snap = snapshot__new("trace");

	free(snap->hostname);
	free(snap->kernel);
	free(snap->arch);
	snap->hostname = strdup("db7");
	snap->kernel = strdup("6.18.0");
	snap->arch = strdup("x86_64");
	snap->cpus = 2;
	snap->started_at_ns = 1767323045678000000;
	snap->duration_ns = 60 * SEC;
	return snap;
}

static uint32_t add_frame(struct scene *scene, uint32_t module, uint64_t offset,
			  const char *function, const char *file, uint32_t line)
{
	uint32_t frame = snapshot__add_frame(scene->snap, FRAME_NATIVE, module, offset);

	assert_true(frame < MAX_SYMBOLS);
	scene->symbols[frame] = (struct symbol){
		.function = function,
		.file = file,
		.line = line,
		.function_offset = offset & 0xff,
		.reason = function		? SYMBOL_FOUND
			  : module == SNAP_NONE ? SYMBOL_NO_MODULE
						: SYMBOL_STRIPPED,
	};
	return frame;
}

static void add_row(struct scene *scene, uint32_t proc, enum layer layer, enum unwind_end unwind,
		    const uint32_t *frames, size_t frame_cnt, int64_t bytes, int64_t count)
{
	const struct snap_row row = {
		.proc = proc,
		.stack = snapshot__add_stack(scene->snap, frames, frame_cnt),
		.layer = layer,
		.unwind = unwind,
		.cost = {.live_bytes = bytes,
			 .live_count = count,
			 .alloc_bytes = 3 * bytes + 4096,
			 .alloc_count = 3 * count + 1,
			 .free_bytes = 2 * bytes + 4096,
			 .free_count = 2 * count + 1},
		.oldest_ns = count > 0 ? 58 * SEC : 0,
		.newest_ns = count > 1	 ? 350000000
			     : count > 0 ? 58 * SEC
					 : 0,
	};

	assert_int_not_equal(row.stack, SNAP_NONE);
	assert_int_equal(snapshot__add_row(scene->snap, &row), 0);
}

static void add_procs(struct snapshot *snap)
{
	struct snap_proc *proc;

	snapshot__add_proc(snap, 812, 77000000000, "server", "/usr/sbin/server",
			   "/system.slice/server.service", "");
	snapshot__add_proc(snap, 813, 78000000000, "worker", "/usr/sbin/server",
			   "/system.slice/server.service", "c0ffee");
	snapshot__add_proc(snap, 901, 79000000000, "sh", "/usr/bin/dash", "", "");
	proc = snap->procs.items;
	proc[0].late = true;
	proc[0].rss_bytes = 123456789;
	proc[1].inherited = true;
	proc[2].state = PROC_EXITED;
	proc[2].exit_code = 3 << 8;
	for (uint32_t i = 0; i < 3; i++)
		snapshot__add_coverage(snap, i, "glibc", "/usr/lib/x86_64-linux-gnu/libc.so.6",
				       COVERAGE_PROBED, "");
	snapshot__add_coverage(
		snap, 0, "jemalloc", "/opt/lib/libjemalloc.so.2", COVERAGE_PARTIAL,
		"mallocx cannot be probed: its first instruction is a branch target");
	snapshot__add_coverage(snap, 1, "static", "/opt/bin/plugin", COVERAGE_SKIPPED,
			       "stripped: the allocator cannot be found");
}

static void scene__init(struct scene *scene)
{
	static const uint8_t id[] = {0xde, 0xad, 0xbe, 0xef};
	struct snapshot *snap = new_snapshot();

	*scene = (struct scene){.snap = snap};
	add_procs(snap);
	scene->server = snapshot__add_module(snap, "/usr/sbin/server", 8, 10, id, sizeof(id), -1);
	scene->libc = snapshot__add_module(snap, "/usr/lib/x86_64-linux-gnu/libc.so.6", 8, 11, NULL,
					   0, -1);
	scene->jit = snapshot__add_module(snap, "[anon]", 0, 0, NULL, 0, -1);
}

static void scene__add_rows(struct scene *scene)
{
	uint32_t leak = add_frame(scene, scene->server, 0x1124, "leak_request", "src/server.c", 42);
	uint32_t handle = add_frame(scene, scene->server, 0x1210, "handle", NULL, 0);
	uint32_t main = add_frame(scene, scene->server, 0x1380, "main", "src/main.c", 0);
	uint32_t hidden = add_frame(scene, scene->libc, 0x29d90, NULL, NULL, 0);
	uint32_t jit = add_frame(scene, scene->jit, 0x7f0000001000, NULL, NULL, 0);
	uint32_t nowhere = add_frame(scene, SNAP_NONE, 0xdeadbeef, NULL, NULL, 0);
	uint32_t wide = add_frame(scene, scene->server, 0x1440,
				  "std::map<std::string, std::vector<std::string> >::"
				  "insert_or_assign(std::string const&, std::vector<std::string>)",
				  "src/cache.cc", 7);
	const uint32_t usual[] = {leak, handle, main, hidden};
	const uint32_t cut[] = {wide, handle};
	const uint32_t odd[] = {jit, nowhere};
	uint32_t deep[20];

	for (uint32_t i = 0; i < 20; i++)
		deep[i] = i == 19 ? main
				  : add_frame(scene, scene->server, 0x2000 + 16 * i, "recurse",
					      "src/tree.c", 100 + i);
	add_row(scene, 0, LAYER_MALLOC, UNWIND_COMPLETE, usual, 4, 8598323, 1200);
	add_row(scene, 1, LAYER_MALLOC, UNWIND_COMPLETE, usual, 4, 2097152, 31);
	add_row(scene, 0, LAYER_MMAP, UNWIND_BROKEN, cut, 2, 1048576, 1);
	add_row(scene, 0, LAYER_MALLOC, UNWIND_TRUNCATED, deep, 20, 524288, 512);
	add_row(scene, 1, LAYER_MALLOC, UNWIND_LOST, NULL, 0, 4096, 2);
	add_row(scene, 2, LAYER_MALLOC, UNWIND_COMPLETE, odd, 2, 17, 1);
	add_row(scene, 2, LAYER_MALLOC, UNWIND_COMPLETE, usual, 4, 0, 0);
	/* The worker got copies of the server's blocks by fork. */
	scene->snap->rows.items[1].cost.alloc_bytes -= 65536;
	scene->snap->rows.items[1].cost.inherited_bytes += 65536;
	scene->snap->rows.items[1].cost.alloc_count -= 12;
	scene->snap->rows.items[1].cost.inherited_count += 12;
	scene->snap->overhead = (struct snap_overhead){
		.probe_hits = 1250000,
		.ns_per_hit = 812.3,
		.cpu_percent = 1.6923,
		.tool_cpu_percent = 0.34,
	};
	scene->snap->stats[STAT_HITS_ALLOC] = scene->snap->stats[STAT_HITS_RETURN] = 625000;
	scene->snap->blocks_checked = 1747;
	scene->snap->ended_procs = 2;
	scene->snap->ended_bytes = 4711;
	scene->snap->ended_count = 3;
}

static void scene__free(struct scene *scene)
{
	snapshot__free(scene->snap);
}

static struct profile *profile_of(const struct scene *scene, enum profile_group group,
				  const struct profile *previous)
{
	const struct profile_opts opts = {.group = group, .top = 10};
	struct profile *profile = profile__new(scene->snap, scene->symbols, &opts, previous);

	assert_non_null(profile);
	return profile;
}

/* ---- the usual report ---- */

static void test_usual(void **state)
{
	struct profile *profile;
	struct scene scene;

	(void)state;
	scene__init(&scene);
	scene__add_rows(&scene);
	scene.snap->stats[STAT_UNKNOWN_FREES] = 4321;
	profile = profile_of(&scene, GROUP_STACK, NULL);
	check_golden(profile, "table", "table.txt");
	check_golden(profile, "json", "report.json");
	check_golden(profile, "folded", "folded.txt");
	profile__free(profile);
	scene__free(&scene);
}

static void test_groups(void **state)
{
	static const char *const names[] = {
		[GROUP_FUNCTION] = "function",
		[GROUP_PROCESS] = "process",
		[GROUP_CGROUP] = "cgroup",
	};
	struct scene scene;
	char golden[64];

	(void)state;
	scene__init(&scene);
	scene__add_rows(&scene);
	for (int group = GROUP_FUNCTION; group <= GROUP_CGROUP; group++) {
		struct profile *profile = profile_of(&scene, group, NULL);

		snprintf(golden, sizeof(golden), "table-%s.txt", names[group]);
		check_golden(profile, "table", golden);
		snprintf(golden, sizeof(golden), "report-%s.json", names[group]);
		check_golden(profile, "json", golden);
		snprintf(golden, sizeof(golden), "folded-%s.txt", names[group]);
		check_golden(profile, "folded", golden);
		profile__free(profile);
	}
	scene__free(&scene);
}

static void test_interval(void **state)
{
	struct profile_opts opts = {.sort = SORT_GROWTH, .top = 2};
	struct profile *before, *after;
	struct scene old, new;

	(void)state;
	scene__init(&old);
	scene__add_rows(&old);
	scene__init(&new);
	scene__add_rows(&new);
	new.snap->interval = 3;
	new.snap->rows.items[1].cost.live_bytes += 700000;
	new.snap->rows.items[1].cost.alloc_bytes += 700000;
	new.snap->rows.items[0].cost.live_bytes -= 50;
	new.snap->rows.items[0].cost.free_bytes += 50;
	before = profile_of(&old, GROUP_STACK, NULL);
	after = profile__new(new.snap, new.symbols, &opts, before);
	check_golden(after, "table", "table-interval.txt");
	check_golden(after, "json", "report-interval.json");
	profile__free(after);
	opts.sort = SORT_BYTES;
	after = profile__new(old.snap, old.symbols, &opts, before);
	check_golden(after, "table", "table-nothing-grew.txt");
	profile__free(after);
	profile__free(before);
	scene__free(&new);
	scene__free(&old);
}

/* ---- what is missing is said ---- */

static void test_losses(void **state)
{
	struct profile *profile;
	struct scene scene;

	(void)state;
	scene__init(&scene);
	scene__add_rows(&scene);
	for (enum stat_id stat = 0; stat < STAT_MAX; stat++)
		scene.snap->stats[stat] = 1234;
	scene.snap->procs.items[0].late = false;
	scene.snap->unaccounted_bytes = -64;
	scene.snap->unaccounted_count = -1;
	scene.snap->rows.items[0].cost.live_count += 5;
	snapshot__add_note(scene.snap, "pid 812: the probe of valloc could not be set: %s", "busy");
	snapshot__add_note(scene.snap, "the trace began 2 s late");
	profile = profile_of(&scene, GROUP_STACK, NULL);
	check_golden(profile, "table", "table-losses.txt");
	profile__free(profile);
	scene__free(&scene);
}

static void test_estimated(void **state)
{
	struct profile *profile;
	struct scene scene;

	(void)state;
	scene__init(&scene);
	scene__add_rows(&scene);
	scene.snap->estimated = true;
	scene.snap->sample_bytes = 65536;
	scene.snap->stats[STAT_UNKNOWN_FREES] = 4321;
	profile = profile_of(&scene, GROUP_STACK, NULL);
	check_golden(profile, "table", "table-estimated.txt");
	profile__free(profile);
	scene__free(&scene);
}

static void test_min_age(void **state)
{
	struct profile *profile;
	struct scene scene;
	struct cost *cost;

	(void)state;
	scene__init(&scene);
	scene__add_rows(&scene);
	scene.snap->min_age_ns = 30 * SEC;
	cost = &scene.snap->rows.items[0].cost;
	scene.snap->young_bytes = cost->live_bytes;
	scene.snap->young_count = cost->live_count;
	cost->live_bytes = cost->live_count = 0;
	profile = profile_of(&scene, GROUP_STACK, NULL);
	check_golden(profile, "table", "table-min-age.txt");
	profile__free(profile);
	scene__free(&scene);
}

/* ---- nothing to list ---- */

static void check_empty(struct scene *scene, const char *verdict, const char *golden)
{
	struct profile *profile = profile_of(scene, GROUP_STACK, NULL);
	const struct report_opts unlimited = {0};
	char *text = render_with(profile, "table", &unlimited);

	if (!strstr(text, verdict))
		fail_msg("'%s' is not in:\n%s", verdict, text);
	/* Only memory that was seen may be called free of leaks. */
	if (!strncmp(verdict, "nothing was seen", 16)) {
		assert_null(strstr(text, "nothing is outstanding"));
		assert_non_null(strstr(text, "This says nothing about leaks"));
	}
	assert_null(strcasestr(text, "no leak"));
	free(text);
	if (golden)
		check_golden(profile, "table", golden);
	text = render(profile, "folded");
	assert_string_equal(text, "");
	free(text);
	profile__free(profile);
}

static void test_no_process(void **state)
{
	struct scene scene = {.snap = new_snapshot()};
	struct profile *profile;

	(void)state;
	check_empty(&scene, "nothing was seen: no process was traced", "table-empty.txt");
	profile = profile_of(&scene, GROUP_STACK, NULL);
	check_golden(profile, "json", "report-empty.json");
	profile__free(profile);
	scene__free(&scene);
}

static void test_nothing_seen(void **state)
{
	struct scene scene;

	(void)state;
	scene__init(&scene);
	check_empty(&scene, "nothing was seen: the traced processes allocated nothing in 1m00s",
		    "table-idle.txt");
	scene.snap->stats[STAT_HITS_FREE] = scene.snap->overhead.probe_hits = 12;
	check_empty(&scene, "nothing was seen: the traced processes only freed older blocks", NULL);
	scene.snap->stats[STAT_HITS_ALLOC] = scene.snap->stats[STAT_HITS_RETURN] = 9;
	check_empty(&scene, "nothing was seen: allocators were called, but", NULL);
	scene.snap->stats[STAT_FAILED_ALLOCS] = 9;
	check_empty(&scene, "nothing was seen: all 9 allocations failed", NULL);
	scene.snap->stats[STAT_FAILED_ALLOCS] = 0;
	scene.snap->sample_bytes = 1 << 20;
	check_empty(&scene,
		    "nothing was seen: blocks were allocated, but the sampling (one in 1.0 MiB)",
		    NULL);
	scene.snap->stats[STAT_MAP_FULL] = 9;
	check_empty(&scene, "nothing was seen: blocks were allocated, but none could be followed",
		    NULL);
	scene__free(&scene);
}

static void test_nothing_probed(void **state)
{
	struct scene scene = {.snap = new_snapshot()};

	(void)state;
	snapshot__add_proc(scene.snap, 5, 6, "go-thing", "/opt/go", "", "");
	snapshot__add_proc(scene.snap, 7, 6, "odd", "/opt/odd", "", "");
	snapshot__add_coverage(scene.snap, 1, "glibc", "/lib/libc.so.6", COVERAGE_SKIPPED,
			       "32-bit program");
	check_empty(&scene, "nothing was seen: no allocator of the traced processes is probed",
		    "table-unprobed.txt");
	scene__free(&scene);
}

static void test_all_freed(void **state)
{
	struct scene scene;

	(void)state;
	scene__init(&scene);
	scene.snap->overhead.probe_hits = 30;
	scene.snap->duration_ns = 2 * SEC;
	add_row(&scene, 0, LAYER_MALLOC, UNWIND_LOST, NULL, 0, 0, 0);
	check_empty(&scene, "nothing is outstanding: 1 allocation seen, all freed",
		    "table-clean.txt");
	scene.snap->stats[STAT_MAP_FULL] = 9;
	check_empty(&scene, "all freed; this does not cover the blocks that were not followed",
		    NULL);
	scene__free(&scene);
}

/* ---- many processes, narrow and coloured terminals ---- */

static void test_many_processes(void **state)
{
	struct scene scene = {.snap = new_snapshot()};
	struct profile *profile;
	char text[64];

	(void)state;
	for (uint32_t i = 0; i < 40; i++) {
		snprintf(text, sizeof(text), "proc%u", i);
		snapshot__add_proc(scene.snap, 1000 + i, 1, text, "", "", "");
		if (i == 39)
			continue;
		snapshot__add_coverage(scene.snap, i, "glibc", "/lib/libc.so.6", COVERAGE_PROBED,
				       "");
		snprintf(text, sizeof(text), "/opt/plugin%u", i);
		snapshot__add_coverage(scene.snap, i, "static", text, COVERAGE_SKIPPED, "stripped");
	}
	scene.snap->procs.items[3].state = PROC_EXECED;
	scene.snap->procs.items[4].state = PROC_EXITED;
	scene.snap->procs.items[4].exit_code = 9;
	profile = profile_of(&scene, GROUP_STACK, NULL);
	check_golden(profile, "table", "table-many.txt");
	profile__free(profile);
	scene__free(&scene);
}

static void check_width(const struct profile *profile, const struct report_opts *opts)
{
	char *text = render_with(profile, "table", opts), *rest = text, *line;

	while ((line = strsep(&rest, "\n")))
		if (strlen(line) > opts->columns)
			fail_msg("wider than %u: %s", opts->columns, line);
	free(text);
}

static void test_width_and_color(void **state)
{
	const struct report_opts narrow = {.columns = 80}, usual = {.columns = 100},
				 color = {.columns = 100, .color = true};
	struct profile *profile;
	struct scene scene;
	char *text, *plain, *line, *rest, *end;

	(void)state;
	scene__init(&scene);
	scene__add_rows(&scene);
	profile = profile_of(&scene, GROUP_FUNCTION, NULL);
	check_width(profile, &usual);
	profile__free(profile);
	profile = profile_of(&scene, GROUP_STACK, NULL);
	check_width(profile, &narrow);
	/* Without its colour codes a coloured report is the plain one. */
	text = render_with(profile, "table", &color);
	assert_non_null(strstr(text, "\033[1m"));
	for (rest = text; (line = strstr(rest, "\033[")); rest = line) {
		end = strchr(line, 'm');
		memmove(line, end + 1, strlen(end));
	}
	plain = render(profile, "table");
	assert_string_equal(text, plain);
	free(plain);
	free(text);
	profile__free(profile);
	scene__free(&scene);
}

/* ---- hostile text ---- */

static void check_utf8(const char *text)
{
	for (const char *at = text; *at; at++) {
		size_t more = (*at & 0x80) == 0x00   ? 0
			      : (*at & 0xe0) == 0xc0 ? 1
			      : (*at & 0xf0) == 0xe0 ? 2
			      : (*at & 0xf8) == 0xf0 ? 3
						     : 99;

		assert_int_not_equal(more, 99);
		while (more--)
			assert_int_equal(*++at & 0xc0, 0x80);
	}
}

/* No renderer lets a control character through, and all of them write UTF-8. */
static void check_clean(const struct scene *scene)
{
	static const char *const formats[] = {"table", "folded", "json"};

	for (int group = GROUP_STACK; group <= GROUP_CGROUP; group++) {
		struct profile *profile = profile_of(scene, group, NULL);

		for (int i = 0; i < 3; i++) {
			char *text = render(profile, formats[i]);

			for (char *at = text; *at; at++)
				if ((unsigned char)*at < 0x20 && *at != '\n')
					fail_msg("control character in %s", formats[i]);
			check_utf8(text);
			if (i == 2) {
				struct json_object *report = json_tokener_parse(text);

				assert_non_null(report);
				json_object_put(report);
			}
			free(text);
		}
		profile__free(profile);
	}
}

static void test_random_names(void **state)
{
	unsigned int seed = 42;
	char name[24];

	(void)state;
	for (int round = 0; round < 300; round++) {
		struct scene scene = {.snap = new_snapshot()};
		uint32_t module, frame;
		size_t len = rand_r(&seed) % sizeof(name);

		/* Half of the bytes look like the beginning or the middle of a UTF-8 character. */
		for (size_t i = 0; i < len; i++) {
			name[i] = rand_r(&seed) | (rand_r(&seed) & 0x80);
			name[i] = name[i] ? name[i] : 1;
		}
		name[len] = '\0';
		snapshot__add_proc(scene.snap, 1, 1, name, name, name, name);
		snapshot__add_coverage(scene.snap, 0, name, name, COVERAGE_PARTIAL, name);
		module = snapshot__add_module(scene.snap, name, 1, 2, NULL, 0, -1);
		frame = add_frame(&scene, module, 0x10, round % 2 ? name : NULL, name, 3);
		add_row(&scene, 0, LAYER_MALLOC, UNWIND_COMPLETE, &frame, 1, 100, 1);
		check_clean(&scene);
		scene__free(&scene);
	}
}

static void test_hostile_names(void **state)
{
	static const char comm[] = "\033]0;owned\007\033[2J";
	static const char path[] = "/tmp/a;b\nc\xff\xc0\xaf\xed\xa0\x80/\xe2\x80\xae"
				   "evil\xc2\x9b.so;x";
	static const char name[] = "f;g\r\n\"quoted\\\" \xc3\xa4 \xf4\x90\x80\x80 \xe2\x82";
	struct profile *profile;
	struct scene scene = {.snap = new_snapshot()};
	uint32_t frames[2], module;

	(void)state;
	free(scene.snap->hostname);
	scene.snap->hostname = strdup("\033[31mhost");
	for (int32_t i = 0; i < 2; i++)
		snapshot__add_proc(scene.snap, 66 + i, 1, comm, path, path, "\xfe");
	snapshot__add_coverage(scene.snap, 0, comm, path, COVERAGE_SKIPPED, "\033c\n");
	snapshot__add_note(scene.snap, "note: %s", comm);
	module = snapshot__add_module(scene.snap, path, 1, 2, NULL, 0, -1);
	frames[0] = add_frame(&scene, module, 0x10, name, "\033[8m.c", 3);
	frames[1] = add_frame(&scene, module, 0x20, NULL, NULL, 0);
	add_row(&scene, 0, LAYER_MALLOC, UNWIND_COMPLETE, frames, 2, 100, 1);
	check_clean(&scene);
	profile = profile_of(&scene, GROUP_STACK, NULL);
	check_golden(profile, "table", "table-hostile.txt");
	check_golden(profile, "json", "report-hostile.json");
	check_golden(profile, "folded", "folded-hostile.txt");
	profile__free(profile);
	scene__free(&scene);
}

/* ---- JSON, field by field ---- */

static struct json_object *get(struct json_object *object, const char *name, enum json_type type)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, name, &value))
		fail_msg("%s is absent", name);
	if (json_object_get_type(value) != type)
		fail_msg("%s is a %s", name, json_type_to_name(json_object_get_type(value)));
	return value;
}

static int64_t get_int(struct json_object *object, const char *name)
{
	return json_object_get_int64(get(object, name, json_type_int));
}

static const char *get_text(struct json_object *object, const char *name)
{
	return json_object_get_string(get(object, name, json_type_string));
}

static void check_cost(struct json_object *object, const struct cost *cost)
{
	assert_int_equal(get_int(object, "live_bytes"), cost->live_bytes);
	assert_int_equal(get_int(object, "live_count"), cost->live_count);
	assert_int_equal(get_int(object, "alloc_bytes"), cost->alloc_bytes);
	assert_int_equal(get_int(object, "alloc_count"), cost->alloc_count);
	assert_int_equal(get_int(object, "free_bytes"), cost->free_bytes);
	assert_int_equal(get_int(object, "free_count"), cost->free_count);
	assert_int_equal(get_int(object, "inherited_bytes"), cost->inherited_bytes);
	assert_int_equal(get_int(object, "inherited_count"), cost->inherited_count);
	assert_int_equal(cost->alloc_bytes + cost->inherited_bytes,
			 cost->live_bytes + cost->free_bytes);
}

static void check_json_head(struct json_object *report, const struct profile *profile)
{
	struct json_object *part = get(report, "leaksweep", json_type_object);

	assert_string_equal(get_text(part, "version"), LEAKSWEEP_VERSION);
	assert_int_equal(get_int(part, "schema"), 1);
	assert_string_equal(get_text(report, "mode"), "trace");
	assert_string_equal(get_text(report, "started_at"), "2026-01-02T03:04:05.678Z");
	assert_int_equal(get_int(report, "duration_ns"), 60 * SEC);
	assert_int_equal(get_int(report, "interval"), 0);
	assert_false(json_object_get_boolean(get(report, "estimated", json_type_boolean)));
	assert_int_equal(get_int(report, "sample_bytes"), 0);
	part = get(report, "host", json_type_object);
	assert_string_equal(get_text(part, "hostname"), "db7");
	assert_string_equal(get_text(part, "kernel"), "6.18.0");
	assert_string_equal(get_text(part, "arch"), "x86_64");
	assert_int_equal(get_int(part, "cpus"), 2);
	check_cost(get(report, "totals", json_type_object), &profile->total);
	part = get(report, "overhead", json_type_object);
	assert_int_equal(get_int(part, "probe_hits"), 1250000);
	assert_true(json_object_get_double(get(part, "ns_per_hit", json_type_double)) == 812.3);
	assert_true(json_object_get_double(get(part, "cpu_percent", json_type_double)) == 1.692);
	part = get(report, "checked", json_type_object);
	assert_int_equal(get_int(part, "blocks"), 1747);
	assert_int_equal(get_int(part, "unaccounted_bytes"), 0);
	part = get(report, "ended", json_type_object);
	assert_int_equal(get_int(part, "processes"), 2);
	assert_int_equal(get_int(part, "live_bytes"), 4711);
	assert_int_equal(get_int(part, "live_count"), 3);
	part = get(report, "loss", json_type_object);
	assert_int_equal(json_object_object_length(part), STAT_MAX);
	assert_int_equal(get_int(part, "map_full"), 17);
	assert_int_equal(get_int(part, "hits_alloc"), 625000);
	part = get(report, "notes", json_type_array);
	assert_string_equal(json_object_get_string(json_object_array_get_idx(part, 0)), "a note");
}

static void check_json_processes(struct json_object *report, const struct profile *profile)
{
	struct json_object *list = get(report, "processes", json_type_array), *item, *part;

	assert_int_equal(json_object_array_length(list), 3);
	for (size_t i = 0; i < 3; i++) {
		const struct snap_proc *proc = &profile->snap->procs.items[i];

		item = json_object_array_get_idx(list, i);
		assert_int_equal(get_int(item, "pid"), proc->pid);
		assert_int_equal(get_int(item, "start_ns"), proc->start_ns);
		assert_string_equal(get_text(item, "comm"), proc->comm);
		assert_string_equal(get_text(item, "exe"), proc->exe);
		assert_string_equal(get_text(item, "cgroup"), proc->cgroup);
		assert_string_equal(get_text(item, "container"), proc->container);
		assert_int_equal(get_int(item, "rss_bytes"), proc->rss_bytes);
		check_cost(get(item, "totals", json_type_object), &profile->proc_totals[i]);
		part = get(item, "coverage", json_type_object);
		get_text(get(part, "python", json_type_object), "status");
		part = get(part, "allocators", json_type_array);
		assert_int_equal(json_object_array_length(part), proc->coverage.cnt);
		part = json_object_array_get_idx(part, 0);
		assert_string_equal(get_text(part, "name"), "glibc");
		assert_string_equal(get_text(part, "status"), "probed");
		assert_string_equal(get_text(part, "reason"), "");
	}
	assert_string_equal(get_text(json_object_array_get_idx(list, 0), "state"), "running");
	get(json_object_array_get_idx(list, 0), "exit_code", json_type_null);
	assert_string_equal(get_text(item, "state"), "exited");
	assert_int_equal(get_int(item, "exit_code"), 3);
	get(item, "exit_signal", json_type_null);
	item = json_object_array_get_idx(list, 1);
	assert_true(json_object_get_boolean(get(item, "inherited", json_type_boolean)));
	assert_false(json_object_get_boolean(get(item, "late", json_type_boolean)));
}

static void check_json_stacks(struct json_object *report, const struct profile *profile)
{
	struct json_object *list = get(report, "stacks", json_type_array), *item, *frames, *frame;

	assert_int_equal(json_object_array_length(list), profile->rows.cnt);
	for (size_t i = 0; i < profile->rows.cnt; i++) {
		const struct profile_row *row = &profile->rows.items[i];

		item = json_object_array_get_idx(list, i);
		assert_int_equal(get_int(item, "pid"),
				 profile->snap->procs.items[row->row->proc].pid);
		check_cost(item, &row->cost);
		assert_int_equal(get_int(item, "oldest_ns"), row->oldest_ns);
		assert_int_equal(get_int(item, "newest_ns"), row->newest_ns);
		assert_string_equal(get_text(item, "verdict"), "unknown");
		get_text(item, "unwind");
		get_text(item, "cgroup");
		assert_false(json_object_object_get_ex(item, "delta_live_bytes", NULL));
	}
	item = json_object_array_get_idx(list, 0);
	assert_string_equal(get_text(item, "layer"), "malloc");
	frames = get(item, "frames", json_type_array);
	assert_int_equal(json_object_array_length(frames), 4);
	frame = json_object_array_get_idx(frames, 0);
	assert_string_equal(get_text(frame, "kind"), "native");
	assert_string_equal(get_text(frame, "function"), "leak_request");
	assert_string_equal(get_text(frame, "file"), "src/server.c");
	assert_int_equal(get_int(frame, "line"), 42);
	assert_string_equal(get_text(frame, "module"), "/usr/sbin/server");
	assert_string_equal(get_text(frame, "build_id"), "deadbeef");
	assert_int_equal(get_int(frame, "offset"), 0x1124);
	assert_false(json_object_get_boolean(get(frame, "inlined", json_type_boolean)));
	assert_false(json_object_object_get_ex(frame, "reason", NULL));
	frame = json_object_array_get_idx(frames, 3);
	get(frame, "function", json_type_null);
	get(frame, "build_id", json_type_null);
	assert_string_equal(get_text(frame, "reason"), symbol_reason__text(SYMBOL_STRIPPED));
	assert_string_equal(get_text(json_object_array_get_idx(list, 2), "layer"), "mmap");
	assert_string_equal(get_text(json_object_array_get_idx(list, 2), "unwind"), "broken");
	assert_string_equal(get_text(json_object_array_get_idx(list, 4), "unwind"), "lost");
}

static void test_json_fields(void **state)
{
	struct json_object *report;
	struct profile *profile;
	struct scene scene;
	char *text;

	(void)state;
	scene__init(&scene);
	scene__add_rows(&scene);
	scene.snap->stats[STAT_MAP_FULL] = 17;
	snapshot__add_note(scene.snap, "a note");
	profile = profile_of(&scene, GROUP_STACK, NULL);
	text = render(profile, "json");
	report = json_tokener_parse(text);
	assert_non_null(report);
	check_json_head(report, profile);
	check_json_processes(report, profile);
	check_json_stacks(report, profile);
	json_object_put(report);
	free(text);
	profile__free(profile);
	scene__free(&scene);
}

/* Numbers at the ends of their range, and floats that JSON has no word for. */
static void test_json_extremes(void **state)
{
	struct json_object *report;
	struct profile *profile;
	struct scene scene;
	char *text;

	(void)state;
	scene__init(&scene);
	scene__add_rows(&scene);
	scene.snap->overhead.ns_per_hit = 0.0 / 0.0;
	scene.snap->overhead.cpu_percent = 1e300;
	scene.snap->duration_ns = UINT64_MAX;
	scene.snap->started_at_ns = UINT64_MAX;
	scene.snap->rows.items[0].layer = 200;
	scene.snap->rows.items[0].unwind = 200;
	profile = profile_of(&scene, GROUP_STACK, NULL);
	text = render(profile, "json");
	report = json_tokener_parse(text);
	assert_non_null(report);
	assert_true(json_object_get_uint64(get(report, "duration_ns", json_type_int)) ==
		    UINT64_MAX);
	assert_non_null(strstr(text, "\"layer\":\"unknown\""));
	json_object_put(report);
	free(text);
	free(render(profile, "table"));
	profile__free(profile);
	scene__free(&scene);
}

/* ---- the rest ---- */

static void test_names(void **state)
{
	(void)state;
	assert_ptr_equal(report__by_name("table"), report_table);
	assert_ptr_equal(report__by_name("json"), report_json);
	assert_ptr_equal(report__by_name("folded"), report_folded);
	assert_null(report__by_name("Table"));
	assert_null(report__by_name(""));
	assert_string_equal(report__names(), "table, json, folded");
}

static void test_failed_write(void **state)
{
	static const char *const formats[] = {"table", "json", "folded"};
	const struct report_opts opts = {.columns = 80};
	struct profile *profile;
	struct scene scene;

	(void)state;
	scene__init(&scene);
	scene__add_rows(&scene);
	profile = profile_of(&scene, GROUP_STACK, NULL);
	for (int i = 0; i < 3; i++) {
		FILE *full = fopen("/dev/full", "w");

		if (!full)
			skip();
		assert_int_equal(report__by_name(formats[i])(profile, &opts, full), -ENOSPC);
		fclose(full);
	}
	profile__free(profile);
	scene__free(&scene);
}

static struct snapshot *new_big_snapshot(struct symbol **ret_symbols)
{
	struct snapshot *snap = new_snapshot();
	uint32_t module = snapshot__add_module(snap, "/bin/app", 8, 10, NULL, 0, -1);
	uint32_t proc = snapshot__add_proc(snap, 1, 1, "app", "", "", "");
	uint32_t frames[30];

	for (uint32_t i = 0; i < 10000; i++) {
		struct snap_row row = {
			.proc = proc,
			.layer = LAYER_MALLOC,
			.cost = {.live_bytes = i % 100, .live_count = 1},
		};

		for (uint32_t depth = 0; depth < 30; depth++)
			frames[depth] = snapshot__add_frame(snap, FRAME_NATIVE, module,
							    (i >> depth) * 64 + depth);
		row.stack = snapshot__add_stack(snap, frames, 30);
		assert_int_equal(snapshot__add_row(snap, &row), 0);
	}
	*ret_symbols = calloc(snap->frames.cnt, sizeof(**ret_symbols));
	for (size_t i = 0; i < snap->frames.cnt; i++)
		(*ret_symbols)[i] =
			(struct symbol){"some_function_name", "src/some_file.c", 42, 1, 0};
	return snap;
}

static void test_speed(void **state)
{
	static const char *const formats[] = {"table", "json", "folded"};
	const struct profile_opts opts = {0};
	struct symbol *symbols;
	struct snapshot *snap = new_big_snapshot(&symbols);
	struct profile *profile = profile__new(snap, symbols, &opts, NULL);

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct timespec begin, end;
		FILE *out = fopen("/dev/null", "w");
		const struct report_opts report = {.columns = 100};

		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
		assert_int_equal(report__by_name(formats[i])(profile, &report, out), 0);
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
		print_message("%s of 10000 stacks: %ld ms\n", formats[i],
			      (end.tv_sec - begin.tv_sec) * 1000 +
				      (end.tv_nsec - begin.tv_nsec) / 1000000);
		fclose(out);
	}
	profile__free(profile);
	snapshot__free(snap);
	free(symbols);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usual),	       cmocka_unit_test(test_groups),
		cmocka_unit_test(test_interval),       cmocka_unit_test(test_losses),
		cmocka_unit_test(test_estimated),      cmocka_unit_test(test_min_age),
		cmocka_unit_test(test_no_process),     cmocka_unit_test(test_nothing_seen),
		cmocka_unit_test(test_nothing_probed), cmocka_unit_test(test_all_freed),
		cmocka_unit_test(test_many_processes), cmocka_unit_test(test_width_and_color),
		cmocka_unit_test(test_hostile_names),  cmocka_unit_test(test_random_names),
		cmocka_unit_test(test_json_fields),    cmocka_unit_test(test_json_extremes),
		cmocka_unit_test(test_names),	       cmocka_unit_test(test_failed_write),
		cmocka_unit_test(test_speed),
	};

	return cmocka_run_group_tests_name("report render", tests, NULL, NULL);
}
