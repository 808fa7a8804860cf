/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /proc/PID/smaps: of this very process, and text that is not as it should be. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "util/procfs_smaps.h"

#define KIB 1024ULL
#define MIB (1ULL << 20)
#define NO_SUCH_PID 0x3ffffffe /* above the kernel's PID_MAX_LIMIT */
#define HEAD "00400000-00500000 rw-p 00000000 00:00 0 \n"

static void open_text(const char *text, size_t len, struct smaps *ret)
{
	int fd = memfd_create("smaps", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), len);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	smaps__open_fd(fd, ret);
}

/* Reads all of a text; returns how many mappings, or an error. */
static int count_areas(const char *text, size_t len)
{
	struct smaps_area area = {.rss_bytes = 7};
	struct smaps smaps;
	int got, cnt = 0;

	open_text(text, len, &smaps);
	while ((got = smaps__next(&smaps, &area)) > 0)
		cnt++;
	if (!cnt) /* untouched */
		assert_int_equal(area.rss_bytes, 7);
	smaps__close(&smaps);
	return got < 0 ? got : cnt;
}

static void test_text(void **state)
{
	static const char text[] =
		"55d51c32b000-55d51c32c000 r-xp 00001000 fe:00 10954841    /tmp/a b (deleted)\n"
		"Size:                  4 kB\n"
		"Rss:                   4 kB\n"
		"Private_Dirty:         0 kB\n"
		"Swap:                  0 kB\n"
		"SwapPss:               9 kB\n"
		"THPeligible:           0\n"
		"VmFlags: rd ex mr mw me \n"
		"7f0000000000-7f0000100000 rw-p 00000000 00:00 0 \n"
		"Rss:                 512 kB\n"
		"Pss:                   1 kB\n"
		"Private_Dirty:       256 kB\n"
		"Anonymous:           300 kB\n"
		"AnonHugePages:       200 kB\n"
		"Swap:                128 kB\n"
		"VmFlags: rd wr mr mw me ac nh sd \n"
		"7f0000100000-7f0000200000 ---p 00000000 00:00 0 \n"
		"Rss:                   0 kB\n"
		"VmFlags: nhx xnh\n";
	struct smaps_area area;
	struct smaps smaps;

	(void)state;
	open_text(text, sizeof(text) - 1, &smaps);
	assert_int_equal(smaps__next(&smaps, &area), 1);
	assert_string_equal(area.map->path, "/tmp/a b");
	assert_true(area.map->deleted && area.map->executable);
	assert_int_equal(area.map->start, 0x55d51c32b000);
	assert_int_equal(area.rss_bytes, 4 * KIB);
	assert_int_equal(area.pss_bytes, 4 * KIB);
	assert_int_equal(area.swap_bytes, 0);
	assert_false(area.no_huge);
	assert_int_equal(smaps__next(&smaps, &area), 1);
	assert_string_equal(area.map->path, "");
	assert_int_equal(area.rss_bytes, 512 * KIB);
	assert_int_equal(area.pss_bytes, KIB);
	assert_int_equal(area.private_dirty_bytes, 256 * KIB);
	assert_int_equal(area.anon_bytes, 300 * KIB);
	assert_int_equal(area.anon_huge_bytes, 200 * KIB);
	assert_int_equal(area.swap_bytes, 128 * KIB);
	assert_true(area.no_huge);
	assert_int_equal(smaps__next(&smaps, &area), 1);
	assert_int_equal(area.rss_bytes, 0);
	assert_int_equal(area.private_dirty_bytes, 0);
	assert_false(area.no_huge);
	assert_int_equal(smaps__next(&smaps, &area), 0);
	assert_int_equal(smaps__next(&smaps, &area), 0);
	smaps__close(&smaps);
}

