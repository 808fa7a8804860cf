/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files of a folder at another place, by a FUSE server that can be stopped. After compile.h. */
#ifndef LEAKSWEEP_TESTS_UNIT_BIND_MOUNT_H
#define LEAKSWEEP_TESTS_UNIT_BIND_MOUNT_H

#include <signal.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#define BINDFS "/usr/bin/bindfs"
#define BIND_WAIT_MS 20000

struct bind_mount {
	char dir[32];
	pid_t server;
};

/* Returns false where that cannot be. */
static inline bool bind_mount__make(const char *from, struct bind_mount *ret)
{
	struct stat before, now;

	if (geteuid() || access(BINDFS, X_OK) || access("/dev/fuse", W_OK))
		return false;
	*ret = (struct bind_mount){.dir = "/tmp/leaksweep-mount-XXXXXX"};
	assert_non_null(mkdtemp(ret->dir));
	assert_int_equal(stat(ret->dir, &before), 0);
	ret->server = fork();
	if (!ret->server) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl(BINDFS, BINDFS, "-f", from, ret->dir, NULL);
		_exit(127);
	}
	assert_true(ret->server > 0);
	for (int waited_ms = 0; waited_ms < BIND_WAIT_MS; waited_ms += 20) {
		assert_int_equal(stat(ret->dir, &now), 0);
		if (now.st_dev != before.st_dev)
			return true;
		usleep(20000);
	}
	fail_msg("%s has not begun", BINDFS);
	return false;
}

static inline void bind_mount__end(struct bind_mount *mount)
{
	kill(mount->server, SIGCONT);
	assert_int_equal(umount2(mount->dir, MNT_DETACH), 0);
	kill(mount->server, SIGKILL);
	assert_int_equal(waitpid(mount->server, NULL, 0), mount->server);
	rmdir(mount->dir);
}

#endif
