/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whose the blocks are that hold no object: as programs laid them out, and as a census has them. */
#include "unit/forged_memory.h"
#include "unit/python_child.h"

#include <inttypes.h>
#include <malloc.h>

#include "python/census.h"
#include "python/owners.h"
#include "python/pools.h"
#include "util/clock.h"
#include "util/remote.h"

/* One look at a process. */
struct look {
	struct python_process process;
	struct pool_scan *scan;
	struct python_types *types;
	struct python_owners *owners;
	uint64_t room;
};

/* Whether pools are kept, or read again for each question. */
static uint64_t keep_bytes = UINT64_MAX;

static void begin_look(const struct python *python, const struct target *target, struct look *ret)
{
	struct pool_scan_opts opts = {.has_data = true, .keep_bytes = keep_bytes};
	struct python_build build;
	char *reason = NULL;
	uint64_t bias;

	*ret = (struct look){.room = UINT64_MAX};
	assert_true(find_interpreter(target->pid, &build, &bias));
	if (python_process__check(target->pid, bias, &build, &ret->process, &reason))
		fail_msg("Python %s: %s", python->version, reason ? reason : "");
	python_build__free(&build);
	opts.pool_shift = ret->process.layout.pool_shift;
	opts.alignment = ret->process.layout.alignment;
	assert_int_equal(pool_scan__read(target->pid, &opts, &ret->scan), 0);
	ret->types = python_types__new(&ret->process);
	assert_non_null(ret->types);
	ret->owners = python_owners__new(ret->types, ret->scan, &ret->room);
	assert_non_null(ret->owners);
}

static void end_look(struct look *look)
{
	python_owners__free(look->owners);
	python_types__free(look->types);
	pool_scan__free(look->scan);
}

/* What the block of a pool at or around `addr` is told to be; owned, NULL = nobody's. */
static char *told(struct look *look, uint64_t addr)
{
	const struct pool *pool = pool_scan__find(look->scan, addr);
	uint32_t type = TYPE_NONE, object;
	uint8_t data[POOL_MAX_BLOCK];
	uint64_t off;

	if (pool) {
		off = (addr - pool->addr - PYTHON_POOL_HEADER) / pool->block_size *
			      pool->block_size +
		      PYTHON_POOL_HEADER;
		addr = pool->addr + off;
		assert_true(pool_scan__read_bytes(look->scan, pool, off, data, pool->block_size));
		type = python_types__of_block(look->types, data, pool->block_size, &object);
	}
	type = python_owners__of(look->owners, addr, type);
	return type == TYPE_NONE ? NULL : python_owner__name(look->types, type);
}

/* ---- parts ----------------------------------------------------------------------------------- */

/* Says "what address name": a part of the object there, and whose it is to be told. */
static const char parts_script[] =
	"import sys, collections\n"
	"class Session:\n"
	"    def __init__(self, i): self.user = i; self.place = None\n"
	"class Wide: pass\n"
	"class Items(list): pass\n"
	"class Made(type): pass\n"
	"Thing = Made('Thing', (), {'__init__': Session.__init__})\n"
	"keep = []\n"
	"def put(what, thing, name):\n"
	"    keep.append(thing)\n"
	"    print(what, id(thing), name)\n"
	"for n in (3, 3000):\n"
	"    put('items', [i for i in range(n)], 'list')\n"
	"    put('items', Items(range(n)), '__main__.Items')\n"
	"    put('keys', {'k%d' % i: i for i in range(n)}, 'dict')\n"
	"    put('keys', {i: i for i in range(n)}, 'dict')\n"
	"    put('set', set(range(n + 7)), 'set')\n"
	"    put('set', frozenset(range(n + 7)), 'frozenset')\n"
	"    put('bytes', bytearray(n + 7), 'bytearray')\n"
	"    put('deque', collections.deque(range(n)), 'collections.deque')\n"
	"put('inside', list(range(3000)), '')\n"
	"put('self', {}, 'dict')\n"
	"put('self', [], 'list')\n"
	"put('self', 12.5, 'float')\n"
	"w = Wide()\n"
	"for i in range(400): setattr(w, 'a%d' % i, i)\n"
	"del w.a0\n" /* it has a table of its own now */
	"put('self', w, '__main__.Wide')\n"
	"put('keys', w.__dict__, 'dict of __main__.Wide')\n"
	"put('self', w.__dict__, 'dict of __main__.Wide')\n"
	"for C, name in ((Session, '__main__.Session'), (Thing, '__main__.Thing')):\n"
	"    for i in range(20): keep.append(C(i))\n"
	"    put('self', C(1), name)\n"
	"    if (3, 11) <= sys.version_info < (3, 13): put('values', C(1), name)\n"
	"    s = C(2)\n"
	"    keep.append(s)\n"
	"    put('self', s.__dict__, 'dict of ' + name)\n"
	"    if sys.version_info < (3, 13): put('values_of', s.__dict__, 'dict of ' + name)\n"
	"put('cached', Session, 'type')\n"
	"put('cached', Thing, '__main__.Made')\n"
	"print('end'); sys.stdout.flush(); sys.stdin.readline()\n";