static void test_broken_text(void **state)
{
	static const char *const broken[] = {
		"\n",
		"Rss: 4 kB\n",
		HEAD,
		HEAD "Pss: 4 kB\n",
		HEAD "Rss: 4 kB",
		HEAD "Rss: kB\n",
		HEAD "Rss: -4 kB\n",
		HEAD "Rss: 4 MB\n",
		HEAD "Rss: 4 kBs\n",
		HEAD "Rss: 18446744073709551615 kB\n",
		HEAD "Rss: 99999999999999999999999 kB\n",
		HEAD "Rss: 2048 kB\n", /* more than there is */
		HEAD "Rss: 4 kB\nSwap: x\n",
		"00500000-00400000 rw-p 00000000 00:00 0 \nRss: 0 kB\n",
		"00400000 rw-p 00000000 00:00 0 \nRss: 0 kB\n",
		"abc\nRss: 0 kB\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		assert_int_equal(count_areas(broken[i], strlen(broken[i])), -EBADMSG);
	assert_int_equal(count_areas("", 0), 0);
	assert_int_equal(count_areas(HEAD "Rss: 1024 kB\n", strlen(HEAD "Rss: 1024 kB\n")), 1);
	assert_int_equal(count_areas(HEAD "Rss: 4\0 kB\n", strlen(HEAD) + 11), -EBADMSG);
}

/* Every prefix of a text, and every byte of it changed: an error or a result, nothing else. */
static void test_damaged_text(void **state)
{
	static const char good[] = HEAD "Rss: 4 kB\nVmFlags: rd nh\n" HEAD "Rss: 8 kB\n";
	char text[sizeof(good)];

	(void)state;
	for (size_t len = 0; len < sizeof(good) - 1; len++)
		assert_true(count_areas(good, len) <= 2);
	for (size_t i = 0; i < sizeof(good) - 1; i++) {
		for (int c = 0; c < 256; c += 15) {
			memcpy(text, good, sizeof(good));
			text[i] = (char)c;
			assert_true(count_areas(text, sizeof(good) - 1) <= 3);
		}
	}
}

/* Paths are as long as they like, within reason. */
static void test_long_line(void **state)
{
	static const char head[] = "00400000-00500000 rw-p 00000000 fe:00 1   /";
	size_t len = 4 << 20;
	char *text = malloc(len);

	(void)state;
	assert_non_null(text);
	memset(text, 'x', len);
	memcpy(text, head, sizeof(head) - 1);
	assert_int_equal(count_areas(text, len), -EBADMSG);
	memcpy(text + 100000, "\nRss: 4 kB\n", 11);
	assert_int_equal(count_areas(text, 100011), 1);
	free(text);
}

static void test_self(void **state)
{
	char *memory =
		mmap(NULL, 8 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t start = (uintptr_t)memory, found = 0, total = 0, rss;
	struct smaps_area area;
	struct smaps smaps;
	int got;

	(void)state;
	assert_ptr_not_equal(memory, MAP_FAILED);
	assert_int_equal(madvise(memory, 8 * MIB, MADV_NOHUGEPAGE), 0);
	memset(memory, 1, 3 * MIB);
	assert_int_equal(smaps__open(getpid(), &smaps), 0);
	while ((got = smaps__next(&smaps, &area)) > 0) {
		total += area.rss_bytes;
		if (area.map->start <= start && start < area.map->end) {
			found = area.rss_bytes;
			assert_true(area.no_huge);
			assert_true(area.private_dirty_bytes >= 3 * MIB);
		}
	}
	assert_int_equal(got, 0);
	smaps__close(&smaps);
	assert_true(found >= 3 * MIB && found < 4 * MIB);
	rss = proc_rss_bytes(getpid()); /* which the kernel counts in batches */
	assert_true(total < rss + rss / 5 && rss < total + total / 5);
	assert_int_equal(munmap(memory, 8 * MIB), 0);
}

static void test_nobody(void **state)
{
	struct smaps smaps;

	(void)state;
	assert_int_equal(smaps__open(NO_SUCH_PID, &smaps), -ESRCH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),	     cmocka_unit_test(test_broken_text),
		cmocka_unit_test(test_damaged_text), cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_self),	     cmocka_unit_test(test_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
