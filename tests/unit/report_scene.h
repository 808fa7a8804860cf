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
#define MAX_SYMBOLS 96

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
	for (int reason = SYMBOL_NO_MODULE; reason <= SYMBOL_KERNEL; reason++) {
		const char *why = symbol_reason__text(reason);

		snprintf(from, sizeof(from), "\"reason\":\"%s\",", why);
		snprintf(to, sizeof(to), "\"reason\":\"@%d@\",", reason);
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
		"mallocx begins with an instruction that cannot be probed");
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

/* ---- another scene: C++, Rust and C with lines, inlined calls and what belongs to runtimes ----
 */

static inline uint32_t add_inlined(struct scene *scene, uint32_t module, uint64_t offset,
				   const char *function, const char *file, uint32_t line,
				   const struct symbol_inline *inlines, uint32_t inline_cnt)
{
	uint32_t frame = add_frame(scene, module, offset, function, file, line);

	scene->symbols[frame].inlines = inlines;
	scene->symbols[frame].inline_cnt = inline_cnt;
	return frame;
}

#define ADD_ROW(scene, proc, layer, unwind, bytes, count, ...)                                     \
	add_row(scene, proc, layer, unwind, (const uint32_t[]){__VA_ARGS__},                       \
		sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t), bytes, count)

static inline void scene__add_calls(struct scene *scene)
{
	/* std::vector<Entry>::push_back, inlined into Cache::store, inlined into Cache::fill. */
	static const struct symbol_inline store[] = {
		{"std::__new_allocator<Entry>::allocate(unsigned long, void const*)",
		 "/usr/include/c++/12/bits/new_allocator.h", 137},
		{"void std::vector<Entry, std::allocator<Entry> >::_M_realloc_insert<Entry>("
		 "__gnu_cxx::__normal_iterator<Entry*, std::vector<Entry> >, Entry&&)",
		 "/usr/include/c++/12/bits/vector.tcc", 459},
		{"Cache::store(Entry&&)", "/build/db/src/cache/cache.h", 58},
	};
	static const struct symbol_inline all_std[] = {
		{"std::string::_M_create(unsigned long&, unsigned long)", NULL, 0},
	};
	static const struct symbol_inline own[] = {{"next_power(unsigned long)", "src/pool.c", 12}};
	struct snapshot *snap = scene->snap;
	uint32_t cxx = snapshot__add_module(snap, "/usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.30",
					    8, 12, NULL, 0, -1);
	uint32_t server = scene->server, libc = scene->libc, frame;
	uint32_t op_new = add_frame(scene, cxx, 0xa1000, "operator new(unsigned long)", NULL, 0);
	uint32_t fill = add_inlined(scene, server, 0x3010, "Cache::fill(Query const&)",
				    "/build/db/src/cache/cache.cc", 210, store, 3);
	uint32_t create = add_inlined(scene, server, 0x3110, "std::string::assign(char const*)",
				      NULL, 0, all_std, 1);
	uint32_t name = add_frame(scene, server, 0x3120, "Session::rename(char const*)",
				  "/build/db/src/session.cc", 77);
	uint32_t serve = add_frame(scene, server, 0x3210, "Server::serve(int)",
				   "/build/db/src/server.cc", 402);
	uint32_t other = add_frame(scene, server, 0x3290, "Server::serve(int)",
				   "/build/db/src/server.cc", 431);
	uint32_t main = add_frame(scene, server, 0x3380, "main", "/build/db/src/main.cc", 31);
	uint32_t start_main = add_frame(scene, libc, 0x29d90, "__libc_start_call_main", NULL, 0);
	uint32_t start = add_frame(scene, server, 0x1060, "_start", NULL, 0);
	uint32_t strdup = add_frame(scene, libc, 0x9a0a0, "strdup", NULL, 0);
	uint32_t xstrdup = add_frame(scene, server, 0x3410, "xstrdup", "src/xmalloc.c", 9);
	uint32_t pool = add_inlined(scene, server, 0x3510, "pool_grow", "src/pool.c", 40, own, 1);
	uint32_t mmap = add_frame(scene, libc, 0x10f0a0, "mmap64", NULL, 0);
	uint32_t plain = add_frame(scene, server, 0x3610, "load_plugins", NULL, 0);
	uint32_t walk = add_frame(scene, server, 0x3710, "walk(Node*)", "src/tree.cc", 5);
	uint32_t kernel;

	frame = snapshot__add_frame(snap, FRAME_KERNEL, SNAP_NONE, 0xffffffff81234560);
	scene->symbols[frame] = (struct symbol){.function = "__do_sys_brk", .function_offset = 16};
	kernel = frame;
	ADD_ROW(scene, 0, LAYER_MALLOC, UNWIND_COMPLETE, 6291456, 512, op_new, fill, serve, main,
		start_main, start);
	ADD_ROW(scene, 0, LAYER_MALLOC, UNWIND_COMPLETE, 1048576, 100, op_new, fill, other, main,
		start_main, start);
	ADD_ROW(scene, 0, LAYER_MALLOC, UNWIND_COMPLETE, 786432, 3000, op_new, create, name, serve,
		main, start_main, start);
	ADD_ROW(scene, 1, LAYER_MALLOC, UNWIND_COMPLETE, 524288, 800, strdup, xstrdup, plain, main,
		start_main, start);
	ADD_ROW(scene, 1, LAYER_MALLOC, UNWIND_NO_RULE, 65536, 16, pool, plain);
	ADD_ROW(scene, 1, LAYER_MMAP, UNWIND_COMPLETE, 2097152, 1, mmap, pool, plain, main,
		start_main, start);
	ADD_ROW(scene, 0, LAYER_MALLOC, UNWIND_COMPLETE, 262144, 5, walk, walk, walk, walk, walk,
		walk, walk, walk, walk, walk, walk, walk, walk, walk, walk, walk, walk, walk, serve,
		main, start_main, start);
	ADD_ROW(scene, 0, LAYER_MALLOC, UNWIND_LOST, 8192, 2);
	ADD_ROW(scene, 0, LAYER_KERNEL, UNWIND_TRUNCATED, 131072, 4, kernel, plain);
	ADD_ROW(scene, 1, LAYER_MALLOC, UNWIND_NO_TABLE, 32768, 4, op_new);
	ADD_ROW(scene, 1, LAYER_MALLOC, UNWIND_UNREADABLE, 1024, 4, name, serve);
	snap->rows.items[4].chained = true;
	snap->unwind = (struct snap_unwind){
		.tables = 14,
		.from_cache = 9,
		.failed = 1,
		.evicted = 2,
		.rows = 106000,
		.bytes = 862000,
		.load_ns = 41000000,
		.cache_err = -EACCES,
	};
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