static uint64_t word_at(const struct look *look, uint64_t addr)
{
	uint64_t word;

	assert_int_equal(remote_read(look->process.pid, addr, &word, sizeof(word)), 0);
	return word;
}

static uint64_t cached_keys_at(const struct look *look, uint64_t class)
{
	const struct python_layout *layout = &look->process.layout;
	uint64_t end = layout->type_module;

	if (!end)
		end = word_at(look, word_at(look, look->process.frames.code_type + 8) +
					    layout->type_basic_size);
	return class + end - 8;
}

/* Returns the address of a part of the object at `addr`. */
static uint64_t part_of(const struct look *look, const char *what, uint64_t addr)
{
	const struct python_layout *layout = &look->process.layout;
	const struct {
		const char *what;
		uint64_t at;
	} pointers[] = {
		{"items", addr + layout->list_items},
		{"inside", addr + layout->list_items},
		{"keys", addr + layout->dict_keys},
		{"values_of", addr + layout->dict_values},
		{"set", addr + 40},
		{"bytes", addr + 32},
		{"deque", addr + 32},
		{"values", addr - (layout->version == 0x030b ? 32 : 24)},
		{"cached", cached_keys_at(look, addr)},
	};

	if (!strcmp(what, "self"))
		return addr;
	for (size_t i = 0; i < sizeof(pointers) / sizeof(pointers[0]); i++)
		if (!strcmp(pointers[i].what, what)) {
			uint64_t part = word_at(look, pointers[i].at);

			assert_true(part);
			if (!strcmp(what, "values") && layout->version == 0x030c)
				part++;
			return strcmp(what, "inside") ? part : part + 512;
		}
	fail_msg("what is %s?", what);
	return 0;
}

/* Returns whether the part lies in a pool. */
static bool check_part(const struct python *python, struct look *look, char *line)
{
	char *name = NULL, *what = strtok_r(line, " ", &name), *got;
	uint64_t addr = strtoull(strtok_r(NULL, " ", &name), NULL, 10), part;

	part = part_of(look, what, addr);
	got = told(look, part);
	if (strcmp(got ? got : "", name))
		fail_msg("Python %s: %s of 0x%" PRIx64 " at 0x%" PRIx64 ": \"%s\", not \"%s\"",
			 python->version, what, addr, part, got ? got : "", name);
	free(got);
	return pool_scan__find(look->scan, part);
}

/* Lines up to "end"; returns how many. */
static size_t read_lines(struct target *target, char **ret, size_t max)
{
	size_t cnt = 0;
	char *line;

	while ((line = read_line(target)) && strcmp(line, "end")) {
		assert_true(cnt < max);
		ret[cnt++] = line;
	}
	assert_non_null(line);
	free(line);
	return cnt;
}

static void check_parts(const struct python *python)
{
	struct target target = start_python(python, parts_script);
	size_t cnt, in_pools = 0;
	char *lines[100];
	struct look look;

	cnt = read_lines(&target, lines, 100);
	wait_until_idle(&target);
	begin_look(python, &target, &look);
	for (size_t i = 0; i < cnt; i++) {
		in_pools += check_part(python, &look, lines[i]);
		free(lines[i]);
	}
	print_message("Python %s: %zu parts and objects as the program has them, %zu in pools\n",
		      python->version, cnt, in_pools);
	assert_true(in_pools >= 12 && cnt - in_pools >= 9);
	end_look(&look);
	stop_target(&target);
}

