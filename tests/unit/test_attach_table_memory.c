/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <bpf/bpf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "attach/table_memory.h"
#include "attach/tool_memory.h"
#include "include/maps.h"

#define MIB (1ULL << 20)

static const struct attacher_opts defaults = {
	.max_blocks = DEFAULT_BLOCKS,
	.max_stacks = DEFAULT_STACKS,
	.max_procs = DEFAULT_PROCS,
	.ring_bytes = DEFAULT_RING_BYTES,
};

static void test_fit(void **state)
{
	static const uint64_t sizes[] = {140, 141, 160, 256, 500, 1450, 1451, 4096, 16384};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct attacher_opts opts = defaults;
		uint64_t unwind = DEFAULT_UNWIND_BYTES, bound;

		assert_int_equal(table_memory__fit(sizes[i] * MIB, &opts, &unwind), 0);
		bound = table_memory__bound(&opts, unwind) + tool_memory__bound(&opts);
		print_message("%" PRIu64 " MiB: %" PRIu64 " MiB, %u blocks, %u stacks\n", sizes[i],
			      (uint64_t)(bound / MIB), opts.max_blocks, opts.max_stacks);
		assert_true(bound <= sizes[i] * MIB);
		/* Buckets come in powers of two, so it is not used up. */
		assert_true(bound >= sizes[i] * MIB * 3 / 5);
		assert_true(opts.max_blocks >= 4096 && opts.max_stacks >= 1024 &&
			    unwind >= 8 * MIB);
	}
}

static void test_too_small(void **state)
{
	struct attacher_opts opts = defaults;
	uint64_t unwind = DEFAULT_UNWIND_BYTES;

	(void)state;
	assert_int_equal(table_memory__fit(MIN_MEMORY - 1, &opts, &unwind), -ERANGE);
	assert_memory_equal(&opts, &defaults, sizeof(opts));
	assert_int_equal(unwind, DEFAULT_UNWIND_BYTES);
}

static uint64_t told_by_kernel(int map_fd)
{
	unsigned long long bytes = 0;
	char path[64], line[128];
	FILE *info;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", map_fd);
	info = fopen(path, "re");
	assert_non_null(info);
	while (fgets(line, sizeof(line), info))
		if (sscanf(line, "memlock: %llu", &bytes) == 1)
			break;
	fclose(info);
	return bytes;
}

/* More blocks take more memory of the kernel's than the bound grows by: never. */
static void test_kernel(void **state)
{
	LIBBPF_OPTS(bpf_map_create_opts, create, .map_flags = BPF_F_NO_PREALLOC);
	struct attacher_opts opts = defaults;
	const uint32_t cnt = 1 << 16;
	uint64_t told, counted;
	struct block block = {0};
	int fd;

	(void)state;
	fd = bpf_map_create(BPF_MAP_TYPE_HASH, "blocks", sizeof(struct block_key), sizeof(block),
			    cnt, &create);
	if (fd == -EPERM) {
		print_message("BPF maps cannot be made here without root\n");
		skip();
	}
	assert_true(fd >= 0);
	for (uint32_t i = 0; i < cnt; i++) {
		struct block_key key = {.addr = i};

		assert_int_equal(bpf_map_update_elem(fd, &key, &block, BPF_ANY), 0);
	}
	told = told_by_kernel(fd);
	close(fd);
	counted = table_memory__bound(&opts, 0);
	opts.max_blocks += DEFAULT_BLOCKS;
	counted = (table_memory__bound(&opts, 0) - counted) / (DEFAULT_BLOCKS / cnt);
	print_message("%u blocks: %" PRIu64 " bytes by the kernel, %" PRIu64 " counted\n", cnt,
		      told, counted);
	assert_true(told <= counted && told >= counted / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fit),
		cmocka_unit_test(test_too_small),
		cmocka_unit_test(test_kernel),
	};

	return cmocka_run_group_tests_name("table_memory", tests, NULL, NULL);
}
