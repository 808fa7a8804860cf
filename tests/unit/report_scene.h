/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What tests of renderers share: a scene to render, and golden files, compared byte for byte.
 * UPDATE_GOLDEN=1 writes them anew. What other folders own (the version, the wording of reasons) is
 * replaced by a placeholder before the comparison.
 */
#ifndef TESTS_UNIT_REPORT_SCENE_H
#define TESTS_UNIT_REPORT_SCENE_H

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

static inline char *read_whole(const char *path)
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
static inline char *replace_all(char *text, const char *from, const char *to)
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
static inline void cut_loss(char *text)
{
	char *loss = strstr(text, "\"loss\":{"), *end;

	if (!loss)
		return;
	loss += strlen("\"loss\":{");
	end = strchr(loss, '}');
	memmove(loss, end, strlen(end) + 1);
}

static inline char *without_foreign_words(char *text)
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

static inline char *render_with(const struct profile *profile, const char *format,
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

static inline char *render(const struct profile *profile, const char *format)
{
	const struct report_opts opts = {.columns = 100};

	return render_with(profile, format, &opts);
}

static inline void check_text(char *text, const char *golden)
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

static inline void check_golden(const struct profile *profile, const char *format,
				const char *golden)
{
	check_text(render(profile, format), golden);
}

/* ---- the scene: a server with a worker, and a command that has ended ---- */

struct scene {
	struct snapshot *snap;
	struct symbol symbols[MAX_SYMBOLS];
	uint32_t server, libc, jit;
};

static inline struct snapshot *new_snapshot(void)
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

static inline void add_row(struct scene *scene, uint32_t proc, enum layer layer,
			   enum unwind_end unwind, const uint32_t *frames, size_t frame_cnt,
			   int64_t bytes, int64_t count)
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

static inline void add_procs(struct snapshot *snap)
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

static inline void scene__init(struct scene *scene)
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

static inline void scene__add_rows(struct scene *scene)
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

static inline void scene__free(struct scene *scene)
{
	snapshot__free(scene->snap);
}

static inline struct profile *profile_of(const struct scene *scene, enum profile_group group,
					 const struct profile *previous)
{
	const struct profile_opts opts = {.group = group, .top = 10};
	struct profile *profile = profile__new(scene->snap, scene->symbols, &opts, previous);

	assert_non_null(profile);
	return profile;
}

#endif
