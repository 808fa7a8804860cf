/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A FUSE mount without a server: whoever opens something there waits until the connection ends. */
#include "util/remote_mount.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "util/clock.h"

#define TRY_MS 1000 /* a try takes so long */

static char dir[] = "/tmp/leaksweep-mount-XXXXXX";
static int server_fd = -1;
static uint64_t mount_dev;

static void read_mount_dev(void)
{
	FILE *file = fopen("/proc/self/mountinfo", "r");
	unsigned int dev_major, dev_minor;
	char line[4096], place[256];

	assert_non_null(file);
	while (!mount_dev && fgets(line, sizeof(line), file))
		if (sscanf(line, "%*u %*u %u:%u %*s %255s", &dev_major, &dev_minor, place) == 3 &&
		    !strcmp(place, dir))
			mount_dev = makedev(dev_major, dev_minor);
	fclose(file);
	assert_true(mount_dev);
}

/* Returns 1 where there can be no such mount. */
static int mount_nothing(void)
{
	char options[128];

	if (geteuid() || (server_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC)) < 0 ||
	    unshare(CLONE_NEWNS))
		return 1;
	assert_int_equal(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_non_null(mkdtemp(dir));
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", server_fd);
	assert_int_equal(mount("test", dir, "fuse", 0, options), 0);
	read_mount_dev();
	return 0;
}

static void open_file(const void *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
}

/* Returns what is said of a file, and how many milliseconds that took. */
static int try_file(uint64_t dev, const char *path, uint64_t *ret_ms)
{
	uint64_t begun_ns = clock_ns(CLOCK_MONOTONIC);
	int err = remote_mount__try(getpid(), dev, open_file, path);

	*ret_ms = (clock_ns(CLOCK_MONOTONIC) - begun_ns) / NS_PER_MS;
	return err;
}

static void test_no_answer(void **state)
{
	char path[sizeof(dir) + 8];
	uint64_t ms;
	int err = -ETIMEDOUT;

	(void)state;
	if (mount_nothing())
		skip();
	snprintf(path, sizeof(path), "%s/file", dir);
	assert_int_equal(try_file(mount_dev, path, &ms), -ETIMEDOUT);
	assert_in_range(ms, TRY_MS - 1, 10 * TRY_MS);
	/* Who waits already tells the next one. */
	for (int i = 0; i < 20; i++) {
		assert_int_equal(try_file(mount_dev, path, &ms), -ETIMEDOUT);
		assert_true(ms < TRY_MS / 2);
	}
	/* It need not be known which mount it is. */
	assert_int_equal(try_file(0, path, &ms), -ETIMEDOUT);
	close(server_fd);
	for (int i = 0; err && i < 100; i++) {
		err = try_file(mount_dev, path, &ms);
		usleep(50000);
	}
	assert_int_equal(err, 0);
	assert_int_equal(umount2(dir, MNT_DETACH), 0);
	rmdir(dir);
}

static void note_job(const void *ran)
{
	**(bool *const *)ran = true;
}

/* What is on no such mount is not tried. */
static void test_local(void **state)
{
	bool *ran =
		mmap(NULL, sizeof(*ran), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct stat st;

	(void)state;
	assert_true(ran != MAP_FAILED);
	assert_int_equal(stat("/proc", &st), 0);
	assert_int_equal(remote_mount__try(getpid(), st.st_dev, note_job, &ran), 0);
	assert_int_equal(remote_mount__try(getpid(), makedev(8, 1), note_job, &ran), 0);
	assert_int_equal(remote_mount__try(INT32_MAX, st.st_dev, note_job, &ran), 0);
	assert_false(*ran);
	munmap(ran, sizeof(*ran));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_answer),
		cmocka_unit_test(test_local),
	};

	return cmocka_run_group_tests_name("remote mount", tests, NULL, NULL);
}