static void test_parts(void **state)
{
	(void)state;
	for (size_t i = 0; i < python_cnt; i++)
		if (is_supported(&pythons[i]))
			check_parts(&pythons[i]);
}

/* ---- beside a census ------------------------------------------------------------------------- */

static const char million_script[] =
	"import sys\n"
	"class Session:\n"
	"    def __init__(self, i): self.user = i + 0.5; self.items = [i]\n"
	"keep = [Session(i) for i in range(333334)]\n"
	"for i, s in enumerate(keep[::7]): setattr(s, 'a%d' % (i % 50), i)\n"
	"big = {i: None for i in range(100000)}\n"
	"print(id(big)); sys.stdout.flush(); sys.stdin.readline()\n";

/* The bytes in pools of what is told by a name (NULL = nobody's). */
static uint64_t bytes_of(struct look *look, const char *name)
{
	uint64_t bytes = 0;

	for (size_t p = 0; p < look->scan->pools.cnt; p++) {
		const struct pool *pool = &look->scan->pools.items[p];
		uint64_t at = pool->addr + PYTHON_POOL_HEADER;

		for (uint32_t i = 0; i < pool->block_cnt; i++) {
			char *got;

			if (!pool_scan__block_is_live(look->scan, pool, i))
				continue;
			got = told(look, at + (uint64_t)i * pool->block_size);
			if (got && name ? !strcmp(got, name) : !got && !name)
				bytes += pool->block_size;
			free(got);
		}
	}
	return bytes;
}

static uint64_t census_bytes_of(const struct census *census, const char *name)
{
	for (size_t i = 0; i < census->rows.cnt; i++)
		if (!strcmp(census->rows.items[i].type, name))
			return census->rows.items[i].bytes - census->rows.items[i].large_bytes;
	return 0;
}

static void check_million(const struct python *python)
{
	static const char *const names[] = {"__main__.Session", "dict of __main__.Session", "list",
					    "float", "int"};
	struct target target = start_python(python, million_script);
	uint64_t big = next_number(&target), began, used;
	struct census census;
	struct look look;
	char *name;

	wait_until_idle(&target);
	begin_look(python, &target, &look);
	used = mallinfo2().uordblks + mallinfo2().hblkhd;
	began = clock_ns(CLOCK_MONOTONIC);
	python_owners__of(look.owners, 4096, TYPE_NONE);
	began = clock_ns(CLOCK_MONOTONIC) - began;
	used = mallinfo2().uordblks + mallinfo2().hblkhd - used;
	assert_int_equal(census__take(&look.process, &census), 0);
	print_message("Python %s: %" PRIu64 " blocks in pools: %.0f ms, %.1f MiB (a census: %.0f "
		      "ms); nobody's %" PRIu64 " bytes (census: %" PRIu64 ")\n",
		      python->version, look.scan->live_cnt, (double)began / 1e6, (double)used / MIB,
		      (double)census.elapsed_ns / 1e6, bytes_of(&look, NULL),
		      census_bytes_of(&census, "(not an object)"));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(bytes_of(&look, names[i]), census_bytes_of(&census, names[i]));
	name = told(&look, word_at(&look, big + look.process.layout.dict_keys));
	assert_string_equal(name, "dict");
	free(name);
	assert_true(began < 5 * NS_PER_SEC);
	census__free(&census);
	end_look(&look);
	stop_target(&target);
}

static void test_million(void **state)
{
	(void)state;
	for (size_t i = 0; i < python_cnt; i++)
		if (is_supported(&pythons[i]))
			check_million(&pythons[i]);
}

/* ---- free lists ------------------------------------------------------------------------------ */

static const char free_script[] =
	"import sys\n"
	"def free():\n"
	"    held = [[] for i in range(60)], [{} for i in range(60)], \\\n"
	"        [(None, i) for i in range(60)]\n"
	"    where = '\\n'.join('%s %d' % (type(x).__name__, id(x)) for y in held for x in y)\n"
	"    return where\n"
	"print(free()); print('end'); sys.stdout.flush(); sys.stdin.readline()\n";

