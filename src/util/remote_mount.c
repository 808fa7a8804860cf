/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "util/remote_mount.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "util/child.h"
#include "util/clock.h"
#include "util/procfs_read.h"

#define PATIENCE_NS NS_PER_SEC
#define MAX_WAITING 4 /* mounts that do not answer, at once */

/*
 * Types of /proc/filesystems whose files come from another process or host, and not by way of a
 * block device. "fuse.NAME" is one. What autofs waits for is that somebody mounts something.
 */
static const char *const remote_types[] = {
	"fuse", "nfs",	  "nfs4",     "cifs", "smb3",	  "ceph",   "afs",
	"9p",	"lustre", "virtiofs", "coda", "orangefs", "beegfs", "autofs",
};

/* What is tried: files of a device, or all of a mount namespace. */
struct place {
	uint64_t dev;	   /* 0 = not known: then ... */
	uint64_t mount_ns; /* ... the inode of the namespace, 0 = not known either */
};

/*
 * Children that wait. They are left to it: while one does, its mount does not answer, and nobody
 * else has to find that out.
 */
static struct {
	pthread_mutex_t lock;
	struct waiting {
		pid_t pid; /* 0 = none */
		struct place place;
	} children[MAX_WAITING];
} waiting = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- which mounts ---- */

static bool is_remote_type(const char *type, size_t len)
{
	if (len > 5 && !strncmp(type, "fuse.", 5))
		return true;
	for (size_t i = 0; i < sizeof(remote_types) / sizeof(remote_types[0]); i++)
		if (strlen(remote_types[i]) == len && !strncmp(remote_types[i], type, len))
			return true;
	return false;
}

/*
 * A line of mountinfo (proc(5)): ID PARENT MAJOR:MINOR ... - TYPE SOURCE OPTIONS. Returns whether
 * it is one of the device, 0 = of any.
 */
static bool read_line(const char *line, uint64_t dev, bool *ret_is_remote)
{
	unsigned int dev_major, dev_minor;
	const char *type = strstr(line, " - ");

	if (!type || sscanf(line, "%*u %*u %u:%u", &dev_major, &dev_minor) != 2 ||
	    (dev && makedev(dev_major, dev_minor) != dev))
		return false;
	*ret_is_remote = is_remote_type(type + 3, strcspn(type + 3, " "));
	return true;
}

static bool list_has_remote(char *text, uint64_t dev)
{
	bool is_listed = !dev, is_remote = false;
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line && !is_remote;
	     line = strtok_r(NULL, "\n", &save))
		is_listed |= read_line(line, dev, &is_remote);
	return is_remote || !is_listed;
}

bool remote_mount__may_hold(pid_t pid, uint64_t dev)
{
	bool has_remote;
	char *text;
	size_t len;

	/* Others are block devices. */
	if (major(dev))
		return false;
	if (procfs_read_pid(pid, "mountinfo", &text, &len) &&
	    procfs_read_pid(getpid(), "mountinfo", &text, &len))
		return true;
	has_remote = list_has_remote(text, dev);
	free(text);
	return has_remote;
}

/* Mounts of other namespaces have nothing to do with those of this one. */
static struct place place_of(pid_t pid, uint64_t dev)
{
	struct place place = {.dev = dev};
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)pid);
	if (!dev && !stat(path, &st))
		place.mount_ns = st.st_ino;
	return place;
}

/* ---- children ---- */

struct job {
	void (*run)(const void *arg);
	const void *arg;
	int fd; /* stays open; -1 = none */
};

/* What the parent's descriptors hold would stay as long as this waits. */
static bool close_others(int fd)
{
	unsigned int keep = (unsigned int)fd;

	if (fd < 0)
		return !close_range(0, ~0U, 0);
	return (!keep || !close_range(0, keep - 1, 0)) && !close_range(keep + 1, ~0U, 0);
}

static void __attribute__((noreturn)) run_child(pid_t parent, const struct job *job)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent || !close_others(job->fd))
		_exit(1);
	child__offer_to_oom_killer();
	job->run(job->arg);
	_exit(0);
}

/* Returns the child, or a negative errno. */
static pid_t start_child(const struct job *job)
{
	pid_t parent = getpid(), pid = child__fork();

	if (!pid)
		run_child(parent, job);
	return pid;
}

/* Returns where a child for this place is, or could be; NULL = nowhere. */
static struct waiting *find_waiting(struct place place)
{
	struct waiting *none = NULL;
	int status;

	for (size_t i = 0; i < MAX_WAITING; i++) {
		struct waiting *child = &waiting.children[i];

		if (child->pid && child__wait(child->pid, 0, &status) != -ETIMEDOUT)
			child->pid = 0;
		if (child->pid && child->place.dev == place.dev &&
		    child->place.mount_ns == place.mount_ns)
			return child;
		if (!child->pid)
			none = child;
	}
	return none;
}

static int try_place(struct place place, const struct job *job)
{
	struct waiting *child = find_waiting(place);
	int err, status;
	pid_t pid;

	if (!child || child->pid)
		return -ETIMEDOUT;
	pid = start_child(job);
	if (pid < 0)
		return pid;
	err = child__wait(pid, clock_ns(CLOCK_MONOTONIC) + PATIENCE_NS, &status);
	if (err == -ETIMEDOUT)
		*child = (struct waiting){.pid = pid, .place = place};
	/* Who was killed, or could not begin, knows nothing of the mount. */
	if (!err && status)
		err = -EIO;
	return err;
}

static int try_in_turn(struct place place, const struct job *job)
{
	int err;

	pthread_mutex_lock(&waiting.lock);
	err = try_place(place, job);
	pthread_mutex_unlock(&waiting.lock);
	return err;
}

int remote_mount__try(pid_t pid, uint64_t dev, void (*job)(const void *arg), const void *arg)
{
	if (!remote_mount__may_hold(pid, dev))
		return 0;
	return try_in_turn(place_of(pid, dev), &(struct job){.run = job, .arg = arg, .fd = -1});
}

/* Whatever the kernel remembers of the file: its server has to answer. */
static void ask_file(const void *fd)
{
	struct statx stx;
	char byte;

	if (statx(*(const int *)fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS,
		  &stx) ||
	    pread(*(const int *)fd, &byte, 1, 0) < 0) {
		/* That is an answer, too. */
	}
}

int remote_mount__try_open(uint64_t dev, int fd)
{
	return try_in_turn((struct place){.dev = dev},
			   &(struct job){.run = ask_file, .arg = &fd, .fd = fd});
}
