/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/io.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define PLAYED_FD 1000000 /* no descriptor: what it answers is played */

/* What the next writes to PLAYED_FD return: a count of bytes or a negative errno. */
static const int *answers;
static size_t answer_cnt, answer_idx;
static char written[64];
static size_t written_cnt;

/* The program's own definition comes before libc's. */
ssize_t write(int fd, const void *buf, size_t len)
{
	int answer;

	if (fd != PLAYED_FD)
		return syscall(SYS_write, fd, buf, len);
	assert_true(answer_idx < answer_cnt);
	answer = answers[answer_idx++];
	if (answer < 0) {
		errno = -answer;
		return -1;
	}
	assert_true((size_t)answer <= len && (size_t)answer <= sizeof(written) - written_cnt);
	memcpy(written + written_cnt, buf, (size_t)answer);
	written_cnt += (size_t)answer;
	return answer;
}

static int play(const int *play_answers, size_t cnt, const char *text)
{
	answers = play_answers;
	answer_cnt = cnt;
	answer_idx = written_cnt = 0;
	errno = 0;
	return write_all(PLAYED_FD, text, strlen(text));
}

static void test_played(void **state)
{
	static const struct {
		const char *text;
		int answers[6];
		size_t cnt;
		int err;
		const char *written;
	} cases[] = {
		{"", {0}, 0, 0, ""},
		{"0123456789", {10}, 1, 0, "0123456789"},
		{"0123456789", {1, 3, 5, 1}, 4, 0, "0123456789"},
		{"0123456789", {-EINTR, 10}, 2, 0, "0123456789"},
		{"0123456789", {-EINTR, -EINTR, 4, -EINTR, 6}, 5, 0, "0123456789"},
		{"0123456789", {-ENOSPC}, 1, -ENOSPC, ""},
		{"0123456789", {4, -ENOSPC}, 2, -ENOSPC, "0123"},
		{"0123456789", {4, -EINTR, -EPIPE}, 3, -EPIPE, "0123"},
		{"0123456789", {-EAGAIN}, 1, -EAGAIN, ""},
		{"0123456789", {0}, 1, -EIO, ""},
		{"0123456789", {9, 0}, 2, -EIO, "012345678"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		int err = play(cases[i].answers, cases[i].cnt, cases[i].text);

		if (err != cases[i].err)
			fail_msg("case %zu: %d", i, err);
		assert_int_equal(answer_idx, cases[i].cnt);
		assert_int_equal(written_cnt, strlen(cases[i].written));
		assert_memory_equal(written, cases[i].written, written_cnt);
	}
}

static void test_real(void **state)
{
	char got[16];
	int fds[2], full;

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(write_all(fds[1], "a\0b", 3), 0);
	assert_int_equal(read(fds[0], got, sizeof(got)), 3);
	assert_memory_equal(got, "a\0b", 3);
	assert_int_equal(write_all(fds[0], "x", 1), -EBADF);
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(write_all(-1, "x", 1), -EBADF);
	assert_int_equal(write_all(-1, NULL, 0), 0);
	full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	assert_true(full >= 0);
	assert_int_equal(write_all(full, "x", 1), -ENOSPC);
	close(full);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_played),
		cmocka_unit_test(test_real),
	};

	return cmocka_run_group_tests_name("util io", tests, NULL, NULL);
}