static void check_free_lists(const struct python *python)
{
	static const char *const types[] = {"list", "dict", "tuple"};
	struct target target = start_python(python, free_script);
	size_t cnt, told_cnt[3] = {0};
	char *lines[200];
	struct look look;

	cnt = read_lines(&target, lines, 200);
	assert_int_equal(cnt, 180);
	wait_until_idle(&target);
	begin_look(python, &target, &look);
	for (size_t i = 0; i < cnt; i++) {
		char *addr = strchr(lines[i], ' '), *got, *want;

		*addr = 0;
		got = told(&look, strtoull(addr + 1, NULL, 10));
		assert_true(asprintf(&want, "%s (free list)", lines[i]) > 0);
		for (size_t k = 0; k < 3; k++)
			told_cnt[k] += got && !strcmp(types[k], lines[i]) && !strcmp(got, want);
		free(want);
		free(got);
		free(lines[i]);
	}
	print_message("Python %s: of 60 each in free lists: %zu lists, %zu dicts, %zu tuples\n",
		      python->version, told_cnt[0], told_cnt[1], told_cnt[2]);
	if (python->version_hex <= 0x030d) /* some are used again by what comes after */
		for (size_t k = 0; k < 3; k++)
			assert_true(told_cnt[k] > 30);
	end_look(&look);
	stop_target(&target);
}

static void test_free_lists(void **state)
{
	(void)state;
	for (size_t i = 0; i < python_cnt; i++)
		if (is_supported(&pythons[i]))
			check_free_lists(&pythons[i]);
}

/* ---- nothing to tell by ---------------------------------------------------------------------- */

static void test_without(void **state)
{
	struct look look;
	struct target target;
	const char *const script = "import sys; print(id([1])); sys.stdin.readline()\n";

	(void)state;
	assert_int_equal(python_owners__of(NULL, 4096, TYPE_NONE), TYPE_NONE);
	assert_int_equal(python_owners__of(NULL, 4096, 7), 7);
	python_owners__free(NULL);
	if (!python_cnt || !is_supported(&pythons[0]))
		skip();
	target = start_python(&pythons[0], script);
	next_number(&target);
	wait_until_idle(&target);
	begin_look(&pythons[0], &target, &look);
	stop_target(&target); /* it has gone before it is asked of */
	assert_int_equal(python_owners__of(look.owners, look.scan->pools.items[0].addr, TYPE_NONE),
			 TYPE_NONE);
	end_look(&look);
}

/* ---- little room ----------------------------------------------------------------------------- */

static void test_pools_not_kept(void **state)
{
	keep_bytes = 0;
	test_parts(state);
	test_million(state);
	keep_bytes = UINT64_MAX;
}

/* What takes more than there is room for is left out, and that is told. */
static void test_no_room(void **state)
{
	const char *const script = "import sys\n"
				   "lists = [[i] * 100 for i in range(1000)]\n"
				   "print(id(lists)); sys.stdin.readline()\n";
	struct target target;
	struct look look;

	(void)state;
	assert_false(python_owners__is_cut(NULL));
	if (!python_cnt || !is_supported(&pythons[0]))
		skip();
	target = start_python(&pythons[0], script);
	next_number(&target);
	wait_until_idle(&target);
	for (uint64_t parts = 0; parts <= 100000000; parts = parts * 1000000 + 100) {
		const struct pool *last;

		begin_look(&pythons[0], &target, &look);
		last = &look.scan->pools.items[look.scan->pools.cnt - 1];
		look.room = ((uint64_t)last->live_at + last->block_cnt + 1) * 4 + parts * 64;
		python_owners__of(look.owners, look.scan->pools.items[0].addr + 48, TYPE_NONE);
		assert_int_equal(python_owners__is_cut(look.owners), parts <= 100);
		end_look(&look);
	}
	stop_target(&target);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parts),	       cmocka_unit_test(test_million),
		cmocka_unit_test(test_free_lists),     cmocka_unit_test(test_without),
		cmocka_unit_test(test_pools_not_kept), cmocka_unit_test(test_no_room),
	};

	return cmocka_run_group_tests(tests, find_pythons, forget_pythons);
}
