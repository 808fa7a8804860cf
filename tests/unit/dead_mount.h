/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A FUSE mount without a server: whoever opens something there waits until the connection ends. */
#ifndef LEAKSWEEP_TESTS_UNIT_DEAD_MOUNT_H
#define LEAKSWEEP_TESTS_UNIT_DEAD_MOUNT_H

#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <unistd.h>

struct dead_mount {
	char dir[32];
	char file[64]; /* a path in it */
	int server_fd;
	uint64_t dev;
};

static inline void dead_mount__read_dev(struct dead_mount *mount)
{
	FILE *file = fopen("/proc/self/mountinfo", "r");
	unsigned int dev_major, dev_minor;
	char line[4096], place[256];

	assert_non_null(file);
	while (!mount->dev && fgets(line, sizeof(line), file))
		if (sscanf(line, "%*u %*u %u:%u %*s %255s", &dev_major, &dev_minor, place) == 3 &&
		    !strcmp(place, mount->dir))
			mount->dev = makedev(dev_major, dev_minor);
	fclose(file);
	assert_true(mount->dev);
}

/* Mounts it, in a mount namespace of this test's own. Returns false where that cannot be. */
static inline bool dead_mount__make(struct dead_mount *ret)
{
	struct dead_mount dead = {.dir = "/tmp/leaksweep-mount-XXXXXX"};
	char options[128];

	dead.server_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (geteuid() || dead.server_fd < 0 || unshare(CLONE_NEWNS))
		return false;
	assert_int_equal(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_non_null(mkdtemp(dead.dir));
	snprintf(dead.file, sizeof(dead.file), "%s/file", dead.dir);
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other",
		 dead.server_fd);
	assert_int_equal(mount("test", dead.dir, "fuse", 0, options), 0);
	dead_mount__read_dev(&dead);
	*ret = dead;
	return true;
}

/*
 * Answers that the mount is there (enum fuse_opcode, FUSE_INIT); from then on requests are taken,
 * which makes those who wait deaf to all signals, and not answered.
 */
static inline void dead_mount__open(const struct dead_mount *dead)
{
	struct {
		struct fuse_out_header head;
		struct fuse_init_out init;
	} answer = {.init = {.major = FUSE_KERNEL_VERSION,
			     .minor = FUSE_KERNEL_MINOR_VERSION,
			     .flags = FUSE_PARALLEL_DIROPS,
			     .max_write = 4096}};
	union {
		struct fuse_in_header head;
		char bytes[FUSE_MIN_READ_BUFFER];
	} request;

	assert_true(read(dead->server_fd, &request, sizeof(request)) > 0);
	assert_int_equal(request.head.opcode, FUSE_INIT);
	answer.head.len = sizeof(answer);
	answer.head.unique = request.head.unique;
	assert_int_equal(write(dead->server_fd, &answer, sizeof(answer)), sizeof(answer));
}

/* Waits until somebody wants a file whose name nobody else waits for. */
static inline void dead_mount__take(const struct dead_mount *dead)
{
	union {
		struct fuse_in_header head;
		char bytes[FUSE_MIN_READ_BUFFER];
	} request;

	do
		assert_true(read(dead->server_fd, &request, sizeof(request)) > 0);
	while (request.head.opcode != FUSE_LOOKUP);
}

/* Whoever waits goes on, with an error. */
static inline void dead_mount__hang_up(struct dead_mount *dead)
{
	if (dead->server_fd >= 0)
		close(dead->server_fd);
	dead->server_fd = -1;
}

static inline void dead_mount__end(struct dead_mount *dead)
{
	dead_mount__hang_up(dead);
	umount2(dead->dir, MNT_DETACH);
	rmdir(dead->dir);
}

#endif
